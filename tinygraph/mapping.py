"""`vmap`: a function of one sample, applied to all samples of a batch at once.

The function runs once, on the first sample, and every operation that depends on a sample is applied to all of them
at the same time, by a rule (`batching`). Gradients that it takes, modules that it calls and further uses of `vmap`
are operations as well, so they need nothing of their own; and what comes out is an ordinary graph, of operations on
whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, Literal
from weakref import ref

import numpy as np

from .arguments import check_name
from .batching import DRAWS, Batched, batched
from .errors import ArgumentError, GraphError, ShapeError
from .leaves import as_tensor, is_number
from .mode import mode
from .op import Op
from .ops.activation import identity
from .ops.axes import normalize_axis
from .ops.elementwise import astype
from .ops.reduce import broadcast_to
from .ops.shape import transpose
from .tensors import Tensor, describe
from .typing import Array
from .watchers import Watcher, watching

__all__ = ["vmap"]


def vmap(
    fn: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: int | None = 0,
    randomness: Literal["different", "same"] = "different",
) -> Callable[..., Any]:
    """Return `fn`, a function of one sample, as a function of a batch of them.

    The samples are computed together, each operation once for all of them, by its batching rule; one without a rule,
    as one of your own is, is applied to one sample after the other. The result is an ordinary graph: it can be
    differentiated, drawn and compiled. Inside `fn`, `tinygraph.grad` and `vmap` may be used, and modules called; what
    it reaches from outside, such as their parameters, all samples share.

    Parameters
    ----------
    fn : callable
        From tensors, or tuples, lists and dicts of them, to the same; of every sample the same operations. It must not
        read on the host what differs from sample to sample, its `data` either, nor assign it; printed, a tensor shows
        its first sample.
    in_axes : int, None, or tuple of them
        Along which axis of an argument the samples lie; None: all samples share it. A tuple has an entry for each
        argument, and one for an argument that is a tuple, list or dict holds for all of it, or is a tuple, list or
        dict of entries. Arrays become tensors. Keyword arguments are passed on as they are.
    out_axes : int or None
        Along which axis of the results they are to lie; None for results that are the same for all samples.
    randomness : {"different", "same"}
        Whether each sample has random numbers of its own, or all have those that one alone would have.

    Returns
    -------
    callable
        Takes arguments with an axis more than `fn` does, and returns results with one more.

    Raises
    ------
    ShapeError
        When it is called, if an axis does not exist, has no elements, or another length than another one.
    ArgumentError
        If nothing is mapped over, `in_axes` does not fit, `fn` returns anything but tensors, or what it computes has
        another shape for each sample.
    GraphError
        If `fn` reads on the host, assigns, or adds to `grad` by ``backward`` what differs from sample to sample.

    Examples
    --------
    >>> X = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tg.vmap(lambda x: x @ x)(X).numpy().tolist()
    [5.0, 25.0]
    >>> slope = lambda x: tg.grad(tg.sum(x**3), [x])[0]
    >>> tg.vmap(slope)(X).numpy().tolist()
    [[3.0, 12.0], [27.0, 48.0]]
    """
    if not callable(fn):
        raise ArgumentError(f"vmap: expected a function of one sample, got {type(fn).__name__}")
    check_name("vmap: randomness", randomness, ("different", "same"))

    @wraps(fn, updated=())
    def mapped(*args: Any, **options: Any) -> Any:
        if isinstance(in_axes, tuple | list) and len(in_axes) != len(args):
            raise ArgumentError(
                f"vmap: in_axes has {len(in_axes)} entries for {len(args)} arguments; give one for each, or one number"
            )
        samples = _Samples(different=randomness == "different")
        entries = in_axes if isinstance(in_axes, tuple | list) else [in_axes] * len(args)
        with watching(samples):
            given = [
                _mapped_over(partial(samples.sample, name=f"argument {i}"), arg, axes)
                for i, (arg, axes) in enumerate(zip(args, entries, strict=True))
            ]
            if not samples.size:
                raise ArgumentError("vmap: nothing to map over: in_axes is None for every argument")
            result = fn(*given, **options)
        return _mapped_over(samples.result, result, out_axes)

    return mapped


class _Samples(Watcher):
    """Applies to all samples what is applied to one.

    Parameters
    ----------
    different : bool
        Whether each sample has random numbers of its own.

    Attributes
    ----------
    size : int
        The number of samples; 0 before the first argument is seen.
    """

    def __init__(self, different: bool) -> None:
        self.size = 0
        self._different = different
        self._sized_by = ""  # which argument that was
        self._outer = mode.watchers
        self._all: dict[int, tuple[ref[Tensor], Tensor]] = {}  # by the identity of a sample's tensor, those of all
        self._plain: list[ref[Tensor]] = []  # samples that were given as arrays

    # -- arguments and results --------------------------------------------------------------------------

    def sample(self, value: Any, axis: int | None, name: str) -> Any:
        """Return the first sample of an argument, and remember those of all; `axis` None: all of it, which is shared.

        An array becomes a tensor.
        """
        if axis is None and not isinstance(value, np.ndarray):
            return value
        if is_number(value) or not (isinstance(value, Tensor | np.ndarray) or hasattr(value, "__dlpack__")):
            raise ArgumentError(
                f"vmap: {name} is a {type(value).__name__}, which has no axis; give None for it in in_axes"
            )
        with _watched_by(self._outer):
            t = as_tensor(value)
            first = t if axis is None else self._first_of(t, axis, name)
        if not isinstance(value, Tensor):
            self._plain.append(ref(first))
        return first

    def _first_of(self, t: Tensor, axis: int, name: str) -> Tensor:
        axis = normalize_axis(f"vmap: {name}", axis, t.shape)
        length = t.shape[axis]
        if not length:
            raise ShapeError(f"vmap: {name} of shape {t.shape} has no samples along axis {axis}")
        if self.size and length != self.size:
            raise ShapeError(
                f"vmap: {name} of shape {t.shape} has {length} samples along axis {axis}, {self._sized_by} has "
                f"{self.size}"
            )
        if not self.size:
            self.size, self._sized_by = length, name
        samples = _moved(t, axis, 0)
        first = samples[0].detach()
        first.name = t.name
        self._remember(first, samples)
        return first

    def result(self, y: Any, axis: int | None) -> Tensor:
        """Return a result for all samples, which are to lie along `axis`."""
        if not isinstance(y, Tensor):
            raise ArgumentError(f"vmap: the function must return tensors, got {type(y).__name__}")
        samples = self._of(y)
        if axis is None:
            if samples is not None:
                raise ArgumentError("vmap: out_axes is None for a result that differs from sample to sample")
            return y
        to = normalize_axis("vmap: out_axes", axis, y.shape, extra=1)
        if samples is None:
            samples = broadcast_to(y, (self.size, *y.shape))
        elif samples.modified >= 0:
            samples = identity(samples)  # an argument, as it was given
        return _moved(samples, 0, to)

    # -- what happens to a sample's tensors -------------------------------------------------------------

    def _remember(self, t: Tensor, samples: Tensor) -> None:
        self._all[id(t)] = ref(t, partial(self._forget, id(t))), samples

    def _forget(self, key: int, _: object) -> None:
        self._all.pop(key, None)

    def _of(self, t: Tensor) -> Tensor | None:
        """Return the tensor of all samples, if `t` is that of one."""
        known = self._all.get(id(t))
        if known is None:
            return None
        if t.name is not None:
            known[1].name = t.name  # which was given to it later
        return known[1]

    def made(self, op: Op, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        """Apply to all samples what was applied to one."""
        found = [self._of(t) for t in inputs]
        drawn = self._different and (op.random or isinstance(op, DRAWS))
        if drawn or any(samples is not None for samples in found):
            operands = [Batched(t if s is None else s, s is None) for t, s in zip(inputs, found, strict=True)]
            with _watched_by(self._outer):
                self._remember(y, batched(op, y, self.size, operands))

    def shares(self, source: Tensor | Array, leaf: Tensor) -> bool:
        """Detach all samples where one is detached; refuse the array of one, which would stand for all."""
        if not isinstance(source, Tensor):
            for known, _ in list(self._all.values()):
                if (t := known()) is not None and t.data is source:
                    self.reads(t, "data")
            return False
        samples = self._of(source)
        if samples is not None:
            with _watched_by(self._outer):
                self._remember(leaf, samples.detach())
        return False

    def enters(self, module: Any, inputs: tuple[Any, ...]) -> tuple[object, ...]:
        """Give a module samples of plain arrays in the dtype of its parameters, as it would make them itself."""
        plain = [t for t in (r() for r in self._plain) if t is not None]
        dtype = next((t.dtype for t in module.parameters()), None) if plain else None
        if dtype is None:
            return inputs
        return tuple(astype(x, dtype) if any(x is t and t.dtype.kind == "f" for t in plain) else x for x in inputs)

    def requires(self, t: Tensor, check: Callable[[np.ndarray], None]) -> None:
        """Check all samples where one is checked."""
        samples = self._of(t)
        if samples is None:
            return
        if isinstance(samples.data, np.ndarray):
            check(samples.data)
        for watcher in self._outer:
            watcher.requires(samples, check)

    # -- what a batch of samples cannot do --------------------------------------------------------------

    def reads(self, t: Tensor, how: str) -> None:
        """Refuse to read on the host what differs from sample to sample; what is printed is the first one's."""
        if self._of(t) is not None and how != "repr()":
            raise GraphError(
                f"vmap: {how} reads {describe(t)} on the host, which has another value for each sample; return the "
                "tensor and read it outside, or choose with tg.where"
            )

    def assigns(self, t: Tensor, source: Tensor) -> bool:
        """Refuse to assign what differs from sample to sample."""
        if self._of(t) is not None or self._of(source) is not None:
            raise GraphError(
                f"vmap: assign_ to {describe(t)} of what has another value for each sample; return it instead, and "
                "call modules that keep running averages in evaluation mode"
            )
        return False

    def writes_grad(self, t: Tensor) -> None:
        """Refuse `backward`."""
        raise GraphError(
            "vmap: backward and zero_grad change the attribute grad, of which no sample has one of its own; use "
            "tg.grad inside, or call backward on what the mapped function returns"
        )


@contextmanager
def _watched_by(watchers: tuple[Any, ...]) -> Iterator[None]:
    """Return a ``with`` block in which no others watch the current thread."""
    inside, mode.watchers = mode.watchers, watchers
    try:
        yield
    finally:
        mode.watchers = inside


def _moved(t: Tensor, source: int, to: int) -> Tensor:
    """Return a tensor with one axis at another place among the others."""
    if source == to:
        return t
    order = [a for a in range(t.ndim) if a != source]
    order.insert(to, source)
    return transpose(t, order)


def _mapped_over(function: Callable[[Any, Any], Any], tree: Any, axes: Any) -> Any:
    """Return a tuple, list or dict of what a function gives for its parts, each with its entry of `axes`."""
    if not isinstance(tree, tuple | list | dict):
        return function(tree, axes)
    if isinstance(tree, dict):
        entries = axes if isinstance(axes, dict) else dict.fromkeys(tree, axes)
        if entries.keys() != tree.keys():
            raise ArgumentError(f"vmap: in_axes has entries for {list(entries)}, the argument has {list(tree)}")
        return {name: _mapped_over(function, part, entries[name]) for name, part in tree.items()}
    several = axes if isinstance(axes, tuple | list) else [axes] * len(tree)
    if len(several) != len(tree):
        raise ArgumentError(f"vmap: in_axes has {len(several)} entries for an argument of {len(tree)} parts")
    parts = [_mapped_over(function, part, entry) for part, entry in zip(tree, several, strict=True)]
    return parts if isinstance(tree, list) else tuple(parts)
