"""The programs of docs/examples: each runs by itself, draws itself, and has about the test error that pages tell."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted((ROOT / "docs" / "examples").glob("*.py"))
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("examples", "gallery")}


def told(page, path):
    """The test error that a page tells of a program, in percent."""
    (line,) = (line for line in PAGES[page].splitlines() if f"(examples/{path.name})" in line)
    return float(re.search(r"\| [^|]*?([\d.]+) %[^|]*\|$", line).group(1))


def test_there_are_five():
    assert len(PROGRAMS) == 5


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the executable dot")
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_has_the_test_error_that_the_page_tells(path, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr  # such as that the training step is not compiled
    error = float(re.findall(r"test error ([\d.]+) %", run.stdout)[-1])
    assert error < told("examples", path) + 2  # other machines round otherwise
    assert (tmp_path / f"{path.stem.replace('_', '-')}.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_is_short_and_stands_on_the_pages(path):
    assert 40 <= len(path.read_text().splitlines()) <= 80
    assert f'--8<-- "{path.name}"' in PAGES["examples"]
    assert told("examples", path) == told("gallery", path)
    for page in PAGES.values():
        assert f"(images/{path.stem.replace('_', '-')}.svg)" in page
