"""`Op`: an operation as its forward computation and its local backward rule; `operation` declares one by its rule."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, Concatenate, ParamSpec, Protocol, TypeVar

from .backend import Array
from .errors import DTypeError, ShapeError, TinygraphError
from .tensors import Operand, Tensor, as_tensor, describe, mixed_backends, mode, next_index, offers

__all__ = ["Op"]

Gradients = tuple[Tensor | Callable[[], Tensor] | None, ...]
P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Op:
    """An operation; subclass it to write your own.

    A subclass says how to compute its output (`forward`), how a gradient of the output turns into
    gradients of the inputs (`backward`), and the latter in words (`rule`)::

        class Cube(tg.Op):
            rule = "dx = 3 dy x**2"

            def forward(self, xp, x, out=None):
                return xp.multiply(x * x, x, out=out)

            def backward(self, dy, y, x):
                return (3.0 * dy * x * x,)

        y = Cube()(x)

    What varies (an axis, a slope) is a field of the dataclass, so equal ops compare equal; an op keeps no
    state of a call.
    """

    name: ClassVar[str] = "op"  # shown in drawings and errors; the class name in snake case unless given
    rule: ClassVar[str] = ""  # the backward rule in words
    differentiable: ClassVar[bool] = True  # False: the output carries no gradient (a comparison, an index)
    view: ClassVar[bool] = False  # True: the output is the first input's memory, seen in another way

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @property
    def label(self) -> str:
        """The name with the fields that differ from their defaults: ``sum(axis=0)``."""
        set_fields = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{self.name}({', '.join(set_fields)})" if set_fields else self.name

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if the inputs do not fit, before anything is computed."""
        check_dtypes(self, inputs)

    def forward(self, xp: Any, /, *arrays: Any, **options: Any) -> Array:
        """Return the output for `arrays`, through the backend's namespace `xp` only.

        A subclass names its arrays and takes ``out=None``, a buffer of the output's shape and dtype to write
        to, which it may ignore: ``def forward(self, xp, a, b, out=None)``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Tensor, y: Tensor, /, *inputs: Any, **options: Any) -> Gradients:
        """Return the gradient of each input, given that of the output, `dy`, and the output `y`.

        A subclass names its inputs: ``def backward(self, dy, y, a, b)``. An entry is a tensor, None where
        nothing flows, or a function of no arguments that returns the tensor and is called only if that
        gradient is wanted. Broadcasting is undone by the engine. The rule is written with tensors, so
        gradients can be drawn, compiled and differentiated again.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __call__(self, *operands: Operand) -> Tensor:
        """Apply the operation to tensors, arrays or numbers; return its output as a tensor."""
        backend: Any = None
        wants_gradient = False
        arrays = []
        for t in operands:
            if t.__class__ is not Tensor:
                return self(*_as_tensors(self, operands))
            if t.backend is not backend:
                if backend is not None:
                    raise mixed_backends(self.label, operands[0], t)
                backend = t.backend
            if t.requires_grad:
                wants_gradient = True
            arrays.append(t.data)
        inputs: tuple[Tensor, ...] = operands
        try:
            self.check(*inputs)
        except TinygraphError as error:
            raise _located(error) from None
        if mode.tracer is None:
            data = self.forward(backend.xp, *arrays)
            if data.__class__ is not backend.array_type:  # NumPy returns scalars where no axis is left
                data = backend.asarray(data)
        else:
            data = mode.tracer.applies(self, inputs)
        if data.dtype is not arrays[0].dtype:
            check_result(self, inputs, data)

        y: Tensor = _new(Tensor)
        y.data = data
        y.backend = backend
        y.name = y.role = y._grad = None
        y.modified = 0
        y.index = next_index()
        y.scope = mode.scope
        if mode.recording:
            y.op = self
            y.inputs = inputs
            y.requires_grad = wants_gradient and self.differentiable
        else:
            y.op = None
            y.inputs = ()
            y.requires_grad = False
        if mode.observer is not None:
            mode.observer(self, inputs, y)
        return y


_new = object.__new__


def _located(error: TinygraphError) -> TinygraphError:
    """Return the error with the module named in whose call it happened."""
    path = mode.scope.path if mode.scope is not None else ""
    return type(error)(f"{path}: {error}") if path else error


def _as_tensors(op: Op, operands: tuple[Operand, ...]) -> tuple[Tensor, ...]:
    """Return the operands as tensors; numbers take the dtype of the first tensor among them."""
    like = None
    for t in operands:
        if t.__class__ is Tensor:
            like = t
            break
    return tuple([as_tensor(t, like) for t in operands])


def check_dtypes(op: Op, inputs: tuple[Tensor, ...]) -> None:
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
        said = ", ".join(f"{describe(t)} is {dtype}" for dtype, t in floating.items())
        raise DTypeError(f"{op.label}: operands of two floating dtypes: {said}; convert one with .astype(...)")


def check_result(op: Op, inputs: tuple[Tensor, ...], data: Array) -> None:
    """Raise an error if floating inputs gave a result of another floating dtype."""
    if data.dtype.kind != "f" or getattr(op, "dtype", None) is not None:
        return
    for t in inputs:
        if t.data.dtype.kind == "f" and t.data.dtype != data.dtype:
            raise DTypeError(
                f"{op.label}: {t.data.dtype} went in and {data.dtype} came out; forward must keep the dtype"
            )


def check_broadcast(op: Op, inputs: tuple[Tensor, ...]) -> None:
    """Raise an error if the shapes of the inputs do not broadcast (see NumPy's rules)."""
    shapes = [t.data.shape for t in inputs]
    rank = max(map(len, shapes))
    for axis in range(1, rank + 1):
        lengths = {s[-axis] for s in shapes if len(s) >= axis} - {1}
        if len(lengths) > 1:
            said = " and ".join(map(str, sorted(lengths)))
            raise ShapeError(
                f"{op.label}: shapes do not broadcast: {' and '.join(map(str, shapes))}; "
                f"axis {-axis} has {said}, but lengths must be equal or 1"
            )


def check_floating(op: Op, inputs: tuple[Tensor, ...]) -> None:
    """Raise an error if no input is floating."""
    if not any(t.data.dtype.kind == "f" for t in inputs):
        raise DTypeError(
            f"{op.label}: expected a floating tensor, got {inputs[0].dtype}; convert it with .astype('float32')"
        )


class ElementwiseOp(Op):
    """An operation on matching entries of its inputs, whose shapes broadcast."""

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if dtypes differ or shapes do not broadcast."""
        data = inputs[0].data
        dtype, shape = data.dtype, data.shape
        for t in inputs:
            data = t.data
            if data.dtype is not dtype:
                check_dtypes(self, inputs)
            if data.shape != shape and data.shape:
                check_broadcast(self, inputs)


class FloatingOp(ElementwiseOp):
    """An elementwise operation whose result is not a whole number even for whole numbers."""

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if dtypes differ or are not floating, or shapes do not broadcast."""
        if inputs[0].data.dtype.kind != "f":
            check_floating(self, inputs)
        if len(inputs) > 1:
            ElementwiseOp.check(self, *inputs)


class Function(Protocol[P]):
    """The public function of a declared operation, which applies `op` to its operands."""

    op: Op
    __name__: str

    def __call__(self, *operands: P.args, **by_name: P.kwargs) -> Tensor:
        """Return the operation's output."""


def operation(
    rule: str, base: type[Op] = ElementwiseOp, *, forward: str | Callable[..., Array] | None = None, **members: Any
) -> Callable[[Callable[Concatenate[Tensor, Tensor, P], Gradients]], Function[P]]:
    """Declare an operation without fields by its gradient.

    The decorated function is `Op.backward`. Its name (without leading underscores), docstring and operands are those
    of the public function, which takes its place::

        @operation("da = dy b, db = dy a")
        def multiply(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
            '''Return ``a * b``, entry by entry.'''
            return lambda: dy * b, lambda: dy * a

    Parameters
    ----------
    rule : str
        The gradient in words.
    base : type of Op
        Says what is checked before anything is computed.
    forward : str or callable
        The name of a function of the backend's ``xp``, by default the operation's own; or a function called as
        ``forward(xp, *arrays, out=None)``.
    **members
        Further members of the class: ``check``, ``view``, ``differentiable``.
    """

    def declare(backward: Callable[Concatenate[Tensor, Tensor, P], Gradients]) -> Function[P]:
        name = backward.__name__.lstrip("_")
        operands = ", ".join(list(inspect.signature(backward).parameters)[2:])
        # Written as source, as dataclasses write theirs: a call costs what it would if it were written out, and
        # signature and errors name the operands.
        compute: Any = forward
        if not callable(compute):
            compute = eval(f"lambda xp, {operands}, out=None: xp.{forward or name}({operands}, out=out)")
        own = {
            "__module__": backward.__module__,
            "__reduce__": lambda op: f"{backward.__name__}.op",  # pickled as a name
            "name": name,
            "rule": rule,
            "forward": staticmethod(compute),
            "backward": staticmethod(backward),
        }
        kind = type(name.title().replace("_", ""), (base,), own | members)
        function: Any = eval(f"lambda {operands}: op({operands})", {"op": kind()})
        function.__name__ = function.__qualname__ = backward.__name__
        function.__module__, function.__doc__ = backward.__module__, backward.__doc__
        function.__annotations__ = dict.fromkeys(operands.split(", "), Operand) | {"return": Tensor}
        function.op = function.__globals__["op"]
        made: Function[P] = applies(function.op)(function)
        return made

    return declare


@lru_cache(maxsize=4096, typed=True)
def instance(kind: type[Op], *fields: Any) -> Op:
    """Return ``kind(*fields)``, made once: making a frozen dataclass takes as long as applying it to few entries."""
    return kind(*fields)


def applies(op: Op | type[Op]) -> Callable[[F], F]:
    """Make a function the one that applies an operation: its docstring gains the rule, Tensor's methods find it."""

    def publish(function: F) -> F:
        note = f"Notes\n-----\nLocal backward rule: ``{op.rule}``."
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n{note}"
        return offers(function)

    return publish
