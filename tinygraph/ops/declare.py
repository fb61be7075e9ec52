"""How an operation is declared: its kind, by what is checked before it is computed, and its public function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, Concatenate, ParamSpec, Protocol, TypeVar

from ..op import Gradients, Op
from ..operand_checks import check_broadcast, wrong_kind
from ..operators import Operand, offers
from ..tensors import Tensor
from ..typing import Array

__all__ = ["ElementwiseOp", "FloatingOp", "applies", "operation"]

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


class ElementwiseOp(Op):
    """An operation on matching elements of its inputs, which meet in one dtype and whose shapes broadcast."""

    promotes_from = 0
    kinds: ClassVar[str] = "fiub"  # of the dtypes it takes, as NumPy writes them

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if the dtype is none it takes, or shapes do not broadcast."""
        data = inputs[0].data
        if data.dtype.kind not in self.kinds:
            raise wrong_kind(self, inputs[0])
        shape = data.shape
        for t in inputs:
            data = t.data
            if data.shape != shape and data.shape:
                check_broadcast(self, inputs)


class NumberOp(ElementwiseOp):
    """An elementwise operation on numbers; truth values have none."""

    kinds = "fiu"


class FloatingOp(ElementwiseOp):
    """An elementwise operation whose result is not a whole number even for whole numbers."""

    kinds = "f"


class Function(Protocol[P]):
    """The public function of a declared operation, which applies `op` to its operands."""

    op: Op
    __name__: str

    def __call__(self, *operands: P.args, **by_name: P.kwargs) -> Tensor:
        """Return the operation's output."""
        ...


def operation(
    rule: str, base: type[Op] = ElementwiseOp, *, forward: str | Callable[..., Array] | None = None, **members: object
) -> Callable[[Callable[Concatenate[Tensor, Tensor, P], Gradients]], Function[P]]:
    """Declare an operation without fields by its gradient.

    The decorated function is `Op.backward`. Its name (without leading underscores), docstring and operands are those
    of the public function, which takes its place::

        @operation("da = dy b, db = dy a")
        def multiply(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
            '''Return ``a * b``, element by element.'''
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
        Further members of the class: ``check``, ``view``, ``differentiable``, ``equation``.
    """

    def declare(backward: Callable[Concatenate[Tensor, Tensor, P], Gradients]) -> Function[P]:
        name = backward.__name__.lstrip("_")
        operands = ", ".join(list(inspect.signature(backward).parameters)[2:])
        # Written as source, as dataclasses write theirs: a call costs what it would if it were written out, and
        # signature and errors name the operands.
        compute: Any = forward
        if not callable(compute):
            source = f"lambda xp, {operands}, out=None: xp.{forward or name}({operands}, out=out)"
            compute = eval(source, {"__name__": __name__})
        attributes = {
            "__module__": backward.__module__,
            "__reduce__": lambda op: f"{backward.__name__}.op",  # pickled as a name
            "name": name,
            "rule": rule,
            "forward": staticmethod(compute),
            "backward": staticmethod(backward),
        }
        kind = type(name.title().replace("_", ""), (base,), attributes | members)
        function: Any = eval(f"lambda {operands}: op({operands})", {"op": kind(), "__name__": __name__})
        function.__name__ = function.__qualname__ = backward.__name__
        function.__module__, function.__doc__ = backward.__module__, backward.__doc__
        function.__annotations__ = dict.fromkeys(operands.split(", "), Operand) | {"return": Tensor}
        function.op = function.__globals__["op"]
        documented: Function[P] = applies(function.op)(function)
        return documented

    return declare


@lru_cache(maxsize=4096, typed=True)
def instance(kind: type[Op], *fields: object) -> Op:
    """Return ``kind(*fields)``, made once: making a frozen dataclass takes as long as applying it to few elements."""
    return kind(*fields)


def applies(op: Op | type[Op]) -> Callable[[F], F]:
    """Make a function the one that applies an operation: its docstring gains the rule, Tensor's methods find it."""

    def publish(function: F) -> F:
        note = f"Notes\n-----\nLocal backward rule: ``{op.rule}``."
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n{note}"
        return offers(function)

    return publish
