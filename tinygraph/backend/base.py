"""The contract between operations and the backends that hold and compute their arrays.

An operation computes only through `Backend.xp`, a namespace with NumPy's names and meanings, so the same
operation runs wherever such a namespace exists. A new backend is one subclass of `Backend` in one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from ..typing import Array, DTypeLike, Namespace, Number

# Every array function that operations may use, under NumPy's name and with NumPy's meaning.
ARRAY_FUNCTIONS: tuple[str, ...] = (
    *("add", "subtract", "multiply", "divide", "negative", "reciprocal", "power", "square", "sqrt", "abs", "sign"),
    *("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "maximum", "minimum", "clip", "where"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("sum", "prod", "mean", "max", "min", "argmax", "argmin", "argsort", "cumsum"),
    *("logical_and", "logical_or", "logical_xor", "logical_not", "isfinite", "isnan", "all", "any"),
    *("reshape", "transpose", "swapaxes", "squeeze", "expand_dims", "broadcast_to", "concatenate", "stack"),
    *("pad", "tile", "copyto", "arange", "asarray"),
    *("zeros", "ones", "empty", "full", "zeros_like", "ones_like", "empty_like", "full_like"),
    # What the operations here do without, and those of others may need:
    *("floor", "ceil", "trunc", "rint", "exp2", "log2", "log10", "logaddexp", "hypot", "floor_divide", "remainder"),
    *("tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "arcsinh", "arccosh", "arctanh", "isinf"),
    *("var", "std", "cumprod", "count_nonzero", "sort", "take", "take_along_axis", "nan_to_num"),
    *("flip", "roll", "repeat", "moveaxis", "ravel", "diagonal", "trace", "tril", "triu", "eye", "linspace"),
    *("einsum", "tensordot", "outer"),
)

# What a backend may bring, and is made of the functions above otherwise.
OPTIONAL_ROUTINES = ("scaled_difference",)

# Routines that NumPy lacks, or that must not be NumPy's own; every backend brings them.
OWN_ROUTINES = ("matmul", "erf", "index_add", "spmm", "sddmm", "bernoulli", "uniform", "on_host")


class EdgeList(Protocol):
    """The edges that sparse products run over, sorted by target; host arrays, each with a fixed content."""

    n_in: int
    n_out: int
    n_edges: int
    sources: np.ndarray
    targets: np.ndarray
    starts: np.ndarray


DTYPES = ("float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool_")


class Backend:
    """An array backend: arrays, the functions on them, products, and transfers to and from the host.

    Attributes
    ----------
    name : str
        The name `tinygraph.use` knows it by.
    device : str
        What computes, in words.
    fuses : bool
        Whether a plan makes one kernel of several elementwise operations; else it calls `xp` for each.
    xp : namespace
        `ARRAY_FUNCTIONS`, `OPTIONAL_ROUTINES`, `OWN_ROUTINES` and `DTYPES` as attributes; nothing else is promised.
    array_type : type
        The type of its arrays; an operation's result of another type (a NumPy scalar) is converted.
    """

    name: str
    device: str = "CPU"
    fuses: bool = False
    xp: Namespace
    array_type: type

    def __reduce__(self) -> tuple[Callable[[str], Backend], tuple[str]]:
        from . import get_backend

        return get_backend, (self.name,)  # copied and sent as its name: a process has one backend of a name

    def asarray(self, value: object, dtype: DTypeLike | None = None) -> Array:
        """Return `value` (host array, number, nested list or own array) as an array of this backend."""
        raise NotImplementedError

    def to_host(self, array: Array) -> np.ndarray:
        """Return `array` as a NumPy array; it may share memory with `array`."""
        raise NotImplementedError

    def prefetch(self, arrays: Sequence[np.ndarray], rows: Iterable[slice | np.ndarray]) -> Iterator[tuple[Array, ...]]:
        """Yield rows of host arrays as arrays of this backend; a device may copy them before they are needed.

        Parameters
        ----------
        arrays : list of arrays of one length
        rows : iterable of slices or arrays of indices, in range
        """
        for picked in rows:
            yield tuple(self.asarray(a[picked]) for a in arrays)

    def gemm(self, a: Array, b: Array, out: Array | None = None, alpha: Number = 1.0, beta: Number = 0.0) -> Array:
        """Return ``alpha * a @ b + beta * out`` for matrices, written to `out` where it is given.

        Parameters
        ----------
        a, b : arrays of shape (m, k) and (k, n), one floating dtype
            Transposed views are used as they are; nothing is copied for them.
        out : C-contiguous array of shape (m, n), optional
            Required for a `beta` other than 0.
        alpha, beta : float, or array with no axes of this backend, of the dtype of `a`
            An array is read when the product is computed, without waiting for it on the host.
        """
        raise NotImplementedError

    def arena(self, size: int) -> Array:
        """Return memory of `size` bytes, aligned to 64, for `array_at`."""
        raise NotImplementedError

    def array_at(self, arena: Array, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an array that lies in memory made by `arena`, `offset` bytes after its start."""
        raise NotImplementedError

    def turn(self) -> Callable[[], None] | None:
        """Return what is called before a plan's memory is used, so that streams use it one after the other.

        None where calls are synchronous.
        """
        return None

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Return a function that does what `run` does, at less cost if the backend can.

        `run` computes on the same arrays at every call, reads nothing on the host and makes no array. A device may
        keep what it asked for at one call, and ask for all of it at once at later ones.
        """
        return run

    def free_memory(self) -> int | None:
        """Return how many bytes of a device's memory are free; None where arrays are in the host's."""
        return None

    def synchronize(self) -> None:
        """Wait until everything asked for is computed (nothing to do where calls are synchronous)."""


def make_namespace(functions: object, **routines: object) -> Namespace:
    """Return the namespace of a backend: the contract's functions from the module `functions`, and its own."""
    names = {name: getattr(functions, name) for name in (*ARRAY_FUNCTIONS, *DTYPES)}
    missing = set(OWN_ROUTINES) - set(routines)
    if missing:
        raise NotImplementedError(f"a backend must define the routines {sorted(missing)}")
    made = {"scaled_difference": partial(scaled_difference, functions)}
    return Namespace(**names, **made | routines)


def scaled_difference(xp: Any, x: Array, b: Number, y: Array, a: float = 1.0, out: Array | None = None) -> Array:
    """Return ``a x - b y`` by the functions of `xp`; `b` is a number or an array with no axes."""
    ax = x if a == 1.0 else xp.multiply(a, x)
    if isinstance(b, float) and b < 0.0:
        return xp.add(ax, y if b == -1.0 else xp.multiply(-b, y), out=out)
    return xp.subtract(ax, xp.multiply(b, y), out=out)
