"""A library of BLAS whose routines are called by their addresses, each call on the thread that makes it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

from ..arguments import check_name
from ..errors import BackendError

VARIABLE = "TINYGRAPH_BLAS"
LIBRARIES = {"openblas": "scipy-openblas32", "mkl": "mkl"}  # and the packages that bring them


@dataclass(frozen=True, eq=False)
class BlasLibrary:
    """A library of BLAS.

    Attributes
    ----------
    name : {"openblas", "mkl"}
    version : str
        Of the package that brings it.
    library : ctypes.CDLL
    pattern : str
        What it calls a routine, ``{}``.
    times : mapping of str to float
        How long each library that is installed takes, as a multiple of the first one's time; empty if nothing was
        measured.
    """

    name: str
    version: str
    library: ctypes.CDLL
    pattern: str
    times: Mapping[str, float] = field(default_factory=dict)

    def routine(self, name: str) -> ctypes._NamedFuncPointer:
        """Return a routine such as "sgemm", which takes addresses only, as Fortran passes arguments."""
        return getattr(self.library, self.pattern.format(name))  # type: ignore[no-any-return]

    def address(self, name: str) -> int:
        """Return the address of a routine."""
        return ctypes.cast(self.routine(name), ctypes.c_void_p).value or 0


@cache
def blas_library() -> BlasLibrary | None:
    """Return the library for native plans: the one that `TINYGRAPH_BLAS` names, else the fastest that is installed.

    Where there are several, they are measured once on a machine; `blas_choice` says how.

    It is set to one thread; other users of BLAS in the process have libraries of their own.

    Raises
    ------
    ArgumentError
        If the variable names no library that is known.
    BackendError
        If it names one that is not installed.
    """
    wanted = os.environ.get(VARIABLE)
    names = [check_name(VARIABLE, wanted, LIBRARIES)] if wanted else list(LIBRARIES)
    found = [library for library in map(_load, names) if library is not None]
    if found:
        return _fastest(found)
    if wanted:
        raise BackendError(
            f"{VARIABLE}={wanted}: it is not installed or cannot be loaded: pip install {LIBRARIES[wanted]}"
        )
    return None


def _fastest(libraries: list[BlasLibrary]) -> BlasLibrary:
    if len(libraries) == 1:
        return libraries[0]
    import platformdirs

    from .blas_choice import fastest

    library, times = fastest(libraries, Path(platformdirs.user_cache_dir("tinygraph")))
    return replace(library, times=times)


def _load(name: str) -> BlasLibrary | None:
    package = LIBRARIES[name]
    try:
        release = version(package)
        if name == "openblas":
            import scipy_openblas32

            path = Path(scipy_openblas32.get_lib_dir(), scipy_openblas32.get_library(fullname=True))
            library = ctypes.CDLL(str(path))
            library.scipy_openblas_set_num_threads(1)
            return BlasLibrary(name, release, library, "scipy_{}_")
        found = next(f for f in files(package) or () if f.name.startswith(("libmkl_rt.", "mkl_rt.")))
        library = ctypes.CDLL(str(found.locate()))
        library.MKL_Set_Interface_Layer(0)  # integers of 32 bits
        library.MKL_Set_Threading_Layer(1)  # sequential
        return BlasLibrary(name, release, library, "{}_")
    except (PackageNotFoundError, ImportError, OSError, AttributeError, StopIteration, TypeError):  # or too old
        return None
