"""A plan with the conditions under which it holds, and the way from arguments to results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from copy import copy
from typing import Any, cast

import numpy as np

from ..backend import current
from ..errors import GraphError
from ..mode import mode
from ..tensors import RESULT, VIEW, Tensor, describe, next_index
from ..typing import Array
from .aliases import overlap, owner
from .arenas import Arenas
from .arguments import Arguments, array_of
from .guards import Guards
from .number_inputs import NUMBERS
from .plan import Plan
from .program import Program, Value
from .trace import Given, GradientNotMaterialized, Output, Trace, View
from .trees import LEAF

BYTES = 3200  # of Python objects for each recorded instruction, as measured
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
    reused : bool
        Whether a later call used it.
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
        self.reused, self.calls = False, 0
        self.unseen = trace.unseen
        tree, leaves = arguments.tree, arguments.tree.leaves
        self.specs, self.repeats, self.keywords = arguments.specs, arguments.repeats, arguments.keywords
        self.open_numbers = tuple(open_numbers)
        self.tokens = self._with_open_numbers(tree.tokens)
        self.out_given, self.out_kept, self.out_copied = trace.out_given, trace.out_kept, trace.out_copied
        self.out_tree, self.out_leaves = trace.out_tree, trace.out_leaves
        self.only_one = self.out_tree.tokens == [LEAF]
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
        self._stored = [(leaf, id(owner(leaf.data))) for leaf in self.assigned]
        self._owners = {place for _, place in self._stored}
        self._free = [n for n in range(len(self.specs)) if n not in dict(self.bound)]

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
        return listed[0] == listed[1] and self.out_tree.tokens == other.out_tree.tokens

    def with_grad(self, arguments: Arguments) -> list[Tensor]:
        """Return the tensors whose `grad` a replay sets."""
        return [_at(target, arguments.tree.leaves) for target in self.grad_targets]

    def with_hidden_grad(self, arguments: Arguments) -> list[Tensor]:
        """Return the tensors whose `grad` stays inside the plan."""
        return [_at(target, arguments.tree.leaves) for target, _ in self.hidden]

    def _with_open_numbers(self, tokens: list[Any]) -> list[object]:
        """Return the tokens without the values of numbers that are inputs."""
        if self.open_numbers:
            tokens = tokens.copy()
            for n in self.open_numbers:
                tokens[n] = tokens[n][:1]
        return tokens

    def matches(self, arguments: Arguments) -> bool:
        """Whether the plan computes what the function would now."""
        tokens, leaves = arguments.tree.tokens, arguments.tree.leaves
        if (
            arguments.specs != self.specs
            or arguments.repeats != self.repeats
            or arguments.keywords != self.keywords
            or len(tokens) != len(self.tokens)
            or (self._with_open_numbers(tokens) if self.open_numbers else tokens) != self.tokens
            or mode.recording is not self.recording
            or current() is not self.backend
        ):
            return False
        if self.number_values and not self._are_numbers(arguments):
            return False
        for n, leaf in self.bound:
            if leaves[n] is not leaf:
                return False
        for n, x in self.identical:
            if arguments.tree.parts[n].origin is not x:
                return False
        for n in self._free:
            x = leaves[n]
            if type(x) is Tensor:
                if x in self._own:
                    return False
                if x.modified <= RESULT:
                    continue
                x = x.data
            if self._owners and id(owner(x)) in self._owners and any(overlap(x, leaf.data) for leaf in self.assigned):
                return False
        for leaf, data, requires_grad in self.leaves:
            if leaf.data is not data or leaf.requires_grad is not requires_grad:
                return False
        for target, before in self.grads:
            if not _same_grad(_at(target, leaves)._grad, before):
                return False
        return self.guards.check()

    def _are_numbers(self, arguments: Arguments) -> bool:
        """Whether arithmetic with the numbers among the arguments raises no error, which the function may catch."""
        numbers = {n: arguments.tree.parts[n] for n in self.open_numbers}
        try:
            return all(isinstance(number.compute(numbers), NUMBERS) for number, _ in self.number_values)
        except ArithmeticError:
            return False

    def replay(self, arguments: Arguments) -> Any:
        """Compute the results for these arguments."""
        leaves = arguments.tree.leaves
        backend = self.plan.program.backend
        for position, check in self.checks:
            x = leaves[position]
            host = x.data if type(x) is Tensor else x
            if type(host) is np.ndarray:
                check(host)
        if self.plan.memory.turn is not None:
            self.plan.memory.turn()
        copyto = backend.xp.copyto
        for position, array in self.copy_in:
            x = leaves[position]
            if type(x) is type(array) is np.ndarray and x.dtype is array.dtype:
                array[...] = x  # without the calls that `copyto` makes first
            else:
                copyto(array, array_of(x, backend, array.dtype))
        if self.numbers_in:
            numbers = {n: arguments.tree.parts[n] for n in self.open_numbers}
            for array, compute in self.numbers_in:
                copyto(array, backend.asarray(np.array(compute(numbers), array.dtype)))
        for target, array in self.grads_in:
            copyto(array, cast(Tensor, _at(target, leaves)._grad).data)
        for leaf in self.assigned:
            if leaf._sharing is not None:
                leaf.keep_views()
        self.plan.run()
        now = next_index()
        for leaf in self.assigned:
            leaf.modified = now
            if leaf._sharing is not None:
                leaf.mark_modified(now)
        for target, array in zip(self.grad_targets, self.grad_results, strict=True):
            _at(target, leaves)._grad = Tensor(array.copy(), backend)
        for target, inside in self.hidden:
            (target if type(target) is Tensor else leaves[target])._grad = inside  # type: ignore[index]
        results = [Tensor(array.copy(), backend) for array in self.results]
        if self.only_one and type(self.out_leaves[0]) is Output:
            return results[0]
        made: dict[int, Tensor] = {}
        out = (self._result(x, results, leaves, made) for x in self.out_leaves)
        if not (self.out_given or self.out_kept or self.out_copied):
            return self.out_tree.filled(out)[0]
        copied = {n: copy(x) for n, x in self.out_copied}
        given = {n: arguments.tree.parts[position].origin for n, position in self.out_given}
        return self.out_tree.filled(out, copied, {**self.out_kept, **given})[0]

    def _result(self, x: object, results: list[Tensor], leaves: list[object], made: dict[int, Tensor]) -> Any:
        """Return one of the results: computed, given, a view of one of these, or a leaf from outside."""
        if type(x) is Output:
            return results[x.number]
        if type(x) is Given:
            return leaves[x.position]
        if type(x) is View and id(x) not in made:
            backend = self.plan.program.backend
            source = self._result(x.source, results, leaves, made)
            given = isinstance(source, Tensor)
            base = source if given else Tensor(array_of(source, backend, source.dtype).copy(), backend)
            array: Array = base.data
            for op in x.ops:
                array = op.forward(backend.xp, array)
            made[id(x)] = y = Tensor(array, backend)
            y.modified = VIEW
            base.share(y)
        return made[id(x)] if type(x) is View else x


def _at(target: Tensor | int, leaves: list[Any]) -> Tensor:
    """Return a leaf, or the tensor at a position among the arguments."""
    return target if type(target) is Tensor else leaves[target]  # type: ignore[index]


def _same_grad(grad: Tensor | GraphError | None, before: Tensor | GraphError | None) -> bool:
    """Whether a function that reads a gradient first finds it as it did when it was recorded: there, or not."""
    if isinstance(before, Tensor):
        return isinstance(grad, Tensor)
    return grad is None or (isinstance(grad, GradientNotMaterialized) and grad.cleared)
