"""Array backends: their registry, the default, and which are available."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING

from ..arguments import did_you_mean
from ..errors import BackendError
from ..typing import Array
from .base import Backend
from .cupy import CupyBackend
from .numpy import NumpyBackend
from .random import generator, manual_seed
from .strict import StrictBackend

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "Array",
    "Backend",
    "CupyBackend",
    "backends",
    "current",
    "generator",
    "get_backend",
    "manual_seed",
    "register",
    "use",
    "using",
]

_factories: dict[str, Callable[[], Backend]] = {"numpy": NumpyBackend, "cupy": CupyBackend, "strict": StrictBackend}
_backends: dict[str, Backend] = {}
_hidden = {"strict"}  # for tests; usable, not advertised
_default = [os.environ.get("TINYGRAPH_BACKEND", "numpy")]
_block: ContextVar[Backend | None] = ContextVar("tinygraph_backend", default=None)


def register(name: str, factory: Callable[[], Backend]) -> None:
    """Make a backend known by `name`; `factory` returns it, or raises `BackendError` saying what is missing."""
    _factories[name] = factory
    _backends.pop(name, None)


def _load(entry: EntryPoint) -> Backend:
    """Return the backend that another package offers."""
    try:
        backend: Backend = entry.load()()
    except BackendError:
        raise
    except Exception as error:  # what is wrong with one must not keep the others from running
        package = entry.dist.name if entry.dist else entry.value
        raise BackendError(f"backend {entry.name!r} of {package}: {type(error).__name__}: {error}") from error
    return backend


def _find_plugins() -> None:
    """Register the backends that other installed packages offer (entry point ``tinygraph.backends``)."""
    from importlib.metadata import entry_points  # a tenth of the time that `import tinygraph` would take

    for entry in entry_points(group="tinygraph.backends"):
        _factories.setdefault(entry.name, partial(_load, entry))


def get_backend(name: str | Backend) -> Backend:
    """Return the backend called `name`.

    Raises
    ------
    BackendError
        If no backend has this name, or it cannot run here.
    """
    if isinstance(name, Backend):
        return name
    if name not in _backends:
        if name not in _factories:
            _find_plugins()
        if name not in _factories:
            known = ", ".join(n for n in _factories if n not in _hidden)
            raise BackendError(f"backend {name!r} is not known; known: {known}{did_you_mean(name, _factories)}")
        _backends[name] = _factories[name]()
    return _backends[name]


def current() -> Backend:
    """Return the backend on which new tensors are made."""
    return _block.get() or _backends.get(_default[0]) or get_backend(_default[0])


def use(name: str) -> None:
    """Make `name` the default backend, for every new tensor of the process.

    Raises
    ------
    BackendError
        If it is unknown or cannot run here; the default then stays as it was.
    """
    get_backend(name)
    _default[0] = name


@contextmanager
def using(name: str) -> Iterator[Backend]:
    """Make `name` the default backend inside a ``with`` block."""
    backend = get_backend(name)
    token = _block.set(backend)
    try:
        yield backend
    finally:
        _block.reset(token)


def backends() -> dict[str, str]:
    """Return every backend's name with ``"ok"``, or with what is missing for it to run here."""
    _find_plugins()
    states = {}
    for name in _factories:
        if name in _hidden:
            continue
        try:
            get_backend(name)
            states[name] = "ok"
        except BackendError as error:
            states[name] = str(error).removeprefix(f"backend {name!r}: ")
    return states
