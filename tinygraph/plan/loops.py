"""Loops that do several operations on matching elements in one pass, compiled for this processor by LLVM.

A loop rounds as NumPy's own do, operation by operation, so its results have the same bits. It reads each operand once,
keeps what only the loop needs in registers, and writes the rest once.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import binding, ir

WIDTHS = {"f": 16, "d": 8}  # elements that are computed together, by NumPy's letters
_TYPES: dict[str, Any] = {"f": ir.FloatType(), "d": ir.DoubleType()}
_WORD, _INDEX = ir.IntType(64), ir.IntType(32)
_BINARY = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}


@dataclass(frozen=True)
class Loop:
    """What a loop does; two that are equal are compiled once.

    Attributes
    ----------
    letter : {"f", "d"}
        The dtype of everything.
    is_number : tuple of bool
        For each operand that is read whether it is one number for all elements.
    steps : tuple of (str, tuple of int)
        Operations, and the slots that they read: those of the operands, then those of the steps before.
    stored : tuple of int
        The slots of steps that are written, each to an operand behind those that are read.
    """

    letter: str
    is_number: tuple[bool, ...]
    steps: tuple[tuple[str, tuple[int, ...]], ...]
    stored: tuple[int, ...]


@cache
def address_of(loop: Loop) -> int:
    """Return the address of a compiled loop, called with the address of its operands' addresses and with a length."""
    with _lock:
        name = f"loop_{next(_numbers)}"
        engine = _engine()
        engine.add_module(binding.parse_assembly(str(_module(loop, name))))
        engine.finalize_object()
        return int(engine.get_function_address(name))


_lock = threading.Lock()
_numbers = itertools.count()


@cache
def _engine() -> Any:
    """Return what compiles all loops of the process, and keeps them: some 30 kB each."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3
    )
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)


def _module(loop: Loop, name: str) -> ir.Module:
    """Return the code of a loop: first over vectors, then over the elements that are left."""
    module = ir.Module(name)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.PointerType(_WORD), _WORD]), name)
    table, length = function.args
    names = ("start", "vectors", "between", "elements", "end")
    start, vectors, between, elements, end = (function.append_basic_block(name) for name in names)
    build = ir.IRBuilder(start)
    count = len(loop.is_number) + len(loop.stored)
    places = [build.load(build.gep(table, [ir.Constant(_WORD, j)])) for j in range(count)]
    kind, width = _TYPES[loop.letter], WIDTHS[loop.letter]
    numbers = {
        j: build.load(build.inttoptr(places[j], ir.PointerType(kind)))
        for j, is_number in enumerate(loop.is_number)
        if is_number
    }
    whole = build.and_(length, ir.Constant(_WORD, -width))
    zero = ir.Constant(_WORD, 0)
    build.cbranch(build.icmp_signed(">", whole, zero), vectors, between)
    _body(loop, build, (start, vectors, between), (zero, whole), places, numbers, width)
    build.position_at_end(between)
    build.cbranch(build.icmp_signed("<", whole, length), elements, end)
    _body(loop, build, (between, elements, end), (whole, length), places, numbers, 1)
    build.position_at_end(end)
    build.ret_void()
    return module


def _body(
    loop: Loop,
    build: ir.IRBuilder,
    blocks: Sequence[ir.Block],
    limits: tuple[ir.Value, ir.Value],
    places: Sequence[ir.Value],
    numbers: dict[int, ir.Value],
    width: int,
) -> None:
    """Write the block of a loop from one index up to another, `width` elements at a time."""
    before, block, after = blocks
    first, end = limits
    element = _TYPES[loop.letter]
    kind = ir.VectorType(element, width) if width > 1 else element
    size = 4 if loop.letter == "f" else 8
    build.position_at_end(block)
    index = build.phi(_WORD)
    index.add_incoming(first, before)
    offset = build.mul(index, ir.Constant(_WORD, size))

    def pointer(j: int) -> ir.Value:
        return build.inttoptr(build.add(places[j], offset), ir.PointerType(kind))

    slots: list[ir.Value] = []
    for j, is_number in enumerate(loop.is_number):
        if is_number:
            slots.append(numbers[j] if width == 1 else _repeated(build, numbers[j], kind))
        else:
            slots.append(build.load(pointer(j), align=size))
    for name, sources in loop.steps:
        slots.append(_operation(build, name, [slots[k] for k in sources], kind, element, width))
    for j, slot in enumerate(loop.stored, start=len(loop.is_number)):
        build.store(slots[slot], pointer(j), align=size)
    following = build.add(index, ir.Constant(_WORD, width))
    index.add_incoming(following, block)
    build.cbranch(build.icmp_signed("<", following, end), block, after)


def _operation(
    build: ir.IRBuilder, name: str, inputs: Sequence[ir.Value], kind: ir.Type, element: ir.Type, width: int
) -> ir.Value:
    if name in _BINARY:
        write: Callable[..., ir.Value] = getattr(build, _BINARY[name])
        return write(*inputs)
    (x,) = inputs
    if name == "square":
        return build.fmul(x, x)
    if name == "negative":
        return build.fneg(x)
    bits = "f32" if isinstance(element, ir.FloatType) else "f64"
    called = f"llvm.sqrt.v{width}{bits}" if width > 1 else f"llvm.sqrt.{bits}"
    function = build.module.globals.get(called) or ir.Function(build.module, ir.FunctionType(kind, [kind]), called)
    return build.call(function, [x])


def _repeated(build: ir.IRBuilder, number: ir.Value, kind: ir.VectorType) -> ir.Value:
    """Return a vector of one number."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = build.insert_element(nothing, number, ir.Constant(_INDEX, 0))
    return build.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INDEX, kind.count), [0] * kind.count))
