"""Every test runs on the NumPy backend and on the strict one, unless it is marked `host`.

Where there is a GPU, the same tests run on CuPy, marked `gpu`. Where there is none but g++, they run on the CuPy
backend with a stand-in for CuPy.
"""

import os
import shutil
from contextlib import nullcontext

if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side: one thread of BLAS in each, set before NumPy loads
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import host_cuda
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import tinygraph as tg

settings.register_profile(
    "tinygraph",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("tinygraph")


HAS_GPU = tg.backends()["cupy"] == "ok"
HAS_COMPILER = shutil.which("g++") is not None


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("host") is not None:
        return
    names = ["numpy", "strict"]
    if HAS_GPU:
        names.append(pytest.param("cupy", marks=pytest.mark.gpu))
    elif HAS_COMPILER:
        compiles = metafunc.definition.get_closest_marker("compiles") is not None
        names.append(pytest.param("cupy", marks=pytest.mark.slow) if compiles else "cupy")
    metafunc.parametrize("backend", names, indirect=True)


@pytest.fixture(autouse=True)
def backend(request):
    """The name of the backend that new tensors live on during the test."""
    name = getattr(request, "param", None)
    if name is None:  # the test is marked `host`
        yield "numpy"
        return
    stand_in = host_cuda.installed() if name == "cupy" and not HAS_GPU else nullcontext()
    with stand_in, tg.using(name):
        yield name


@pytest.fixture
def tinygraph(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder, without data; return its exit status, output and error output."""
    from tinygraph.tools import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TINYGRAPH_DATA_DIR", raising=False)

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            cli.main([str(a) for a in arguments])
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return run


@pytest.fixture
def rng():
    return np.random.default_rng(65)
