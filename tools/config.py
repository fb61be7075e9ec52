"""Settings of a run as a TOML file."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tinygraph.arguments import check_name
from tinygraph.errors import ArgumentError, DataError
from tinygraph.tools.experiments import Settings, unused_settings
from tinygraph.tools.experiments.experiment import checked_setting


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file, by their names; ``hidden = [64, 32]`` is the same as ``hidden = "64,32"``.

    Raises
    ------
    DataError
        If the file is missing or not TOML.
    ArgumentError
        If a name is not that of a setting.
    """
    try:
        found = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not a TOML file: {error}") from None
    names = [f.name for f in fields(Settings)]
    given = {name.replace("-", "_"): value for name, value in found.items()}
    if len(given) < len(found):
        raise ArgumentError(f"{path}: a setting stands there twice, with - and with _")
    for name in given:
        check_name(f"{path}: setting", name, names)
    if isinstance(given.get("hidden"), list):
        given["hidden"] = ",".join(map(str, given["hidden"]))
    try:
        return {name: checked_setting(name, value) for name, value in given.items()}
    except ArgumentError as error:
        raise ArgumentError(f"{path}: {error}") from None


def as_toml(settings: Settings) -> str:
    """Return settings as a TOML file, which `read_config` reads; without those that the run has no use for."""
    unused = {*unused_settings(settings.model, settings.data), *(["momentum"] if settings.optimizer != "sgd" else [])}
    values = {n: value for n, value in asdict(settings).items() if n not in unused and value not in ("", ())}
    return "".join(f"{name} = {_value(value)}\n" for name, value in values.items())


def _value(value: Any) -> str:
    """Return a value of JSON as TOML, which has the same texts, lists, numbers and truth values."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
