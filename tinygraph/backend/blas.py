"""A library of BLAS whose routines are called by their addresses, each call on the thread that makes it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

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


def load(name: str) -> BlasLibrary | None:
    """Return a library, set to one thread; None if it is not installed or cannot be loaded."""
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
