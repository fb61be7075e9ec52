"""What a plan gives, compared with what the function itself gives, which is run so that it leaves everything as it was.

Two results agree if they differ by rounding. How much that is, is told by the function itself: where results differ by
more than a few units in the last place, it is run again with every operation off by half a unit at random, and what
that changes is what rounding may change. A function that gives something else at each call has no such margin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import current
from ..errors import CompileError
from ..op import Op
from ..ops.elementwise import astype
from ..ops.random import preserved_streams
from ..tensors import Tensor, describe, next_index
from ..typing import Array
from ..watchers import Watcher, watching
from .arguments import Arguments
from .entry import CacheEntry
from .trace import GradientNotMaterialized
from .trees import LEAF, Same, Tree

UNITS = 32  # in the last place of the largest element: how far results may be apart without a second look
NOISES = 2  # how often the function is run with operations that are off
MARGIN = 16  # by which a plan may be off more than those runs


class _Journal(Watcher):
    """Notes what leaves hold before they change, so that it can be put back.

    Parameters
    ----------
    noise : Generator, optional
        Decides for each element of a result whether it is taken a little larger or smaller.
    """

    def __init__(self, noise: np.random.Generator | None = None) -> None:
        self.noise = noise
        self.start = next_index()  # leaves made later are the function's own
        self.arrays: set[Tensor] = set()  # what the function is given for plain arrays
        self.values: dict[Tensor, tuple[Array, int]] = {}
        self.grads: dict[Tensor, Any] = {}

    def computes(self, op: Op, inputs: tuple[Tensor, ...]) -> Array | None:
        if self.noise is None or op.view:
            return None
        backend = inputs[0].backend
        y = backend.asarray(op.forward(backend.xp, *(t.data for t in inputs)))
        if y.dtype.kind != "f":
            return y
        off = self.noise.choice([-0.5, 0.5], y.shape) * np.finfo(y.dtype).eps
        return backend.asarray(np.asarray(backend.to_host(y) * (1 + off), y.dtype))

    def assigns(self, t: Tensor, source: Tensor) -> bool:
        if t not in self.values and t.index < self.start:
            self.values[t] = t.data.copy(), t.modified
        return False

    def reads_grad(self, t: Tensor) -> None:
        self.writes_grad(t)
        if isinstance(t._grad, GradientNotMaterialized) and t._grad.cleared:
            t._grad = None

    def writes_grad(self, t: Tensor) -> None:
        self.grads.setdefault(t, t._grad)

    def enters(self, module: Any, inputs: tuple[Any, ...]) -> tuple[object, ...]:
        like = next(iter(module.parameters()), None)
        weak = [like is not None and isinstance(x, Tensor) and x in self.arrays and x.dtype.kind == "f" for x in inputs]
        return tuple(astype(x, like.dtype) if w and like is not None else x for x, w in zip(inputs, weak, strict=True))

    def undo(self) -> None:
        """Put back what there was."""
        for t, (data, modified) in self.values.items():
            t.backend.xp.copyto(t.data, data)
            t.mark_modified(modified)
        for t, grad in self.grads.items():
            t._grad = grad


class _Outcome:
    """What a function returned, and what leaves hold afterwards, on the host.

    Attributes
    ----------
    tokens : list
        Of the tree of results; an object that is told by its identity may be another one of its type.
    arrays : dict of str to array or None
        Results, leaves and gradients, by what they are called.
    """

    def __init__(self, result: object, leaves: Iterable[Tensor], with_grad: Iterable[Tensor]) -> None:
        tree = Tree([result])
        self.tokens = [t if t is LEAF or not any(isinstance(x, Same) for x in t) else t[0] for t in tree.tokens]
        paths = [path for path, t in zip(tree.paths(["the result"]), tree.tokens, strict=True) if t is LEAF]
        self.arrays: dict[str, np.ndarray | None] = dict(zip(paths, map(_host, tree.leaves), strict=True))
        for n, t in enumerate(leaves):
            self.arrays[f"leaf {n}, {describe(t)},"] = _host(t)
        for n, t in enumerate(with_grad):
            self.arrays[f"grad {n}, of {describe(t)},"] = _host(t._grad) if isinstance(t._grad, Tensor) else None


def compared(entry: CacheEntry, function: Callable[..., object], arguments: Arguments) -> Any:
    """Return the results of a replay, once they are what the function itself gives.

    Raises
    ------
    CompileError
        If they are not; everything is left as it was then.
    """
    hidden = set(entry.with_hidden_grad(arguments))
    leaves: dict[Tensor, None] = dict.fromkeys(entry.assigned)
    with_grad: dict[Tensor, None] = dict.fromkeys(entry.with_grad(arguments))

    def itself(noise: np.random.Generator | None = None) -> _Outcome:
        journal = _Journal(noise)
        with _left_alone(journal):
            result = _run(function, arguments, journal)
            leaves.update(dict.fromkeys(journal.values))
            with_grad.update(dict.fromkeys(t for t in journal.grads if t not in journal.arrays and t not in hidden))
            return _Outcome(result, leaves, with_grad)

    expected = itself()
    before = _Journal()
    for t in leaves:
        before.assigns(t, t)
    for t in (*with_grad, *hidden):
        before.writes_grad(t)
    try:
        result = entry.replay(arguments)
        replayed = _Outcome(result, leaves, with_grad)
        after = _Journal()
        for t in leaves:
            after.assigns(t, t)
        for t in (*with_grad, *hidden):
            after.writes_grad(t)
        if not _same(expected, replayed):
            before.undo()
            with np.errstate(all="ignore"):
                noisy = [itself(np.random.default_rng(seed)) for seed in range(NOISES)]
            _check(expected, replayed, noisy if _same(expected, itself()) else [])
            after.undo()
    except BaseException:
        before.undo()
        raise
    return result


@contextmanager
def _left_alone(journal: _Journal) -> Iterator[None]:
    """Return a ``with`` block after which leaves and the streams of masks are as if it had not been."""
    with preserved_streams():
        try:
            with watching(journal):
                yield
        finally:
            journal.undo()


def _run(function: Callable[..., object], arguments: Arguments, journal: _Journal) -> object:
    """Run the function itself; plain arrays among its arguments are tensors, as they are when it is recorded."""
    tree = arguments.tree
    stand_ins = {id(x): x if isinstance(x, Tensor) else Tensor(current().asarray(x), current()) for x in tree.leaves}
    journal.arrays = {stand_ins[id(x)] for x in tree.leaves if not isinstance(x, Tensor)}
    args, kwargs = arguments.split(tree.filled(stand_ins[id(x)] for x in tree.leaves))
    return function(*args, **kwargs)


def _same(expected: _Outcome, replayed: _Outcome) -> bool:
    """Whether two outcomes differ by a few units in the last place at most."""
    return expected.tokens == replayed.tokens and all(
        _agree(a, replayed.arrays[name], 0.0) for name, a in expected.arrays.items()
    )


def _check(expected: _Outcome, replayed: _Outcome, noisy: list[_Outcome]) -> None:
    """Raise an error if a plan gave something else than the function, by more than rounding."""
    hint = "something that a recording cannot see changed between calls: pass it as an argument"
    if expected.tokens != replayed.tokens:
        raise CompileError(f"compile: check: the results have another structure than those of the function; {hint}")
    for name, a in expected.arrays.items():
        b = replayed.arrays[name]
        spread = max((_distance(a, other.arrays.get(name)) for other in noisy), default=0.0)
        if not _agree(a, b, MARGIN * spread):
            if a is None or b is None:
                difference = "is there only in the one" if a is None else "is missing"
            elif a.shape != b.shape or a.dtype != b.dtype:
                difference = f"is {b.dtype} of shape {b.shape}, by the function itself {a.dtype} of shape {a.shape}"
            else:
                difference = f"differs from what the function itself gives by {_distance(a, b):.3g}"
            raise CompileError(f"compile: check: {name} {difference}; {hint}")


def _distance(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """Return the largest difference of two arrays where both are finite."""
    if a is None or b is None or a.shape != b.shape:
        return 0.0
    with np.errstate(all="ignore"):
        off = np.abs(a.astype(np.float64) - b)
    return float(off[np.isfinite(off)].max(initial=0.0))


def _agree(a: np.ndarray | None, b: np.ndarray | None, margin: float) -> bool:
    """Whether two arrays are the same but for rounding."""
    if a is None or b is None:
        return a is b
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    finite = np.abs(a[np.isfinite(a)]).max(initial=0.0)
    unit = UNITS * float(np.finfo(a.dtype).eps)
    return bool(np.allclose(b.astype(np.float64), a, unit, unit * float(finite) + margin, equal_nan=True))


def _host(x: object) -> np.ndarray:
    """Return a host copy of a tensor or an array."""
    backend, array = (x.backend, x.data) if isinstance(x, Tensor) else (current(), x)
    return np.array(array if isinstance(array, np.ndarray) else backend.to_host(array))
