"""The processes of a parallel run, and what they say to one another: calls of MPI by mpi4py."""

from __future__ import annotations

import os
import sys
import time
import warnings
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import numpy as np

from ..arguments import check_name
from ..errors import BackendError, TinygraphError
from .ends import Ends

T = TypeVar("T")

VARIABLE = "TINYGRAPH_PARALLEL"
ENGINES = ("mpi",)
INSTALL = 'pip install ".[mpi]" in the project\'s folder'
WAIT = 0.5  # seconds
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")  # what starters say of how many there are
LAUNCHERS = (*SIZES, "PMIX_RANK")  # what mpiexec and the like set


class Communicator:
    """All processes that ``mpiexec`` started; each calls the same methods in the same order.

    Parameters
    ----------
    mpi : module
        ``mpi4py.MPI``.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and how many there are.
    ends : Ends
        Which of them have ended.
    """

    def __init__(self, mpi: Any) -> None:
        self.world = mpi.COMM_WORLD
        self.rank, self.size = int(self.world.Get_rank()), int(self.world.Get_size())
        self.ends = Ends(mpi, partial(self.fail, status=1))

    def sum(self, a: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return every element added up over the processes, in `out` if that is given."""
        total = np.empty(a.shape, a.dtype) if out is None else out
        self.ends.wait(self.world.Allreduce, np.ascontiguousarray(a), total)
        return total

    def broadcast(self, value: T) -> T:
        """Return the value that process 0 has, of any kind that can be pickled."""
        shared: T = self.ends.wait(self.world.bcast, value)
        return shared

    def gather(self, value: T) -> list[T]:
        """Return what each process has, by their numbers."""
        return self.ends.wait(self.world.allgather, value)

    def own_rows(self, rows: int) -> slice:
        """Return which of so many rows are this process's: as many as others have, to within one."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def fail(self, text: str, status: int) -> NoReturn:
        """Say in one line which process failed and why, and end all processes with an exit status."""
        if self.rank:
            time.sleep(WAIT)  # for process 0, which tells of what all of them meet
        print(f"tinygraph: process {self.rank} of {self.size}: {' '.join(text.split())}", file=sys.stderr, flush=True)
        time.sleep(WAIT / 5)  # for mpiexec, which may end before it has passed the line on
        self.world.Abort(status)
        os._exit(status)  # MPICH's Abort may return

    def __repr__(self) -> str:
        return f"Communicator(process {self.rank} of {self.size})"


def first_process() -> bool:
    """Return whether this process is to show and write what one process does: it is the only one, or number 0.

    Where TINYGRAPH_PARALLEL is not set, that is known after `processes_of` or `fit` was told of the others.
    """
    wanted = os.environ.get(VARIABLE, "")
    made = processes_of(wanted) if wanted else _world() if _world.cache_info().currsize else None
    return made is None or made.rank == 0


def processes_of(parallel: str | None) -> Communicator | None:
    """Return the processes of a run, None if there is one.

    Parameters
    ----------
    parallel : {"mpi"} or None
        None: what the variable TINYGRAPH_PARALLEL says, by default one process.

    Raises
    ------
    ArgumentError
        If it is none of these.
    BackendError
        If mpi4py, or an MPI library, is not installed.
    """
    parallel = os.environ.get(VARIABLE) or None if parallel is None else parallel
    if parallel is None:
        return None
    check_name("parallel", parallel, ENGINES)
    made = _world()
    if made.size > 1:
        return made
    started = next((os.environ[name] for name in SIZES if os.environ.get(name, "1") != "1"), "")
    if started:
        raise BackendError(
            f"parallel='mpi': {started} processes were started, and the MPI library of mpi4py sees one: start them "
            f"with its own mpiexec; it is {description()}"
        )
    if not any(name in os.environ for name in LAUNCHERS):
        _say_that_it_is_one()
    return None


@cache
def _world() -> Communicator:
    made = Communicator(_mpi())
    if made.size > 1:
        _end_together(made)
    return made


def _mpi() -> Any:
    try:
        return import_module("mpi4py.MPI")
    except ImportError as error:
        lacks = "mpi4py is not installed" if find_spec("mpi4py") is None else f"no MPI library: {error}".splitlines()[0]
        raise BackendError(f"parallel='mpi': {lacks}; {INSTALL}") from None
    except RuntimeError as error:  # mpi4py's wheels look for the library when they are imported
        raise BackendError(f"parallel='mpi': no MPI library: {str(error).splitlines()[0]}; {INSTALL}") from None


@cache
def _say_that_it_is_one() -> None:
    warnings.warn(
        "parallel='mpi': there is one process; start several with: mpiexec -n 4 python my_training.py",
        RuntimeWarning,
        stacklevel=4,
    )


def description() -> str:
    """Return in words what a parallel run would use, and what is missing."""
    try:
        mpi = _mpi()
    except BackendError as error:
        return str(error).removeprefix("parallel='mpi': ")
    library = str(mpi.Get_library_version()).split("\n")[0].strip().rstrip("\0")
    return f"mpi4py {import_module('mpi4py').__version__}, {' '.join(library.split())}"


def _end_together(processes: Communicator) -> None:
    """Let an error that ends one process end all of them: the others would wait for it."""
    processes.ends.start()
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, TinygraphError):
            before(kind, error, trace)
        processes.fail(f"{kind.__name__}: {error}", 2 if issubclass(kind, TinygraphError) else 1)

    sys.excepthook = hook


def fail(text: str, status: int) -> None:
    """Say in one line which process failed and why, and end all processes with an exit status; alone, do nothing."""
    if _world.cache_info().currsize and _world().size > 1:
        _world().fail(text, status)
