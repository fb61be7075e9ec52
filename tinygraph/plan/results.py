"""What a compiled function returns, made of what a replay computes."""

from __future__ import annotations

from copy import copy
from typing import Any

from ..backend import Backend
from ..tensors import VIEW, Tensor
from ..typing import Array
from .arguments import array_of
from .straight import Straight
from .trace import Given, Output, Trace, View
from .trees import LEAF, Branch

FEW = 32  # objects that are written out: Python reads no brackets that are nested too deep
BRACKETS: dict[type, tuple[str, str]] = {tuple: ("(", ")"), list: ("[", "]"), dict: ("{", "}")}


class Results:
    """The results of a recorded call.

    Parameters
    ----------
    trace : Trace
        Of a run that has ended.
    backend : Backend
    """

    def __init__(self, trace: Trace, backend: Backend) -> None:
        self.tree, self.leaves, self.backend = trace.out_tree, trace.out_leaves, backend
        self._given, self._kept, self._copied = trace.out_given, trace.out_kept, trace.out_copied

    def written(self, code: Straight, computed: list[str], leaves: list[str], parts: str) -> str:
        """Return an expression for the results, given what code calls computed tensors, leaves and parts."""
        if len(self.tree.tokens) <= FEW and not (self._given or self._kept or self._copied):
            whole = self._written(code, computed, leaves)
            if whole is not None:
                return whole
        return f"{code(self.made_of, 'made_of')}([{', '.join(computed)}], [{', '.join(leaves)}], {parts})"

    def _written(self, code: Straight, computed: list[str], leaves: list[str]) -> str | None:
        """Return the results as nested tuples, lists and dicts; None if there is anything else among them."""
        written: list[str] = []  # from the last to the first, inner before outer
        last = reversed(self.leaves)
        for token, part in zip(reversed(self.tree.tokens), reversed(self.tree.parts), strict=True):
            if token is LEAF:
                x = next(last)
                if type(x) is View:
                    return None
                given = leaves[x.position] if type(x) is Given else None
                written.append(computed[x.number] if type(x) is Output else given or code(x, "result"))
            elif part.__class__ is not Branch:
                written.append(code(part, "result"))
            elif part.kind not in BRACKETS:
                return None
            else:
                items = [f"{written.pop()}, " for _ in range(part.size)]
                if part.kind is dict:
                    items = [f"{code(key, 'key')}: {item}" for key, item in zip(part.keys or (), items, strict=True)]
                written.append("".join(items).join(BRACKETS[part.kind]))
        return written[0]

    def made_of(self, computed: list[Tensor], leaves: list[Any], parts: list[Any]) -> Any:
        """Return the results for computed tensors, and leaves and parts of the arguments."""
        made: dict[int, Tensor] = {}
        out = (self._result(x, computed, leaves, made) for x in self.leaves)
        if not (self._given or self._kept or self._copied):
            return self.tree.filled(out)[0]
        copied = {n: copy(x) for n, x in self._copied}
        given = {n: parts[position].origin for n, position in self._given}
        return self.tree.filled(out, copied, {**self._kept, **given})[0]

    def _result(self, x: object, computed: list[Tensor], leaves: list[Any], made: dict[int, Tensor]) -> Any:
        """Return one of the results: computed, given, a view of one of these, or a leaf from outside."""
        if type(x) is Output:
            return computed[x.number]
        if type(x) is Given:
            return leaves[x.position]
        if type(x) is View and id(x) not in made:
            source = self._result(x.source, computed, leaves, made)
            given = isinstance(source, Tensor)
            base = source if given else Tensor(array_of(source, self.backend, source.dtype).copy(), self.backend)
            array: Array = base.data
            for op in x.ops:
                array = op.forward(self.backend.xp, array)
            made[id(x)] = y = Tensor(array, self.backend)
            y.modified = VIEW
            base.share(y)
        return made[id(x)] if type(x) is View else x
