"""Measure on one process and on two, fit the model, and print how well it holds and what it predicts.

``python -m tinygraph.tools.scale [FOLDER]`` keeps what was measured in a folder, and takes it from there another time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tinygraph.tools.scale.model import Link, Processor, Work, allreduce_seconds, fit_link, fit_processor, scaling

CLUSTER = Link(latency=5e-6, bandwidth=12.5e9)  # assumed: 100 Gbit/s Ethernet or InfiniBand between machines
NODES = tuple(2**k for k in range(1, 11))
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TINYGRAPH_THREADS"), "1")


def measurements(folder: Path) -> list[dict[str, Any]]:
    """Return what was measured on one process and on two, measured now where it is not in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for processes in (1, 2):
        path = folder / f"{processes}.json"
        if not path.exists():
            command = [
                "mpiexec",
                "-n",
                str(processes),
                sys.executable,
                "-m",
                "tinygraph.tools.scale.measure",
                str(path),
            ]
            subprocess.run(command, check=True, env=os.environ | ONE_THREAD)
        found.append(json.loads(path.read_text(encoding="utf-8")))
    return found


def fitted(one: dict[str, Any], two: dict[str, Any]) -> tuple[Processor, Processor, Link, Work]:
    """Return the model's numbers: a process alone, one of two at work, their link, the network."""
    batches, flops, nbytes, seconds = (
        [row[name] for row in one["steps"]] for name in ("batch", "flops", "bytes", "seconds")
    )
    processor = fit_processor(flops, nbytes, seconds, one["memory"])
    together = fit_processor(flops, nbytes, [row["seconds"] for row in two["steps"]], two["memory"])
    sizes = [4 * row["numbers"] for row in two["sums"]]
    link = fit_link(sizes, [row["seconds"] for row in two["sums"]], together.memory)
    return processor, together, link, Work.of(batches, flops, nbytes, one["parameters"])


def main() -> None:
    """Print the tables."""
    one, two = measurements(Path(sys.argv[1] if len(sys.argv) > 1 else "scale"))
    processor, together, link, work = fitted(one, two)
    for name, one_of in (("alone", processor), ("one of two", together)):
        print(
            f"{name}: {one_of.seconds_a_step * 1e6:.0f} us a step, {one_of.flops / 1e9:.0f} GFLOP/s, "
            f"{one_of.bandwidth / 1e9:.0f} GB/s, memory {one_of.memory / 1e9:.0f} GB/s"
        )
    print(f"between two: {link.latency * 1e6:.1f} us, {link.bandwidth / 1e9:.1f} GB/s")
    print("samples of one process: measured, model, error")
    for row in one["steps"]:
        told = processor.step(row["flops"], row["bytes"])
        print(
            f"{row['batch']:6d} {row['seconds'] * 1e3:8.3f} ms {told * 1e3:8.3f} ms {told / row['seconds'] - 1:+7.0%}"
        )
    print("float32 numbers added up by two processes: measured, model, error")
    for row in two["sums"]:
        told = allreduce_seconds(2, row["numbers"], link, together.memory)
        print(
            f"{row['numbers']:9d} {row['seconds'] * 1e6:9.1f} us {told * 1e6:9.1f} us {told / row['seconds'] - 1:+7.0%}"
        )
    print("mini-batch of two processes: measured, model, error; of it communication")
    for row in two["shared"]:
        p = work.predicted(2, row["batch"], together, link)
        share = p.communicating / p.seconds
        print(
            f"{row['batch']:6d} {row['seconds'] * 1e3:8.3f} ms {p.seconds * 1e3:8.3f} ms "
            f"{p.seconds / row['seconds'] - 1:+7.0%}  {share:5.0%}"
        )
    for weak, batch in ((False, 1024), (True, 128)):
        alone = work.predicted(1, batch, processor, CLUSTER)
        kind = f"one mini-batch of {batch} shared out" if not weak else f"mini-batches of {batch} a machine"
        print(f"{kind}, on machines like this one process: step, samples a second against one machine, communication")
        for p in scaling(work, NODES, batch, processor, CLUSTER, weak=weak):
            gain = (p.batch / p.seconds) / (alone.batch / alone.seconds)
            print(f"{p.processes:6d} {p.seconds * 1e3:9.3f} ms {gain:8.1f} {p.communicating / p.seconds:6.0%}")


if __name__ == "__main__":
    main()
