"""Saving and loading: weights as safetensors, and checkpoints from which training continues.

Loading a file runs no code. Files are written whole or not at all, with a checksum of what they hold, so a kill leaves
the old file or the new one, and a flipped bit is told.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save as to_bytes

from .errors import ArgumentError, DataError, DTypeError, ShapeError
from .files import PathLike, update_checksum, write_file
from .nn import Module

__all__ = ["load", "save"]

FACTS = "tinygraph"  # the name of the only entry of the metadata, since safetensors writes them in any order


def write_arrays(path: PathLike, arrays: Mapping[str, np.ndarray], facts: Mapping[str, object] | None = None) -> None:
    """Write named arrays, and facts that JSON can hold, as one safetensors file with a checksum."""
    contiguous = {name: np.ascontiguousarray(a).reshape(np.shape(a)) for name, a in arrays.items()}
    text = json.dumps({**(facts or {}), "checksum": _checksum(contiguous, facts or {})})
    write_file(path, to_bytes(contiguous, {FACTS: text}))


def read_arrays(path: PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and facts of a safetensors file; its checksum is compared if `write_arrays` wrote it.

    Raises
    ------
    DataError
        If the file is missing, cannot be read, or is damaged.
    """
    try:
        Path(path).open("rb").close()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: _array(path, file, name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads((file.metadata() or {}).get(FACTS, "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a safetensors file, or damaged ({error})") from None
    if not isinstance(facts, dict):
        raise DataError(f"{path}: its metadata are not those of tinygraph")
    if "checksum" in facts and facts.pop("checksum") != _checksum(arrays, facts):
        raise DataError(f"{path}: damaged: its content does not have the checksum it was written with")
    return arrays, facts


def _array(path: PathLike, file: Any, name: str) -> np.ndarray:
    """Return one array of an open file; bfloat16, the upper half of float32, becomes float32."""
    part = file.get_slice(name)
    kind = part.get_dtype()
    try:
        if kind == "BF16":
            halves = np.frombuffer(dict(deserialize(Path(path).read_bytes()))[name]["data"], np.uint16)  # type: ignore[no-untyped-call]
            return (halves.astype(np.uint32) << 16).view(np.float32).reshape(part.get_shape())
        array: np.ndarray = file.get_tensor(name)
    except (TypeError, KeyError, AttributeError):  # what a dtype that NumPy lacks ends in
        raise DataError(
            f"{path}: {name} is stored as {kind}, which NumPy does not have; save it as float32, float16 or float64"
        ) from None
    return array


def _checksum(arrays: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> str:
    """Return a checksum of names, dtypes, shapes and elements, and of facts."""
    total = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
    for name in sorted(arrays):
        a = arrays[name]
        total.update(f"{name} {a.dtype.str} {a.shape} ".encode())
        update_checksum(total, a)
    return total.hexdigest()


def save(path: PathLike, net: Module) -> None:
    """Write the parameters and other state of `net` to `path`, as safetensors.

    Parameters
    ----------
    path : path
        Conventionally ``*.safetensors``; an older file is replaced when the new one is complete.
    net : Module

    Raises
    ------
    ArgumentError
        If the arguments are exchanged.
    DataError
        If the file cannot be written.
    """
    _check_order("save", path, net)
    write_arrays(path, {name: t.numpy() for name, t in net.state_dict().items()})


def load(path: PathLike, net: Module, *, check_finite: bool = True) -> None:
    """Write the values that `save` put in `path` into `net`, in place.

    Parameters
    ----------
    path : path
        A safetensors file; bfloat16 is taken as float32.
    net : Module
    check_finite : bool
        Whether NaN and infinite values are refused.

    Raises
    ------
    ArgumentError
        If the arguments are exchanged.
    DataError
        If the file is missing or damaged, holds another network, or values that are not finite; nothing is changed
        then.
    """
    _check_order("load", path, net)
    arrays, _ = read_arrays(path)
    if check_finite:
        require_finite(path, arrays)
    try:
        net.load_state_dict(arrays)
    except (ArgumentError, ShapeError, DTypeError) as error:
        raise DataError(f"{path}: holds another network than the one given: {error}") from None


def require_finite(path: PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise a DataError that names the first array of a file with NaN or infinite elements."""
    if wrong := not_finite(arrays):
        raise DataError(
            f"{path}: {wrong}: training diverged, or the file is damaged; tg.load takes them with check_finite=False"
        )


def not_finite(arrays: Mapping[str, np.ndarray]) -> str:
    """Return in words how many elements of the first array that has such are NaN or infinite; "" if there is none."""
    for name, a in arrays.items():
        wrong = a.size - int(np.count_nonzero(np.isfinite(a))) if a.dtype.kind == "f" else 0
        if wrong:
            return f"{name} has {wrong} of {a.size} elements that are NaN or infinite"
    return ""


def _check_order(function: str, path: object, net: object) -> None:
    if isinstance(path, Module) and not isinstance(net, Module):
        raise ArgumentError(f"{function}: the path comes first: tg.{function}(path, net)")
    if not isinstance(net, Module):
        raise ArgumentError(f"{function}: expected a Module, got a {type(net).__name__}: tg.{function}(path, net)")
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(f"{function}: expected a path, got a {type(path).__name__}: tg.{function}(path, net)")
