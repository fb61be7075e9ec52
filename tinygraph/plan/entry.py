"""A plan with the conditions under which it holds, and the way from arguments to results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..backend import current
from ..errors import GraphError
from ..mode import mode
from ..tensors import RESULT, Tensor, describe, leaf_of, next_index
from ..typing import Array
from .aliases import overlap, owner
from .arenas import Arenas
from .arguments import Arguments, array_type, copied, differs
from .guards import GONE, Guards
from .number_inputs import NUMBERS
from .plan import Plan
from .program import Program, Value
from .results import Results
from .straight import Straight, unpacked
from .trace import GradientNotMaterialized, Trace
from .trees import LEAF, Branch, is_told_by_identity

BYTES = 3200  # of Python objects for each recorded instruction, as measured
MOST_LEAVES = 16  # among the arguments of a usual call, which are compared with one another
REFUSED: Any = object()
_numbers = itertools.count()


class CacheEntry:
    """A plan that a compiled function keeps.

    Parameters
    ----------
    function : callable
    trace : Trace
        Of a run that has ended.
    arguments : Arguments
        Of the call that was recorded.
    bound : collection of int
        Positions of tensors among their leaves that the plan takes as they are: it holds for these only.
    open_numbers : collection of int
        Positions of numbers in their tree that are inputs of the plan.
    passes : collection of str, optional
    arenas : Arenas
        Where the plan computes.

    Attributes
    ----------
    number : int
        Its place in the order in which entries are made.
    uses : int
        How many later calls have looked for it and found it.
    unseen : list of str
        What ran while it was recorded and reads what cannot be watched; its results are spot-checked.
    calls : int
        How many calls a spot check has counted.
    bytes : int
        What it takes besides the arena.
    """

    def __init__(
        self,
        function: Callable[..., object],
        trace: Trace,
        arguments: Arguments,
        bound: Collection[int],
        open_numbers: Collection[int],
        passes: Collection[str] | None,
        arenas: Arenas,
    ) -> None:
        self.number = next(_numbers)
        self.uses = self.calls = 0
        self.unseen = trace.unseen
        tree, leaves = arguments.tree, arguments.tree.leaves
        self.specs, self.repeats, self.keywords = arguments.specs, arguments.repeats, arguments.keywords
        self.open_numbers = tuple(open_numbers)
        self.tokens = self._with_open_numbers(tree.tokens)
        self._fixed = [None if isinstance(x, Branch) else x for x in tree.parts]
        self._names = [f"_{n}" for n in range(len(leaves))]
        self.backend, self.recording = current(), mode.recording
        self.identical = trace.identical
        self.bound = [(n, leaves[n]) for n in bound]
        position = dict(zip(trace.inputs, trace.positions, strict=True))
        for t, v in zip(trace.inputs, trace.arguments, strict=True):
            if v in trace.weak_dtype:  # an array has no gradient outside
                trace.grads.pop(t, None)
        handed_out = {leaf for leaf, _ in trace.grad_outputs}
        self.grads = [(position.get(t, t), access.before) for t, access in trace.grads.items() if access.read_first]
        self.grad_targets = [position.get(t, t) for t, _ in trace.grad_outputs]
        self.hidden = [
            (position.get(t, t), GradientNotMaterialized(describe(t), cleared=t._grad is None))
            for t in trace.grads
            if t not in handed_out
        ]
        self.checks = trace.checks
        self.number_values = list(trace.number_values.values())
        program = trace.program()
        self.outcome = Results(trace, program.backend)
        self.guards = Guards(trace.guarded)
        self._watch_leaves(
            program, trace.reached, [leaf for leaf in (*trace.grads, *trace.known) if leaf not in position]
        )
        self.plan = Plan(program, passes, arenas)
        self._bind(trace, position)
        self.bytes = BYTES * len(program.instructions) + sum(
            v.nbytes for v in {v for i in self.plan.program.instructions for v in i.inputs} if v.kind == "constant"
        )

    def _watch_leaves(self, program: Program, reached: list[Tensor], with_grad: list[Tensor]) -> None:
        """Note the leaves that the plan works on, and the memory that no argument may share."""
        states = dict.fromkeys([*reached, *program.stores])
        self.leaves = [(leaf, leaf.data, leaf.requires_grad) for leaf in states]
        self.assigned = list(program.stores)
        bound = {leaf for _, leaf in self.bound}
        self._own = {*states, *with_grad} - bound
        self._owners = {id(owner(leaf.data)) for leaf in self.assigned}

    def _bind(self, trace: Trace, position: Mapping[Tensor, int]) -> None:
        """Find the arrays into which arguments are copied and out of which results are."""
        arrays = self.plan.replay.arrays
        self.copy_in = [(n, arrays[v]) for n, v in zip(trace.positions, trace.arguments, strict=True) if v in arrays]
        self.numbers_in = [(arrays[v], number.compute) for number, v in self.number_values if v in arrays]
        self.grads_in = [(position.get(t, t), arrays[v]) for t, v in trace.grad_values if v in arrays]
        outputs = [arrays[v] for v in self.plan.program.outputs]
        count = len(outputs) - len(self.grad_targets)
        self.results, self.grad_results = outputs[:count], outputs[count:]

    def does_what(self, other: CacheEntry, arguments: Arguments) -> bool:
        """Whether a plan without such inputs does the same, with the numbers of these arguments as constants."""
        numbers = dict(enumerate(arguments.tree.parts))
        computed = {v: number.compute(numbers) for number, v in self.number_values}
        mine, others = self.plan.traced, other.plan.traced

        def content(v: Value) -> object:
            if v in computed:
                return np.array(computed[v], v.dtype).tobytes()
            return program.backend.to_host(v.array).tobytes() if v.kind == "constant" else v.kind

        listed: list[Any] = []
        for program in (mine, others):
            rows = [(i.op.label, i.output.shape, i.output.dtype, *map(content, i.inputs)) for i in program.instructions]
            listed.append((rows, [(v.kind, v.shape, v.dtype) for v in program.results]))
        return listed[0] == listed[1] and self.outcome.tree.tokens == other.outcome.tree.tokens

    def with_grad(self, arguments: Arguments) -> list[Tensor]:
        """Return the tensors whose `grad` a replay sets."""
        return [_at(target, arguments.tree.leaves) for target in self.grad_targets]

    def with_hidden_grad(self, arguments: Arguments) -> list[Tensor]:
        """Return the tensors whose `grad` stays inside the plan."""
        return [_at(target, arguments.tree.leaves) for target, _ in self.hidden]

    def _with_open_numbers(self, tokens: list[Any]) -> list[Any]:
        """Return the tokens without the values of numbers that are inputs."""
        if self.open_numbers:
            tokens = tokens.copy()
            for n in self.open_numbers:
                tokens[n] = tokens[n][:1]
        return tokens

    def matches(self, arguments: Arguments) -> bool:
        """Whether the plan computes what the function would now."""
        tree = arguments.tree
        return (
            arguments.specs == self.specs
            and arguments.repeats == self.repeats
            and arguments.keywords == self.keywords
            and len(tree.tokens) == len(self.tokens)
            and (self._with_open_numbers(tree.tokens) if self.open_numbers else tree.tokens) == self.tokens
            and all(tree.parts[n].origin is x for n, x in self.identical)
            and (not self.number_values or self._are_numbers(arguments))
            and self._holds(tree.leaves)
        )

    def _are_numbers(self, arguments: Arguments) -> bool:
        """Whether arithmetic with the numbers among the arguments raises no error, which the function may catch."""
        numbers = {n: arguments.tree.parts[n] for n in self.open_numbers}
        try:
            return all(isinstance(number.compute(numbers), NUMBERS) for number, _ in self.number_values)
        except ArithmeticError:
            return False

    def replay(self, arguments: Arguments) -> Any:
        """Compute the results for these arguments."""
        tree = arguments.tree
        numbers = {n: tree.parts[n] for n in self.open_numbers}
        return self._replayed(tree.leaves, tree.parts, [compute(numbers) for _, compute in self.numbers_in])

    # -- as straight code ---------------------------------------------------------------------------------

    @cached_property
    def is_usual(self) -> bool:
        """Whether calls for this plan have positional arguments alone that are told by a look, and are not checked."""
        told = (t is LEAF or is_told_by_identity(t, x) for t, x in zip(self.tokens, self._fixed, strict=True))
        is_short = len(self.specs) <= MOST_LEAVES
        return is_short and all(told) and not (self.keywords or self.repeats or self.open_numbers or self.unseen)

    @cached_property
    def usual(self) -> Callable[[tuple[object, ...]], Any]:
        """What takes the arguments of a usual call: it gives the results, or `REFUSED`, having done nothing.

        It refuses whatever `matches` does, and more: objects that are equal to those that were recorded.
        """
        code, leaves = Straight(), iter(self._names)
        no = f"return {code(REFUSED, 'refused')}"
        names = [next(leaves) if token is LEAF else f"_fixed{n}" for n, token in enumerate(self.tokens)]
        others = [
            f"{x} is not {code(part, 'fixed')} or type({x}) is not {code(token[0], 'kind')}"
            for x, token, part in zip(names, self.tokens, self._fixed, strict=True)
            if token is not LEAF
        ]
        typed = list(zip(self._names, self.specs, strict=True))
        others += [differs(code, x, spec) for x, spec in typed]
        others += [f"{x} is {y}" for (x, a), (y, b) in itertools.combinations(typed, 2) if a == b]
        others += self._differences(code)
        lines = [unpacked(names, "_all"), *_each(others, no), *self.guards.lines(code, no)]
        lines = ["try:", *(f" {line}" for line in lines), f"except {GONE}: {no}", *self._statements(code, "[]")]
        return code.function("usual", ["_all"], lines)

    @cached_property
    def _holds(self) -> Callable[[list[Any]], bool]:
        """What tells whether the plan holds for leaves with its specs."""
        code, no = Straight(), "return False"
        lines = [unpacked(self._names, "_leaves"), *_each(self._differences(code), no), *self.guards.lines(code, no)]
        lines = ["try:", *(f" {line}" for line in lines), " return True", f"except {GONE}: {no}"]
        return code.function("holds", ["_leaves"], lines)

    @cached_property
    def _replayed(self) -> Callable[[list[Any], list[Any], list[Any]], Any]:
        """What computes the results, given leaves, the parts of the arguments, and computed numbers."""
        code = Straight()
        lines = [unpacked(self._names, "_leaves"), *self._statements(code)]
        return code.function("replay", ["_leaves", "_parts", "_computed"], lines)

    def _differences(self, code: Straight) -> Iterator[str]:
        """Yield conditions that are true where the plan does not compute what the function would for such leaves."""
        yield f"{code(mode, 'mode')}.recording is not {self.recording}"
        yield f"{code(current, 'current')}() is not {code(self.backend, 'backend')}"
        bound = dict(self.bound)
        for n, x in enumerate(self._names):
            if n in bound:
                yield f"{x} is not {code(bound[n], 'leaf')}"
                continue
            if self.specs[n][0] is Tensor and self._own:
                yield f"{x} in {code(self._own, 'own')}"
            if self._owners:
                yield " and ".join(self._shares_memory(code, n))
        for leaf, data, requires_grad in self.leaves:
            t = code(leaf, "leaf")
            yield f"{t}.data is not {code(data, 'data')} or {t}.requires_grad is not {requires_grad}"
        for target, before in self.grads:
            yield f"not {code(_same_grad, 'same_grad')}({self._named(code, target)}._grad, {code(before, 'before')})"

    def _shares_memory(self, code: Straight, n: int) -> Iterator[str]:
        """Yield conditions, the cheapest first, all true where an argument may lie in a leaf that is assigned."""
        array, owners = self._array(n), code(self._owners, "owners")
        if self.specs[n][0] is Tensor:
            yield f"{self._names[n]}.modified > {RESULT}"
        if array_type(self.specs[n]) is np.ndarray:
            yield f"({array}.base is not None or id({array}) in {owners})"
        yield f"{code(_lies_in, 'lies_in')}({array}, {owners}, {code(self.assigned, 'leaves')})"

    def _statements(self, code: Straight, parts: str = "_parts") -> Iterator[str]:
        """Yield the lines that compute the results for leaves, and return them."""
        backend, memory = self.plan.program.backend, self.plan.memory
        assigned = [code(t, "leaf") for t in self.assigned]
        held, leaf, copyto = code(backend, "backend"), code(leaf_of, "leaf_of"), code(backend.xp.copyto, "copyto")
        for n, check in self.checks:
            yield f"_host = {self._array(n)}"
            yield f"if type(_host) is {code(np.ndarray, 'ndarray')}: {code(check, 'check')}(_host)"
        if memory.turn is not None:
            yield f"{code(memory.turn, 'turn')}()"
        for n, array in self.copy_in:
            yield copied(code, self._names[n], self.specs[n], array, backend)
        for n, (array, _) in enumerate(self.numbers_in):
            number = code(partial(np.array, dtype=array.dtype), "number")
            yield f"{copyto}({code(array, 'array')}, {held}.asarray({number}(_computed[{n}])))"
        for target, array in self.grads_in:
            yield f"{copyto}({code(array, 'array')}, {self._named(code, target)}._grad.data)"
        yield from (f"if {t}._sharing is not None: {t}.keep_views()" for t in assigned)
        yield f"{code(memory, 'memory')}.holds = {code(self.plan, 'plan')}"
        yield f"{code(self.plan.replay, 'replay')}.run()"
        if assigned:
            yield f"_now = {code(next_index, 'next_index')}()"
        for t in assigned:
            yield f"{t}.modified = _now"
            yield f"if {t}._sharing is not None: {t}.mark_modified(_now)"
        for target, array in zip(self.grad_targets, self.grad_results, strict=True):
            yield f"{self._named(code, target)}._grad = {leaf}({code(array, 'array')}.copy(), {held})"
        yield from (f"{self._named(code, target)}._grad = {code(inside, 'inside')}" for target, inside in self.hidden)
        results = [f"_result{n}" for n in range(len(self.results))]
        for result, array in zip(results, self.results, strict=True):
            yield f"{result} = {leaf}({code(array, 'array')}.copy(), {held})"
        yield f"return {self.outcome.written(code, results, self._names, parts)}"

    def _named(self, code: Straight, target: Tensor | int) -> str:
        """Return what code calls a leaf, or the tensor at a position among the arguments."""
        return code(target, "leaf") if isinstance(target, Tensor) else self._names[target]

    def _array(self, n: int) -> str:
        """Return what code calls the array of an argument."""
        return f"{self._names[n]}.data" if self.specs[n][0] is Tensor else self._names[n]


def _lies_in(array: Array, owners: set[int], leaves: list[Tensor]) -> bool:
    """Whether an array may have an element in common with a leaf; `owners` are whose memory the leaves lie in."""
    return id(owner(array)) in owners and any(overlap(array, leaf.data) for leaf in leaves)


def _at(target: Tensor | int, leaves: list[Any]) -> Tensor:
    """Return a leaf, or the tensor at a position among the arguments."""
    return target if type(target) is Tensor else leaves[target]  # type: ignore[index]


def _each(conditions: Iterable[str], no: str) -> list[str]:
    """Return lines that do `no` if a condition is true."""
    return [f"if {condition}: {no}" for condition in conditions]


def _same_grad(grad: Tensor | GraphError | None, before: Tensor | GraphError | None) -> bool:
    """Whether a function that reads a gradient first finds it as it did when it was recorded: there, or not."""
    if isinstance(before, Tensor):
        return isinstance(grad, Tensor)
    return grad is None or (isinstance(grad, GradientNotMaterialized) and grad.cleared)
