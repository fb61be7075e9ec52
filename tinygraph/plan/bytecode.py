"""What the code of a function names, read off its instructions."""

from __future__ import annotations

import dis
import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType

LIBRARY = __name__.partition(".")[0]
FAMILIAR = {"", "builtins", "numpy", "scipy", LIBRARY, *sys.stdlib_module_names}  # whose functions in C read no more
STANDARD = tuple(os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib"))
WHOLE = {  # names whose use may read any attribute, or any global name
    *("getattr", "hasattr", "vars", "dir", "__dict__", "__getattribute__", "getattr_static", "getmembers"),
    *("asdict", "astuple", "fields", "replace", "copy", "deepcopy", "pickle", "eval", "exec", "globals", "locals"),
}
NUMBERS_OF = {"float", "int", "bool", "complex", "len", "sum", "min", "max", "list", "tuple", "any", "all", "sorted"}
DEPTHS = {"BINARY_SLICE": 3, "BINARY_SUBSCR": 2, "BINARY_OP": 2}  # how deep what is looked into stands on the stack


@dataclass(frozen=True, eq=False)
class Names:
    """What a code and the codes inside it name.

    Attributes
    ----------
    code : CodeType
    given : tuple of str
        Its arguments, and the variables of enclosing functions that it uses.
    attributes : frozenset of str
        Attributes, and texts where attributes may be named by a text.
    variables : frozenset of str
        Global names.
    whole : bool
        Whether any attribute and any global name may be read.
    catches : bool
        Whether errors are caught, so that it matters what is missing.
    values : frozenset of str
        Variables and attributes that are looked into: subscripted, iterated over, made a number.
    imported : frozenset of str
        Modules that are imported.
    stored : frozenset of str
        Attributes that are set.
    looks : bool
        Whether something without a name of its own is looked into.
    bases : bool
        Whether what a class hides of its bases may be read.
    ours : bool
        Whether it is the library's.
    standard : bool
        Whether it is Python's own library, or a package's.
    """

    code: CodeType
    given: tuple[str, ...]
    attributes: frozenset[str]
    variables: frozenset[str]
    whole: bool
    catches: bool
    values: frozenset[str]
    imported: frozenset[str]
    stored: frozenset[str]
    looks: bool
    bases: bool
    ours: bool
    standard: bool


@lru_cache(maxsize=4096)
def names_of(code: CodeType, module: str, caught: bool = False) -> Names:
    """Return what a code of a module names; `caught`: whether its callers catch errors."""
    attributes, variables, texts, values, imported, stored, formats = (set() for _ in range(7))
    looks, catches = False, caught
    for one in codes(code):
        instructions = list(dis.get_instructions(one))
        catches |= bool(one.co_exceptiontable)
        texts |= {x for x in one.co_consts if isinstance(x, str) and x.isidentifier()}
        formats |= {x for x in one.co_consts if isinstance(x, str) and "{" in x}
        for n, i in enumerate(instructions):
            if i.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"):
                variables.add(i.argval)
            elif i.opname == "IMPORT_NAME":
                imported.add(i.argval)
            elif "ATTR" in i.opname or "METHOD" in i.opname or i.opname == "IMPORT_FROM":
                attributes.add(i.argval)
                stored |= {i.argval} if i.opname == "STORE_ATTR" else set()
            elif i.opname in ("BINARY_SUBSCR", "BINARY_SLICE", "GET_ITER", "UNPACK_SEQUENCE") or (
                i.opname == "BINARY_OP" and i.argrepr == "[]"
            ):
                name = _operand(instructions, n, DEPTHS.get(i.opname, 1))
                values |= {name} if name else set()
                looks |= name is None
            elif n and i.opname.startswith("LOAD_") and instructions[n - 1].argval in NUMBERS_OF:
                values.add(i.argval)
    attributes = {name for name in attributes if isinstance(name, str)}
    whole = bool(WHOLE & (attributes | variables)) or "attrgetter" in variables | attributes
    if whole:
        attributes |= texts
    if "format" in attributes:
        attributes |= {name for text in formats for name in re.findall(r"[.\[](\w+)", text)}
    ours = module.partition(".")[0] == LIBRARY
    path = os.path.realpath(code.co_filename)
    standard = not ours and (path.startswith(STANDARD) or code.co_filename.startswith("<frozen "))
    standard = standard and not _builds_on_us(module.partition(".")[0])
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return Names(
        code,
        (*code.co_varnames[:count], *code.co_freevars),
        frozenset(attributes),
        frozenset(variables),
        whole,
        catches,
        frozenset(v for v in values if isinstance(v, str)),
        frozenset(imported),
        frozenset(stored),
        looks,
        "super" in variables or bool({"__mro__", "__bases__", "mro"} & attributes),
        ours,
        standard,
    )


@lru_cache(maxsize=4096)
def _builds_on_us(package: str) -> bool:
    """Whether a package that is not Python's own uses the library, as a project does that is installed."""
    if package in FAMILIAR:
        return False
    modules = [m for name, m in list(sys.modules.items()) if name.partition(".")[0] == package]
    held = (x for m in modules if isinstance(m, ModuleType) for x in list(vars(m).values()))
    return any(
        (x.__name__ if isinstance(x, ModuleType) else str(x.__module__)).partition(".")[0] == LIBRARY
        for x in held
        if isinstance(x, ModuleType | FunctionType | type)
    )


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code and those of what is defined in it."""
    stack = [code]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(x for x in one.co_consts if isinstance(x, CodeType))


def _operand(instructions: list[dis.Instruction], n: int, depth: int) -> str | None:
    """Return the variable or attribute that an operand of an instruction was loaded from, `depth` from the top."""
    k = n - 1
    while k >= 0:
        i = instructions[k]
        if "JUMP" in i.opname or i.is_jump_target:
            return None
        try:
            effect = dis.stack_effect(i.opcode, i.arg)
        except ValueError:
            return None
        if i.opname == "LOAD_GLOBAL" and i.arg is not None and i.arg & 1:
            effect -= 1  # the empty place of a method's object
        if effect > 0 and depth <= effect:
            return i.argval if i.opname.startswith("LOAD_") and isinstance(i.argval, str) else None
        if effect == 0 and depth == 1 and i.opname == "LOAD_ATTR":
            return i.argval if isinstance(i.argval, str) else None
        depth -= effect
        k -= 1
    return None
