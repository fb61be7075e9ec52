"""What a process of a parallel run has of each mini-batch, and how what it finds becomes what the whole batch gives.

A loss is the mean over its rows, so that of a whole batch of B rows is the sum over the processes of ``b / B`` times
the loss of a share of b rows. A process for which no row is left computes with one that counts nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Batches, ShardBatches
from ..data.minibatches import set_epoch
from ..errors import ArgumentError, DataError, GraphError
from ..files import update_checksum
from ..leaves import filled_like
from ..mode import mode, no_grad
from ..ops.random import bernoulli
from ..ops.reduce import sum as total
from ..ops.shape import concatenate, reshape
from ..tensors import Tensor
from .all_sum import AllSum
from .communicator import Communicator

BY_ROWS = (Batches, ShardBatches)  # batches of which some rows can be read


@dataclass(frozen=True)
class Share:
    """The rows of a mini-batch that a process has.

    Attributes
    ----------
    processes : Communicator
    whole : int
        The rows of the whole batch.
    """

    processes: Communicator
    whole: int

    @property
    def own(self) -> slice:
        """Which of them are this process's; none where there are more processes than rows."""
        return self.processes.own_rows(self.whole)

    @property
    def count(self) -> int:
        """How many of them count."""
        return len(range(self.whole)[self.own])

    @property
    def rows(self) -> slice:
        """Those with which it computes: its own, or one that does not count."""
        return self.own if self.count else slice(0, 1)

    def __enter__(self) -> None:
        """Let layers know that a batch is shared out."""
        mode.share = self

    def __exit__(self, *error: object) -> None:
        mode.share = None

    def all_sum(self, x: Tensor, after: Tensor | None = None) -> Tensor:
        """Return every element added up over the processes, computed after `after`."""
        return AllSum(self.processes)(x) if after is None else AllSum(self.processes)(x, after)

    def column_sums(self, x: Tensor) -> Tensor:
        """Return the sums over all rows of the batch, for own rows `x` of shape (b, n)."""
        return self.all_sum(total(x, 0) * float(self.count > 0))

    def first_row(self, x: Tensor) -> Tensor:
        """Return the first row of the batch, shape (1, n), without gradient."""
        is_here = float(self.processes.rank == 0)  # as a factor: a constant would be added up at any time
        return self.all_sum(x[:1].detach() * is_here)

    def backward(self, loss: Tensor, parameters: list[Tensor]) -> Tensor | None:
        """Set the gradients of the whole batch's loss; return what was computed last on the way.

        One sum over one array goes over the processes for each dtype.
        """
        loss.backward(filled_like(loss, self.count / self.whole))
        if not mode.watchers:  # what is recorded is the same in all processes
            self._check_gradients(parameters)
        last: Tensor | None = None
        by_dtype: dict[np.dtype[Any], list[Tensor]] = {}
        for p in parameters:
            if p.grad is not None:
                by_dtype.setdefault(np.result_type(p.dtype, np.float32), []).append(p)
        with no_grad():
            for dtype, group in by_dtype.items():
                parts = [reshape(p.grad, (-1,)).astype(dtype) for p in group if p.grad is not None]
                last = self.all_sum(concatenate(parts), last)
                start = 0
                for p in group:
                    end = start + p.size
                    p.grad = reshape(last[start:end], p.shape).astype(p.dtype)
                    start = end
        return last

    def _check_gradients(self, parameters: list[Tensor]) -> None:
        """Raise an error in every process if a parameter has a gradient in some of them only."""
        found = self.processes.gather([p.grad is not None for p in parameters])
        for rank, there in enumerate(found):
            wrong = [p.name for p, here, first in zip(parameters, there, found[0], strict=True) if here != first]
            if wrong:
                raise GraphError(
                    f"fit: the parameter {wrong[0]!r} has a gradient in process {rank} or in process 0, and not in the "
                    "other: the network must use the same parameters whatever its inputs are"
                )

    def mask(self, p_off: float, like: Tensor) -> Tensor:
        """Return own rows of a mask that has a row for each of the whole batch."""
        return bernoulli(p_off, (self.whole, *like.shape[1:]), like.dtype, like.backend)[self.rows]


class Shares:
    """Batches of which this process is given its own rows.

    Parameters
    ----------
    batches : iterable
        Whole ones; of arrays, `Batches`, and of shards own rows only are read.
    processes : Communicator

    Attributes
    ----------
    latest : Share or None
        Of the batch that was yielded last.
    """

    def __init__(self, batches: Iterable[Any], processes: Communicator) -> None:
        self.batches, self.processes = batches, processes
        self.latest: Share | None = None
        self._seen = hashlib.blake2b(digest_size=16)
        largest = batches.lengths()[0] if isinstance(batches, BY_ROWS) else processes.size
        if largest < processes.size:
            raise ArgumentError(
                f"fit: {processes.size} processes share a mini-batch of {largest}: "
                "use larger mini-batches, or at most as many processes as a mini-batch has samples"
            )

    @property
    def seen(self) -> bytes:
        """A checksum of the whole batches that were yielded so far."""
        return self._seen.digest()

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be epoch number `epoch`, where the batches have such."""
        set_epoch(self.batches, epoch)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if isinstance(self.batches, BY_ROWS):
            shares = [Share(self.processes, n) for n in self.batches.lengths()]
            for share, batch in zip(shares, self.batches.picked([s.rows for s in shares]), strict=True):
                self.latest = share
                yield batch
            return
        for batch in self.batches:
            rows = {len(a) for a in _arrays(batch)}
            if len(rows) != 1:
                raise DataError(
                    "fit: parallel: processes share the rows of a batch: expected arrays (x, y) of as many rows, got "
                    f"{', '.join(map(str, sorted(rows))) or 'no array: make lists arrays of NumPy'}"
                )
            for a in _arrays(batch):
                update_checksum(self._seen, a.numpy() if isinstance(a, Tensor) else a)
            self.latest = share = Share(self.processes, rows.pop())
            yield _picked(batch, share.rows)


def _arrays(batch: object) -> list[Any]:
    """Return the arrays and tensors with rows in nested tuples, lists and dicts."""
    if isinstance(batch, np.ndarray | Tensor):
        return [batch] if batch.ndim else []
    inside = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, tuple | list) else ()
    return [a for part in inside for a in _arrays(part)]


def _picked(batch: Any, rows: slice) -> Any:
    """Return nested tuples, lists and dicts with some rows of each array and tensor."""
    if isinstance(batch, np.ndarray | Tensor):
        return batch[rows] if batch.ndim else batch
    if isinstance(batch, dict):
        return {name: _picked(part, rows) for name, part in batch.items()}
    return type(batch)(_picked(part, rows) for part in batch) if type(batch) in (tuple, list) else batch
