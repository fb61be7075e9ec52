"""Saving and loading: weights as safetensors, and checkpoints from which training continues.

Loading a file runs no code. Files are written beside their place and moved there when complete, so a kill
leaves the old file or the new one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from .errors import ArgumentError, DataError, DTypeError, ShapeError
from .nn import Module

__all__ = ["load", "save"]

PathLike = str | os.PathLike[str]


def write_file(path: PathLike, content: bytes) -> None:
    """Write `content` to `path` whole or not at all.

    Raises
    ------
    DataError
        If the folder does not exist or cannot be written to.
    """
    target = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = file.name
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or error
        raise DataError(f"cannot write {target}: {reason}; choose a folder that exists and can be written to") from None


def write_arrays(path: PathLike, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any] | None = None) -> None:
    """Write named arrays, and facts that JSON can hold, as one safetensors file."""
    contiguous = {name: np.ascontiguousarray(a).reshape(np.shape(a)) for name, a in arrays.items()}
    metadata = None if facts is None else {"tinygraph": json.dumps(facts)}
    write_file(path, to_bytes(contiguous, metadata))


def read_arrays(path: PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and facts of a file that `write_arrays` wrote.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads((file.metadata() or {}).get("tinygraph", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a safetensors file, or damaged ({error})") from None
    return arrays, facts


def save(path: PathLike, net: Module) -> None:
    """Write the parameters and other state of `net` to `path`, as safetensors.

    Parameters
    ----------
    path : path
        Conventionally ``*.safetensors``; an older file is replaced when the new one is complete.
    net : Module

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    write_arrays(path, {name: t.numpy() for name, t in net.state_dict().items()})


def load(path: PathLike, net: Module) -> None:
    """Write the values that `save` put in `path` into `net`, in place.

    Raises
    ------
    DataError
        If the file is missing or damaged, or holds another network; nothing is changed then.
    """
    arrays, _ = read_arrays(path)
    try:
        net.load_state_dict(arrays)
    except (ArgumentError, ShapeError, DTypeError) as error:
        raise DataError(f"{path}: holds another network than the one given: {error}") from None
