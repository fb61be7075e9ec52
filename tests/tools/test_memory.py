"""Memory at its peak: what is let go counts, what was there before does not."""

import mmap
import sys
from pathlib import Path

import pytest

from tinygraph.tools import memory

pytestmark = pytest.mark.host
MEGABYTE = 10**6


def take(size):
    """Memory fresh from the system, where arrays may be given what others let go."""
    taken = mmap.mmap(-1, size)
    taken[:: mmap.PAGESIZE] = bytes(len(range(0, size, mmap.PAGESIZE)))
    return taken


@pytest.mark.skipif(not memory.RESET.exists(), reason="only Linux lets the peak start anew")
def test_growth_is_of_the_peak_and_starts_anew():
    grown = memory.growth()
    take(40 * MEGABYTE).close()
    assert 39 * MEGABYTE < grown() < 60 * MEGABYTE
    with take(40 * MEGABYTE):
        grown = memory.growth()
        assert grown() < 20 * MEGABYTE
        take(40 * MEGABYTE).close()
        assert 39 * MEGABYTE < grown() < 60 * MEGABYTE


@pytest.mark.skipif(sys.platform == "win32", reason="has no getrusage")
def test_elsewhere_it_is_by_how_much_the_highest_peak_was_exceeded(monkeypatch):
    monkeypatch.setattr(memory, "STATUS", Path("/nowhere/status"))
    monkeypatch.setattr(memory, "RESET", Path("/nowhere/clear_refs"))
    before = memory.peak()
    assert before > 10 * MEGABYTE
    grown = memory.growth()
    assert grown() >= 0
    take(before + 40 * MEGABYTE).close()
    assert grown() > 39 * MEGABYTE


def test_where_nothing_tells_it_is_none(monkeypatch):
    monkeypatch.setattr(memory, "STATUS", Path("/nowhere/status"))
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory.peak() is None
    assert memory.growth()() is None
