"""The command line ``tinygraph``: its commands, and the one place where errors become one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tinygraph.errors import TinygraphError

_UsageError: Any = typer.BadParameter.__mro__[2]  # the base of all errors about options and arguments

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Build, train and see feedforward networks as computational graphs.",
)

Model = Annotated[str, typer.Argument(help="Which network: fully_connected.")]
Data = Annotated[str, typer.Option("--data", help="Which data set: digits.")]
Sizes = Annotated[str, typer.Option(help="Nodes of the hidden layers, separated by commas; '' for none.")]
Activation = Annotated[str, typer.Option(help="Activation of the hidden layers.")]


@app.command()
def train(
    model: Model = "fully_connected",
    data: Data = "digits",
    hidden: Sizes = "64",
    activation: Activation = "relu",
    init: Annotated[str, typer.Option(help="How the initial weights are drawn.")] = "normal",
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 40,
    batch_size: Annotated[int, typer.Option(help="Samples in a mini-batch.")] = 32,
    lr: Annotated[float, typer.Option(help="Learning rate mu.")] = 0.05,
    momentum: Annotated[float, typer.Option(help="Momentum of the gradient descent.")] = 0.9,
    l2: Annotated[float, typer.Option(help="Factor rho of the squared weights.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Decides initial weights and the order of the data.")] = 0,
    backend: Annotated[str, typer.Option(help="Where the numbers live.")] = "numpy",
    out: Annotated[Path | None, typer.Option(help="Folder for the results [default: a new one in runs/].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
) -> None:
    """Train a network and write its history, curves, weights and drawing to a folder."""
    from tinygraph.tools.training import Settings, run

    settings = Settings(
        model=model,
        data=data,
        hidden=hidden,
        activation=activation,
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
        l2=l2,
        seed=seed,
        backend=backend,
    )
    for line in run(settings, out, resume=resume):
        typer.echo(line)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A folder that `tinygraph train` wrote.")],
    file: Annotated[Path, typer.Argument(metavar="INPUT", help="A .csv, .npy or .npz file, one sample a row.")],
) -> None:
    """Print the decision on each row of a file, and the probability given to it."""
    from tinygraph.tools.training import predictions

    for line in predictions(run, file):
        typer.echo(line)


@app.command()
def render(
    model: Model = "fully_connected",
    data: Data = "digits",
    hidden: Sizes = "64",
    activation: Activation = "relu",
    backward: Annotated[bool, typer.Option("--backward", help="Draw the gradients as well.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="A name ending in .svg, .png, .pdf or .dot.")] = Path(
        "net.svg"
    ),
) -> None:
    """Draw a network's graph."""
    from tinygraph.tools.training import Settings, draw

    typer.echo(draw(Settings(model=model, data=data, hidden=hidden, activation=activation), output, backward))


@app.command()
def check() -> None:
    """Check the gradient of every operation on every backend that can run here."""
    from tinygraph.tools.check import run

    failed = False
    for line, passed in run():
        failed = failed or not passed
        typer.echo(line)
    if failed:
        raise typer.Exit(1)


@app.command()
def info() -> None:
    """Print versions, backends, and what is missing and how to get it."""
    from tinygraph.tools.info import lines

    for line in lines():
        typer.echo(line)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every mistake a user can mend ends in one line and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(arguments or ["--help"], prog_name="tinygraph", standalone_mode=False)
    except TinygraphError as error:
        _fail(str(error))
    except _UsageError as error:
        _fail(f"{error.format_message()} (tinygraph --help lists what there is)")
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("tinygraph: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(status or 0)


def _fail(text: str) -> None:
    """Print one line and leave with exit status 2."""
    typer.echo("tinygraph: " + " ".join(text.split()), err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
