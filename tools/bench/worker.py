"""A process with one contender in it: ``python -m tinygraph.tools.bench.worker WORKLOAD CONTENDER DEVICE``.

It builds the training step and warms it up, then reads numbers of steps from standard input, a line each, and
answers each with the seconds they took: by the clock on the wall, and where there are events of the device, between
those as well. Every answer has the memory at its peak so far. What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, TextIO

from threadpoolctl import threadpool_info

from tinygraph import reuse_memory
from tinygraph.tools.bench.contenders import CONTENDERS, Training, Unsuitable
from tinygraph.tools.bench.workloads import WORKLOADS
from tinygraph.tools.memory import growth

LEAST_STEPS, MOST_STEPS = 6, 2000
LEAST_SECONDS, MOST_SECONDS = 0.4, 3.0


def warm_up(training: Training) -> dict[str, Any]:
    """Train on the first batch for a while; return the losses and what steps took.

    Returns
    -------
    dict
        ``first_call`` and ``step``, the median of the others, in seconds; ``losses``, the means of the first and of
        the second half.
    """
    x, y = training.batches[0]
    losses: list[float] = []
    seconds: list[float] = []
    started = time.perf_counter()
    while len(losses) < MOST_STEPS:
        before = time.perf_counter()
        if len(losses) >= LEAST_STEPS and before > started + (LEAST_SECONDS if len(losses) >= 30 else MOST_SECONDS):
            break
        losses.append(training.value(training.step(x, y)))
        seconds.append(time.perf_counter() - before)
        if len(losses) == 1:
            started = time.perf_counter()
    half = len(losses) // 2
    return {
        "first_call": seconds[0],
        "step": sorted(seconds[1:])[len(seconds[1:]) // 2],
        "losses": [sum(part) / len(part) for part in (losses[:half], losses[half:])],
    }


def timed(training: Training, steps: int, start: int) -> dict[str, float]:
    """Train so many steps on batches that take turns, from number `start` on.

    Returns
    -------
    dict
        ``seconds`` until everything is computed, and where the device offers events, ``events``: the seconds between
        one before the first step and one after the last.
    """
    events = training.events
    step, batches = training.step, training.batches
    turns = [batches[(start + i) % len(batches)] for i in range(steps)]
    if steps > 1:
        training.value(step(*batches[start % len(batches)]))  # others have had the caches
    before = time.perf_counter()
    first = events.mark() if events else None
    for x, y in turns:
        loss = step(x, y)
    last = events.mark() if events else None
    training.value(loss)
    times = {"seconds": time.perf_counter() - before}
    return times | {"events": events.seconds(first, last)} if events else times


def serve(workload: str, contender: str, device: str, questions: TextIO, answers: TextIO) -> None:
    """Build, warm up, and answer until `questions` end; what goes wrong is the last answer."""

    def answer(**facts: Any) -> None:
        answers.write(json.dumps(facts) + "\n")
        answers.flush()

    try:
        started = time.perf_counter()
        CONTENDERS[contender].load()
        grown = growth()
        training = CONTENDERS[contender].training(WORKLOADS[workload], device)
        build = time.perf_counter() - started
        memory = grown if device == "cpu" else training.memory
        warm = warm_up(training)
        pools = [{k: v for k, v in pool.items() if k != "filepath"} for pool in threadpool_info()]
        answer(build=build, **warm, memory=memory(), pools=pools)
        done = 0
        for line in questions:
            answer(**timed(training, int(line), done), memory=memory())
            done += int(line)
    except Unsuitable as reason:
        answer(unsuitable=str(reason))
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        answer(error=f"{type(error).__name__}: {text[0]}"[:300])


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if not CONTENDERS[sys.argv[2]].package:  # tinygraph: as its documentation tells programs to
        reuse_memory()
    serve(sys.argv[1], sys.argv[2], sys.argv[3], sys.stdin, channel)
