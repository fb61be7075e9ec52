"""What a function reads and changes besides its arguments, found while it is recorded.

Every Python function that runs during the recording is seen by a profile function. Its code names what it reads: global
names, variables of enclosing functions, attributes. From what is known at its start - the function itself, the objects
among the arguments, globals - these names lead on to whatever the function can reach, through attributes, classes,
lists, dicts. Each place that may be read is remembered with its value before the function's code runs: what differs
afterwards the function has changed; what stays is compared before every replay (see `guards`).
"""

from __future__ import annotations

import abc
import collections
import contextvars
import ctypes
import decimal
import functools
import gc
import logging
import mmap
import numbers
import operator
import os
import random
import re
import sys
import threading
import types
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

from ..backend import Backend, current
from ..errors import CompileError
from ..op import Op
from ..tensors import Tensor
from . import purity
from .abstract import Unknown
from .bytecode import FAMILIAR, LIBRARY, NUMBERS_OF, Names, names_of, wider
from .generators import GENERATORS, shared_generators, state_of
from .outside import ASKED, LOOKERS, SETTINGS, asks, asks_by_itself, place_of, precision_of, value_of
from .places import MISSING, Read, cell_value, content, members
from .program import is_ours
from .trees import BUFFERS

FIXED = (*purity.FIXED, range, slice)
BUILTIN = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
GETTERS = (operator.attrgetter, operator.methodcaller, operator.itemgetter)
DATA = (*FIXED, list, tuple, set, dict, types.SimpleNamespace)  # of a module, not what it is made of
CONTAINERS = (tuple, list, dict, set, frozenset)
CTYPES = (ctypes._SimpleCData, ctypes.Array, ctypes.Structure, ctypes.Union)
LOCKS = type(threading.Lock()), type(threading.RLock())
FACTS = ("name", "role", "requires_grad", "shape", "dtype", "ndim", "size", "is_leaf", "backend")  # of a tensor
SEEN = (
    *(*FIXED, *BUILTIN, *GETTERS, *BUFFERS, *GENERATORS, type, ModuleType, FunctionType, np.ndarray, Tensor),
    *(list, tuple, set, frozenset, dict, collections.deque, types.MappingProxyType, functools.partial, re.Pattern),
    *(contextvars.ContextVar, functools._lru_cache_wrapper, types.SimpleNamespace),
    *(date, timedelta, numbers.Number, contextvars.Context, *LOCKS),
)  # of which it is known what their methods, written in C, read
METHODS = "forward", "__call__"  # of modules
OF_SYS = "get", "set", "_get", "_current", "is"  # how the functions begin that tell or change what the interpreter does
LAYOUT = {"flags", "strides", "base", "ctypes", "__array_interface__"}
ON_PURPOSE = {"_lr", "_rates"}  # attributes of the library's objects whose values a plan reads elsewhere
SKIPPED = {  # parts of the library whose functions are not looked at
    *("plan", "mode", "structure", "watchers", "tensors", "leaves", "operators", "operand_checks", "op", "ops"),
    *("autodiff", "batching", "mapping", "anomaly", "arguments", "errors"),
}


def _nothing() -> None:
    """Have a code that names nothing."""


NAMELESS = names_of(_nothing.__code__, "")
AT_BACKEND = replace(NAMELESS)  # stands for the names of a code from which on nothing is looked at until it returns
AT_NUMPY = replace(NAMELESS)  # stands for the names of a code of which only what it asks the system is looked at


class Reads:
    """What a function and all that it calls read and change, as a profile function `sees` it.

    Parameters
    ----------
    roots : iterable of (object, str)
        The function, and the objects among its arguments, with what errors call them.
    unguarded : type
        Objects of this class are taken as they are.

    Attributes
    ----------
    unseen : list of str
        Functions of extensions written in C that ran: what they read cannot be seen.
    compared : set of int
        The identities of objects given to functions that ask whether they are another object.
    compared_names : set of str
        The variables and attributes of which that is asked.
    """

    def __init__(self, roots: Iterable[tuple[object, str]], unguarded: type) -> None:
        self.reads: dict[tuple[int, str, Any], Read] = {}
        self._generators: list[Read] = []  # of random numbers, which are in `reads` too
        self.refusals: list[str] = []
        self.unseen: list[str] = []
        self.compared: set[int] = set()
        self.compared_names: set[str] = set()
        self.looked_into: set[int] = set()  # arrays of which elements may be read as numbers
        self._unguarded = unguarded
        self._known: dict[int, Any] = {}  # objects from before, kept so that no other takes their place
        self._before: frozenset[int] = frozenset()
        self._visited: set[tuple[int, Any]] = set()
        self._settled: set[tuple[int, bool]] = set()  # what is known to code of the library, and if it reads roles
        self._strangers: list[tuple[weakref.ref[Any], Names]] = []
        self._seen: set[tuple[Any, ...]] = set()
        self._attributes: set[str] = set()  # that the user's functions name
        self._getters: frozenset[str] = frozenset()  # attributes that `operator.attrgetter` and the like read
        self._imported: list[str] = []  # modules found by a name that is made up
        self._homes: set[str | None] = set()  # modules of the functions that lead on
        self._names: dict[CodeType, Names | None] = {}
        self._arrays_of: dict[CodeType, list[tuple[str, int]]] = {}  # arrays that a code reaches, by their names in it
        self._computing: set[CodeType] = set()
        self._wide = False  # whether any attribute and any global name may be read
        self._catches = False  # whether the user's functions catch errors, their own or those of what they call
        self._inside: FrameType | None = None
        arrays = str(current().array_type.__module__).partition(".")[0]
        self._arrays = "numpy" if arrays == LIBRARY else arrays  # the package whose functions are not looked at
        for x, name in roots:
            self._follow(x, None, name)
        for name, x in shared_generators().items():
            self._note("state", x, state_of, state_of(x), name)

    # -- seeing -----------------------------------------------------------------------------------------

    def sees(self, frame: FrameType, event: str, argument: object) -> None:
        """See a call or a return; the interpreter calls this for each, so what is not looked at is left at once."""
        if event == "call":
            if self._inside is None:
                try:
                    names = self._names[frame.f_code]
                except KeyError:
                    names = self._names[frame.f_code] = self._looked_at(frame)
                if names is AT_BACKEND:
                    if "self" in frame.f_locals and frame.f_globals.get("__name__") == "logging":
                        self._follow(frame.f_locals["self"], None, "a logger")
                    self._inside = frame
                elif names is AT_NUMPY:
                    if frame.f_back is not None:
                        self._computes(frame.f_back.f_code)
                elif names is not None:
                    self._enters(frame, names)
        elif event == "c_call":
            if self._inside is None:
                names = self._names.get(frame.f_code)
                if names is not None and names is not AT_BACKEND and not names.ours:
                    self._calls(frame, argument, names)
        elif frame is self._inside and event == "return":
            self._inside = None

    def _looked_at(self, frame: FrameType) -> Names | None:
        """Return what a code names; None for what is not looked at.

        `AT_BACKEND` where a backend, a logger or the import of a module begins, or what the collector of garbage calls,
        whoever runs.
        """
        module = str(frame.f_globals.get("__name__", ""))
        package, _, part = module.partition(".")
        part = part.partition(".")[0]
        by_collector = any(getattr(f, "__code__", None) is frame.f_code for f in gc.callbacks)
        if (package == LIBRARY and part == "backend") or module == "logging" or by_collector or _imports(frame):
            return AT_BACKEND
        if package in ("numpy", "locale", "warnings"):
            self._note_setting(module.rpartition(".")[2])
        asked = ASKED.get(module, {}).get(frame.f_code.co_name)
        if asked is not None:
            self._refuse(f"{asked} ({module}.{frame.f_code.co_name})", PASS_IT)
        if package == self._arrays:
            return AT_NUMPY if package == "numpy" else None
        if package == LIBRARY and part in SKIPPED:
            return None
        names = names_of(frame.f_code, module, self._catches)
        return wider(names) if self._wide and not names.ours and not names.standard else names

    def _note_setting(self, module: str) -> None:
        """Note what a module of Python or NumPy has set, before its code or functions run."""
        setting = SETTINGS.get(module)
        if setting is not None:
            self._note("state", setting, value_of, setting.get(), setting.name)

    def _looks_wider(self) -> None:
        """From here on take it that any attribute and any global name is read, whatever the user's code names."""
        if self._wide:
            return
        self._wide = True
        for code, names in self._names.items():
            if names is not None and names not in (AT_BACKEND, AT_NUMPY) and not names.ours and not names.standard:
                self._names[code] = wider(names)
        self._seen.clear()
        texts = (names.texts for names in self._names.values() if names is not None and not names.standard)
        everything = wider(replace(NAMELESS, attributes=frozenset(self._attributes), texts=frozenset().union(*texts)))
        for x in list(self._known.values()):
            self._follow(x, everything, _words(x))

    def _enters(self, frame: FrameType, names: Names) -> None:
        code, space, wide = frame.f_code, frame.f_globals, self._wide
        module = str(space.get("__name__", ""))
        if names.catches and not self._catches and not names.ours and not names.standard:
            self._catches = True  # what is called from here on is looked at with other eyes
            for known, n in self._names.items():
                if n is not None and n is not AT_BACKEND and n is not AT_NUMPY and not n.ours:
                    self._names[known] = replace(n, catches=True)
            self._seen.clear()
        local = frame.f_locals if names.given else {}
        if module == "importlib" and code.co_name == "import_module":
            self._imported.append(str(local.get("name")))
        named = [name for name in names.given if name in local]
        given = [local[name] for name in named]
        key = (code, id(space), *map(id, given))
        if key in self._seen:
            return
        if not names.ours and not names.standard:
            self._look_at_globals(space, names)
            self._attributes |= names.attributes
            self.compared_names |= names.identical
            if "datetime64" in names.attributes | names.variables and {"now", "today"} & names.texts:
                self._refuse("reads the clock (numpy.datetime64)", PASS_IT)
        elif names.standard and "environ" in names.variables | names.attributes:
            self._follow(os.environ, names, "os.environ")
        self.compared |= {id(x) for x, variable in zip(given, named, strict=True) if variable in names.identical}
        for x, variable in zip(given, named, strict=True):
            if id(x) in self._known:
                self._follow(x, names, f"{_words(x)} {variable!r}")
                self._seen.add(key)
            elif isinstance(x, FIXED):
                continue
            else:
                self._stranger(x, names)
        if given:
            first = given[0]
            if not isinstance(first, (*FIXED, Tensor)) and (_is_module(first) or not names.ours):
                self._look_at_method(first, code)
        if self._wide is not wide:
            self._enters(frame, wider(names))

    def _stranger(self, x: Any, names: Names) -> None:
        """Remember an object that nothing known leads to: made on the way, most likely, and gone at the end."""
        if (
            names.standard
            or (names.ours and not _is_module(x))
            or isinstance(x, (Tensor, Unknown, np.ndarray, type, ModuleType, *BUILTIN))
        ):
            return
        self._follow(type(x), names, _words(x))
        with suppress(TypeError):  # a container: what is in it was reached or made on the way
            self._strangers.append((weakref.ref(x), names))

    def _calls(self, frame: FrameType, function: Any, names: Names) -> None:
        """Note a call of a function that is not written in Python."""
        caller: FrameType | None = frame
        while caller is not None and _on_behalf(caller):
            caller = caller.f_back
        module = str(caller.f_globals.get("__name__")) if caller is not None else ""
        if module not in self._homes or _imports(frame):
            return  # no doing of the function: the collector of garbage may have called it
        asked = asks(function)
        if asked is not None:
            self._refuse(asked, PASS_IT)
        if names is AT_NUMPY or asked is not None:
            return
        name, owner, place = getattr(function, "__name__", ""), getattr(function, "__self__", None), place_of(function)
        direct = caller is frame
        self._note_setting(place)
        if not names.whole and not names.standard and _may_read_any(function, names):
            self._looks_wider()
        if isinstance(owner, np.ndarray) or place not in ("", "builtins") or name in NUMBERS_OF:
            self._computes(frame.f_code)
        if isinstance(owner, np.ndarray):
            self.looked_into.add(id(owner))
        elif isinstance(owner, random.Random) and name not in ("getstate", "setstate", "__reduce__"):
            self._refuse(f"draws from {self._called(owner, 'a random.Random')}", DRAW)
        elif name == "get_ident" and (direct or frame.f_code.co_name == "current_thread"):
            self._refuse("asks for the thread that it runs in", PASS_IT)
        elif name == "getpid" and direct:
            self._refuse("asks for the process that it runs in (os.getpid)", PASS_IT)
        elif name == "__import__" and direct:
            self._refuse("imports a module by a name that is made up (__import__)", "use importlib.import_module")
        elif place.partition(".")[0] not in FAMILIAR:
            self.unseen.append(f"{place}.{name}")
        elif place == "sys" and name.startswith(OF_SYS) and (direct or (name == "_getframe" and _asks_frames(frame))):
            self._refuse(f"asks the interpreter (sys.{name})", PASS_IT)
        elif owner is not None and (owner is sys.stdout or owner is sys.stderr):
            return
        elif id(owner) in self._known and not isinstance(owner, SEEN) and not _written_in_python(type(owner)):
            self._refuse(f"calls {name} of a {type(owner).__name__}, whose state cannot be compared", PASS_IT)
        elif place == "builtins" and name == "id" and direct:
            self._refuse("asks for the identity of an object (id), which changes from call to call", PASS_IT)

    def _computes(self, code: CodeType) -> None:
        """Take it that a code computes numbers on the host, of the arrays that it takes as a whole."""
        names = self._names.get(code)
        if names is None or names.ours or names.standard or code in self._computing:
            return
        self._computing.add(code)
        self._looks_into(names)

    def _looks_into(self, names: Names) -> None:
        """Note the arrays of which the code may read elements as numbers."""
        wanted = names.values | (names.taken if names.code in self._computing else frozenset())
        arrays = self._arrays_of.get(names.code, ())
        self.looked_into |= {x for name, x in arrays if names.looks or name in wanted}

    def _called(self, x: object, otherwise: str) -> str:
        return next((r.name for r in self.reads.values() if r.holder is x), otherwise)

    def _refuse(self, text: str, remedy: str) -> None:
        self.refusals.append(_refusal(text, remedy))

    # -- following --------------------------------------------------------------------------------------

    def _note(self, kind: str, holder: object, key: object, value: object, name: str) -> None:
        place = id(holder), kind, key
        if place not in self.reads:
            self.reads[place] = read = Read(kind, holder, key, value, name)
            if key is state_of:
                self._generators.append(read)

    def _look_at_globals(self, space: dict[str, Any], names: Names) -> None:
        place = id(space), names
        if place in self._visited:
            return
        self._visited.add(place)
        built = space.get("__builtins__", {})
        built = vars(built) if isinstance(built, ModuleType) else built
        for name in names.imported:
            module = sys.modules.get(name, MISSING)
            self._note("item", sys.modules, name, module, f"the module {name!r}")
            self._follow(module, names, name)
            if module is MISSING:
                self._imported.append(name)
        wanted: Iterable[str] = names.variables
        if names.whole and (self._wide or {"globals", "eval", "exec", "vars"} & names.variables):
            wanted = [*wanted, *(name for name in space if not name.startswith("__"))]
            self._note("state", space, _keys, _keys(space), "the global names")
        for name in wanted:
            value = space.get(name, MISSING)
            self._note("item", space, name, value, f"the global {name!r}")
            if value is MISSING:
                value = built.get(name, MISSING)
                if value is not MISSING:
                    self._note("item", built, name, value, f"the builtin {name!r}")
            self._note_taken(name, value, names)
            self._follow(value, names, repr(name))

    def _note_taken(self, name: str, value: Any, names: Names) -> None:
        """See to a function in C that is handed on, and so may be called where no call is seen."""
        if isinstance(value, np.ufunc):
            self._computes(names.code)
        asked = asks_by_itself(value) if name in names.taken else None
        if asked is not None:
            self._refuse(asked, PASS_IT)

    def _look_at_method(self, first: Any, code: CodeType) -> None:
        """Note in which class the method that runs stands, and that no other hides it."""
        kind = first if isinstance(first, type) else type(first)
        if _is_module(first):
            for key in METHODS:  # whatever its code calls itself
                self._look_in_class(kind, key, None)
        found = self._look_in_class(kind, code.co_name, None)
        space = _space_of(first)
        noted = not _is_module(first) and id(first) in self._known  # of modules all attributes are
        if found and noted and space is not None and code.co_name not in space:
            self._note("item", space, code.co_name, MISSING, f"attribute {code.co_name!r} of {_words(first)}")

    def _follow(self, x: object, names: Names | None, name: str) -> None:
        """Note all places that `names` lead to from an object.

        To code of the library an object of which all is the library's looks the same, whatever that code names.
        """
        role = names is not None and "role" in names.attributes
        if (id(x), role) in self._settled and names is not None and names.ours:
            return
        passed: set[tuple[int, bool]] = set()
        settled = names is not None and names.ours
        stack = [(x, name)]
        while stack:
            x, name = stack.pop()
            if isinstance(x, types.BuiltinFunctionType | types.MethodWrapperType):  # ``append`` of a list, say
                if not isinstance(x.__self__, ModuleType | type):
                    stack.append((x.__self__, name))
                elif x in LOOKERS and names is not None and _names_no_lookers(names):
                    self._looks_wider()
                continue
            plain = isinstance(x, (*FIXED, *BUILTIN)) and not _written_in_python(type(x))
            if x is MISSING or (plain and not isinstance(x, np.void)):
                continue
            if isinstance(x, Unknown) or (isinstance(x, Tensor) and isinstance(x.data, Unknown)):
                continue
            place = id(x), names
            if place in self._visited:
                settled = settled and ((id(x), role) in passed or (id(x), role) in self._settled)
                continue
            self._visited.add(place)
            self._known[id(x)] = x
            if settled:
                passed.add((id(x), role))
                settled = type(x) in CONTAINERS or isinstance(x, Tensor) or _is_part_of_ours(x)
            stack.extend(self._look(x, names, name))
        if settled:
            self._settled |= passed

    def _look(self, x: Any, names: Names | None, name: str) -> list[tuple[object, str]]:
        """Note what may be read of one object; return what this leads to, with names for errors."""
        if isinstance(x, Tensor):
            for fact in FACTS:
                named = names is not None and (fact in names.attributes or (names.whole and not names.standard))
                if names is not None and (fact == "role" or not names.ours) and named:
                    self._note("attribute", x, fact, getattr(x, fact), f"attribute {fact!r} of tensor {name}")
            return []
        if isinstance(x, FunctionType):
            return self._look_at_function(x, names, name)
        if isinstance(x, types.MethodType):
            return [(x.__self__, name), (x.__func__, name)]
        if isinstance(x, staticmethod | classmethod):
            return [(x.__func__, name)]
        if isinstance(x, property):
            return [(x.fget, name)]
        if isinstance(x, functools.partial):
            self._note("attribute", x, "func", x.func, f"the function of {name}")
            self._note("attribute", x, "args", x.args, f"the arguments of {name}")
            asked = asks_by_itself(x.func)
            if asked is not None:
                self._refuse(asked, PASS_IT)
            return [(x.func, name), (x.args, name), (x.keywords, name)]
        if x is decimal or type(x).__module__ == "decimal" or (isinstance(x, type) and x.__module__ == "decimal"):
            self._note_setting("decimal")
        if isinstance(x, decimal.Context):
            self._note("state", x, precision_of, precision_of(x), name)
            return []
        if isinstance(x, ModuleType):
            if names is None or names.ours or names.standard:
                return []
            below: list[tuple[Any, str]] = self._look_in_module(x, names)
            return below if type(x) is ModuleType else below + self._look_at_object(x, names, name)
        if isinstance(x, type):
            if x in GETTERS and names is not None and _names_no_lookers(names):
                self._looks_wider()
            return self._look_at_class(x, names)
        if isinstance(x, Backend | self._unguarded) or (isinstance(x, Op) and not purity.is_pure(x)):
            return []  # the latter runs in every replay, and reads then
        if isinstance(x, np.ndarray):
            self._note("content", x, None, content(x), f"array {name}")
            if names is not None:
                self._arrays_of.setdefault(names.code, []).append((_last(name), id(x)))
                if names.looks or _last(name) in names.values or names.code in self._computing:
                    self._looks_into(names)
            if names is not None and not names.ours and not names.standard and LAYOUT & names.attributes:
                self._note("state", x, _layout, _layout(x), f"the layout of {name}")
            if type(x) is not np.ndarray:
                return self._look_at_object(x, names, name)
            return [(item, name) for item in x.flat] if x.dtype.kind == "O" else []
        if isinstance(x, (*BUFFERS, mmap.mmap, np.void)) or type(x).__base__ in CTYPES:
            self._note("content", x, None, content(x), f"buffer {name}")
            return []
        if isinstance(x, GENERATORS):
            self._note("state", x, state_of, state_of(x), name)
            return []
        if isinstance(x, np.random.SeedSequence):
            self._note("state", x, _spawned, x.n_children_spawned, f"what {name} has spawned")
            return []
        if isinstance(x, logging.Logger):
            self._note("state", x, _level_of, _level_of(x), f"the level of {name}")
            return []
        if isinstance(x, logging.LoggerAdapter):
            return [(x.logger, name)]
        if isinstance(x, logging.Handler) or x is sys.stdout or x is sys.stderr:
            return []  # what is written there is written at the recording only
        if isinstance(x, contextvars.Context):
            self._note("state", x, _context_values, _context_values(x), f"the context {name}")
            return [(value, name) for value in x.values()]
        if isinstance(x, contextvars.ContextVar):
            self._note("state", x, _context_value, _context_value(x), f"the context variable {x.name!r}")
            return [(_context_value(x), name)]
        if isinstance(x, functools._lru_cache_wrapper):
            self._note("state", x, _cache_state, _cache_state(x), f"the cache of {name}")
            return [(x.__wrapped__, name), *((kept, name) for kept in _cached(x))]
        if isinstance(x, GETTERS):
            texts = (text for text in x.__reduce__()[1] if isinstance(text, str))
            self._getters |= {part for text in texts for part in text.split(".")}
            return []
        if isinstance(x, LOCKS):
            self._note("state", x, _is_locked, _is_locked(x), f"lock {name}")
            return []
        if isinstance(x, super):
            self._refuse(f"reads super() kept from before ({name})", "call super() where it is used")
            return []
        if isinstance(x, (weakref.ReferenceType, *weakref.ProxyTypes)):
            self._refuse(f"reads a weak reference ({name})", "hold the object itself")
            return []
        if hasattr(type(x), "__next__") and not _written_in_python(type(x)):
            self._refuse(f"reads an iterator ({name}), which gives something else at every call", PASS_IT)
            return []
        if "__array_interface__" in (_space_of(x) or ()):
            self._refuse(f"reads memory that {name} tells the address of", PASS_IT)
        below = []
        if isinstance(x, tuple | frozenset):
            below += [(item, name) for item in x]
        elif isinstance(x, list | set | dict | collections.deque | types.MappingProxyType):
            inside = members(x)
            self._note("members", x, None, inside, f"{type(x).__name__} {name}")
            below += [(item, name) for item in inside]
        elif isinstance(x, types.SimpleNamespace) and names is not None and _shown(name, names):
            self._note("members", vars(x), None, members(vars(x)), f"the attributes of {name}")
            below += [(item, name) for item in vars(x).values()]
        elif _holds_in_c(x):
            self._note("state", x, _held, _held(x), f"what {name} holds")
            below += [(item, name) for item in _held(x)]
        if isinstance(x, collections.defaultdict):
            self._note_taken("", x.default_factory, replace(NAMELESS, taken=frozenset({""})))
        return below + self._look_at_object(x, names, name)

    def _look_at_function(self, f: FunctionType, names: Names | None, name: str) -> list[tuple[object, str]]:
        if is_ours(f):
            return [(cell_value(cell), repr(f.__name__)) for cell in f.__closure__ or ()]
        self._homes.add(f.__module__)
        below: list[tuple[Any, str]] = []
        for part in ("__code__", "__defaults__"):
            self._note("attribute", f, part, getattr(f, part), f"{part} of function {f.__name__!r}")
        self._note("attribute", f, "__kwdefaults__", f.__kwdefaults__, f"the keyword defaults of {f.__name__!r}")
        below += [(x, f"a default of {f.__name__!r}") for x in f.__defaults__ or ()]
        below.append((f.__kwdefaults__, f"the keyword defaults of {f.__name__!r}"))
        for variable, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            value = cell_value(cell)
            self._note("cell", cell, None, value, f"the variable {variable!r} of an enclosing function")
            below.append((value, repr(variable)))
        if names is not None and (names.whole or names.catches) and not names.ours:
            self._note("state", vars(f), len, len(vars(f)), f"the attributes of function {f.__name__!r}")
        if vars(f):
            own = frozenset({"__wrapped__"}) | (names.attributes if names is not None else frozenset())
            for key in vars(f) if names is not None and names.whole else own & set(vars(f)):
                self._note("item", vars(f), key, vars(f)[key], f"attribute {key!r} of function {f.__name__!r}")
                below.append((vars(f)[key], repr(key)))
        if names is not None:
            for key in names.stored - set(vars(f)):
                self._note("item", vars(f), key, MISSING, f"attribute {key!r} of function {f.__name__!r}")
            for key in {"__doc__", "__annotations__", "__name__"} & names.attributes:
                value = getattr(f, key)
                self._note("attribute", f, key, value, f"{key} of function {f.__name__!r}")
                below.append((value, key))
        return below

    def _look_in_module(self, x: ModuleType, names: Names) -> list[tuple[object, str]]:
        below = []
        wanted = names.attributes
        if names.whole and x.__name__.partition(".")[0] not in FAMILIAR:
            self._note("state", vars(x), len, len(vars(x)), f"the names of module {x.__name__}")
            wanted = wanted | {key for key, value in vars(x).items() if isinstance(value, DATA) and key[:2] != "__"}
        for key in wanted:
            value, name = vars(x).get(key, MISSING), f"{x.__name__}.{key}"
            if value is not MISSING or names.catches or key in names.stored:
                self._note("item", vars(x), key, value, name)
                self._note_taken(key, value, names)
                below.append((value, name))
        return below

    def _look_at_class(self, kind: type, names: Names | None) -> list[tuple[object, str]]:
        if names is None or names.ours or not _written_in_python(kind):
            return []
        self._look_at_size(kind)
        for key in {"__name__", "__qualname__"} & names.attributes:
            self._note("attribute", kind, key, getattr(kind, key), f"{key} of class {kind.__name__}")
        below: list[tuple[Any, str]] = []
        if "__subclasses__" in names.attributes:
            self._note("state", kind, _subclasses, _subclasses(kind), f"the subclasses of {kind.__name__}")
            below += [(one, f"a subclass of {kind.__name__}") for one in _subclasses(kind)]
        own = names.attributes
        if names.whole:
            own = own | _names_in_classes(kind)
        for key in own:
            below += self._look_in_class(kind, key, names)
            if type(kind) is not type:
                below += self._look_in_class(type(kind), key, names)
        return below

    def _look_at_size(self, kind: type) -> None:
        """Note how many attributes a class has: operators look for methods that no code names."""
        for one in kind.__mro__:
            if _written_in_python(one) and not (is_ours(one) or one.__module__ in sys.stdlib_module_names):
                if (id(one), None) not in self._visited:
                    self._visited.add((id(one), None))
                    count = count_without_cache(vars(one))
                    self._note(
                        "state", vars(one), count_without_cache, count, f"the attributes of class {one.__name__}"
                    )
                if isinstance(one, abc.ABCMeta):
                    self._note("state", one, _registered, _registered(one), f"what counts as {one.__name__}")

    def _look_in_class(self, kind: type, key: str, names: Names | None) -> list[tuple[object, str]]:
        """Note where a class or its bases have an attribute, and which of those before it have none.

        The library's own classes are taken as they are, but for what runs of a module (`names` is None).
        """
        found: list[tuple[Any, str]] = []
        for one in kind.__mro__:
            value = vars(one).get(key, MISSING)
            own = _written_in_python(one) and (not is_ours(one) or (names is None and key in METHODS))
            if own and (value is not MISSING or not (is_ours(one) or one.__module__ in sys.stdlib_module_names)):
                self._note("class", one, key, value, f"attribute {key!r} of class {one.__name__}")
            if value is not MISSING:
                if _written_in_python(kind) and not is_ours(kind):
                    self._note("attribute", kind, "__mro__", kind.__mro__, f"the bases of class {kind.__name__}")
                method = is_ours(one) and isinstance(value, FunctionType | property)
                if not (method and names is not None and names.ours):
                    found.append((value, f"{kind.__name__}.{key}"))
                if names is None or names.ours or not names.bases:
                    break
        return found

    def _look_at_object(self, x: Any, names: Names | None, name: str) -> list[tuple[object, str]]:
        """Note the attributes of an object that are named, its own and its class's."""
        kind = type(x)
        self._homes.add(kind.__module__)
        self._look_at_size(kind)
        below: list[tuple[Any, str]] = []
        space = _space_of(x)
        if names is None:
            if space is not None or _written_in_python(kind):
                below += self._look_in_class(kind, "__call__", None)
            if space is not None and "__wrapped__" in space:
                below.append((space["__wrapped__"], name))
            return below
        wanted = names.attributes | self._getters
        module = _is_module(x)
        ours = is_ours(kind)
        if names.ours and not module:
            wanted = wanted - ON_PURPOSE
        if space is None and not _written_in_python(kind):
            return below
        if {"__name__", "__qualname__"} & names.attributes and not ours:
            below.append((kind, f"the class of {name}"))
        self._note("attribute", x, "__class__", x.__class__, f"the class of {name}")
        if space is not None and not ours:
            self._note("attribute", x, "__dict__", space, f"the attributes of {name}")
        if module and space is not None:
            wanted = (wanted | set(space)) - {"training"}
            self._note("state", space, count_without_mode, count_without_mode(space), f"the attributes of {name}")
            self._note("attribute", x, "training", getattr(x, "training", MISSING), f"the mode of {name}")
        elif space is not None and kind.__module__.partition(".")[0] == "numpy":
            wanted = wanted | set(space)  # their methods are not looked at
        elif names.whole and not names.ours:
            wanted = wanted | _names_in_classes(kind) | set(space or ())
            if space is not None:
                self._note("members", space, None, members(space), f"the attributes of {name}")
        for key in wanted:
            value = MISSING if space is None else space.get(key, MISSING)
            in_class = [] if value is not MISSING else self._look_in_class(kind, key, names)
            matters = in_class or names.catches or key in names.stored or hasattr(kind, "__getattr__")
            if space is not None and (value is not MISSING or (matters and not module and not names.ours)):
                self._note("item", space, key, value, f"attribute {key!r} of {name}")
            if value is not MISSING:
                below.append((value, f"{name}.{key}"))
                continue
            for found, label in in_class:
                if isinstance(found, types.MemberDescriptorType):  # a slot
                    held = getattr(x, key, MISSING)
                    self._note("attribute", x, key, held, f"attribute {key!r} of {name}")
                    below.append((held, f"{name}.{key}"))
                elif isinstance(found, property) and ours and not names.ours and not module:
                    self._note("attribute", x, key, getattr(x, key), f"{key!r} of {name}")
                else:
                    below.append((found, label))
        return below

    def check_draws(self) -> None:
        """Raise an error if random numbers were drawn."""
        for read in self._generators:
            if read.changed():
                read.restore()
                raise CompileError(_refusal(f"draws from {read.name}", DRAW))

    def renew_draws(self) -> None:
        """Take the generators' states as they are: what an operation draws it draws in every replay."""
        for read in self._generators:
            read.value = read.now()

    # -- the end ----------------------------------------------------------------------------------------

    def tensors(self) -> list[Tensor]:
        """Return the tensors that the function could reach by itself."""
        return [x for x in self._known.values() if isinstance(x, Tensor)]

    def knows(self, x: object) -> bool:
        """Whether an object can be reached, now that the function has run."""
        return id(x) in self._known

    def was_there(self, x: object) -> bool:
        """Whether an object was there before the function ran."""
        return id(x) in self._before

    def finish(self, adopted: set[int]) -> list[Read]:
        """Return what is to be compared before a replay; raise an error if something was changed, and put it back.

        Parameters
        ----------
        adopted : set of int
            The identities of arrays that a replay reads anew.
        """
        self._before = frozenset(self._known)
        told = len(self.refusals)  # what may be reached in more than one way is compared, but not refused
        for reference, names in self._strangers:
            x = reference()
            if x is not None and id(x) not in self._known and not _holds_results(x):
                self._follow(x, names, _words(x))
        everywhere = replace(NAMELESS, attributes=frozenset(self._attributes))
        for name in self._imported:
            self._follow(sys.modules.get(name, MISSING), everywhere, name)
        for x in list(self._known.values()):  # what one function finds another may look into
            if not isinstance(x, (FunctionType, ModuleType, type)):
                self._follow(x, everywhere, _words(x))
        del self.refusals[told:]
        for read in self.reads.values():
            if read.key is _cache_state or (read.holder is sys.modules and read.value is MISSING):
                self._renew(read)
        changed = self.put_back()
        if self.refusals:
            raise CompileError(self.refusals[0])
        if changed:
            name = changed[0].name
            if changed[0].key is state_of:
                raise CompileError(_refusal(f"draws from {name}", DRAW))
            raise CompileError(
                f"compile: the function changes {name}, which a replay would not: return the new value and set it "
                "outside, or keep it in a tensor and use assign_"
            )
        kept = []
        for read in self.reads.values():
            if read.kind == "content" and id(read.holder) in adopted and id(read.holder) not in self.looked_into:
                continue
            if isinstance(read.holder, GENERATORS):  # what others draw between two calls is theirs
                continue
            kept.append(read)
        return kept

    def put_back(self) -> list[Read]:
        """Put back what the function changed, and return it."""
        changed = [read for read in self.reads.values() if read.changed()]
        for read in changed:
            read.restore()
        return changed

    def _renew(self, read: Read) -> None:
        """Take it that a module has been imported, or a cache filled: that is so at the next call, too.

        Raises
        ------
        CompileError
            If what was cached has no content.
        """
        if read.changed() and read.key is _cache_state and any(map(_holds_results, _cached(read.holder))):
            read.restore()
            self._refuse(f"caches a tensor that it computes ({read.name})", "cache nothing that depends on tensors")
        read.value = read.now()


DRAW = "draw outside and pass it as an argument, or draw with tg.normal, tg.uniform or tg.bernoulli"
PASS_IT = "read it outside and pass it as an argument"


def _refusal(text: str, remedy: str) -> str:
    return f"compile: the function {text}; its value would be baked into the compiled function: {remedy}"


def _holds_results(x: object) -> bool:
    """Whether tensors of the recording can be reached from an object, so that it was made on the way."""
    stack, seen = [x], {id(x)}
    while stack and len(seen) < 1000:
        for held in gc.get_referents(stack.pop()):
            if isinstance(held, Tensor) and isinstance(held.data, Unknown):
                return True
            plain = isinstance(held, (*FIXED, *BUILTIN, FunctionType, ModuleType, type, CodeType, Backend))
            if not plain and id(held) not in seen:
                seen.add(id(held))
                stack.append(held)
    return False


def _imports(frame: FrameType) -> bool:
    """Whether a frame is the code of a module that is imported."""
    by = frame.f_back if frame.f_code.co_name == "<module>" else None
    return by is not None and _package(by) in ("importlib", "_frozen_importlib")


def _asks_frames(frame: FrameType) -> bool:
    """Whether code of Python's library asks for frames to tell them, not for a name to give to what it makes."""
    return _module(frame) in ("inspect", "traceback")


def _on_behalf(frame: FrameType) -> bool:
    """Whether what a frame calls is called for whoever called it: Python's library, NumPy, a text that is run."""
    package = _package(frame)
    by_library = (package in sys.stdlib_module_names and package != "importlib") or package == "numpy"
    return by_library or frame.f_code.co_name == "<module>"


def _may_read_any(function: Any, names: Names) -> bool:
    """Whether a function in C reads attributes that the code which calls it does not name."""
    text = getattr(function, "__self__", None)
    if isinstance(text, str) and function.__name__ in ("format", "format_map"):
        return not set(re.findall(r"[.\[](\w+)", text)) <= names.attributes
    return isinstance(function, types.BuiltinFunctionType) and function in LOOKERS


def _names_no_lookers(names: Names) -> bool:
    """Whether a code does not name the functions that read any attribute or name, though it may reach them."""
    return not (names.whole or names.ours or names.standard)


def _shown(name: str, names: Names) -> bool:
    """Whether a code may compare an object, or make a text of it."""
    return names.shows and _last(name) in names.taken and not names.ours


def _holds_in_c(x: object) -> bool:
    """Whether an object may hold others where only code written in C finds them."""
    base = next(kind for kind in type(x).__mro__ if not _written_in_python(kind))
    return base is not object and not issubclass(base, (*SEEN, threading.local))


def _held(x: object) -> tuple[object, ...]:
    """Return what an object of a type written in C holds."""
    space, passing = _space_of(x), (FrameType, types.TracebackType, CodeType)
    held = gc.get_referents(x)
    return tuple(y for y in held if y is not space and y is not type(x) and not isinstance(y, passing))


def _cached(function: Any) -> list[object]:
    """Return what a function cached by `functools.lru_cache` has returned."""
    held = [x for x in gc.get_referents(function) if x is not function.__wrapped__ and x is not function.__dict__]
    found = [x for x in held if not isinstance(x, type | FunctionType)]
    return [y for x in found for y in (x.values() if type(x) is dict else (x,))]


def _names_in_classes(kind: type) -> set[str]:
    """Return the names of attributes, slots among them, that a class and its bases define."""
    return {key for c in kind.__mro__ if _written_in_python(c) and not is_ours(c) for key in vars(c) if key[:2] != "__"}


def _layout(x: np.ndarray) -> tuple[object, ...]:
    """Return how an array lies in memory."""
    return x.strides, x.flags.num, x.ctypes.data


def count_without_cache(space: Mapping[str, object]) -> int:
    """Return how many attributes a class has; copying its objects makes one more."""
    return len(space) - ("__slotnames__" in space)


def count_without_mode(space: dict[str, object]) -> int:
    """Return how many attributes a module of a network has; the mode is the class's until it is first set."""
    return len(space) - ("training" in space)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _package(frame: FrameType) -> str:
    return _module(frame).partition(".")[0]


def _cache_state(function: Any) -> tuple[object, ...]:
    info = function.cache_info()
    return info.misses, info.currsize


def _keys(space: dict[str, object]) -> tuple[str, ...]:
    return tuple(space)


def _context_value(variable: contextvars.ContextVar[Any]) -> object:
    try:
        return variable.get()
    except LookupError:
        return MISSING


def _spawned(seeds: np.random.SeedSequence) -> int:
    return seeds.n_children_spawned


def _subclasses(kind: type) -> tuple[type, ...]:
    return tuple(type.__subclasses__(kind))


def _context_values(context: contextvars.Context) -> tuple[object, ...]:
    return tuple(context.items())


def _level_of(logger: logging.Logger) -> tuple[object, ...]:
    return logger.disabled, logger.manager.disable, logger.level, logger.getEffectiveLevel()


def _registered(kind: abc.ABCMeta) -> object:
    """Return what changes whenever a class is registered as one of an abstract class."""
    return abc.get_cache_token()


def _is_locked(lock: Any) -> bool:
    return bool(lock.locked() if hasattr(lock, "locked") else lock._is_owned())


def _last(name: str) -> str:
    """Return the variable or attribute at the end of a name such as ``'net'.rate``."""
    return re.split(r"[. ]", name)[-1].strip("'")


def _words(x: object) -> str:
    return repr(x.__name__) if isinstance(x, FunctionType | type | ModuleType) else f"a {type(x).__name__}"


def _space_of(x: object) -> dict[str, object] | None:
    """Return the attributes of an object, if it has a dict of them; none of its own methods runs."""
    if isinstance(x, threading.local):
        return x.__dict__
    try:
        space = object.__getattribute__(x, "__dict__")
    except (AttributeError, TypeError):
        return None
    return space if isinstance(space, dict) else None


def _is_module(x: object) -> bool:
    """Whether an object is a module of a network."""
    return hasattr(type(x), "named_tensors")


def _is_part_of_ours(x: Any) -> bool:
    """Whether an object is a module or a function of the library."""
    return is_ours(x) if isinstance(x, FunctionType) else _is_module(x) and is_ours(type(x))


def _written_in_python(kind: type) -> bool:
    """Whether a class can be changed, as those written in Python can."""
    return bool(kind.__flags__ & (1 << 9)) and not kind.__flags__ & (1 << 8)
