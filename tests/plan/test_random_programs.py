"""Random programs: compiled with any passes, they tell the same story as by themselves, whatever changes between calls.

`TINYGRAPH_PROGRAMS` is the number of programs, `TINYGRAPH_PROGRAMS_FROM` the first seed. What differs is made smaller
and printed.
"""

import os
import random

import numpy as np
import pytest
from plan.programs import lived, same, verdict
from plan.random_programs import HOST_ARRAYS, program, shrunk

from tinygraph.plan import NAMES

PROGRAMS = int(os.environ.get("TINYGRAPH_PROGRAMS", 500))
FIRST = int(os.environ.get("TINYGRAPH_PROGRAMS_FROM", 0))
CHUNK = 25


def told(p, passes):
    """What came of a program; where it is not in float64, differences within its own rounding do not count."""
    name = "random program"
    plain = lived(name, p.source, p.change)
    compiled = lived(name, p.source, p.change, compile_with={"passes": passes})
    found = verdict(plain, compiled)
    if found.startswith("wrong") and p.dtype != "float64":
        exact = lived(name, p.source.replace(f"np.{p.dtype}", "np.float64", 1), p.change)
        if all(map(_within_rounding, plain.results, compiled.results, exact.results)):
            return "equal"
    return found


def _within_rounding(plain, compiled, exact):
    """Whether the two are no further apart than a few times what rounding did to the first."""
    if isinstance(plain, np.ndarray):
        if plain.shape != compiled.shape or plain.dtype != compiled.dtype or plain.dtype.kind != "f":
            return same(plain, compiled)
        with np.errstate(all="ignore"):
            wide, error = plain.astype(np.float64), np.abs(plain - exact)
            largest = np.max(np.abs(exact), initial=0.0)
            allowed = 16 * np.max(error, initial=0.0) + 16 * np.finfo(plain.dtype).eps * largest
            lost = ~np.isfinite(wide) | ~np.isfinite(exact) | ~np.isfinite(compiled)
            return bool(np.all(lost | (np.abs(wide - compiled) <= allowed)))
    if any(isinstance(r, Exception) for r in (plain, compiled, exact)):
        return type(plain) is type(compiled)
    if isinstance(plain, list | tuple) and type(plain) is type(compiled) and len(plain) == len(compiled):
        return all(map(_within_rounding, plain, compiled, exact))
    return same(plain, compiled) or type(plain) is type(compiled) is type(exact)


def smallest(p, passes):
    """The smallest program that still differs and, if the whole one ended well by itself, still does."""

    def ended(q):
        return not any(isinstance(r, Exception) for r in lived("random program", q.source, q.change).results)

    def still_wrong(q):
        try:
            return told(q, passes).startswith("wrong") and (not well or ended(q))
        except Exception:  # its setup needs what was left out
            return False

    well = ended(p)
    return shrunk(p, still_wrong)


def passes_of(seed):
    """Some passes, or all."""
    r = random.Random(seed)
    return NAMES if r.random() < 0.5 else tuple(n for n in NAMES if r.random() < 0.6)


def compare(seeds, without=frozenset()):
    """Compare programs; return how many ended in which way."""
    counts = {}
    for seed in seeds:
        passes = passes_of(seed)
        p = program(seed, without)
        found = told(p, passes)
        if found.startswith("wrong"):
            p = smallest(p, passes)
            pytest.fail(f"seed {seed}, passes {passes}: {told(p, passes)}\n\n{p.source}\n# change\n{p.change}")
        counts[found] = counts.get(found, 0) + 1
    return counts


def chunks(share):
    """The seeds of a share of the programs, chunk by chunk."""
    return [range(start, start + CHUNK) for start in range(FIRST, FIRST + int(share * PROGRAMS), CHUNK)]


@pytest.mark.compiles
@pytest.mark.parametrize("seeds", chunks(0.6), ids=str)
def test_random_programs(seeds, backend):
    """On NumPy all of them, on others a third."""
    counts = compare(seeds) if backend == "numpy" else compare(seeds[::3], HOST_ARRAYS)
    assert counts.get("raised", 0) <= 0.4 * sum(counts.values()), counts


@pytest.mark.host
@pytest.mark.parametrize("seeds", chunks(0.2), ids=str)
def test_random_programs_in_small_tiles(seeds, small_tiles):
    """With groups over small arrays, whose tiles do not divide them."""
    compare(seeds)


@pytest.mark.host
def test_a_program_is_made_smaller_while_it_shows_the_same():
    p = program(3)
    small = shrunk(p, lambda q: "v0" in q.results)
    assert [line.name for line in small.lines] == ["v0"]
    assert small.results == ("v0",)
    assert small.changes == ((), ())
