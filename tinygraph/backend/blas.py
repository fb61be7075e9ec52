"""A library of BLAS whose routines are called by their addresses, each call on the thread that makes it.

oneDNN has no other routines than products of matrices: with it, OpenBLAS does the rest, and the small ones.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

LIBRARIES = {  # and the packages that bring them
    "openblas": "scipy-openblas32",
    "mkl": "mkl",
    "onednn": "onednn-cpu-gomp",
}
FEWEST = 1 << 20  # multiplications of a product that oneDNN makes faster than OpenBLAS
NARROWEST = 16  # rows and columns of one


@dataclass(frozen=True, eq=False)
class OneDNN:
    """oneDNN's product of matrices in single precision, which takes numbers by value, as C passes them.

    Attributes
    ----------
    product : ctypes function
        It returns 0, or why it did nothing.
    threads, set_threads : ctypes function
        How many threads OpenMP gives to a product that the calling thread makes.
    """

    product: Callable[..., int]
    threads: Callable[[], int]
    set_threads: Callable[[int], object]

    def call(self, addresses: Sequence[int], instead: Callable[[], object]) -> Callable[[], object]:
        """Return a call with the arguments of BLAS's routine, and with `instead` where oneDNN refuses."""
        flip_a, flip_b, m, n, k, alpha, a, step_a, b, step_b, beta, y, step_y = addresses
        letter, word, number, place = ctypes.c_char, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
        arguments = (  # row by row everything is transposed
            *(letter.from_address(x) for x in (flip_b, flip_a)),
            *(word.from_address(x) for x in (n, m, k)),
            number.from_address(alpha),
            *(place(b), word.from_address(step_b), place(a), word.from_address(step_a)),
            number.from_address(beta),
            *(place(y), word.from_address(step_y)),
        )

        def run() -> None:
            threads = self.threads()
            self.set_threads(1)
            refused = self.product(*arguments)
            self.set_threads(threads)
            if refused:
                instead()

        return run


@dataclass(frozen=True, eq=False)
class BlasLibrary:
    """A library of BLAS.

    Attributes
    ----------
    name : {"openblas", "mkl", "onednn"}
    version : str
        Of the package that brings it.
    library : ctypes.CDLL
    pattern : str
        What it calls a routine, ``{}``.
    times : mapping of str to float
        How long each library that is installed takes, as a multiple of the first one's time; empty if nothing was
        measured.
    onednn : OneDNN or None
        What makes large products in single precision instead.
    """

    name: str
    version: str
    library: ctypes.CDLL
    pattern: str
    times: Mapping[str, float] = field(default_factory=dict)
    onednn: OneDNN | None = None

    def routine(self, name: str) -> ctypes._NamedFuncPointer:
        """Return a routine such as "sgemm", which takes addresses only, as Fortran passes arguments."""
        return getattr(self.library, self.pattern.format(name))  # type: ignore[no-any-return]

    def address(self, name: str) -> int:
        """Return the address of a routine."""
        return address_of(self.routine(name))

    def onednn_for(self, name: str, m: int, n: int, k: int) -> OneDNN | None:
        """Return oneDNN, if it makes a product of these lengths."""
        is_large = name == "sgemm" and m * n * k >= FEWEST and min(m, n) >= NARROWEST
        return self.onednn if is_large else None

    def call(self, name: str, addresses: Sequence[int]) -> Callable[[], object]:
        """Return a call of a routine with the addresses of its arguments bound."""
        by_blas = partial(self.routine(name), *(ctypes.c_void_p(x) for x in addresses))
        if name != "sgemm":
            return by_blas
        onednn = self.onednn_for(name, *(ctypes.c_int.from_address(x).value for x in addresses[2:5]))
        return by_blas if onednn is None else onednn.call(addresses, by_blas)


def address_of(function: Callable[..., object]) -> int:
    """Return the address of a function of a library."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


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
        names = {"mkl": ("libmkl_rt.", "mkl_rt."), "onednn": ("libdnnl.so.",)}[name]
        found = next(f for f in files(package) or () if f.name.startswith(names))
        library = ctypes.CDLL(str(found.locate()))
        if name == "onednn":
            openmp, others = ctypes.CDLL("libgomp.so.1"), load("openblas")  # the one that this build was linked with
            onednn = OneDNN(library.dnnl_sgemm, openmp.omp_get_max_threads, openmp.omp_set_num_threads)
            return others and replace(others, name=name, version=release, onednn=onednn)
        library.MKL_Set_Interface_Layer(0)  # integers of 32 bits
        library.MKL_Set_Threading_Layer(1)  # sequential
        return BlasLibrary(name, release, library, "{}_")
    except (PackageNotFoundError, ImportError, OSError, AttributeError, StopIteration, TypeError):  # or too old
        return None
