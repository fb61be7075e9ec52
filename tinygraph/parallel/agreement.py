"""What all processes of a parallel run must have alike, looked at together before it begins and while it goes on."""

from __future__ import annotations

import hashlib
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from ..errors import DataError, GraphError
from ..files import PathLike, update_checksum
from ..nn import Module
from ..ops.random import set_stream_state, stream_state
from ..optim import Optimizer
from .communicator import Communicator
from .shares import Shares

PACKAGES = ("numpy", "scipy")


def check_alike(processes: Communicator, settings: Mapping[str, object]) -> None:
    """Raise an error in every process if one differs in versions, network, settings or data.

    Parameters
    ----------
    processes : Communicator
    settings : mapping of str to object
        What shapes the run here.

    Raises
    ------
    DataError
        With the number of the process, what differs, and how.
    """
    ours = sys.modules[__name__.partition(".")[0]].__version__
    here = {
        "tinygraph": ours,
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        **settings,
    }
    first, *others = processes.gather(here)
    for rank, there in enumerate(others, 1):
        for name in [*first, *(name for name in there if name not in first)]:
            if first.get(name, "absent") != there.get(name, "absent"):
                raise DataError(
                    f"fit: process {rank} differs from process 0: {name} is {there.get(name, 'absent')} there and "
                    f"{first.get(name, 'absent')} here; every process must run the same program on the same data"
                )


def share_state(processes: Communicator, net: Module, optimizer: Optimizer) -> None:
    """Let every process start from the parameters, the optimiser's state and the random numbers of process 0."""
    backend = next((p.backend for p in net.parameters()), None)
    arrays = {name: t.numpy() for name, t in net.state_dict().items()}
    key = None if backend is None else stream_state(backend)
    arrays, state, key = processes.broadcast((arrays, optimizer.state_dict(), key))
    if processes.rank:
        net.load_state_dict(arrays)
        optimizer.load_state_dict(state)
        if backend is not None and key is not None:
            set_stream_state(backend, key)


def check_epoch(shares: Shares, net: Module, epoch: int) -> None:
    """Raise an error in every process if their batches or their parameters are not the same to the bit.

    Raises
    ------
    DataError
        If a process was given other batches than process 0.
    GraphError
        If it has other parameters.
    """
    processes = shares.processes
    total = hashlib.blake2b(digest_size=16)
    for _, t in net.named_tensors():
        update_checksum(total, t.numpy())
    of_batches, of_parameters = zip(*processes.gather((shares.seen, total.digest())), strict=True)
    if other := _others(of_batches):
        raise DataError(
            f"fit: in epoch {epoch} process {other[0]} was given other batches than process 0: every process must go "
            "through the same batches; give what shuffles them a seed"
        )
    if other := _others(of_parameters):
        raise GraphError(
            f"fit: after epoch {epoch} the parameters of process {other[0]} are not those of process 0: something "
            "in the network or in a callback is another in each process, a random number that it draws itself, say"
        )


def _others(digests: Sequence[bytes]) -> list[int]:
    """Return which processes have another digest than process 0."""
    return [rank for rank, digest in enumerate(digests) if digest != digests[0]]


@contextmanager
def sent_file(processes: Communicator, path: PathLike) -> Iterator[Path | None]:
    """Yield where the file that process 0 has at `path` can be read in every process; None if it has none."""
    given = Path(path)
    content = processes.broadcast(given.read_bytes() if processes.rank == 0 and given.exists() else None)
    if content is None or processes.rank == 0:
        yield None if content is None else given
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / given.name
        copy.write_bytes(content)
        yield copy
