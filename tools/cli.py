"""The command line ``tinygraph``: its commands, and the one place where errors become one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tinygraph import __version__, reuse_memory, using
from tinygraph.errors import ArgumentError, TinygraphError
from tinygraph.parallel.communicator import VARIABLE, fail, processes_of
from tinygraph.tools.signals import Stopped, stopped_by_signals

_UsageError: Any = typer.BadParameter.__mro__[2]  # the base of all errors about options and arguments

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Argument(help="Which network: the name of a builder, or module:Name, one's own.")]
Data = Annotated[
    str | None,
    typer.Option("--data", help="Which data set, or a file or folder of images [default: the network's own task]."),
]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the files of data sets.")]
Sizes = Annotated[str | None, typer.Option(help="Nodes of the hidden layers, separated by commas; '' for none.")]
Activation = Annotated[str | None, typer.Option(help="Activation of the hidden layers.")]
Head = Annotated[str | None, typer.Option(help="How a Siamese net compares: cosine, absolute_difference, relation.")]
Tied = Annotated[bool | None, typer.Option("--tied", help="Let an autoencoder decode with its encoder's weights.")]
Target = Annotated[str | None, typer.Option(help="Own data: the column to be predicted.")]
Task = Annotated[str | None, typer.Option(help="Own data: what the target is, classes or numbers [default: by it].")]
AsWords = Annotated[list[str] | None, typer.Option(help="Own data: a column of words, such as codes; repeatable.")]
Ignore = Annotated[list[str] | None, typer.Option(help="Own data: a column that is not read; repeatable.")]
Noise = Annotated[float | None, typer.Option(help="Fraction of the inputs zeroed in training.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tinygraph {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Build, train and see feedforward networks as computational graphs."""
    reuse_memory()  # this process is ours


@app.command()
def train(
    model: Annotated[
        str | None,
        typer.Argument(help="Which network: a builder's name, or module:Name, one's own [default: fully_connected]."),
    ] = None,
    data: Data = None,
    target: Target = None,
    task: Task = None,
    words: AsWords = None,
    ignore: Ignore = None,
    held_out: Annotated[float | None, typer.Option(help="Own data: the share of samples to test on.")] = None,
    hidden: Sizes = None,
    activation: Activation = None,
    head: Head = None,
    tied: Tied = None,
    noise: Noise = None,
    init: Annotated[str | None, typer.Option(help="How the initial weights are drawn.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd or adam.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs: how often the training set is gone through.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a mini-batch.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate mu.")] = None,
    momentum: Annotated[float | None, typer.Option(help="Momentum of the gradient descent.")] = None,
    l2: Annotated[float | None, typer.Option(help="Factor rho of the squared weights.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides initial weights and the order of the data.")] = None,
    backend: Annotated[str | None, typer.Option(help="Where the numbers live.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings; options given here win.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results [default: a new one in runs/].")] = None,
    parallel: Annotated[
        str | None, typer.Option(help="Share every mini-batch among the processes of mpiexec: mpi.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, with its settings.")] = False,
    allow_change: Annotated[
        list[str] | None, typer.Option(help="What --resume may change: lr, momentum, batch_size, l2; repeatable.")
    ] = None,
    checkpoint_every: Annotated[
        str, typer.Option(help="When the checkpoint is written: epoch, 10 epochs, 500 (updates), 30s, 5min or 1h.")
    ] = "epoch",
    keep: Annotated[int, typer.Option(help="How many checkpoints to keep, the last ones.")] = 1,
    plot: Annotated[
        list[str] | None,
        typer.Option(
            help="What else to draw: gradients, saturation, updates, activations, confusion, roc, regions, weights, "
            "reconstructions, embeddings, or all that fit; repeatable."
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Train a network and write its history, curves, weights and drawing to a folder."""
    from tinygraph.tools.training import asked_settings, run

    options = {
        "data": data,
        "target": target,
        "task": task,
        "words": words,
        "ignore": ignore,
        "held_out": held_out,
        "hidden": hidden,
        "activation": activation,
        "head": head,
        "tied": tied,
        "noise": noise,
        "init": init,
        "optimizer": optimizer,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "momentum": momentum,
        "l2": l2,
        "seed": seed,
        "backend": backend,
    }
    if parallel is not None:
        os.environ[VARIABLE] = parallel  # for every `fit` of an experiment
    processes_of(parallel)
    settings = asked_settings(model, options, config, out if resume else None)
    with using(settings.backend):  # targets and samples go where the network is
        for line in run(
            settings,
            out,
            resume=resume,
            data_dir=data_dir,
            allow_changes=allow_change or [],
            plots=plot or [],
            checkpoint_every=checkpoint_every,
            keep=keep,
        ):
            typer.echo(line)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A folder that `tinygraph train` wrote.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, TSV, NPY, NPZ, Parquet, an image; - for CSV or TSV from input.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Print what the network says of each row of a file, as CSV: a decision and its probability, or numbers."""
    from tinygraph.tools.training import predictions

    for line in predictions(run, file, data_dir):
        typer.echo(line)


@app.command()
def render(
    model: Model = "fully_connected",
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="Network of one's own: the shape of an input, such as None,64; repeatable."),
    ] = None,
    data: Data = None,
    target: Target = None,
    task: Task = None,
    words: AsWords = None,
    ignore: Ignore = None,
    hidden: Sizes = None,
    activation: Activation = None,
    head: Head = None,
    tied: Tied = None,
    noise: Noise = None,
    backward: Annotated[bool, typer.Option("--backward", help="Draw the gradients as well.")] = False,
    level: Annotated[
        str | None,
        typer.Option(help="How much: modules, operations, rules, primitives [default: rules if --backward]."),
    ] = None,
    depth: Annotated[int | None, typer.Option(help="How far modules are open; 0: the network as one box.")] = None,
    direction: Annotated[
        str | None, typer.Option(help="Where data flow: down, up, right, left [default: down].")
    ] = None,
    theme: Annotated[str | None, typer.Option(help="Colours: light, dark, print [default: light].")] = None,
    font_size: Annotated[float | None, typer.Option(help="In points [default: 11].")] = None,
    color_by: Annotated[
        str | None, typer.Option(help="What colours tell: values, gradients (norms), dead, saturated (shares), bytes.")
    ] = None,
    values: Annotated[
        bool | None, typer.Option("--values", help="Write the numbers of all arrays into the boxes.")
    ] = None,
    page: Annotated[
        bool, typer.Option("--html", help="Write a page that steps through forward and backward pass, with numbers.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A name ending in .svg, .png, .pdf, .dot or .html [default: net.svg]."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Draw a network's graph, or write a page that steps through it."""
    from tinygraph.tools.training import asked_settings, draw, draw_own

    output = output or Path("net.html" if page else "net.svg")
    if page and output.suffix.lower() != ".html":
        raise ArgumentError(f"--html: the name of a page must end in .html, got {output}")
    options = {
        "data": data,
        "target": target,
        "task": task,
        "words": words,
        "ignore": ignore,
        "hidden": hidden,
        "activation": activation,
        "head": head,
        "tied": tied,
        "noise": noise,
    }
    view = {
        "level": level,
        "depth": depth,
        "direction": direction,
        "theme": theme,
        "font_size": font_size,
        "color_by": color_by,
        "values": values,
    }
    given: Any = {name: value for name, value in view.items() if value is not None}
    idle = [name for name in ("color_by", "values", "direction", "font_size") if name in given]
    if output.suffix.lower() == ".html" and idle:
        option = idle[0].replace("_", "-")
        raise ArgumentError(f"--{option} is for drawings: a page shows all numbers, from top to bottom")
    if inputs:
        typer.echo(draw_own(model, inputs, options | {"backward": backward or None}, output, **given))
    else:
        typer.echo(draw(asked_settings(model, options), output, backward, data_dir, **given))


@app.command()
def figure(
    number: Annotated[str | None, typer.Argument(help="Which figure [default: list them all].")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A name ending in .svg, .png or .pdf [default: figure-NUMBER.svg]."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides all that is drawn at random.")] = None,
    nodes: Annotated[list[int] | None, typer.Option(help="Hidden nodes; may be repeated where several.")] = None,
    activation: Activation = None,
    layers: Annotated[int | None, typer.Option(help="Layers, input and output counted.")] = None,
    draws: Annotated[int | None, typer.Option(help="How many networks are drawn.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows of images.")] = None,
    columns: Annotated[int | None, typer.Option(help="Columns of images.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Which images [default: the figure's own].")] = None,
    data_dir: DataDir = None,
) -> None:
    """Draw a figure of the chapter, or list those there are."""
    from tinygraph.tools.figures import listed, write

    options = {
        "seed": seed,
        "nodes": nodes,
        "activation": activation,
        "layers": layers,
        "draws": draws,
        "rows": rows,
        "columns": columns,
        "data": data,
        "data_dir": data_dir,
    }
    asked = any(value is not None for value in (number, output, *options.values()))
    for line in write(number, output, **options) if asked else listed():
        typer.echo(line)


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(help="Which experiment [default: list them all].")] = None,
    passes: Annotated[int | None, typer.Option(help="Over the training set, at most.")] = None,
    rows: Annotated[str | None, typer.Option(help="Which rows of a table, separated by commas.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides all that is drawn at random.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds, from 0 on.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Which data set [default: the experiment's own].")] = None,
    hidden: Sizes = None,
    biases: Annotated[str | None, typer.Option(help="How the initial biases are drawn.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results [default: runs/NAME].")] = None,
    data_dir: DataDir = None,
) -> None:
    """Repeat an experiment of the chapter, or one with a baseline beside it; or list those there are."""
    from tinygraph.tools.reproduce import listed, run

    options = {
        "passes": passes,
        "rows": rows,
        "seed": seed,
        "seeds": seeds,
        "data_set": data,
        "hidden": hidden,
        "biases": biases,
        "out": out,
        "data_dir": data_dir,
    }
    asked = any(value is not None for value in (name, *options.values()))
    for line in run(name, **options) if asked else listed():
        typer.echo(line)


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
def bench(
    workload: Annotated[list[str] | None, typer.Option(help="What to measure; may be repeated [default: all].")] = None,
    peer: Annotated[list[str] | None, typer.Option(help="Peer to compare with (repeatable) [default: all].")] = None,
    rounds: Annotated[int, typer.Option(help="How often the contenders take turns.")] = 16,
    seconds: Annotated[float, typer.Option(help="How long a contender's turns take together, per workload.")] = 1.2,
    threads: Annotated[int | None, typer.Option(help="Threads and processors of each [default: not limited].")] = None,
    device: Annotated[str, typer.Option(help="Where to train: cpu, or cuda for an NVIDIA GPU.")] = "cpu",
    busy: Annotated[int, typer.Option(help="Other processes that compute all the time meanwhile.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for bench.json and bench.svg.")] = Path("bench"),
) -> None:
    """Measure training steps of tinygraph and of PyTorch, JAX and others, as far as they are installed."""
    from tinygraph.tools.bench.run import run

    for line in run(
        workload or [],
        peer or [],
        rounds=rounds,
        seconds=seconds,
        threads=threads,
        out=out,
        device=device,
        busy=busy,
    ):
        typer.echo(line)


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
        with stopped_by_signals():
            status = app(arguments or ["--help"], prog_name="tinygraph", standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()  # where the disk is full, say it now
    except TinygraphError as error:
        _fail(str(error))
    except _UsageError as error:
        _fail(f"{error.format_message()} (tinygraph --help lists what there is)")
    except (Stopped, typer.Abort) as stopped:
        typer.echo(f"tinygraph: stopped{getattr(stopped, 'remark', '')}", err=True)
        sys.exit(getattr(stopped, "status", 130))
    except MemoryError as error:
        reason = str(error).rstrip(".") or "the system has no more"
        _fail(f"out of memory: {reason}; use a smaller --batch-size or narrower layers (--hidden)")
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except OSError as error:
        _drop_output()
        _fail(f"cannot write the output: {error.strerror or error}")
    sys.exit(status or 0)


def _drop_output() -> None:
    """Let nothing more be written to a standard output that takes nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(text: str) -> None:
    """Print one line and leave with exit status 2; in a parallel run every process does."""
    fail(text, 2)
    typer.echo("tinygraph: " + " ".join(text.split()), err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
