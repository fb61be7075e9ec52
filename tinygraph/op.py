"""`Op`: an operation as its forward computation and its local backward rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from .backend import Array
from .errors import TinygraphError
from .leaves import as_operands, in_common_dtype, mixed_backends
from .mode import mode
from .operand_checks import check_dtypes, check_result
from .tensors import RESULT, VIEW, Tensor, next_index
from .typing import Namespace

__all__ = ["Op"]

Gradients = tuple[Tensor | Callable[[], Tensor] | None, ...]


_new = object.__new__


@dataclass(frozen=True, eq=False)
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

    What varies (an axis, a slope) is a field of a frozen dataclass, so that equal ops compare equal; without
    one, an op equals itself only. An op keeps no state of a call.
    """

    name: ClassVar[str] = "op"  # shown in drawings and errors; the class name in snake case unless given
    rule: ClassVar[str] = ""  # the backward rule in words
    equation: ClassVar[str] = ""  # its number in a text, shown beside it: that of tanh is "(65.7)"
    differentiable: ClassVar[bool] = True  # False: the output carries no gradient (a comparison, an index)
    random: ClassVar[bool] = False  # True: each call gives another result, even for the same inputs
    view: ClassVar[bool] = False  # True: the output is the first input's memory, seen in another way
    promotes_from: ClassVar[int | None] = None  # inputs from this one on are converted to their common dtype
    keeps: ClassVar[bool] = False  # True: `forward` takes ``kept``, a list for arrays that the rule can use again
    compares: ClassVar[bool] = False  # True: inputs are only compared, so numbers may be beyond their dtype

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __post_init__(self) -> None:
        """Make Python's numbers of NumPy's among the fields: they adapt to the arrays that they meet."""
        for name, value in vars(self).items():
            if isinstance(value, np.generic) and value.dtype.kind in "fiub":
                object.__setattr__(self, name, value.item())

    @property
    def label(self) -> str:
        """The name with the fields that differ from their defaults: ``sum(axis=0)``."""
        set_fields = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{self.name}({', '.join(set_fields)})" if set_fields else self.name

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if the inputs do not fit, before anything is computed."""
        check_dtypes(self, inputs)

    def forward(self, xp: Namespace, /, *arrays: Any, **options: Any) -> Array:
        """Return the output for `arrays`, through the backend's namespace `xp` only.

        A subclass names its arrays and takes ``out=None``, a buffer of the output's shape and dtype to write
        to, which it may ignore: ``def forward(self, xp, a, b, out=None)``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Tensor, y: Tensor, /, *inputs: Any, **options: Any) -> Gradients:
        """Return the gradient of each input, given that of the output, `dy`, and the output `y`.

        A subclass names its inputs: ``def backward(self, dy, y, a, b)``. Each gradient is a tensor, None where
        nothing flows, or a function of no arguments that returns the tensor and is called only if that
        gradient is wanted. Broadcasting is undone by the engine. The rule is written with tensors, so
        gradients can be drawn, compiled and differentiated again.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __call__(self, *operands: Any) -> Tensor:
        """Apply the operation to tensors, arrays or numbers; return its output as a tensor."""
        backend: Any = None
        dtype: Any = None
        wants_gradient = mixed = False
        arrays = []
        kept: list[Array] | None = None
        try:
            for t in operands:
                if t.__class__ is not Tensor:
                    inputs = as_operands(self, operands)
                    break
                if t.backend is not backend:
                    if backend is not None:
                        raise mixed_backends(self.label, operands[0], t)
                    backend = t.backend
                if t.requires_grad:
                    wants_gradient = True
                data = t.data
                if data.dtype is not dtype:
                    mixed = dtype is not None
                    dtype = data.dtype
                arrays.append(data)
            else:
                inputs = in_common_dtype(self, operands) if mixed and self.promotes_from is not None else operands
                if inputs is operands:
                    self.check(*inputs)
        except TinygraphError as error:
            raise _located(error) from None
        if inputs is not operands:
            return self(*inputs)
        watchers = mode.watchers
        for watcher in watchers:
            data = watcher.computes(self, inputs)
            if data is not None:
                break
        else:
            if self.keeps:
                kept = []
                data = self.forward(backend.xp, *arrays, kept=kept)
            else:
                data = self.forward(backend.xp, *arrays)
            if data.__class__ is not backend.array_type:  # NumPy returns scalars where no axis is left
                data = backend.asarray(data)
        if data.dtype is not arrays[0].dtype:
            check_result(self, inputs, data)

        y: Tensor = _new(Tensor)  # its own ``__init__`` would cost a call
        y.data = data
        y.backend = backend
        y.name = y.role = y._grad = y._sharing = None
        y._kept = kept
        y.modified = RESULT
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
        if self.view:
            y.modified = VIEW
            inputs[0].share(y)
        for watcher in watchers:
            watcher.made(self, inputs, y)
        return y


def values_kept(y: Tensor) -> list[Tensor]:
    """Return as leaves what the operation that made `y` kept (see `Op.keeps`), where values are all that is asked for.

    Leaves know no derivatives, as a rule that is recorded needs, and a watcher may have let the operation see a sample
    of a batch only; there the list is empty.
    """
    if y._kept is None or mode.recording or mode.watchers:
        return []
    return [Tensor(array, y.backend) for array in y._kept]


def _located(error: TinygraphError) -> TinygraphError:
    """Return the error with the module named in whose call it happened."""
    path = mode.scope.path if mode.scope is not None else ""
    return type(error)(f"{path}: {error}") if path else error
