"""`Operators`: what Tensor does by functions of higher layers, each found by its name when it is called.

So `+` and `sum` stand on the tensor, the operations behind them import `Tensor`, and nothing imports upwards.
"""

# mypy: no-warn-return-any
# what is found by its name has no type of its own

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, Self, TypeAlias, TypeVar, overload

import numpy as np

from .errors import ArgumentError
from .typing import ArrayLike, Axis, DTypeLike, Key

Operand: TypeAlias = "Operators | ArrayLike"  # a Tensor, a NumPy array, a number, or nested lists of numbers
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

functions: dict[str, Callable[..., Any]] = {}  # by name


def offers(function: F) -> F:
    """Let Tensor's operators and methods find a function of a higher layer by its name."""
    functions[function.__name__] = function
    return function


def _infix(name: str) -> Callable[[T, Operand], T]:
    """Return the method of an operator."""
    return lambda a, b: functions[name](a, b)


def _reflected(name: str) -> Callable[[T, Operand], T]:
    """Return the method of an operator for a tensor on its right."""
    return lambda a, b: functions[name](b, a)


class _Method:
    """A function of one tensor as its method of the same name, with the same further arguments."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, t: None, owner: type[T]) -> Callable[..., T]: ...
    @overload
    def __get__(self, t: T, owner: type[T]) -> Callable[..., T]: ...
    def __get__(self, t: object, owner: object) -> object:
        return functions[self.name] if t is None else MethodType(functions[self.name], t)


class Operators:
    """The operators and methods of a tensor that are operations."""

    __slots__ = ()

    __array_ufunc__ = None  # NumPy arrays then leave `array + tensor` to __radd__
    __array_priority__ = 1000
    __add__, __radd__ = _infix("add"), _reflected("add")
    __sub__, __rsub__ = _infix("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _infix("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _infix("divide"), _reflected("divide")
    __pow__, __rpow__ = _infix("power"), _reflected("power")
    __matmul__, __rmatmul__ = _infix("matmul"), _reflected("matmul")
    __lt__, __gt__ = _infix("less"), _infix("greater")
    __le__, __ge__ = _infix("less_equal"), _infix("greater_equal")
    __and__, __rand__ = _infix("logical_and"), _reflected("logical_and")
    __or__, __ror__ = _infix("logical_or"), _reflected("logical_or")
    __xor__, __rxor__ = _infix("logical_xor"), _reflected("logical_xor")

    def __neg__(self) -> Self:
        return functions["negative"](self)

    def __pos__(self) -> Self:
        return self

    def __invert__(self) -> Self:
        return functions["logical_not"](self)

    def __abs__(self) -> Self:
        return functions["abs"](self)

    def __eq__(self, other: object) -> Self:  # type: ignore[override]
        return functions["equal"](self, other) if _is_operand(other) else NotImplemented  # pyright: ignore[reportReturnType]

    def __ne__(self, other: object) -> Self:  # type: ignore[override]
        return functions["not_equal"](self, other) if _is_operand(other) else NotImplemented  # pyright: ignore[reportReturnType]

    __hash__ = object.__hash__  # a tensor is a node of a graph: as a key it is itself, whatever its value

    def __getitem__(self, key: Key | Operators) -> Self:
        return functions["getitem"](self, key)

    @property
    def T(self) -> Self:
        """The transpose: all axes in reverse order."""
        return functions["transpose"](self)

    def transpose(self, *axes: int | Sequence[int] | None) -> Self:
        """Return the tensor with its axes in the order `axes`, numbers or one tuple of them (none: reversed)."""
        return functions["transpose"](self, axes[0] if len(axes) == 1 else axes or None)

    def reshape(self, *shape: int | Sequence[int], **options: object) -> Self:
        """Return the same elements in another shape, given as ``reshape(2, 3)`` or ``reshape((2, 3))``."""
        return _without("reshape", options, order="C")(self, shape[0] if len(shape) == 1 else shape)

    view = reshape

    def sum(self, axis: Axis = None, keepdims: bool = False, **options: object) -> Self:
        """Return the sum over `axis`; see `tinygraph.sum`."""
        return _without("sum", options)(self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False, **options: object) -> Self:
        """Return the product over `axis`; see `tinygraph.prod`."""
        return _without("prod", options)(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False, **options: object) -> Self:
        """Return the mean over `axis`; see `tinygraph.mean`."""
        return _without("mean", options)(self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False, **options: object) -> Self:
        """Return the maximum over `axis`; see `tinygraph.max`."""
        return _without("max", options)(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False, **options: object) -> Self:
        """Return the minimum over `axis`; see `tinygraph.min`."""
        return _without("min", options)(self, axis, keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0, **options: object) -> Self:
        """Return the variance over `axis`; see `tinygraph.var`."""
        return _without("var", options)(self, axis, keepdims, ddof)

    def std(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0, **options: object) -> Self:
        """Return the standard deviation over `axis`; see `tinygraph.std`."""
        return _without("std", options)(self, axis, keepdims, ddof)

    def argmax(self, axis: int | None = -1, **options: object) -> Self:
        """Return the positions of the largest elements along `axis`; see `tinygraph.argmax`."""
        return _without("argmax", options)(self, axis)

    def argmin(self, axis: int | None = -1, **options: object) -> Self:
        """Return the positions of the smallest elements along `axis`; see `tinygraph.argmin`."""
        return _without("argmin", options)(self, axis)

    def cumsum(self, axis: int | None = None, **options: object) -> Self:
        """Return the running sums along `axis`; see `tinygraph.cumsum`."""
        return _without("cumsum", options)(self, axis)

    def sort(self, axis: int | None = -1, descending: bool = False) -> Self:
        """Return the elements in rising order along `axis`; see `tinygraph.sort`."""
        return functions["sort"](self, axis, descending)

    def argsort(self, axis: int | None = -1, descending: bool = False, **options: object) -> Self:
        """Return the indices that sort the elements along `axis`; see `tinygraph.argsort`."""
        return _without("argsort", options, kind="stable")(self, axis, descending)

    def topk(self, k: int, axis: int = -1, largest: bool = True) -> tuple[Self, Self]:
        """Return the `k` largest elements along `axis` and their indices; see `tinygraph.topk`."""
        return functions["topk"](self, k, axis, largest)

    def clip(self, low: Operand | None = None, high: Operand | None = None, **options: object) -> Self:
        """Return the elements limited to an interval; see `tinygraph.clip`."""
        return _without("clip", options)(self, low, high)

    abs, cos, elu, erf, exp = _Method(), _Method(), _Method(), _Method(), _Method()
    expand_dims, expm1, flatten, gelu, leaky_relu = _Method(), _Method(), _Method(), _Method(), _Method()
    log, log1p, log_softmax, logsumexp, matmul = _Method(), _Method(), _Method(), _Method(), _Method()
    norm, relu, sigmoid, sign, silu = _Method(), _Method(), _Method(), _Method(), _Method()
    sin, softmax, softplus, sqrt, square = _Method(), _Method(), _Method(), _Method(), _Method()
    squeeze, swapaxes, tanh, tril, triu = _Method(), _Method(), _Method(), _Method(), _Method()

    def astype(self, dtype: DTypeLike) -> Self:
        """Return the tensor converted to `dtype`; a gradient is converted back."""
        return functions["astype"](self, dtype)

    def assign_(self, value: Operand) -> Self:
        """Write `value` into this leaf's own memory; the only way a tensor's value changes.

        A graph recorded before and read by `backward` afterwards is then refused, not silently wrong.

        Parameters
        ----------
        value : tensor, array or number
            Of this tensor's shape and dtype, or a number.

        Raises
        ------
        GraphError
            If an operation made this tensor.
        ShapeError, DTypeError, BackendError
            If `value` does not fit.
        """
        return functions["assign_"](self, value)

    def backward(self, dy: Operand | None = None) -> None:
        """Add the gradient of this tensor to `grad` of every leaf that requires one.

        Parameters
        ----------
        dy : tensor or array, optional
            The gradient with respect to this tensor, of its shape; 1 for a tensor with one element.
        """
        functions["backward"](self, dy)


def _without(name: str, options: dict[str, object], **defaults: str) -> Callable[..., Any]:
    """Return a function by its name; `options` are what NumPy's passes on, such as ``np.sum(tensor)`` an ``out``.

    Raises
    ------
    ArgumentError
        If one of them is neither None nor its default.
    """
    for option, value in options.items():
        if value is not None and not (isinstance(value, str) and value == defaults.get(option)):
            remedy = "; convert with .astype(...) instead" if option == "dtype" else ""
            raise ArgumentError(f"{name}: a tensor's {name} takes no {option}={remedy}; see tinygraph.{name}")
    return functions[name]


def _is_operand(value: object) -> bool:
    """Whether `value` can stand beside a tensor in an operation; None and strings, say, cannot."""
    return isinstance(value, Operators | np.ndarray | np.generic | int | float | list | tuple)
