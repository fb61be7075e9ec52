"""The command line and the programs behind it, imported when they are first asked for."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Import the program called `name`: ``tinygraph.tools.gaussian_process``, say."""
    full = f"{__name__}.{name}"
    if not name.startswith("_"):
        try:
            return import_module(full)
        except ModuleNotFoundError as error:
            if error.name != full:
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
