"""What lies outside of a function and is not reached by names: functions in C that ask for it, settings that hold.

A function of C that reads a clock, a file, the system or the interpreter is known by its name. Settings that decide
what NumPy, decimal numbers, the locale and warnings do are read and put back as a whole.
"""

from __future__ import annotations

import decimal
import locale
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from types import BuiltinFunctionType, ModuleType
from typing import Any

import numpy as np

CLOCKS = "time", "datetime"
SYSTEM = "posix", "nt", "_io", "io", "_thread", "_socket", "_uuid", "_signal", "signal", "resource", "atexit"
INTERPRETER = "gc", "_tracemalloc", "faulthandler", "_csv"  # modules whose state the interpreter keeps
HARMLESS = {
    *("fspath", "getpid", "register_at_fork", "get_ident", "allocate_lock", "RLock", "_set_sentinel", "strptime"),
    *("collect", "reader", "writer", "text_encoding", "get_referents"),
}
FILES = {"fromfile", "tofile", "dump"}  # functions of NumPy
LOOKERS = {getattr, hasattr, vars, dir, setattr, delattr, eval, exec, globals, locals}  # read any attribute or name


def asks(function: object) -> str | None:
    """Return what a function that is not written in Python asks for or changes outside; None if it does not."""
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    place = place_of(function)
    if isinstance(owner, type) and issubclass(owner, date | datetime) and name in ("now", "today", "utcnow"):
        return f"reads the clock ({owner.__name__}.{name})"
    if isinstance(owner, type) and issubclass(owner, date) and name == "fromtimestamp":
        return f"asks for the time zone ({owner.__name__}.{name})"
    if isinstance(owner, datetime) and owner.tzinfo is None and name in ("timestamp", "astimezone"):
        return f"asks for the time zone (datetime.{name})"
    if any(kind.__module__ == "_lsprof" for kind in type(owner).__mro__):  # pyright: ignore[reportGeneralTypeIssues]
        return f"starts or stops a profiler ({name})"
    if name in FILES and (place.partition(".")[0] == "numpy" or isinstance(owner, np.ndarray)):
        return f"asks the system (numpy.{name})"
    if name in HARMLESS:
        return None
    if place in CLOCKS:
        return f"reads the clock ({place}.{name})"
    if place in SYSTEM or (place == "builtins" and name in ("open", "input")):
        return f"asks the system ({place}.{name})" if isinstance(owner, ModuleType | None) else None
    if place in INTERPRETER:
        return f"asks the interpreter ({place}.{name})"
    return None


def place_of(function: object) -> str:
    """Return the module of a function that is not written in Python, "" for most methods."""
    owner = getattr(function, "__self__", None)
    return getattr(function, "__module__", None) or (owner.__name__ if isinstance(owner, ModuleType) else "")


def asks_by_itself(x: object) -> str | None:
    """Return what `asks` does, of any object."""
    return asks(x) if isinstance(x, BuiltinFunctionType) else None


@dataclass(frozen=True, eq=False)
class Setting:
    """What holds for a thread or a process until it is set anew.

    Attributes
    ----------
    name : str
        What an error calls it.
    get : callable
        Returns numbers and texts, in tuples.
    put : callable
        Takes what `get` returned.
    """

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]


def value_of(setting: Setting) -> object:
    """Return what is set."""
    return setting.get()


def precision_of(context: decimal.Context) -> tuple[object, ...]:
    """Return how decimal numbers are computed."""
    traps = tuple(kind.__name__ for kind, on in context.traps.items() if on)
    return context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps


def _set_precision(value: tuple[Any, ...]) -> None:
    context = decimal.getcontext()
    context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps = value
    for kind in context.traps:
        context.traps[kind] = kind.__name__ in traps


def _set_filters(filters: tuple[object, ...]) -> None:
    warnings.resetwarnings()  # so that what was warned of before is forgotten, as `warnings.filterwarnings` does
    warnings.filters[:] = filters  # type: ignore[index]


NUMPY_ERRORS = Setting(
    "how NumPy takes errors (np.errstate)", lambda: tuple(np.geterr().items()), lambda old: np.seterr(**dict(old))
)
NUMPY_PRINTING = Setting(
    "how NumPy prints (np.printoptions)",
    lambda: tuple(np.get_printoptions().items()),
    lambda old: np.set_printoptions(**dict(old)),
)
DECIMALS = Setting("the context of decimal numbers", lambda: precision_of(decimal.getcontext()), _set_precision)
LOCALE = Setting(
    "the locale", lambda: locale.setlocale(locale.LC_ALL), lambda old: locale.setlocale(locale.LC_ALL, old)
)
WARNINGS = Setting("the filters of warnings", lambda: tuple(warnings.filters), _set_filters)
SETTINGS = {  # by the module, and its last part, whose code or functions read or change them
    "_ufunc_config": NUMPY_ERRORS,
    "arrayprint": NUMPY_PRINTING,
    "decimal": DECIMALS,
    "_pydecimal": DECIMALS,
    "locale": LOCALE,
    "_locale": LOCALE,
    "warnings": WARNINGS,
    "_warnings": WARNINGS,
}
ASKED = {  # functions of Python's library, written in Python, that ask for what lies outside
    "threading": {"active_count": "asks for the threads", "enumerate": "asks for the threads"},
    "multiprocessing.process": {
        "current_process": "asks for the process",
        "active_children": "asks for the processes",
        "parent_process": "asks for the process",
    },
    "tempfile": {"gettempdir": "asks the system", "_gettempdir": "asks the system"},
}
