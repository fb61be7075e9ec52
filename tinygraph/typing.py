"""Names for types that signatures share.

Attributes
----------
Array
    A backend's own array. Whichever it is, it has the interface of NumPy's, as far as operations may use it.
Number
    A Python number, or a backend's own array with no axes.
ArrayLike, DTypeLike
    What NumPy makes an array, or a dtype, of; tensors are ``ArrayLike``.
DType, Shape, Axis
    A dtype of any elements; the length of every axis; one axis, several, or all of them.
Key
    What stands in square brackets behind an array or a tensor.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import EllipsisType
    from typing import SupportsIndex

__all__ = ["Array", "ArrayLike", "Axis", "DType", "DTypeLike", "Key", "Namespace", "Number", "Shape"]

Array: TypeAlias = np.ndarray | Any  # the latter: what other packages do not tell of theirs
Number: TypeAlias = "float | np.number | Array"
DType: TypeAlias = np.dtype[Any]
Shape: TypeAlias = tuple[int, ...]
Axis: TypeAlias = int | tuple[int, ...] | None
Part: TypeAlias = "SupportsIndex | slice | EllipsisType | ArrayLike | None"
Key: TypeAlias = "Part | tuple[Part, ...]"


class Namespace(SimpleNamespace):
    """The functions of a backend under NumPy's names, and its dtypes; see `tinygraph.backend.base`."""

    if TYPE_CHECKING:

        def __getattribute__(self, name: str, /) -> Callable[..., Array]: ...
