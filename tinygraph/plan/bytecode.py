"""What the code of a function names, read off its instructions."""

from __future__ import annotations

import dis
import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from types import CodeType

LIBRARY = __name__.partition(".")[0]
FAMILIAR = {"", "builtins", "numpy", "scipy", LIBRARY, *sys.stdlib_module_names}  # whose functions in C read no more
STANDARD = tuple(os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib"))
INSTALLED = "site-packages", "dist-packages"  # inside these, where packages are that are not Python's own
WHOLE = {  # names whose use may read any attribute, or any global name
    *("getattr", "hasattr", "vars", "dir", "__dict__", "__getattribute__", "getattr_static", "getmembers"),
    *("asdict", "astuple", "fields", "replace", "copy", "deepcopy", "pickle", "eval", "exec", "globals", "locals"),
    *("attrgetter", "setattr", "delattr", "__setattr__", "__delattr__"),
}
NUMBERS_OF = {
    *("float", "int", "bool", "complex", "len", "sum", "min", "max", "list", "tuple", "any", "all", "sorted", "hash"),
    *("bytes", "bytearray", "memoryview", "set", "frozenset", "str", "repr", "format", "print", "round", "abs", "pow"),
    *("divmod", "zip", "enumerate", "map", "filter", "reversed", "iter", "next"),
}
TEXTS_OF = {"repr", "str", "format", "print"}
DEPTHS = {"BINARY_SLICE": 3, "BINARY_SUBSCR": 2, "BINARY_OP": 2}  # how deep what is looked into stands on the stack
SHOWS = {"COMPARE_OP", "CONTAINS_OP", "FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC"}  # read all of an object
OF_ITS_OWN = ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR")  # after a load: not of the object, but of a part


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
    texts : frozenset of str
        Texts that may be names of attributes.
    taken : frozenset of str
        Variables and attributes that are used as a whole: neither called nor only asked for an attribute.
    shows : bool
        Whether objects are compared or made a text.
    identical : frozenset of str
        Variables and attributes of which it is asked whether they are another object.
    bases : bool
        Whether what a class hides of its bases may be read.
    ours : bool
        Whether it is the library's.
    standard : bool
        Whether it is Python's own library.
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
    texts: frozenset[str]
    taken: frozenset[str]
    shows: bool
    identical: frozenset[str]
    bases: bool
    ours: bool
    standard: bool


@lru_cache(maxsize=4096)
def names_of(code: CodeType, module: str, caught: bool = False) -> Names:
    """Return what a code of a module names; `caught`: whether its callers catch errors."""
    attributes, variables, texts, values, imported, stored, formats, taken, identical = (set() for _ in range(9))
    looks, catches, shows, whole = False, caught, False, False
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
            elif i.opname == "MATCH_CLASS":
                attributes |= {"__match_args__", *instructions[n - 1].argval}
                whole |= bool(i.arg)  # patterns by position, of attributes that the class names
            elif "ATTR" in i.opname or "METHOD" in i.opname or i.opname == "IMPORT_FROM":
                attributes.add(i.argval)
                stored |= {i.argval} if i.opname == "STORE_ATTR" else set()
            elif i.opname in ("BINARY_SUBSCR", "BINARY_SLICE", "GET_ITER", "UNPACK_SEQUENCE") or (
                i.opname == "BINARY_OP" and i.argrepr == "[]"
            ):
                name = _operand(instructions, n, DEPTHS.get(i.opname, 1))
                values |= {name} if name else set()
                looks |= name is None
            if i.opname.startswith("LOAD_") and i.argval in NUMBERS_OF:
                values |= _inside_call(instructions, n)
            elif i.opname in SHOWS or i.opname in ("UNARY_NOT", "TO_BOOL") or "_IF_" in i.opname:
                operands = range(1, 3 if i.opname in ("COMPARE_OP", "CONTAINS_OP") else 2)
                values |= {name for name in (_operand(instructions, n, depth) for depth in operands) if name}
                before = [k for k in instructions[max(n - 2, 0) : n] if k.opname != "LOAD_CONST"]
                looks |= bool(before) and before[-1].opname.startswith(("BINARY_OP", "UNARY_"))
            shows |= i.opname in SHOWS
            if i.opname == "IS_OP" and instructions[n - 1].opname != "LOAD_CONST":
                identical |= {_operand(instructions, n, depth) for depth in (1, 2)}
            loads = i.opname.startswith("LOAD_") and i.opname != "LOAD_CONST" and not _for_a_call(i)
            if loads and instructions[n + 1].opname not in OF_ITS_OWN:
                taken |= set(i.argval if isinstance(i.argval, tuple) else (i.argval,))
    attributes = {name for name in attributes if isinstance(name, str)}
    whole |= bool(WHOLE & (attributes | variables))
    if whole:
        attributes |= texts
    if "format" in attributes:
        attributes |= {name for text in formats for name in re.findall(r"[.\[](\w+)", text)}
    ours = module.partition(".")[0] == LIBRARY
    path = os.path.realpath(code.co_filename)
    standard = not ours and (path.startswith(STANDARD) or code.co_filename.startswith("<frozen "))
    standard = standard and not any(f"{os.sep}{place}{os.sep}" in path for place in INSTALLED)
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
        frozenset(texts),
        frozenset(name for name in taken if isinstance(name, str)),
        shows or bool(TEXTS_OF & (variables | attributes)),
        frozenset(name for name in identical if isinstance(name, str)),
        "super" in variables or bool({"__mro__", "__bases__", "mro"} & attributes),
        ours,
        standard,
    )


def wider(names: Names) -> Names:
    """Return names of a code that may read any attribute and any global name."""
    return replace(names, whole=True, attributes=names.attributes | names.texts)


def _for_a_call(i: dis.Instruction) -> bool:
    """Whether a function is loaded to be called."""
    by_flag = i.opname == "LOAD_GLOBAL" or (i.opname == "LOAD_ATTR" and sys.version_info >= (3, 12))
    return i.opname == "LOAD_METHOD" or (by_flag and i.arg is not None and bool(i.arg & 1))


def _inside_call(instructions: list[dis.Instruction], n: int) -> set[str]:
    """Return the variables and attributes in the arguments of a call whose function is loaded at `n`."""
    found, depth = set(), 0
    for i in instructions[n + 1 :]:
        depth += dis.stack_effect(i.opcode, i.arg)
        if depth < 0 or i.opcode in dis.hasjrel or i.opcode in dis.hasjabs:
            break
        if i.opname.startswith("LOAD_") and i.opname != "LOAD_CONST":
            found |= set(i.argval if isinstance(i.argval, tuple) else (i.argval,))
    return found


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
