"""What a compiled function returns, made of what a replay computes."""

from __future__ import annotations

from copy import copy
from typing import Any

from ..backend import Backend
from ..tensors import VIEW, Tensor
from ..typing import Array
from .arguments import array_of
from .trace import Given, Output, Trace, View
from .trees import LEAF


class Results:
    """The results of a recorded call.

    Parameters
    ----------
    trace : Trace
        Of a run that has ended.
    backend : Backend

    Attributes
    ----------
    is_one_tensor : bool
        Whether the function returns one computed tensor and nothing around it.
    """

    def __init__(self, trace: Trace, backend: Backend) -> None:
        self.tree, self.leaves, self.backend = trace.out_tree, trace.out_leaves, backend
        self._given, self._kept, self._copied = trace.out_given, trace.out_kept, trace.out_copied
        self.is_one_tensor = self.tree.tokens == [LEAF] and type(self.leaves[0]) is Output

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
