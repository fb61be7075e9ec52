"""The map of the chapter: every row has a name that resolves, a source file and a test."""

import importlib
import re
from pathlib import Path

import pytest

import tinygraph

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[1]

# The rows of the chapter that are no experiments.
REQUIRED = """Table 65.1|Prob. 65.4|Prob. 65.6|(65.13)-(65.15)|(65.31)|(65.43)|(65.35)-(65.42)|(65.45)-(65.48)
(65.50)-(65.64)|Table 65.2|(65.66)-(65.70)|(65.71)-(65.81)|(65.82)|(65.87)|(65.149)|(65.150)|(65.83)|(65.88)|(65.89)
(65.93a-c)|(65.94)|(65.95)-(65.98)|(65.99)-(65.109)|(65.110)-(65.119)|(65.120)-(65.124)|(65.125)-(65.131)|(65.138)
(65.154)-(65.164)|(65.165)-(65.166)|(65.167)-(65.188)|Prob. 65.19|Prob. 65.1|Prob. 65.3|Probs. 65.9, 65.10
Probs. 65.12-65.14|Ex. 65.11|Probs. 65.22-65.24|Prob. 65.15|Prob. 65.17|Prob. 65.18|(65.189)-(65.190)
(65.191)-(65.197)|Prob. 65.25""".replace("\n", "|").split("|")


def rows():
    lines = (ROOT / "docs" / "chapter.md").read_text().splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if len(row) == 5 and not set(row[0]) <= set("-") and row[0] != "equation"]


def resolve(name):
    if name.startswith("tg.tools.") or name.startswith("tg.models."):
        module, _, attribute = name.replace("tg.", "tinygraph.", 1).rpartition(".")
        return getattr(importlib.import_module(module), attribute, None) or importlib.import_module(
            f"{module}.{attribute}"
        )
    found = tinygraph
    for part in name.removeprefix("tg.").split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_has_name_source_and_test(row):
    _, what, names, source, test = row
    assert what
    found = re.findall(r"`([^`]+)`", names)
    assert found
    for name in found:
        assert resolve(name) is not None
    for cell in (source, test):
        (path,) = re.findall(r"`([^`]+)`", cell)
        assert (ROOT / path).is_file(), path
    text = (ROOT / re.findall(r"`([^`]+)`", test)[0]).read_text()
    used = [name.split(".")[-1] for name in found]
    assert any(name in text for name in used), f"{test} uses none of {found}"


def test_no_row_is_missing():
    said = " ; ".join(row[0] for row in rows())
    assert [r for r in REQUIRED if r not in said] == []


def test_every_chapter_test_is_on_the_map():
    listed = {re.findall(r"`([^`]+)`", row[4])[0] for row in rows()}
    for path in (ROOT / "tests" / "chapter").glob("test_*.py"):
        assert f"tests/chapter/{path.name}" in listed, path.name
