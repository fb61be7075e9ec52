"""Recording one run of a function: every operation, every assignment, and all that would make a replay wrong."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportFunctionMemberAccess=false
# `x.__class__ is` tells types apart where every call counts; Pyright does not follow it

from __future__ import annotations

import inspect
import re
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Backend, current
from ..backend.conversion import find_dtype
from ..backend.random import seeding
from ..errors import CompileError, GraphError, refusals
from ..mode import mode
from ..op import Gradients, Op
from ..ops.elementwise import Cast, astype
from ..ops.reduce import BroadcastTo
from ..tensors import CONSTANT, RESULT, Tensor, describe
from ..typing import Array, DType
from ..watchers import Watcher, watching
from .abstract import Evaluation, Unknown
from .aliases import overlap, owner
from .arguments import Arguments, check_unchanged
from .guards import Unguarded
from .number_inputs import NumberInput
from .places import Read
from .profile_hook import Profiled, Unprofiled
from .program import Instruction, Program, Value, is_ours
from .reads import Reads
from .trees import LEAF, MUTABLE, Branch, Tree, keeps_state, tells_identity


class GradientNotMaterialized(GraphError):
    """In the place of a gradient that a compiled function computed and did not give out: what reading it raises.

    Attributes
    ----------
    cleared : bool
        Whether the function set it to None afterwards, so the next `backward` inside starts anew.
    """

    def __init__(self, leaf: str, cleared: bool) -> None:
        super().__init__(
            f"grad: the gradient of {leaf} stayed inside a compiled function that calls zero_grad; return it from "
            "there to see it, or call zero_grad() to start anew"
        )
        self.leaf, self.cleared = leaf, cleared

    def __reduce__(self) -> tuple[object, ...]:
        return GradientNotMaterialized, (self.leaf, self.cleared)


@dataclass(frozen=True)
class MadeOutside(Op):
    """The operation of an argument that is no leaf: what made it is not part of the recording."""

    what: str

    @property
    def label(self) -> str:
        """The operation that made the argument."""
        return self.what

    def backward(self, dy: Tensor, y: Tensor, /, *inputs: object, **options: object) -> Gradients:
        """Refuse to follow the graph to what the argument was made of, which is another one at each call."""
        raise CompileError(
            f"compile: backward goes through {describe(y)}, an argument, to what it was made of outside the compiled "
            "function; pass its detach(), or compute it inside"
        )


@dataclass
class GradAccess:
    """What a function does to the attribute `grad` of a leaf.

    Attributes
    ----------
    before : Tensor, GraphError or None
        What it was at the start.
    read_first : bool
        Whether it was read before it was set: the function adds to the gradient there was.
    """

    before: Tensor | GraphError | None
    read_first: bool


class Trace(Watcher):
    """The recording of one run; made for one run and thrown away after it."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.inputs: list[Tensor] = []  # what the function is given for the tensors and arrays in its arguments
        self.positions: list[int] = []  # where they stand among these, one that stands at several at the first
        self.arguments: list[Value] = []  # their values
        self.weak_dtype: set[Value] = set()  # those of plain arrays, which modules convert to the parameters' dtype
        self.grads: dict[Tensor, GradAccess] = {}
        self.grad_values: list[tuple[Tensor, Value]] = []
        self.outputs: list[Value] = []
        self.grad_outputs: list[tuple[Tensor, Value]] = []
        self.out_tree: Tree  # what the function returned
        self.out_leaves: list[Any] = []  # for each leaf in it an `Output`, a `Given`, a `View`, or a leaf from outside
        self.number_values: dict[tuple[int, np.dtype[Any]], tuple[NumberInput, Value]] = {}
        self.checks: list[tuple[int, Callable[[np.ndarray], None]]] = []  # of arguments, by their positions
        self.out_given: list[tuple[int, int]] = []  # objects in the result, by position, that are arguments: theirs
        self.out_kept: dict[int, Any] = {}  # that were there before
        self.out_copied: list[tuple[int, Any]] = []  # of which each call returns a copy
        self.identical: list[tuple[int, Any]] = []  # objects among the arguments, by position, that must be the same
        self.bind: set[int] = set()  # positions of arguments that the function also reaches or changes as leaves
        self.reached: list[Tensor] = []  # the leaves that live on, all of those that share memory
        self.backend: Backend | None = None
        self._reads: Reads
        self._evaluate = Evaluation()
        self.unseen: list[str] = []
        self.known: list[Tensor] = []  # tensors that the function could reach
        self.guarded: list[Read] = []  # what must be as it was for a replay
        self._values: dict[int, Value] = {}  # of leaves' memory, by the identity of the array, kept alive in _arrays
        self._arrays: list[Array] = []
        self._leaves: dict[Value, list[weakref.ref[Tensor]]] = {}
        self._sharing: dict[int, list[weakref.ref[Tensor]]] = {}  # the same by their memory, whatever it holds by now
        self._stores: dict[int, tuple[weakref.ref[Tensor], Value]] = {}
        self._before: dict[int, tuple[Tensor, int]] = {}
        # Views: the operation, the value or the leaves' memory that is seen, and what that held.
        self._seen: dict[Value, tuple[Op, Value | int, Value]] = {}
        self._given: list[Any] = []  # the tensors and arrays in the arguments
        self._generation = seeding.generation
        self._adopted: list[tuple[weakref.ref[np.ndarray], Value]] = []
        self._made: list[tuple[weakref.ref[Tensor], Value]] = []

    # -- running ----------------------------------------------------------------------------------------

    def run(
        self,
        function: Callable[..., object],
        arguments: Arguments,
        bound: Collection[int] = (),
        numbers: Mapping[int, NumberInput] | None = None,
    ) -> None:
        """Call the function on tensors without content, recording what it does and returns.

        Parameters
        ----------
        function : callable
        arguments : Arguments
        bound : collection of int
            Positions of tensors among the leaves of the arguments that are given as they are, as leaves like those
            that the function reaches by itself.
        numbers : dict of int to NumberInput, optional
            What stands for numbers among the arguments that are inputs, by their positions in the tree.
        """
        tree = arguments.tree
        names = arguments.names(function)
        paths = [path for path, token in zip(tree.paths(names), tree.tokens, strict=True) if token is LEAF]
        self._given = tree.leaves
        stand_ins: dict[int, Tensor] = {}
        for position, (leaf, path) in enumerate(zip(tree.leaves, paths, strict=True)):
            if position in bound:
                stand_ins[id(leaf)] = leaf
            elif id(leaf) not in stand_ins:
                stand_ins[id(leaf)] = self._argument(leaf, path)
                self.positions.append(position)
        kept = tree.without_leaves(numbers or ())
        roots = tree.filled((stand_ins[id(leaf)] for leaf in tree.leaves), numbers, kept)
        before = Tree(roots)
        given, named = arguments.split(roots)
        objects = [(x, "an argument") for x in (*tree.fixed(), *kept.values())]
        self._reads = Reads([(function, getattr(function, "__name__", "the function")), *objects], Unguarded)
        outer, refusals.made = refusals.made, []
        try:
            with watching(self), Profiled(self._reads.sees):
                result = function(*given, **named)
            if not refusals.made:
                check_unchanged(before, Tree(roots), names)
        finally:
            refused, refusals.made = refusals.made, outer
            if refused:  # whatever the function made of it
                self._reads.put_back()
                raise refused[0] from None
        self._find_identical(tree, kept, roots, tree.paths(names))
        if inspect.isgenerator(result) or inspect.iscoroutine(result) or inspect.isasyncgen(result):
            kind = type(result).__name__
            if not inspect.isasyncgen(result):
                result.close()
            raise CompileError(f"compile: the function returns a {kind}, which runs only once: return tensors")
        self.known, self.unseen = self._reads.tensors(), self._reads.unseen
        self.guarded = self._reads.finish({id(a) for a in (r() for r, _ in self._adopted) if a is not None})
        self._returns_objects(result, tree, Tree(roots))
        self._outcome(result)
        self._find_bound(bound)

    def _find_identical(
        self, tree: Tree, kept: Mapping[int, object], roots: Sequence[object], paths: list[str]
    ) -> None:
        """Find the objects among the arguments of which the function asks whether they are another object.

        Raises
        ------
        CompileError
            If one of them holds tensors or arrays, and so was made anew around what stands for these.
        """
        if not self._reads.compared_names and not any(isinstance(p, Branch) for p in tree.parts):
            return
        for position, (part, given) in enumerate(zip(tree.parts, Tree(roots).parts, strict=True)):
            if isinstance(part, Branch):
                asked = re.split(r"[.\[]", paths[position])[-1] in self._reads.compared_names
                asked |= id(given.origin) in self._reads.compared
                if asked and position not in kept:
                    raise CompileError(
                        f"compile: the function asks whether its argument {paths[position]!r} is another object, but "
                        "what holds tensors is made anew for it; pass a flag instead"
                    )
                if asked or (position in kept and tells_identity(part.kind)):
                    self.identical.append((position, part.origin))

    def _returns_objects(self, result: object, given: Tree, inside: Tree) -> None:
        """Find the objects in a result that are arguments, were there before, or must be others at each call.

        Raises
        ------
        CompileError
            If one keeps state of its own that a replay cannot make anew.
        """
        positions = {id(p.origin): n for n, p in enumerate(inside.parts) if isinstance(p, Branch)}
        for n, part in enumerate(Tree([result]).parts):
            x = part.origin if isinstance(part, Branch) else part
            if isinstance(part, Branch) and id(x) in positions:
                self.out_given.append((n, positions[id(x)]))
            elif self._reads.was_there(x):
                if isinstance(part, Branch):
                    self.out_kept[n] = x
            elif isinstance(x, MUTABLE):
                self.out_copied.append((n, x))
            elif hasattr(type(x), "__next__") or keeps_state(x):
                raise CompileError(
                    f"compile: the function returns a {type(x).__name__} that it makes, which would be the same in "
                    "every call: return tensors, and make it outside"
                )

    def _argument(self, given: Any, name: str) -> Tensor:
        dtype = find_dtype(given.dtype, f"compile: the argument {name!r}")
        value = Value(given.shape, dtype, "argument", name)
        if isinstance(given, Tensor):
            value.name = given.name or name
            t = Tensor(
                Unknown(value, self),
                given.backend,
                requires_grad=given.requires_grad,
                name=given.name,
                role=given.role,
            )
            t._grad = given._grad
            if given.op is not None:
                t.op, t.inputs = MadeOutside(given.op.label), given.inputs
        else:
            self.weak_dtype.add(value)
            t = Tensor(Unknown(value, self), current())
        self.inputs.append(t)
        self.arguments.append(value)
        self._on(t.backend)
        return t

    def _find_bound(self, bound: Collection[int]) -> None:
        """Find the arguments that the function also reaches as leaves, or changes.

        Raises
        ------
        CompileError
            If something shares memory with a leaf that is assigned, and is not that leaf.
        """
        reached = {t for references in self._leaves.values() for t in (r() for r in references) if t is not None}
        reached.update(self._reads.tensors())
        stored: dict[int, list[Tensor]] = {}
        for t in (r() for r, _ in self._stores.values()):
            if t is not None and t.data.__class__ is not Unknown:
                stored.setdefault(id(owner(t.data)), []).append(t)
        for value in self._leaves:
            if value.array is not None:
                _check_apart(value.array, stored, f"{value.name or 'a leaf'!r}, which the function reaches,")
        for position, given in enumerate(self._given):
            if position not in bound:
                data = given.data if isinstance(given, Tensor) else given
                shares = any(data is t.data for t in stored.get(id(owner(data)), ()))
                if isinstance(given, Tensor) and (given in reached or shares):
                    self.bind.add(position)
                elif not (isinstance(given, Tensor) and given.modified <= RESULT):
                    _check_apart(data, stored, f"an argument of shape {tuple(given.shape)}", whole=True)

    def undo(self) -> None:
        """Put back what the run has set: of leaves, when they were modified, and gradients."""
        for leaf, modified in self._before.values():
            leaf.mark_modified(modified)
        for leaf, access in self.grads.items():
            leaf._grad = access.before

    # -- what the run tells -----------------------------------------------------------------------------

    def computes(self, op: Op, inputs: tuple[Tensor, ...]) -> Unknown:
        """Record one operation; return what stands for the array of its result."""
        if is_ours(type(op)):
            with Unprofiled():
                return self._record(op, inputs)
        self._reads.check_draws()
        made = len(refusals.made or ())
        data = self._record(op, inputs)
        if refusals.made is not None:
            del refusals.made[made:]  # of tries that did without
        self._reads.renew_draws()
        return data

    def _record(self, op: Op, inputs: tuple[Tensor, ...]) -> Unknown:
        if op.name in ("index", "index_add") and any(t.dtype.kind == "b" for t in inputs[1:]):
            raise CompileError(
                f"compile: {op.label} picks as many elements as a mask has ones, which may differ from call to call; "
                "choose with tg.where instead"
            )
        values = tuple([self.value(t) for t in inputs])
        scope = mode.scope.path if mode.scope is not None else ""
        instruction = self._evaluate(op, values, inputs[0].backend, scope)
        self.instructions.append(instruction)
        output = instruction.output
        if op.view:
            data = inputs[0].data
            self._seen[output] = op, values[0] if data.__class__ is Unknown else id(data), values[0]
        return Unknown(output, self)

    def made(self, op: Op, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        """Note a result, to see at the end who keeps it and what it is called."""
        data: Any = y.data
        self._made.append((weakref.ref(y), data.value))

    def value(self, t: Tensor) -> Value:
        """Return the value that `t` has at this point of the run."""
        self._own(t)
        data = t.data
        value: Value | None
        if data.__class__ is Unknown:
            value = data.value if data.owner is self else data._refuse()
        else:
            value = self._values.get(id(data))
        if value is None:
            value = self._first_sight(t)
        elif id(data) in self._sharing:
            self._sharing[id(data)].append(weakref.ref(t))
        return value

    def _own(self, t: Tensor) -> None:
        """Give a result from before memory of its own: a replay may write to it, or to the leaf it is a view of."""
        if t.modified <= RESULT and t.data.__class__ is not Unknown and (t.op is None or t._sharing is not None):
            t.own()
            t.modified = 0 if t.op is None else t.modified

    def _first_sight(self, t: Tensor) -> Value:
        if t.modified == CONSTANT:
            value = Value(t.shape, t.dtype, "constant", array=t.data)
        else:
            scope = mode.scope.path if mode.scope is not None else ""
            value = Value(t.shape, t.dtype, "state", t.name or "", scope, array=t.data)
            self._leaves[value] = self._sharing[id(t.data)] = [weakref.ref(t)]  # who lives on is seen at the end
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
            f"compile: {how} reads {describe(t)} on the host, inside the compiled function; its value would be "
            "baked into the compiled function: return the tensor and read it outside, or choose with tg.where"
        )

    def requires(self, t: Tensor, check: Callable[[np.ndarray], None]) -> None:
        """Note what a replay checks of an argument on the host."""
        value = self.value(t)
        if value in self.arguments:
            self.checks.append((self.positions[self.arguments.index(value)], check))

    def takes(self, number: object, dtype: DType, backend: Backend) -> Tensor | None:
        """Give an input of the plan for a number that changes at every call."""
        if type(number) is not NumberInput:
            return None
        if dtype.kind != "f":
            number.refuse(f"puts it beside a tensor of {dtype}")
        _, value = self.number_values.setdefault(
            (id(number), dtype), (number, Value((), dtype, "argument", number.name))
        )
        self._on(backend)
        return Tensor(Unknown(value, self), backend)

    def copies(self) -> None:
        """Refuse to make a leaf of host values."""
        raise CompileError(
            "compile: tg.tensor or tg.parameter inside the compiled function would be the same in every call; "
            "make it outside, or pass it as an argument"
        )

    def creates(self, leaf: Tensor) -> None:
        """Take a leaf made of a shape as a constant, which is nothing to be learned or assigned."""
        if leaf.requires_grad:
            raise CompileError(
                "compile: a leaf that requires a gradient would be the same in every call of the compiled function; "
                "make it outside, or pass it as an argument"
            )
        leaf.modified = CONSTANT

    def shares(self, source: Any, leaf: Tensor) -> bool:
        """Note memory that got a leaf more: that of a tensor, or of a host array, which somebody must keep."""
        if isinstance(source, Tensor):
            self.value(source)
            return True
        if leaf.data is source or leaf.backend.array_type is not np.ndarray:
            value = self.value(leaf)
        else:  # converted: a replay reads the array and converts it again
            known = self._values.get(id(source))
            value = known or Value(source.shape, source.dtype, "state", array=source)
            if known is None:
                self._remember(source, value)
                self._leaves[value] = []
            converted = Value(leaf.shape, leaf.dtype)
            self.instructions.append(Instruction(Cast(leaf.dtype.name), (value,), converted))
            self._remember(leaf.data, converted)
        self._adopted.append((weakref.ref(source), value))
        return True

    def assigns(self, t: Tensor, source: Tensor) -> bool:
        """Record that a leaf takes the value of another tensor."""
        place = id(t.data)
        old, value = self.value(t), self.value(source)
        if old.kind == "argument" and place not in self._stores:
            self._assigns_argument(t, self.positions[self.arguments.index(old)])
        if value.shape != t.shape:
            spread = Value(t.shape, t.dtype)
            if value.size == 1 and len(value.shape) > len(t.shape):
                raise CompileError(f"compile: assign_ of shape {value.shape} to {t.shape}: reshape it first")
            self.instructions.append(Instruction(BroadcastTo(t.shape), (value,), spread))
            value = spread
        if t.data.__class__ is Unknown and old.kind != "argument":  # made inside, and gone with the run
            t.data = Unknown(value, self)
            return True
        if place not in self._before:
            self._before[place] = t, t.modified
        self._values[place] = value
        self._stores[place] = weakref.ref(t), value
        return True

    def _assigns_argument(self, t: Tensor, position: int) -> None:
        """Let the recording be made anew with the leaf itself in the place of an argument that is assigned."""
        given = self._given[position]
        if not isinstance(given, Tensor):
            raise CompileError(
                f"compile: assign_ to {describe(t)}, an argument, would change a copy; let the function use the tensor "
                "from outside instead"
            )
        self.bind.add(position)

    def reads_grad(self, t: Tensor) -> None:
        """Note that a gradient is read; one that was there before is an argument like any other."""
        if t in self.grads:
            return
        before = t._grad
        self.grads[t] = GradAccess(before, read_first=True)
        if isinstance(before, GradientNotMaterialized) and before.cleared:
            t._grad = None
        if isinstance(before, GradientNotMaterialized) and not before.cleared:
            raise CompileError(f"compile: {before}")
        if isinstance(before, Tensor):
            self._own(before)
            value = Value(before.shape, before.dtype, "gradient", f"grad of {t.name or 'a leaf'}", leaf=t)
            self.grad_values.append((t, value))
            self._remember(before.data, value)

    def writes_grad(self, t: Tensor) -> None:
        """Note that a gradient is set."""
        if t not in self.grads:
            self.grads[t] = GradAccess(t._grad, read_first=False)

    def enters(self, module: Any, inputs: tuple[object, ...]) -> tuple[object, ...]:
        """Give a module plain arguments as it would make them itself."""
        plain = [self._is_plain(x) for x in inputs]
        like = next(iter(module.parameters()), None) if any(plain) else None
        if like is None:
            return inputs
        return tuple(
            self._like(x, like) if isinstance(x, Tensor) and is_plain else x
            for x, is_plain in zip(inputs, plain, strict=True)
        )

    def _is_plain(self, x: object) -> bool:
        """Whether an input of a module is an array among the arguments as it was given."""
        return isinstance(x, Tensor) and x.data.__class__ is Unknown and x.data.value in self.weak_dtype

    def _like(self, x: Tensor, like: Tensor) -> Tensor:
        if x.backend is not like.backend:
            if not self.instructions:
                self.backend = None
            self._on(like.backend)
            x = Tensor(x.data, like.backend)
        return astype(x, like.dtype) if x.dtype.kind == "f" else x

    # -- the program ------------------------------------------------------------------------------------

    def _outcome(self, result: object) -> None:
        """Take note of what the function returned and of the gradients it leaves."""
        for t, value in ((r(), v) for r, v in self._made):
            if t is not None and t.name:
                value.name = t.name
        self.out_tree = Tree([result])
        for part in self.out_tree.parts:
            if type(part) is NumberInput:
                part.refuse("returns it")
        for x in self.out_tree.leaves:
            if not isinstance(x, Tensor) and not self._reads.knows(x):
                raise CompileError(
                    f"compile: the function returns an array ({x.dtype} {x.shape}) made on the host inside, which "
                    "would be the same in every call: make it outside"
                )
        given = dict(zip(self.inputs, self.positions, strict=True))
        computed = {
            t: self.value(t)
            for t in self.out_tree.leaves
            if isinstance(t, Tensor) and t not in given and (t.op is not None or isinstance(t.data, Unknown))
        }
        bases = {t: self._base(value) for t, value in computed.items()}
        shared = Counter(bases.values())
        sources: dict[Value | int, Any] = {v: Given(n) for v, n in zip(self.arguments, self.positions, strict=True)}
        adopted = {value for _, value in self._adopted}
        for value, references in self._leaves.items():
            alive = [t for t in (r() for r in references) if t is not None and t.data is value.array]
            if alive and value not in adopted:
                sources[id(value.array)] = alive[0]
        results: dict[Tensor, Any] = {t: Given(n) for t, n in given.items()}
        for t, value in computed.items():
            base = bases[t]
            if base not in sources and (shared[base] == 1 or not isinstance(base, Value)):
                base = value
            source = sources.get(base)
            if source is None:
                source = sources[base] = Output(len(self.outputs))
                self.outputs.append(base)  # type: ignore[arg-type]
                results[t] = source if base is value else View(source, self._seen_from(value)[1])
            else:
                results[t] = View(source, () if base is value else self._seen_from(value)[1])
        self.out_leaves = [results.get(t, t) if isinstance(t, Tensor) else t for t in self.out_tree.leaves]
        self.out_tree.leaves.clear()  # nothing of the run lives on
        for part in self.out_tree.parts:
            if isinstance(part, Branch):
                part.origin = None
        for leaf, access in self.grads.items():
            if isinstance(leaf._grad, Tensor) and access.read_first:
                self.grad_outputs.append((leaf, self.value(leaf._grad)))

    def _base(self, value: Value) -> Value | int:
        """Return what a value is a view of, a value, or the leaves' memory if that still holds what was seen."""
        return self._seen_from(value)[0]

    def _seen_from(self, value: Value) -> tuple[Value | int, tuple[Op, ...]]:
        """Return what a value is a view of, and the operations that make it a view, the first first."""
        ops: list[Op] = []
        base: Value | int = value
        while isinstance(base, Value) and base in self._seen:
            op, source, seen = self._seen[base]
            if isinstance(source, int) and self._values.get(source) is not seen:
                break
            ops.insert(0, op)
            base = source
        return base, tuple(ops)

    def program(self) -> Program:
        """Return the program, once the function's own tensors are gone.

        Raises
        ------
        CompileError
            If a host array was made on the way, or a result of an operation is kept by someone.
        """
        for leaf, access in self.grads.items():
            if not (isinstance(leaf._grad, Tensor) and access.read_first):
                leaf._grad = GradientNotMaterialized(describe(leaf), cleared=leaf._grad is None)
        handed_out = {id(leaf._grad) for leaf in self.grads}
        for reference, _ in reversed(self._made):  # what was made first may live only as an input of the last
            t = reference()
            if t is not None and id(t) not in handed_out:
                raise CompileError(
                    f"compile: {describe(t)}, of shape {t.shape}, escapes the compiled function, so later calls "
                    "could not update it; return it instead"
                )
        if seeding.generation != self._generation:
            raise CompileError("compile: manual_seed inside the compiled function; call it outside")
        stores = {leaf: value for leaf, value in ((r(), v) for r, v in self._stores.values()) if leaf is not None}
        self._settle_leaves(stores)
        values = (*self.arguments, *(v for _, v in self.number_values.values()), *(v for _, v in self.grad_values))
        outputs = (*self.outputs, *(v for _, v in self.grad_outputs))
        return Program(self.backend or current(), values, tuple(self.instructions), outputs, stores)

    def _settle_leaves(self, stores: dict[Tensor, Value]) -> None:
        """Tell leaves that live on from those made on the way, whose content never changes."""
        memory = {id(leaf.data): leaf for leaf in stores}
        self._values.clear()
        self._arrays.clear()
        adopted = {value: reference for reference, value in self._adopted}
        for value, references in self._leaves.items():
            alive = [t for t in (r() for r in {id(r): r for r in references}.values()) if t is not None]
            self.reached += alive
            value.leaf = memory.get(id(value.array), alive[0] if alive else None)
            if value.leaf is not None:
                value.name = value.leaf.name or value.name
            elif value not in adopted:
                value.kind = "constant"
        for value, reference in adopted.items():
            if value.leaf is None and not self._is_kept(value, reference):
                value.kind = "constant"

    def _is_kept(self, value: Value, reference: weakref.ref[np.ndarray]) -> bool:
        """Whether someone else keeps a host array, and a replay would see it change.

        Raises
        ------
        CompileError
            If not, unless it has no axes and nobody keeps it: then it is a number.
        """
        on_host = value.array is reference()
        number = None if value.shape else value.array.copy()
        value.array = None  # who else keeps it is seen now
        array = reference()
        if array is not None and on_host:
            value.array = np.asarray(array)  # without the ways of a subclass, as a matrix has them
            return True
        if number is None or array is not None:
            reason = "made on the host inside" if array is None else "on the host and used inside"
            raise CompileError(
                f"compile: an array ({value.dtype} {value.shape}) was {reason} the compiled function; it would be the "
                "same in every call: pass it as an argument, or make it a tensor outside"
            )
        value.array = number
        return False


def _check_apart(array: Array, stored: Mapping[int, list[Tensor]], what: str, whole: bool = False) -> None:
    """Raise an error if an array shares memory with a leaf that is assigned; `whole`: also if it is that memory."""
    for t in stored.get(id(owner(array)), ()):
        if overlap(array, t.data) and (whole or array is not t.data):
            raise CompileError(
                f"compile: {what} shares memory with {describe(t)}, which the function assigns; use a copy of it"
            )


@dataclass(frozen=True)
class Output:
    """Stands for a computed tensor among the results, by its number."""

    number: int


@dataclass(frozen=True)
class Given:
    """Stands for an argument among the results, by its position among the leaves of the arguments."""

    position: int


@dataclass(frozen=True)
class View:
    """Stands for a view among the results.

    Attributes
    ----------
    source : Output, Given or Tensor
        Whose memory it sees.
    ops : tuple of Op
        The operations that make it, the first first.
    """

    source: Any
    ops: tuple[Op, ...]
