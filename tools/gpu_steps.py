"""The first ten things to look at on a GPU, in order: each with what it must show. `gpu_report` runs them.

Each runs in a process of its own, ``python -m tinygraph.tools.gpu_steps NAME``: what goes wrong in one, on the device
too, leaves the others alone.
"""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.backend import get_backend
from tinygraph.models import fully_connected

MODULE = "tinygraph.tools.gpu_steps"
OLDEST_DRIVER = 525  # the first for CUDA 12
SIZES = [784, 512, 512, 10]
TIMES_APART = 0.05  # by which the times of products with factors on the host and on the device may differ
LONGEST_STEP = 100.0  # microseconds, of SIZES at B = 1
ROWS, LONGEST_EPOCH = 60_000, 3.0  # of MNIST; the seconds of an epoch at B = 1
LONG = 10_000  # steps
QUICK_TESTS = ("tests/core/test_op_values.py", "tests/plan/test_compile.py")


@dataclass
class Outcome:
    """How a step ended.

    Attributes
    ----------
    name, shows : str
        The step, and what it must show.
    found : str
        What it showed.
    ok : bool or None
        Whether that is it; None where it could not be looked at.
    seconds : float
    """

    name: str
    shows: str
    found: str
    ok: bool | None
    seconds: float = 0.0


Found = tuple[bool | None, str]


def driver() -> Found:
    """Ask for the driver and the packages."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return None, "nvidia-smi is not on the path"
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    wheels = []
    for name in ("cupy-cuda12x", "cupy-cuda13x", "nvidia-cublas-cu12", "nvidia-cublas", "nvidia-cuda-nvrtc-cu12"):
        try:
            wheels.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    numbers = [int(line.split(",")[1].split(".")[0]) for line in said.splitlines()]
    return min(numbers) >= OLDEST_DRIVER, "; ".join([*said.splitlines(), *wheels])


def backend() -> Found:
    """Ask `tg.backends`, and CuPy itself for a sum."""
    state = tg.backends()["cupy"]
    if state != "ok":
        return False, state
    total = int(import_module("cupy").arange(3).sum())
    return total == 3, f"{get_backend('cupy').device}: ok; the sum of 0, 1, 2 is {total}"


def capture() -> Found:
    """Look whether a plan becomes a graph, and rounds like the calls it was recorded from."""
    x = tg.tensor(np.ones(1000, np.float32))
    total, run = _replayed(lambda x: tg.sum(tg.exp(x)), x)
    z = tg.tensor(np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32))

    def chain(z: tg.Tensor) -> tg.Tensor:
        return (z * z + z) / (tg.abs(z) + 0.5) - z * 0.1

    replayed, _ = _replayed(chain, z)
    same = bool((replayed.numpy() == chain(z).numpy()).all())
    graph = getattr(run, "graph", None)
    fits = abs(float(total) - 1000 * np.e) < 0.01
    found = f"{type(run).__name__}, graph {type(graph).__name__}, {float(total):.2f}; to the bit: {same}"
    return graph is not None and fits and same, found


def training() -> Found:
    """Compare five steps of a network, with cuBLAS captured, with those of NumPy."""
    found, ok = [], True
    for batch in (1, 128):
        ours, run = _losses("cupy", batch)
        theirs, _ = _losses("numpy", batch)
        apart = float(np.max(np.abs(np.array(ours) - theirs) / np.abs(theirs)))
        captured = getattr(run, "graph", None) is not None
        ok = ok and captured and apart < 1e-5
        found.append(f"B = {batch}: losses within {apart:.1e}, {'a graph' if captured else 'no graph'}")
    return ok, "; ".join(found)


def beta() -> Found:
    """Write a product over NaN, with the factor 0 on the host and on the device."""
    device = get_backend("cupy")
    cupy = import_module("cupy")
    a, b = (device.asarray(np.random.default_rng(n).normal(size=(64, 64)).astype(np.float32)) for n in (0, 1))
    expected = device.to_host(a) @ device.to_host(b)
    errors = []
    for zero in (0.0, cupy.zeros((), np.float32)):
        y = cupy.full((64, 64), np.nan, np.float32)
        device.gemm(a, b, y, cupy.ones((), np.float32), zero)
        errors.append(float(np.max(np.abs(device.to_host(y) - expected))))
    return all(e < 1e-4 for e in errors), f"largest differences {errors[0]:.1e} and {errors[1]:.1e}"


def quick_tests() -> Found:
    """Test operations and plans, until one test fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "gpu", "-p", "no:cacheprovider", *QUICK_TESTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return done.returncode == 0, "; ".join([lines[-1], *failed])


def products() -> Found:
    """Time products with factors on the host and on the device."""
    device, cupy = get_backend("cupy"), import_module("cupy")
    found, ok = [], True
    for n in (1024, 4096):
        a, b, y = (cupy.ones((n, n), np.float32) for _ in range(3))
        factors = (1.0, cupy.ones((), np.float32))
        times = [_milliseconds(partial(device.gemm, a, b, y, factor, 0.0), 20) for factor in factors]
        ok = ok and abs(times[1] / times[0] - 1) < TIMES_APART
        found.append(f"{n}: {times[0]:.3f} and {times[1]:.3f} ms, {2 * n**3 / times[0] / 1e9:.1f} TFLOP/s")
    return ok, "; ".join(found)


def small_step() -> Found:
    """Time a step at B = 1, and look whether it takes memory."""
    pool, device = import_module("cupy").get_default_memory_pool(), get_backend("cupy")
    step, arguments = _step(1)
    for _ in range(20):
        step(*arguments)
    device.synchronize()
    before, count = pool.total_bytes(), 500
    started = time.perf_counter()
    for _ in range(count):
        step(*arguments)
    device.synchronize()
    microseconds = 1e6 * (time.perf_counter() - started) / count
    taken = pool.total_bytes() - before
    return microseconds < LONGEST_STEP and not taken, f"{microseconds:.1f} us a step, {taken} bytes taken by the pool"


def sanitizer() -> Found:
    """Run the third and the fourth step under CUDA's own sanitizer."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return None, "compute-sanitizer is not on the path"
    found, ok = [], True
    for kind in ("memcheck", "racecheck"):
        for name in ("capture", "training"):
            command = [tool, "--tool", kind, "--error-exitcode", "9", sys.executable, "-m", MODULE, name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            ok = ok and done.returncode == 0
            last = [line for line in done.stdout.splitlines() if "SUMMARY" in line] or ["no summary"]
            found.append(f"{kind} of {name}: {last[-1].strip('= ')}")
    return ok, "; ".join(found)


def long_runs() -> Found:
    """Time an epoch of MNIST-sized data at B = 1, and compare CuPy's pool before and after many steps."""
    run, kept = one_epoch(), leak(LONG)
    found = f"{run['seconds']:.2f} s, {run['microseconds a step']:.1f} us a step; {LONG:,} steps: {kept[0]}, {kept[1]}"
    return run["seconds"] < LONGEST_EPOCH and kept[0] == kept[1], found


def one_epoch() -> dict[str, float]:
    """Return the seconds of one epoch over data of MNIST's size at B = 1, after one over a tenth of them."""
    random = np.random.default_rng(0)
    X = random.random((ROWS, SIZES[0]), np.float32)
    labels = random.integers(0, SIZES[-1], ROWS)
    net = fully_connected(SIZES, seed=0)
    optimizer = optim.SGD(net.parameters(), 1e-3)
    seconds = []
    for rows in (ROWS // 10, ROWS):
        started = time.perf_counter()
        tg.fit(net, losses.cross_entropy, (X[:rows], labels[:rows]), optimizer, 1, 1, progress=False)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[1], "microseconds a step": 1e6 * seconds[1] / ROWS}


def leak(steps: int) -> list[dict[str, int]]:
    """Return the bytes that CuPy's pool has in use, and has taken, before and after so many compiled steps."""
    pool = import_module("cupy").get_default_memory_pool()
    step, arguments = _step(32, dropout=0.5)
    gc.collect()  # what was left in cycles before is not to be freed in between
    counts = []
    for count in (100, steps):
        for _ in range(count):
            step(*arguments)
        arguments[0].backend.synchronize()
        counts.append({"used": int(pool.used_bytes()), "taken": int(pool.total_bytes())})
    return counts


STEPS: dict[str, tuple[Callable[[], Found], str, float]] = {  # what is run, what it must show, seconds at most
    "driver": (driver, f"a driver from {OLDEST_DRIVER} on", 10),
    "backend": (backend, "the device's name and ok: CuPy, cuBLAS, NVRTC and CUDA's headers are there", 60),
    "capture": (capture, "Captured with a Graph; 2718.28; a plan equal to its calls to the bit; no warning", 60),
    "training": (training, "losses within 1e-5 of NumPy's and a graph, for B = 1 and 128", 90),
    "beta": (beta, "a product that does not read the NaN it is written over", 30),
    "quick tests": (quick_tests, "operations and plans pass", 120),
    "products": (products, f"times within {TIMES_APART:.0%}; 40 to 60 TFLOP/s in float32, far more if TF32 is on", 30),
    "small step": (small_step, f"under {LONGEST_STEP:.0f} us a step, no memory taken", 60),
    "sanitizer": (sanitizer, "0 errors of memcheck and racecheck", 240),
    "long runs": (long_runs, f"an epoch at B = 1 in under {LONGEST_EPOCH:.0f} s; the same memory before and after", 90),
}


def outcome(name: str) -> Outcome:
    """Return how a step ends here; an error is what it found."""
    run, shows, _ = STEPS[name]
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with nullcontext() if name in ("driver", "backend") else tg.using("cupy"):
                ok, found = run()
    except Exception as error:
        ok, found = False, f"{type(error).__name__}: {error}"
    return Outcome(name, shows, found, ok, time.perf_counter() - started)


def in_a_process(name: str) -> Outcome:
    """Return how a step ends in a process of its own, within its time."""
    _, shows, seconds = STEPS[name]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-m", MODULE, name],
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return Outcome(name, shows, f"not finished within {seconds:.0f} s{_end(error.stdout)}", False, seconds)
    try:
        return Outcome(**json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, IndexError, TypeError):
        found = f"ended with status {done.returncode}{_end(done.stdout)}{_end(done.stderr)}"
        return Outcome(name, shows, found, False, time.perf_counter() - started)


def _end(text: str | bytes | None) -> str:
    """Return the last line that a process wrote, after a separator; nothing if there is none."""
    said = text.decode(errors="replace") if isinstance(text, bytes) else text or ""
    return f": {said.strip().splitlines()[-1]}" if said.strip() else ""


def _replayed(fn: Callable[..., tg.Tensor], *arguments: tg.Tensor) -> tuple[tg.Tensor, Any]:
    """Return what the third call of a compiled function gives, and what its plan runs."""
    fast = tg.compile(fn)
    for _ in range(3):
        y = fast(*arguments)
    return y, fast.plan.replay.run


def _step(batch: int, **options: Any) -> tuple[Any, tuple[tg.Tensor, tg.Tensor]]:
    """Return a compiled training step, and its arguments."""
    net = fully_connected(SIZES, seed=0, **options)
    optimizer = optim.Adam(net.parameters(), 1e-3)
    x = tg.tensor(np.random.default_rng(0).random((batch, SIZES[0]), np.float32))
    y = tg.tensor(np.eye(SIZES[-1], dtype=np.float32)[np.arange(batch) % SIZES[-1]])

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = losses.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return tg.compile(step), (x, y)


def _losses(name: str, batch: int) -> tuple[list[float], Any]:
    with tg.using(name):
        step, arguments = _step(batch)
        return [float(step(*arguments)) for _ in range(5)], step.plan.replay.run


def _milliseconds(run: Callable[[], object], count: int) -> float:
    """Return how long a run takes on the device: the mean of so many, after three that are not counted."""
    cuda = import_module("cupy").cuda
    start, end = cuda.Event(), cuda.Event()
    for _ in range(3):
        run()
    start.record()
    for _ in range(count):
        run()
    end.record()
    end.synchronize()
    return float(cuda.get_elapsed_time(start, end)) / count


if __name__ == "__main__":
    print(json.dumps(asdict(outcome(sys.argv[1]))))
