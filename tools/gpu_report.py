"""All that needs a GPU, in one command: ``python -m tinygraph.tools.gpu_report``, in a clone, in under 8 minutes.

It runs the tests marked `gpu`, the benchmark on the device, an epoch of MNIST-sized data at B = 1, and 10,000 steps
that must not leak; and writes ``gpu_report.json`` and ``gpu_report.md``.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.backend import get_backend
from tinygraph.errors import TinygraphError
from tinygraph.files import write_file
from tinygraph.models import fully_connected
from tinygraph.tools.bench import measure, report
from tinygraph.tools.bench.contenders import CONTENDERS, OWN
from tinygraph.tools.bench.workloads import WORKLOADS

TESTS_SECONDS, BENCH_SECONDS = 200.0, 220.0  # of the 8 minutes; the rest is for the two long runs
PATIENCE = 45.0  # seconds that a contender may take to compile
ROWS, FEATURES, CLASSES = 60_000, 784, 10  # the size of MNIST
STEPS = 10_000

Say = Callable[[str], None]


def tests(seconds: float) -> dict[str, Any]:
    """Run the tests marked `gpu`; return how they ended, "not finished" after so many seconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"status": None, "summary": f"not finished within {seconds:.0f} s"}
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"status": done.returncode, "summary": lines[-1], "failed": failed}


def benchmark(seconds: float, say: Say) -> Iterator[measure.Result]:
    """Yield the measurements of the workloads, as many as the time allows."""
    names = [name for name, contender in CONTENDERS.items() if contender.on_gpu]
    end = time.monotonic() + seconds
    for workload in WORKLOADS.values():
        if time.monotonic() > end:
            say(f"{workload.name}: left out, the time is up")
            continue
        yield measure.run(
            workload, names, rounds=10, seconds=0.6, threads=None, say=say, device=measure.GPU, patience=PATIENCE
        )


def one_epoch() -> dict[str, float]:
    """Return the seconds of one epoch over data of MNIST's size at B = 1, after one over a tenth of them."""
    random = np.random.default_rng(0)
    X = random.random((ROWS, FEATURES), np.float32)
    labels = random.integers(0, CLASSES, ROWS)
    net = fully_connected([FEATURES, 512, 512, CLASSES], seed=0)
    optimizer = optim.SGD(net.parameters(), 1e-3)
    seconds = []
    for rows in (ROWS // 10, ROWS):
        started = time.perf_counter()
        tg.fit(net, losses.cross_entropy, (X[:rows], labels[:rows]), optimizer, 1, 1, progress=False)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[1], "microseconds a step": 1e6 * seconds[1] / ROWS}


def leak(steps: int) -> dict[str, Any]:
    """Return the bytes that CuPy's pool has in use, and has taken, before and after so many compiled steps."""
    pool = import_module("cupy").get_default_memory_pool()
    net = fully_connected([FEATURES, 512, 512, CLASSES], seed=0, dropout=0.5)
    optimizer = optim.Adam(net.parameters(), 1e-3)
    x = tg.tensor(np.random.default_rng(0).random((32, FEATURES), np.float32))
    y = tg.tensor(np.eye(CLASSES, dtype=np.float32)[np.arange(32) % CLASSES])

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = losses.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    fast = tg.compile(step)
    gc.collect()  # what was left in cycles before is not to be freed in between
    counts = []
    for count in (100, steps):
        for _ in range(count):
            fast(x, y)
        x.backend.synchronize()
        counts.append({"used": int(pool.used_bytes()), "taken": int(pool.total_bytes())})
    return {"steps": steps, "before": counts[0], "after": counts[1]}


def markdown(facts: dict[str, Any], results: list[measure.Result]) -> str:
    """Return the report as a page: the tests, a table of the benchmark, the long runs."""
    lines = [f"# On {facts['environment']['device']}", "", f"Tests marked `gpu`: {facts['tests']['summary']}.", ""]
    names = [name for name in CONTENDERS if any(name in r.medians for r in results)]
    lines += ["| workload | " + " | ".join(CONTENDERS[n].title for n in names) + " | to the best peer |"]
    lines += ["| --- |" + " ---: |" * (len(names) + 1)]
    for r in results:
        cells = [report.duration(r.medians[n]) if n in r.medians else "-" for n in names]
        best = f"{r.ratios[r.best_peer]:.2f}" if r.best_peer and OWN in r.medians else "-"
        lines.append(f"| {r.workload.title} | {' | '.join(cells)} | {best} |")
    run, kept = facts["one epoch at B = 1"], facts["memory"]
    lines += [
        "",
        f"One epoch over {ROWS:,} samples at B = 1, with `fit`: {run['seconds']:.2f} s, "
        f"{run['microseconds a step']:.1f} us a step.",
        "",
        f"Memory in use before and after {kept['steps']:,} compiled steps: {kept['before']['used']:,} and "
        f"{kept['after']['used']:,} bytes.",
    ]
    return "\n".join(lines) + "\n"


def main(
    out: Annotated[Path, typer.Option(help="Folder for gpu_report.json and gpu_report.md.")] = Path("gpu_report"),
) -> None:
    """Run everything that needs a GPU and write what was found."""
    try:
        get_backend("cupy")
    except TinygraphError as error:
        typer.echo(f"gpu_report: {error}", err=True)
        raise typer.Exit(2) from None
    out.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"environment": report.environment(CONTENDERS, measure.GPU)}
    results: list[measure.Result] = []

    def save() -> None:
        write_file(out / "gpu_report.json", report.as_json(results, facts))

    facts["tests"] = tests(TESTS_SECONDS)
    typer.echo(facts["tests"]["summary"])
    save()
    for result in benchmark(BENCH_SECONDS, typer.echo):
        results.append(result)
        for line in report.table(result):
            typer.echo(line)
        save()
    with tg.using("cupy"):
        facts["one epoch at B = 1"] = one_epoch()
        facts["memory"] = leak(STEPS)
    save()
    write_file(out / "gpu_report.md", markdown(facts, results).encode())
    typer.echo((out / "gpu_report.md").read_text())


if __name__ == "__main__":
    typer.run(main)
