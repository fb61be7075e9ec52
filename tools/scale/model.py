"""What a step takes on many processes: arithmetic, memory, the calls between, and one Allreduce of the gradients.

A process computes a share of b samples in ``c + F(b) / f + M(b) / w`` seconds, with F(b) the floating-point operations
and M(b) the bytes of its plan; where gradients are added up they go through memory besides. The Allreduce of n numbers
takes, by the algorithm that is faster for n,

- recursive doubling: ``log2 P`` rounds, in each n numbers are sent and added,
- Rabenseifner's: ``2 log2 P`` rounds, in all ``2 n (P - 1) / P`` numbers sent and half as many added,

as `tinygraph.tools.scale.collectives` counts them message by message.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

ITEMSIZE = 4  # bytes of a number
ADDED = 3  # numbers that move through memory when one is added to another
PASSES = 5  # a gradient into one array, out of it, a weight out and in; one process adds products to weights at once


@dataclass(frozen=True)
class Processor:
    """What one process computes with.

    Attributes
    ----------
    seconds_a_step : float
        What a step takes besides: calls, guards.
    flops : float
        Floating-point operations a second.
    bandwidth : float
        Bytes a second that the plan's instructions read and write; infinite where these take no time beside the rest.
    memory : float
        Bytes a second that a large array is copied with.
    """

    seconds_a_step: float
    flops: float
    bandwidth: float
    memory: float

    def step(self, flops: float, nbytes: float) -> float:
        """Return the seconds of a step with so many operations and bytes."""
        return self.seconds_a_step + flops / self.flops + nbytes / self.bandwidth


@dataclass(frozen=True)
class Link:
    """What messages between two processes take.

    Attributes
    ----------
    latency : float
        Seconds of a message without content.
    bandwidth : float
        Bytes a second.
    """

    latency: float
    bandwidth: float


@dataclass(frozen=True)
class Prediction:
    """A step on a number of processes.

    Attributes
    ----------
    processes : int
    batch : int
        Samples of all processes together.
    computing, communicating : float
        Seconds.
    """

    processes: int
    batch: int
    computing: float
    communicating: float

    @property
    def seconds(self) -> float:
        """The whole step: nothing overlaps."""
        return self.computing + self.communicating


def allreduce_seconds(processes: int, numbers: int, link: Link, memory: float) -> float:
    """Return the seconds in which `processes` add up vectors of so many numbers, each having the sum afterwards."""
    if processes == 1:
        return 0.0
    send, add = ITEMSIZE / link.bandwidth, ADDED * ITEMSIZE / memory
    doublings = math.floor(math.log2(processes))
    beyond = processes > 1 << doublings
    share = 1 - 1 / (1 << doublings)
    in_whole = doublings * (link.latency + numbers * (send + add))
    in_parts = 2 * doublings * link.latency + share * numbers * (2 * send + add)
    first_and_last = (2 * link.latency + numbers * (2 * send + add)) if beyond else 0.0
    return first_and_last + min(in_whole, in_parts)


def fit_processor(
    flops: Sequence[float], nbytes: Sequence[float], seconds: Sequence[float], memory: float
) -> Processor:
    """Return the processor that explains measured steps best, by non-negative least squares of relative errors."""
    from scipy.optimize import nnls

    measured = np.asarray(seconds, float)
    features = np.stack([np.ones_like(measured), np.asarray(flops, float), np.asarray(nbytes, float)], axis=1)
    scale = features.max(axis=0)
    (c, per_flop, per_byte), _ = nnls(features / scale / measured[:, None], np.ones(len(measured)))
    return Processor(c / scale[0], _rate(per_flop / scale[1]), _rate(per_byte / scale[2]), memory)


def fit_link(sizes: Sequence[int], seconds: Sequence[float], memory: float) -> Link:
    """Return the link that explains best what an Allreduce of so many bytes took on two processes, float32.

    Of two processes, either algorithm has its own latency and bandwidth; the fit takes one round of whole vectors
    unless two of halves leave clearly less unexplained.
    """
    from scipy.optimize import nnls

    measured, n = np.asarray(seconds, float), np.asarray(sizes, float)
    candidates = []
    for rounds, sent, added in ((1, 1.0, 1.0), (2, 1.0, 0.5)):
        known = ADDED * added * n / memory
        features = np.stack([np.full_like(n, rounds), sent * n], axis=1) / measured[:, None]
        scale = features.max(axis=0)
        (latency, per_byte), left = nnls(features / scale, np.maximum(0.0, 1 - known / measured))
        candidates.append((left, Link(latency / scale[0], _rate(per_byte / scale[1]))))
    (left_by_whole, whole), (left_by_halves, halves) = candidates
    return halves if left_by_halves < 0.9 * left_by_whole - 1e-9 else whole


def _rate(seconds_each: float) -> float:
    return 1 / seconds_each if seconds_each > 0 else math.inf


@dataclass(frozen=True)
class Work:
    """What a network's step costs: ``flops + flops_a_sample b`` operations, and bytes likewise; so many parameters."""

    flops: float
    flops_a_sample: float
    nbytes: float
    nbytes_a_sample: float
    parameters: int

    @classmethod
    def of(cls, batches: Sequence[int], flops: Sequence[float], nbytes: Sequence[float], parameters: int) -> Work:
        """Return the straight lines through what plans for these batches say of themselves."""
        (f1, f0), (m1, m0) = (np.polyfit(batches, values, 1) for values in (flops, nbytes))
        return cls(max(0.0, f0), f1, max(0.0, m0), m1, parameters)

    def predicted(self, processes: int, batch: int, processor: Processor, link: Link) -> Prediction:
        """Return what a step takes; the slowest process has ``ceil(batch / processes)`` samples."""
        b = math.ceil(batch / processes)
        computing = processor.step(self.flops + b * self.flops_a_sample, self.nbytes + b * self.nbytes_a_sample)
        if processes > 1:
            computing += PASSES * ITEMSIZE * self.parameters / processor.memory
        return Prediction(
            processes,
            batch,
            computing,
            allreduce_seconds(processes, self.parameters, link, processor.memory),
        )


def scaling(
    work: Work, counts: Iterable[int], batch: int, processor: Processor, link: Link, *, weak: bool = False
) -> list[Prediction]:
    """Return predictions for numbers of processes: of one batch that is shared out, or (weak) of one batch each."""
    return [work.predicted(p, batch * p if weak else batch, processor, link) for p in counts]
