"""The notebooks of the documentation run from their first cell, and say what is stored in them."""

import runpy
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).resolve().parents[2]
RUN = runpy.run_path(str(ROOT / "docs" / "notebooks" / "run.py"))


def said(notebook):
    """What each cell says: its text, or of what is shown the kinds in which it is."""
    return [
        [
            output.text
            if output.output_type == "stream"
            else (sorted(output.data), output.data["text/plain"] if len(output.data) == 1 else "")
            for output in cell.get("outputs", [])
        ]
        for cell in notebook.cells
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries that talk to kernels
@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the executable dot")
@pytest.mark.parametrize("path", RUN["NOTEBOOKS"], ids=lambda path: path.stem)
def test_a_notebook_says_what_is_stored_in_it(path, tmp_path, monkeypatch):
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    now, stored = RUN["executed"](path, tmp_path), nbformat.read(path, as_version=4)
    assert said(now) == said(stored)
    assert not [o for cell in stored.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"]


def test_every_notebook_is_in_the_navigation():
    assert len(RUN["NOTEBOOKS"]) == 3
    text = (ROOT / "mkdocs.yml").read_text()
    assert [path.name for path in RUN["NOTEBOOKS"] if f"notebooks/{path.name}" not in text] == []
