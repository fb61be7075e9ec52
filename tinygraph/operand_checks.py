"""What must fit among the operands of an operation, or an error that names the operation and what does not."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, Protocol

from .errors import DTypeError, ShapeError
from .tensors import Tensor, describe
from .typing import Array


class Labelled(Protocol):
    """An operation, of which an error needs the label."""

    @property
    def label(self) -> str:
        """The name with the fields that differ from their defaults."""
        ...


def check_dtypes(op: Labelled, inputs: tuple[Tensor, ...]) -> None:
    """Raise an error if two inputs are of different floating dtypes; nothing is promoted silently."""
    first = inputs[0].data.dtype
    for t in inputs:
        if t.data.dtype is not first and t.data.dtype != first:
            break
    else:
        return
    floating: dict[Any, Tensor] = {}
    for t in inputs:
        if t.data.dtype.kind == "f":
            floating.setdefault(t.data.dtype, t)
    if len(floating) > 1:
        dtypes = ", ".join(f"{describe(t)} is {dtype}" for dtype, t in floating.items())
        raise DTypeError(f"{op.label}: operands of two floating dtypes: {dtypes}; convert one with .astype(...)")


def check_result(op: Labelled, inputs: tuple[Tensor, ...], data: Array) -> None:
    """Raise an error if floating inputs gave a result of another floating dtype."""
    if data.dtype.kind != "f" or getattr(op, "dtype", None) is not None:
        return
    for t in inputs:
        if t.data.dtype.kind == "f" and t.data.dtype != data.dtype:
            raise DTypeError(
                f"{op.label}: {t.data.dtype} went in and {data.dtype} came out; forward must keep the dtype"
            )


def check_broadcast(op: Labelled, inputs: tuple[Tensor, ...]) -> None:
    """Raise an error if the shapes of the inputs do not broadcast (see NumPy's rules)."""
    shapes = [t.data.shape for t in inputs]
    for axis, lengths in enumerate(zip_longest(*map(reversed, shapes), fillvalue=1), 1):
        length = 1
        for n in lengths:
            if n not in (1, length):
                if length != 1:
                    different = " and ".join(map(str, sorted({*lengths} - {1})))
                    raise ShapeError(
                        f"{op.label}: shapes do not broadcast: {' and '.join(map(str, shapes))}; "
                        f"axis {-axis} has {different}, but lengths must be equal or 1"
                    )
                length = n


def check_floating(op: Labelled, t: Tensor) -> None:
    """Raise an error if an input is not floating."""
    if t.data.dtype.kind != "f":
        raise wrong_kind(op, t)


def wrong_kind(op: Labelled, t: Tensor) -> DTypeError:
    """Return the error for an input of a kind of dtype that an operation does not take."""
    kinds = getattr(op, "kinds", "f")
    if kinds == "b":
        return DTypeError(f"{op.label}: expected truth values, got {t.dtype}; compare first, as in x != 0")
    if t.data.dtype.kind == "b" and kinds != "f":
        return DTypeError(f"{op.label}: expected numbers, got truth values; convert them with .astype('int64')")
    return DTypeError(f"{op.label}: expected a floating tensor, got {t.dtype}; convert it with .astype('float32')")
