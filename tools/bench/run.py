"""What ``tinygraph bench`` does: measure what was asked for, tell it, and write it to a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from tinygraph.arguments import check_name, positive, whole_number
from tinygraph.backend import get_backend
from tinygraph.errors import DataError
from tinygraph.files import write_file
from tinygraph.tools.bench import measure, report
from tinygraph.tools.bench.contenders import CONTENDERS, OWN
from tinygraph.tools.bench.names import chosen
from tinygraph.tools.bench.workloads import WORKLOADS


def run(
    workloads: Sequence[str],
    peers: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    threads: int | None,
    out: Path,
    device: str = "cpu",
    patience: float | None = None,
    busy: int = 0,
) -> Iterator[str]:
    """Measure, and yield the lines to print; ``bench.json`` and ``bench.svg`` in `out` grow with every workload.

    Parameters
    ----------
    workloads, peers : sequences of str
        Names of `WORKLOADS` and of `CONTENDERS`; all if empty. Compiled tinygraph always takes part.
    rounds : int
        How many blocks each contender has.
    seconds : float
        How long its blocks take together, for each workload.
    threads : int, optional
        How many threads and processors a contender has; by default as the environment says.
    out : Path
        The folder to write to.
    device : {"cpu", "cuda"}
        Where to train: on the CPU, or on an NVIDIA GPU.
    patience : float, optional
        Seconds a contender may take to get ready, and for a block; by default as long as it takes.
    busy : int
        How many other processes compute all the time, for all contenders alike.

    Raises
    ------
    ArgumentError
        For unknown names and numbers out of range, and if so many busy processes cannot be started.
    BackendError
        If there is no such device.
    DataError
        If the folder cannot be written to.
    """
    contenders = chosen("peer", CONTENDERS, [OWN, *peers] if peers else [])
    asked = chosen("workload", WORKLOADS, workloads)
    whole_number("rounds", rounds, 1)
    positive("seconds", seconds)
    whole_number("busy", busy, 0)
    check_name("device", device, measure.DEVICES)
    if device == measure.GPU:
        get_backend("cupy")  # or what is missing is said now
    processors = os.cpu_count() or 1
    if threads is not None:
        whole_number("threads", threads, 1, processors + 1)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {out}: {error.strerror}; choose another with --out") from None
    settings = {"rounds": rounds, "seconds": seconds, "threads": threads, "device": device, "busy": busy}
    facts = {"environment": report.environment(contenders, device), "settings": settings}
    results: list[measure.Result] = []
    for workload in asked.values():
        with Console(stderr=True).status(workload.name) as status:
            result = measure.run(
                workload,
                contenders,
                rounds=rounds,
                seconds=seconds,
                threads=threads,
                say=status.update,
                device=device,
                patience=patience,
                busy=busy,
            )
        results.append(result)
        yield from report.table(result)
        write_file(out / "bench.json", report.as_json(results, facts))
        write_file(out / "bench.svg", report.picture(results))
    yield f"wrote {out / 'bench.json'} and {out / 'bench.svg'}"
