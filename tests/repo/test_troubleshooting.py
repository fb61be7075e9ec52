"""The page on errors quotes texts that the code has, and has a section for every class."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tinygraph import errors

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
HOLE = "\0"
CODE = re.findall(r"(^- |)`([^`]+)`", re.sub(r"^```.*?^```", "", PAGE, flags=re.M | re.S), re.MULTILINE)
QUOTED = [" ".join(text.split()) for bullet, text in CODE if " " in text and (bullet or "..." in text)]
SECTIONS = re.findall(r"^## (\w+Error)$", PAGE, re.MULTILINE)


def text_of(node):
    """A string of the source, `HOLE` in the place of what is put in; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else HOLE for v in node.values)
    return None


@cache
def texts():
    """All strings of the package with a space in them."""
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / "tinygraph").rglob("*.py"))]
    found = {text_of(node) for tree in trees for node in ast.walk(tree)}
    return sorted(text for text in found if text and " " in text)


def is_said(message):
    """Whether a text of the code, what is put into it left open, is this message, what the page leaves open."""
    wanted = re.compile(".*".join(map(re.escape, re.split(r" ?\.\.\. ?", message))), re.DOTALL)
    return any(wanted.search(text.replace(HOLE, " ... ")) or wanted.search(text.replace(HOLE, "")) for text in texts())


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_text_is_in_the_code(message):
    assert is_said(message)


def test_a_text_that_nobody_says_is_noticed():
    assert len(QUOTED) > 60
    assert not is_said("matmul: outer sizes differ: ...")


def test_every_class_of_error_has_a_section():
    assert sorted([*SECTIONS, "TinygraphError"]) == sorted(errors.__all__)
