"""Memory kept in the process: counted in page faults, of a process of its own since the setting stays."""

import ctypes
import subprocess
import sys

import pytest

import tinygraph as tg
from tinygraph.errors import ArgumentError

pytestmark = pytest.mark.host

STEPS = """
import resource, sys
import numpy as np
import tinygraph as tg

if "reuse" in sys.argv:
    assert tg.reuse_memory()
for step in range(25):
    if step == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    results = [np.ones(1 << 19, np.float32) for _ in range(12)]  # more at a time than glibc keeps by itself
    del results
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


def has_glibc():
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def faults_per_step(*arguments):
    run = subprocess.run([sys.executable, "-c", STEPS, *arguments], capture_output=True, text=True, check=True)
    return float(run.stdout)


@pytest.mark.skipif(not has_glibc(), reason="glibc's setting")
def test_results_that_come_and_go_fetch_no_memory_from_the_system():
    pages = (1 << 19) * 4 // 4096  # of one of the results
    assert faults_per_step() > pages
    assert faults_per_step("reuse") < pages / 10


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_where_another_library_allocates_nothing_is_done(error, monkeypatch):
    def load(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert tg.reuse_memory() is False


@pytest.mark.parametrize("refused", [[-3], [-3, -1], [-1]])
def test_what_the_library_refuses_is_told(refused, monkeypatch):
    """Of numbers above 32 MiB for -3, M_MMAP_THRESHOLD, an older glibc refuses the first and takes the second."""
    asked = []

    class Library:
        gnu_get_libc_version = None

        @staticmethod
        def mallopt(parameter, value):
            asked.append((parameter, value))
            return int(parameter not in refused or (refused == [-3] and value <= 32 * 2**20))

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library)
    assert tg.reuse_memory(2**28) is (refused == [-3])
    assert (-3, 2**28) in asked
    assert ((-3, 2**25) in asked) is (-3 in refused)


@pytest.mark.parametrize("size", [0, -1, 2**31, 1.5, True, "1G", None])
def test_the_size_is_a_whole_number(size):
    with pytest.raises(ArgumentError, match=f"reuse_memory: size must be a whole number from 1 to {2**31 - 1}, got"):
        tg.reuse_memory(size)
