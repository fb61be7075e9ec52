"""How tests run a program on several processes; without MPI they are skipped."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("mpi_programs.py")
TIMEOUT = 120  # seconds, after which a program hangs


def mpiexec():
    """Return the program that starts processes: the wheel's beside Python, or the system's."""
    if find_spec("mpi4py") is None:
        pytest.skip('mpi4py is not installed: pip install ".[mpi]"')
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which("mpiexec", path=beside) or pytest.skip("no mpiexec is installed")


def started(processes, *command, **environment):
    """Return a running program on so many processes, in which each has one thread."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TINYGRAPH_THREADS"), "1")
    return subprocess.Popen(
        [mpiexec(), "-n", str(processes), *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | threads | environment,
    )


def ended(process):
    """Return status, output and errors of a program that has been started."""
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"the processes hang: {process.communicate()}") from None
    return process.returncode, out, err


def on(processes, function, *arguments, **environment):
    """Return status, output and errors of a function of mpi_programs.py on so many processes."""
    return ended(started(processes, sys.executable, PROGRAMS, function, *arguments, **environment))
