"""Runs of `fit` killed by SIGKILL at random moments and continued, until one is whole; printed as a line of JSON.

    python tests/train/killed_runs.py adam --kills 20 --seed 1 [--compiled]

Each attempt is a process of its own, forked from this one before it has computed anything. Every other one is killed
from outside at a moment drawn at random, the rest where they flush a file or a folder to the disk, in a write drawn at
random. The last attempt runs to its end, and what it has then is compared, bit by bit, with what a run has that was
never interrupted.
"""

import argparse
import json
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.checkpoint import read_arrays
from tinygraph.models import fully_connected

X = np.random.default_rng(0).normal(size=(240, 6)).astype(np.float32)
L = np.random.default_rng(1).integers(0, 3, 240)
EPOCHS, BATCH = 6, 8

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, 0.9),
    "adam": lambda p: optim.Adam(p, 0.01),
}


class Tell(tg.Callback):
    """Writes a byte to a pipe after the first update, which comes some time after the start of a process."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def batch(self, training: tg.Training) -> None:
        if self.pipe:
            os.write(self.pipe, b"1")
            self.pipe = 0


def train(path: Path, optimizer: str, compiled: bool, pipe: int) -> None:
    """Train with dropout, batch norm, a schedule and pocket variables; leave all of it in the checkpoint."""
    tg.manual_seed(5)
    net = fully_connected([6, 16, 16, 3], seed=0, batch_norm=True, dropout=[0.1, 0.3, 0.3])
    rule = OPTIMIZERS[optimizer](net.parameters())
    tg.fit(
        net,
        losses.cross_entropy,
        (X, L),
        rule,
        EPOCHS,
        BATCH,
        validation=(X[:50] + 0.1, L[:50]),
        schedule=optim.CosineDecay(rule, EPOCHS),
        early_stopping=True,
        callbacks=[Tell(pipe)],
        checkpoint=path,
        checkpoint_every=2,
        checkpoint_keep=2,
        compiled=compiled,
        progress=False,
        seed=3,
    )


def kill_in_flush(number: int) -> None:
    """Let this process be killed where it flushes to the disk for the `number`-th time."""
    flush, left = os.fsync, [number]

    def kill(handle: int) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(handle)

    os.fsync = kill


def start(path: Path, optimizer: str, compiled: bool, flushes: int = 0) -> int:
    """Train in a new process, which is killed after so many flushes if any; return its id after its first update."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        os.read(read, 1)
        os.close(read)
        return child
    kill_in_flush(flushes)
    try:
        train(path, optimizer, compiled, write)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)


def finish(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"a run ended with status {status}")


def content(path: Path) -> dict[str, object]:
    """Return all that a checkpoint holds, but for times."""
    arrays, facts = read_arrays(path)
    facts.pop("seconds")
    for row in facts["rows"]:
        row.pop("seconds")
    return {"facts": facts, **{name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("optimizer", choices=OPTIMIZERS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, path = Path(folder, "whole.safetensors"), Path(folder, "parts", "c.safetensors")
        path.parent.mkdir()
        child = start(whole, options.optimizer, options.compiled)
        began = time.monotonic()
        finish(child)
        length = time.monotonic() - began
        kills = in_epoch = in_write = attempts = 0
        while kills < options.kills and attempts < 20 * options.kills:
            attempts += 1
            if path.exists() and len(read_arrays(path)[1]["rows"]) == EPOCHS:  # whole already: once more
                for file in path.parent.iterdir():
                    file.unlink()
            flushes = int(attempts % 2 and rng.integers(1, 20))
            child = start(path, options.optimizer, options.compiled, flushes)
            if not flushes:
                time.sleep(rng.uniform(0, 3 * length / options.kills))
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status):
                continue  # it ended before
            kills += 1
            in_write += any(file.name.endswith(".part") for file in path.parent.iterdir())
            in_epoch += path.exists() and 0 < read_arrays(path)[1]["done"] < len(X) // BATCH
        finish(start(path, options.optimizer, options.compiled))
        leftovers = sorted(file.name for file in path.parent.iterdir() if file.suffix == ".part")
        same = content(path) == content(whole)
    found = {"kills": kills, "in_epoch": in_epoch, "in_write": in_write, "same": same, "leftovers": leftovers}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
