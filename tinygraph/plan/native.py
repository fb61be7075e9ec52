"""The native machine: whether it is there, made while plans run without it, and the threads that help it."""

from __future__ import annotations

import atexit
import ctypes
import os
import sysconfig
import threading
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import blas_choice
from ..backend.blas import BlasLibrary, address_of
from ..backend.blas_choice import blas_library
from ..errors import ArgumentError
from .float_errors import FloatErrors
from .records import Control
from .updates import kind_of_update

VARIABLE = "TINYGRAPH_JIT"
THREADS = "TINYGRAPH_THREADS"
VARIABLES = VARIABLE, THREADS, blas_choice.VARIABLE
OLDEST_NUMBA = 0, 61
INSTALL = 'pip install ".[jit]"'
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
SCRATCH = 32  # words of memory for each thread
FUNCTIONS = {  # of the system, by where their addresses stand; the last three are Linux's
    Control.WAIT: "sem_wait",
    Control.POST: "sem_post",
    Control.YIELD: "sched_yield",
    Control.GET_AFFINITY: "sched_getaffinity",
    Control.SET_AFFINITY: "sched_setaffinity",
    Control.GETCPU: "sched_getcpu",
}
PATIENCE = 10.0  # seconds for which the end of the program waits for the compiler


class _Ufunc(ctypes.Structure):
    """The beginning of a ufunc of NumPy's, as its header file tells it to extensions."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("references", "type")),
        *((name, ctypes.c_int) for name in ("inputs", "outputs", "arguments", "identity")),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        *((name, ctypes.c_int) for name in ("types_count", "reserved")),
        ("name", ctypes.c_char_p),
    )


@cache
def loop_of(ufunc: np.ufunc, dtypes: str) -> tuple[int, int] | None:
    """Return the address of a ufunc's loop over elements, and that of its data; None if it has none.

    Parameters
    ----------
    ufunc : numpy.ufunc
    dtypes : str
        Of inputs and outputs, as in ``"ff->f"``.
    """
    raw = _Ufunc.from_address(id(ufunc))
    facts = (raw.inputs, raw.outputs, raw.arguments, raw.types_count)
    is_known = facts == (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes) and raw.name == ufunc.__name__.encode()
    if not is_known or dtypes not in ufunc.types:
        return None
    k = ufunc.types.index(dtypes)
    return raw.functions[k] or 0, (raw.data[k] or 0) if raw.data else 0


class Machine:
    """The native machine of this process.

    Attributes
    ----------
    blas : BlasLibrary
    errors : FloatErrors
    run, run_briefly : callable or None
        Run records, once it is made; called with the address of the words of a `Call`. The second lets no other thread
        of Python run meanwhile: to get Python's global lock back may take a thousand times as long as a small plan.
    failure : str
        Why it cannot be made, if so.
    control : numpy.ndarray
        The memory that threads share.
    threads : int
        How many threads take part, the one that asks included.
    """

    def __init__(self, library: BlasLibrary) -> None:
        self.blas = library
        self.errors = FloatErrors()
        self.run: Callable[..., int] | None = None
        self.run_briefly: Callable[..., int] | None = None
        self.failure = ""
        self.threads = thread_count()
        self.control = np.zeros(int(Control.SCRATCH) + SCRATCH * self.threads, np.int64)
        self.control[Control.TEST], self.control[Control.CLEAR] = self.errors.test, self.errors.clear
        if library.onednn is not None:
            self.control[Control.OPENMP_THREADS] = address_of(library.onednn.threads)
            self.control[Control.SET_OPENMP_THREADS] = address_of(library.onednn.set_threads)
        self._helpers: list[threading.Thread] = []
        self._compiling = threading.Lock()
        self._is_left = False
        atexit.register(self._leave)
        self.maker = threading.Thread(target=self._make, name="tinygraph-jit", daemon=True)
        self.maker.start()

    def _make(self) -> None:
        try:
            import numba  # noqa: F401  # pyright: ignore[reportUnusedImport] - before the lock is taken, as it is nothing to wait for

            with self._compiling:
                if self._is_left:
                    return
                from . import machine
            if self.threads > 1 and os.name == "posix":
                self._start_helpers(machine.help_out)
        except Exception as error:  # numba may be there and not work
            self.failure = f"numba does not work here ({type(error).__name__}: {(str(error) or '-').splitlines()[0]})"
            return
        run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(machine.run.address)
        self.control[Control.UPDATE] = kind_of_update(run, self.blas, self.control)
        self.run_briefly = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(machine.run.address)
        self.run = run

    def _leave(self) -> None:
        """Let the program end, but not in the middle of compiling: LLVM would call a Python that is gone."""
        if self._compiling.acquire(timeout=PATIENCE):
            self._is_left = True
            self._compiling.release()

    def _start_helpers(self, help_out: Any) -> None:
        libc = ctypes.CDLL(None)
        place = self.control.ctypes.data + 8 * Control.SEMAPHORE
        if not hasattr(libc, "sem_init") or libc.sem_init(ctypes.c_void_p(place), 0, 0) != 0:
            return  # macOS has none without a name
        for field, name in FUNCTIONS.items():
            if hasattr(libc, name):
                self.control[field] = address_of(getattr(libc, name))
        word = ctypes.c_int64
        task = ctypes.CFUNCTYPE(word, word, word)(help_out.address)
        for n in range(1, self.threads):
            helper = threading.Thread(target=task, args=(self.control.ctypes.data, n), name="tinygraph", daemon=True)
            helper.start()
            self._helpers.append(helper)
        self.control[Control.HELPERS] = len(self._helpers)

    def wait(self) -> bool:
        """Wait until it is made; return whether it is."""
        self.maker.join()
        return self.run is not None


_lock = threading.Lock()
_machine: Machine | None = None


def machine() -> Machine | None:
    """Return the machine of this process, None where there is none; `description` says why.

    Raises
    ------
    ArgumentError, BackendError
        If a variable of the environment says what cannot be.
    """
    global _machine
    with _lock:
        if _lacks():
            return None
        if _machine is None:
            library = blas_library()
            if library is not None:
                _machine = Machine(library)
        return None if _machine is None or _machine.failure else _machine


def description() -> str:
    """Return in words what runs plans on NumPy arrays; make the machine if there is none yet.

    Raises
    ------
    ArgumentError, BackendError
        If a variable of the environment says what cannot be.
    """
    lack = _lacks() or ("" if blas_library() else f"no library of BLAS for it is installed: {INSTALL}")
    made = machine()
    if made is not None and made.wait():
        several = f"{made.threads} threads" if made.threads > 1 else "1 thread"
        products = f"{made.blas.name} {made.blas.version}"
        if made.blas.times:
            products += f" (of {', '.join(f'{name} {time:.2f}' for name, time in made.blas.times.items())})"
        return f"native code by numba {version('numba')}, {products}, {several}"
    return f"lines of Python; {lack or (_machine.failure if _machine else '')}"


def _lacks() -> str:
    """Return what the machine lacks, a library of BLAS aside."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "0", "1"):
        raise ArgumentError(f"{VARIABLE} must be 0 or 1, got {wanted!r}")
    if wanted == "0":
        return f"turned off by {VARIABLE}=0"
    if find_spec("numba") is None:
        return f"numba is not installed: {INSTALL}"
    return _numba_lacks()


@cache
def _numba_lacks() -> str:
    """Return what is wrong with the numba or the Python that are there."""
    number = version("numba")
    if tuple(int(part) for part in number.split(".")[:2]) < OLDEST_NUMBA:
        return f"numba {number} is too old: {INSTALL}"
    return "Python without its global lock is not supported" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""


def _after_fork() -> None:
    """Begin anew in a child process, which has none of the threads."""
    global _machine, _lock
    if _machine is not None:
        _machine.control[Control.HELPERS] = 0
    _lock, _machine = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def thread_count() -> int:
    """Return how many threads may take part: as a variable says, or as there are processors for this process.

    Raises
    ------
    ArgumentError
        If `TINYGRAPH_THREADS` is no whole number of at least 1.
    """
    if text := os.environ.get(THREADS, ""):
        if not text.isdecimal() or int(text) < 1:
            raise ArgumentError(f"{THREADS} must be a whole number of at least 1, got {text!r}")
        return int(text)
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdecimal() and int(text) > 0:
            return int(text)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, _quota()))


def _quota() -> int:
    """Return how many processors the control group of this process may use at a time, rounded up."""
    try:
        most, period = CPU_LIMIT.read_text(encoding="ascii").split()
        return -(-int(most) // int(period))
    except (OSError, ValueError):  # no control groups, or no limit
        return 1 << 16
