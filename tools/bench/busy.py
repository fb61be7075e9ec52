"""A process that computes all the time: ``python -m tinygraph.tools.bench.busy``.

It multiplies small matrices on one thread, without a pause, at the priority it was given and on any processor. It
ends with its standard input, and so with the process that holds the other end, even if that one is killed.
"""

from __future__ import annotations

import os
import sys
import threading

import numpy as np

N = 64  # three matrices of 16 KB: in the processor's own cache


def compute() -> None:
    """Multiply for ever; write a line once it has begun."""
    a, product = np.ones((N, N), np.float32), np.empty((N, N), np.float32)
    np.matmul(a, a, out=product)
    print(flush=True)
    while True:
        np.matmul(a, a, out=product)


if __name__ == "__main__":
    threading.Thread(target=compute, daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)  # at once: the interpreter would wait for a turn of the thread that computes
