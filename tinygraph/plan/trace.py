"""Recording one run of a function: every operation, every assignment, and all that would make a replay wrong."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Array, Backend, current
from ..backend.random import seeding
from ..errors import CompileError
from ..op import Op
from ..ops.elementwise import astype
from ..ops.reduce import BroadcastTo
from ..ops.shape import Index, IndexAdd
from ..tensor import CONSTANT, INSIDE_PLAN, InsidePlan, Tensor, describe, mode
from .program import Instruction, Program, Value


@dataclass
class GradAccess:
    """What a function does to the attribute `grad` of a leaf.

    Attributes
    ----------
    before : Tensor, InsidePlan or None
        What it was at the start.
    read_first : bool
        Whether it was read before it was set: the function adds to the gradient there was.
    """

    before: Tensor | InsidePlan | None
    read_first: bool


@dataclass(eq=False)
class Argument:
    """A tensor or array among the arguments, as the trace of it.

    Attributes
    ----------
    position : int
        Its place among the tensors and arrays in the arguments.
    name : str
        What the function calls it: ``x``, ``batch[0]``, ``views.left``.
    tensor : Tensor
        What the function is given in its place: a leaf with a copy.
    given : Tensor or array
        What the caller passed.
    soft : bool
        Whether it was a plain array, which modules convert to the parameters' dtype.
    """

    position: int
    name: str
    tensor: Tensor
    given: Any
    soft: bool


class Trace:
    """The recording of one run; made for one run and thrown away after it."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.arguments: list[tuple[Argument, Value]] = []
        self.inputs: list[Argument] = []
        self.grads: dict[Tensor, GradAccess] = {}
        self.grad_values: list[tuple[Tensor, Value]] = []
        self.outputs: list[Value] = []
        self.grad_outputs: list[tuple[Tensor, Value]] = []
        self.modules: dict[Any, None] = {}
        self.backend: Backend | None = None
        self._values: dict[int, Value] = {}  # by the identity of the array, kept alive in _arrays
        self._arrays: list[Array] = []
        self._leaves: dict[Value, list[weakref.ref[Tensor]]] = {}
        self._stores: dict[int, tuple[weakref.ref[Tensor], Value]] = {}
        self._before: dict[int, tuple[Tensor, Array, int]] = {}
        self._views: dict[Value, tuple[int, int]] = {}  # the memory a value looks into, and when it was made
        self._assigned: dict[int, int] = {}
        self._generation = seeding.generation
        self._adopted: list[tuple[weakref.ref[np.ndarray], Value]] = []
        self._made: list[tuple[weakref.ref[Tensor], Value]] = []

    # -- running ----------------------------------------------------------------------------------------

    def run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call the function on copies of the tensors and arrays in its arguments, recording; undo it if it fails."""
        outer, observer = mode.tracer, mode.observer

        def note(op: Op, inputs: tuple[Tensor, ...], y: Tensor) -> None:
            self.applied(op, inputs, y)
            if observer is not None:
                observer(op, inputs, y)

        names = positional_names(function, len(args))
        given = [map_leaves(self._argument, x, name) for name, x in zip(names, args, strict=True)]
        named = {name: map_leaves(self._argument, x, name) for name, x in kwargs.items()}
        mode.tracer, mode.observer = self, note
        try:
            return function(*given, **named)
        finally:
            mode.tracer, mode.observer = outer, observer

    def _argument(self, given: Any, name: str) -> Tensor:
        soft = not isinstance(given, Tensor)
        if soft:
            backend = current()
            own = given if isinstance(given, backend.array_type) else np.asarray(given)
            tensor = Tensor(backend.asarray(own).copy(), backend)
        else:
            tensor = Tensor(given.data.copy(), given.backend, requires_grad=given.requires_grad, name=given.name)
            tensor.role = given.role
            tensor._grad = given._grad
        argument = Argument(len(self.inputs), name, tensor, given, soft)
        self.inputs.append(argument)
        self._bind(argument, tensor)
        return tensor

    def _bind(self, argument: Argument, tensor: Tensor) -> None:
        value = Value(tensor.shape, tensor.dtype, "argument", tensor.name or argument.name)
        self.arguments.append((argument, value))
        self._remember(tensor.data, value)
        self._on(tensor.backend)

    def undo(self) -> None:
        """Put back what the run has assigned."""
        for leaf, data, modified in self._before.values():
            leaf.backend.xp.copyto(leaf.data, data)
            leaf.modified = modified
        for leaf, access in self.grads.items():
            leaf._grad = access.before

    # -- what the run tells -----------------------------------------------------------------------------

    def applied(self, op: Op, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        """Record one operation."""
        if isinstance(op, Index | IndexAdd) and any(t.dtype.kind == "b" for t in inputs[1:]):
            raise CompileError(
                f"compile: {op.label} picks as many entries as a mask has ones, which may differ from call to call; "
                "choose with tg.where instead"
            )
        values = tuple([self.value(t) for t in inputs])
        scope = y.scope.path if y.scope is not None else ""
        output = Value(y.shape, y.dtype, name=y.name or "", scope=scope)
        self.instructions.append(Instruction(op, values, output))
        if op.view:
            first = id(inputs[0].data)
            base = self._views[values[0]][0] if values[0] in self._views else first
            self._views[output] = base, len(self.instructions)
        self._remember(y.data, output)
        self._made.append((weakref.ref(y), output))

    def value(self, t: Tensor) -> Value:
        """Return the value that `t` has at this point of the run."""
        value = self._values.get(id(t.data))
        if value is None:
            value = self._first_sight(t)
        elif value in self._leaves and t.op is None:
            self._leaves[value].append(weakref.ref(t))
        if value in self._views:
            base, made = self._views[value]
            if self._assigned.get(base, -1) >= made:
                raise CompileError(
                    f"compile: {describe(t)} looks into memory that was assigned after it was made; make it again"
                )
        return value

    def _first_sight(self, t: Tensor) -> Value:
        if t.modified == CONSTANT:
            value = Value(t.shape, t.dtype, "constant", array=t.data)
        else:
            scope = mode.scope.path if mode.scope is not None else ""
            value = Value(t.shape, t.dtype, "state", t.name or "", scope, array=t.data)
            self._leaves[value] = [weakref.ref(t)]  # who of them lives on is seen at the end
        self._remember(t.data, value)
        self._on(t.backend)
        return value

    def _on(self, backend: Backend) -> None:
        if self.backend is None:
            self.backend = backend
        elif self.backend is not backend:
            raise CompileError(
                f"compile: the function works on two backends, {self.backend.name!r} and {backend.name!r}; "
                "move everything to one"
            )

    def _remember(self, array: Array, value: Value) -> None:
        self._values[id(array)] = value
        self._arrays.append(array)

    def reads(self, t: Tensor, how: str) -> None:
        """Refuse to read a value on the host."""
        raise CompileError(
            f"compile: {how} reads {describe(t)} on the host, inside the compiled function; what depends on it would "
            "be the same in every call: return the tensor and read it outside, or choose with tg.where"
        )

    def makes(self) -> None:
        """Refuse to make a leaf of host values."""
        raise CompileError(
            "compile: tg.tensor or tg.parameter inside the compiled function would be the same in every call; "
            "make it outside, or pass it as an argument"
        )

    def adopts(self, array: Any, t: Tensor) -> None:
        """Note a host array that became a leaf; it must belong to someone who keeps it."""
        self._adopted.append((weakref.ref(array), self.value(t)))

    def assigns(self, t: Tensor, source: Tensor) -> None:
        """Record that a leaf takes the value of another tensor."""
        place = id(t.data)
        old, value = self.value(t), self.value(source)
        if old.kind == "argument" and place not in self._stores:
            raise CompileError(
                f"compile: assign_ to {describe(t)}, an argument, would change a copy; let the function use the tensor "
                "from outside instead"
            )
        if value.shape != t.shape:
            spread = Value(t.shape, t.dtype)
            if value.size == 1 and len(value.shape) > len(t.shape):
                raise CompileError(f"compile: assign_ of shape {value.shape} to {t.shape}: reshape it first")
            self.instructions.append(Instruction(BroadcastTo(t.shape), (value,), spread))
            value = spread
        if place not in self._before:
            self._before[place] = t, t.data.copy(), t.modified
        self._values[place] = value
        self._stores[place] = weakref.ref(t), value
        self._assigned[place] = len(self.instructions)

    def shares(self, t: Tensor) -> None:
        """Note a leaf whose memory another tensor is about to share."""
        self.value(t)

    def reads_grad(self, t: Tensor) -> None:
        """Note that a gradient is read; one that was there before is an argument like any other."""
        if t in self.grads:
            return
        before = t._grad
        self.grads[t] = GradAccess(before, read_first=True)
        if isinstance(before, InsidePlan) and before.dropped:
            t._grad = None
        if isinstance(before, Tensor):
            value = Value(before.shape, before.dtype, "gradient", f"grad of {t.name or 'a leaf'}", leaf=t)
            self.grad_values.append((t, value))
            self._remember(before.data, value)

    def writes_grad(self, t: Tensor) -> None:
        """Note that a gradient is set."""
        if t not in self.grads:
            self.grads[t] = GradAccess(t._grad, read_first=False)

    def enters(self, module: Any, inputs: tuple[Any, ...], like: Tensor | None) -> tuple[Any, ...]:
        """Note a module, and give it plain arguments as it would make them itself."""
        scope: Any = mode.scope
        while scope is not None and scope.module not in self.modules:
            self.modules[scope.module] = None
            scope = scope.parent
        soft = {a.tensor: a for a in self.inputs if a.soft}
        if like is None or not any(isinstance(x, Tensor) and x in soft for x in inputs):
            return inputs
        return tuple(self._like(soft[x], like) if isinstance(x, Tensor) and x in soft else x for x in inputs)

    def _like(self, argument: Argument, like: Tensor) -> Tensor:
        t = argument.tensor
        if t.backend is not like.backend:
            t = Tensor(like.backend.asarray(t.backend.to_host(t.data)), like.backend)
            self.arguments = [(a, v) for a, v in self.arguments if a is not argument]
            if not self.instructions:
                self.backend = None
            self._bind(argument, t)
            argument.tensor = t
        return astype(t, like.dtype) if t.dtype.kind == "f" else t

    # -- the program ------------------------------------------------------------------------------------

    def outcome(self, result: Any) -> Any:
        """Take note of what the function returned and of the gradients it leaves.

        Parameters
        ----------
        result : nested tuples, lists and dicts of tensors and other objects

        Returns
        -------
        nested as `result`
            An `Output` for each tensor that was computed; leaves from outside are themselves.
        """
        for t, value in ((r(), v) for r, v in self._made):
            if t is not None and t.name:
                value.name = t.name
        own = {id(a.tensor) for a in self.inputs}
        handed_out: dict[Tensor, Output] = {}

        def numbered(t: Any, path: str) -> Any:
            if not isinstance(t, Tensor) or (t.op is None and id(t) not in own and self._is_leaf(t)):
                return t
            if t not in handed_out:
                handed_out[t] = Output(len(self.outputs))
                self.outputs.append(self.value(t))
            return handed_out[t]

        structure = map_leaves(numbered, result, "")
        for leaf, access in self.grads.items():
            if isinstance(leaf._grad, Tensor) and access.read_first:
                self.grad_outputs.append((leaf, self.value(leaf._grad)))
        return structure

    def _is_leaf(self, t: Tensor) -> bool:
        """Whether a tensor without an operation is a leaf, and not a result made under `no_grad`."""
        value = self._values.get(id(t.data))
        return value is None or value.kind == "state" or id(t.data) in self._stores

    def final_values(self) -> tuple[list[np.ndarray], dict[Tensor, np.ndarray]]:
        """Return host copies of the results, and of what was assigned to leaves that live on."""
        arrays = {value: array for array in self._arrays if (value := self._values.get(id(array))) is not None}
        backend = self.backend or current()
        results = [np.array(backend.to_host(arrays[v])) for v in self.outputs]
        leaves = [leaf for leaf in (r() for r, _ in self._stores.values()) if leaf is not None]
        return results, {leaf: np.array(backend.to_host(leaf.data)) for leaf in leaves}

    def program(self) -> Program:
        """Return the program, once the function's own tensors are gone.

        Raises
        ------
        CompileError
            If a host array was made on the way, or a result of an operation is kept by someone.
        """
        for leaf, access in self.grads.items():
            if not (isinstance(leaf._grad, Tensor) and access.read_first):
                leaf._grad = INSIDE_PLAN[leaf._grad is None]
        handed_out = {id(leaf._grad) for leaf in self.grads}
        for reference, _ in reversed(self._made):  # what was made first may live only as an input of the last
            t = reference()
            if t is not None and id(t) not in handed_out:
                raise CompileError(
                    f"compile: {describe(t)}, of shape {t.shape}, is kept outside of the compiled function, where "
                    "later calls would not renew it; return it instead"
                )
        if seeding.generation != self._generation:
            raise CompileError("compile: manual_seed inside the compiled function; call it outside")
        stores = {leaf: value for leaf, value in ((r(), v) for r, v in self._stores.values()) if leaf is not None}
        self._settle_leaves(stores)
        values = tuple(v for _, v in self.arguments) + tuple(v for _, v in self.grad_values)
        outputs = (*self.outputs, *(v for _, v in self.grad_outputs))
        return Program(self.backend or current(), values, tuple(self.instructions), outputs, stores)

    def _settle_leaves(self, stores: dict[Tensor, Value]) -> None:
        """Tell leaves that live on from those made on the way, whose content never changes."""
        memory = {id(leaf.data): leaf for leaf in stores}
        self._values.clear()
        self._arrays.clear()
        adopted = {value: reference for reference, value in self._adopted}
        for value, references in self._leaves.items():
            alive = [t for t in (r() for r in references) if t is not None]
            value.leaf = memory.get(id(value.array), alive[0] if alive else None)
            if value.leaf is not None:
                value.name = value.leaf.name or value.name
            elif value not in adopted:
                value.kind = "constant"
        for value, reference in adopted.items():
            if value.leaf is None:
                self._check_kept(value, reference)

    def _check_kept(self, value: Value, reference: weakref.ref[np.ndarray]) -> None:
        """Raise an error unless someone else keeps a host array, and a replay would see it change."""
        host = value.array if isinstance(value.array, np.ndarray) else None
        what = f"{value.dtype} {value.shape}"
        shared = host is not None and reference() is host
        value.array = None
        del host
        array = reference()
        if array is None or not shared:
            reason = "made on the host inside" if array is None else "on the host and used inside"
            raise CompileError(
                f"compile: an array ({what}) was {reason} the compiled function; it would be the same in every call: "
                "pass it as an argument, or make it a tensor outside"
            )
        value.array = array


@dataclass(frozen=True)
class Output:
    """The place of a computed tensor in a structure of results."""

    number: int


def is_array(x: Any) -> bool:
    """Whether an argument is an input of a plan: a tensor or an array; a number without axes is not."""
    kind = x.__class__
    if kind is Tensor:
        return True
    return (kind is np.ndarray or isinstance(x, current().array_type)) and len(x.shape) > 0


def map_leaves(function: Callable[[Any, str], Any], tree: Any, path: str) -> Any:
    """Return nested tuples, lists and dicts with `function` applied to every tensor and array in them and its path."""
    if is_array(tree):
        return function(tree, path)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(
            *(map_leaves(function, item, f"{path}.{field}") for field, item in zip(tree._fields, tree, strict=True))
        )
    if isinstance(tree, list | tuple):
        return type(tree)(map_leaves(function, item, f"{path}[{i}]") for i, item in enumerate(tree))
    if isinstance(tree, dict):
        return {key: map_leaves(function, item, f"{path}[{key!r}]") for key, item in tree.items()}
    return tree


def positional_names(function: Callable[..., Any], count: int) -> list[str]:
    """Return what a function calls its first `count` arguments."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # a function written in C may not tell
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "argument")
    return [*names, *(f"{rest}[{i}]" for i in range(count - len(names)))][:count]


def fill(structure: Any, tensors: Sequence[Tensor]) -> Any:
    """Return nested tuples, lists and dicts with the tensors in the places of `Output`."""
    if isinstance(structure, Output):
        return tensors[structure.number]
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(fill(item, tensors) for item in structure))
    if isinstance(structure, list | tuple):
        return type(structure)(fill(item, tensors) for item in structure)
    if isinstance(structure, dict):
        return {key: fill(item, tensors) for key, item in structure.items()}
    return structure
