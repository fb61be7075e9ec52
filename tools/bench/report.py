"""What is told of the measurements: a table as text, all numbers as JSON, a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tinygraph.backend import get_backend
from tinygraph.backend.blas_choice import processor_name
from tinygraph.plots.canvas import image
from tinygraph.tools.bench.contenders import CONTENDERS, OWN, Contender
from tinygraph.tools.bench.measure import EVENTS, GPU, Result
from tinygraph.tools.bench.processes import THREAD_VARIABLES
from tinygraph.tools.info import versions

# A colour and a marker for each peer: the eight colours of Okabe and Ito but black and yellow, which is too light.
STYLES = {
    "eager": ("#000000", "|"),
    "torch": ("#D55E00", "o"),
    "torch-compile": ("#D55E00", "s"),
    "jax": ("#0072B2", "D"),
    "autograd": ("#009E73", "^"),
    "mygrad": ("#009E73", "v"),
    "sklearn": ("#E69F00", "P"),
    "numpy": ("#CC79A7", "X"),
}


def duration(seconds: float) -> str:
    """Return seconds as text with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{_three_digits(seconds / 1e-6)} us"


def _three_digits(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def size(count: int) -> str:
    """Return bytes as text with three digits and a unit, of which each is a thousand of the next."""
    for unit, bytes_of_it in (("GB", 1e9), ("MB", 1e6)):
        if count >= bytes_of_it:
            return f"{_three_digits(count / bytes_of_it)} {unit}"
    return f"{_three_digits(count / 1e3)} kB"


def beside(result: Result) -> str:
    """Return beside how many busy processes it was measured, as the end of a title; nothing if beside none."""
    return f", beside {result.busy} busy process{'es' * (result.busy > 1)}" if result.busy else ""


def table(result: Result) -> Iterator[str]:
    """Yield the lines about one workload: a row for each contender, and who was left out.

    A row has the median and the spread of a step, the first call with what it compiles, memory at its peak, and the
    ratio to the median of compiled tinygraph.
    """
    medians, ratios, spreads = result.medians, result.ratios, result.spreads
    on_gpu = f", on the GPU by {'its events' if result.clock == EVENTS else 'the wall clock'}" * (result.device == GPU)
    yield f"{result.workload.name}: {result.workload.title}{on_gpu}{beside(result)}"
    if medians:
        yield f"  {'':<18} {'step':>8}  spread  first call   memory  tinygraph / it"
    for name, seconds in medians.items():
        first = duration(result.warm_up[name]["first_call"])
        memory = size(result.memory[name]) if name in result.memory else "-"
        line = f"  {CONTENDERS[name].title:<18} {duration(seconds):>8}  {100 * spreads[name]:4.0f} %"
        line += f"  {first:>10}  {memory:>7}"
        if name in ratios:
            line += f"  {ratios[name]:14.2f}" + "  best peer" * (name == result.best_peer)
        yield line
    for name, reason in result.left_out.items():
        yield f"  {CONTENDERS[name].title:<18} left out: {reason}"


def environment(contenders: Mapping[str, Contender], device: str) -> dict[str, Any]:
    """Return what a reader needs to judge the numbers: processor, device, thread settings and versions."""
    return {
        "device": get_backend("cupy").device if device == GPU else device,
        "cpu": processor_name(),
        "processors": os.cpu_count(),
        "variables": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        "versions": versions() | {c.package: c.version or "missing" for c in contenders.values() if c.package},
    }


def as_json(results: Sequence[Result], facts: Mapping[str, Any]) -> bytes:
    """Return all that was measured as a JSON file; times are in seconds, those of blocks for one step."""
    workloads = [
        asdict(result)
        | {name: getattr(result, name) for name in ("clock", "medians", "spreads", "ratios", "best_peer")}
        for result in results
    ]
    return (json.dumps({**facts, "workloads": workloads}, indent=1) + "\n").encode()


def picture(results: Sequence[Result]) -> bytes:
    """Return an SVG picture: how many times as long as compiled tinygraph each contender takes, by workload."""
    from matplotlib.figure import Figure

    names = [name for name in STYLES if any(name in result.ratios for result in results)]
    figure = Figure(figsize=(8.0, 1.6 + 0.4 * len(results)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color="0.4", linewidth=1, label=CONTENDERS[OWN].title)
    for row in range(len(results)):
        axes.axhline(row, color="0.92", linewidth=1, zorder=0)
    for name in names:
        colour, marker = STYLES[name]
        points = [(1 / r.ratios[name], row) for row, r in enumerate(results) if name in r.ratios]
        axes.scatter(
            [x for x, _ in points],
            [row for _, row in points],
            color=colour,
            marker=marker,
            s=42,
            label=CONTENDERS[name].title,
        )
    axes.set_yticks(range(len(results)), [r.workload.title for r in results])
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.45), max(high, 2.5))
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if min(low, 0.45) <= t <= max(high, 2.5)]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(f"time of a training step, tinygraph compiled = 1{beside(results[0])}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    return image(figure)
