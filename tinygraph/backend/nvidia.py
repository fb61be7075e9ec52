"""What CuPy needs to run on this machine, and in one line what is missing."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import BackendError

INSTALL = 'pip install ".[cuda12]" (CUDA 12) or ".[cuda13]" (CUDA 13) in the project\'s folder'
OPTIONS = ("--std=c++17", "--fmad=false")  # of the compiler; a plan then rounds like the calls it was recorded from
TRIAL = 'extern "C" __global__ void trial(int* x) { *x = 65; }'


def find_cupy() -> Any:
    """Return the module CuPy.

    Raises
    ------
    BackendError
        If anything that it needs to run is missing; the message says what.
    """
    try:
        cupy = import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            raise BackendError(f"backend 'cupy': CuPy is not installed; {INSTALL}") from None
        raise BackendError(f"backend 'cupy': CuPy cannot be imported: {first_line(error)}") from None
    except ImportError as error:
        raise BackendError(f"backend 'cupy': CuPy cannot be imported: {first_line(error)}") from None
    _check_driver(cupy.cuda.runtime)
    for name, description in (("cublas", "cuBLAS, for products"), ("nvrtc", "NVRTC, which compiles kernels")):
        try:
            library(name)
        except Exception as error:
            raise BackendError(
                f"backend 'cupy': the library {description}, is missing ({first_line(error)}); install the CUDA "
                f"toolkit, or CuPy with it: {INSTALL}"
            ) from None
    if import_module("cuda.pathfinder").find_nvidia_header_directory("cudart") is None:
        raise BackendError(
            "backend 'cupy': the headers of CUDA, with which kernels are compiled, are missing; install CuPy with "
            f"them: {INSTALL}; or the CUDA toolkit, with CUDA_PATH naming its folder"
        )
    try:
        x = cupy.zeros(1, np.int32)
        cupy.RawKernel(TRIAL, "trial", OPTIONS)((1,), (1,), (x,))
        works = cupy.asnumpy(x).item() == 65
    except Exception as error:
        raise BackendError(f"backend 'cupy': no kernel can be compiled and run: {first_line(error)}") from None
    if not works:
        raise BackendError("backend 'cupy': a kernel was run and did nothing; nvidia-smi may say more")
    return cupy


def _check_driver(runtime: ModuleType) -> None:
    """Raise an error unless the driver is there and finds a device."""
    try:
        driver = runtime.driverGetVersion()
    except Exception as error:
        raise BackendError(f"backend 'cupy': the NVIDIA driver does not answer: {first_line(error)}") from None
    if not driver:
        raise BackendError("backend 'cupy': no NVIDIA driver is installed; install one (nvidia-smi then lists the GPU)")
    try:
        devices = runtime.getDeviceCount()
    except Exception as error:
        devices, reason = 0, f" ({first_line(error)})"
    else:
        reason = ""
    if not devices:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = f"; CUDA_VISIBLE_DEVICES is {hidden!r}" if hidden is not None else ""
        raise BackendError(f"backend 'cupy': the NVIDIA driver finds no device{reason}{hint}")


def first_line(error: Exception) -> str:
    """Return the first line of an error's text that says something."""
    lines = (line.strip(" =\t") for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


@cache
def library(name: str) -> Any:
    """Return one of CUDA's libraries, found as CuPy itself finds it."""
    loaded = import_module("cuda.pathfinder").load_nvidia_dynamic_lib(name)
    return ctypes.CDLL(loaded.abs_path)
