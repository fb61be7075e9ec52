"""Ways to make a compiled function stale: it gives what the function gives, or is recorded anew, or says no.

The ways are texts in `ways/`, by kind; those in `ordinary.txt` may not even be refused. A way is a program (see
`programs.py`) and, below ``--- change``, what changes between its calls. What stands above the first way of a file goes
before each of them.

`python tests/plan/test_stale.py` tells what came of each, and `known_wrong.txt` lists those that are wrong today: take
out what is mended, or write it anew by `python tests/plan/test_stale.py --known`. There ``@numpy`` means: on that
backend only.
"""

import collections
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KNOWN_WRONG = set((HERE / "ways" / "known_wrong.txt").read_text().splitlines())


def ways(file):
    """Yield the name, the program and the change of every way in a file."""
    common, *parts = re.split(r"^=== (.+)\n", file.read_text(), flags=re.M)
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        source, _, change = text.partition("--- change\n")
        yield f"{file.stem}: {name}", common + source, change


WAYS = {
    name: (source, change)
    for file in sorted((HERE / "ways").glob("*.txt"))
    if file.stem != "known_wrong"
    for name, source, change in ways(file)
}


def judged(name, backend):
    """What came of a way: "equal", "recorded anew", "raised" or "wrong: ..."."""
    from plan.programs import lived, verdict

    source, change = WAYS[name]
    plain = lived(name, source, change)
    if backend == "numpy":  # others may refuse what the program does
        assert not all(isinstance(r, Exception) for r in plain.results), plain.results[0]
    return verdict(plain, lived(name, source, change, compile_with={}))


@pytest.mark.compiles
@pytest.mark.parametrize("name", WAYS)
def test_a_compiled_function_never_differs_in_silence(name, backend, request):
    if name in KNOWN_WRONG or f"{name} @{backend}" in KNOWN_WRONG:
        request.applymarker(pytest.mark.xfail(strict=True, reason="known to be wrong"))
    what = judged(name, backend)
    assert not what.startswith("wrong"), what
    assert not (name.startswith("ordinary: ") and backend == "numpy" and what == "raised")


@pytest.mark.host
def test_the_table_is_what_it_says():
    assert len(WAYS) >= 1000
    assert {line.partition(" @")[0] for line in KNOWN_WRONG} <= set(WAYS)
    assert len({source + change for source, change in WAYS.values()}) == len(WAYS)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    import tinygraph as tg

    backends = ["numpy", "strict"]
    found = {}
    for way in WAYS:
        for place in backends:
            with tg.using(place):
                found[way, place] = judged(way, place)
                print(f"{found[way, place][:200]:20} {way} ({place})")
    print({b: dict(collections.Counter(v.split(":")[0] for (_, p), v in found.items() if p == b)) for b in backends})
    if "--known" in sys.argv:
        lines = [line for line in KNOWN_WRONG if "@" in line and line.partition("@")[2] not in backends]
        for way in sorted(WAYS):
            wrong = [b for b in backends if found[way, b].startswith("wrong")]
            lines += [way] if wrong == backends else [f"{way} @{b}" for b in wrong]
        (HERE / "ways" / "known_wrong.txt").write_text("".join(f"{line}\n" for line in sorted(lines)))
