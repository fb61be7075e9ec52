"""The same program on another backend: one word, the same numbers, the same files; what is missing is said."""

import json
import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import backend as backends
from tinygraph import losses, optim
from tinygraph.backend import cupy as cupy_backend
from tinygraph.backend import nvidia
from tinygraph.errors import BackendError
from tinygraph.models import fully_connected
from tinygraph.tools import cli


def blobs(n=60, dtype=np.float64):
    rng = np.random.default_rng(65)
    labels = rng.integers(0, 3, n)
    return (rng.normal(size=(n, 4)) + 2 * np.eye(4)[labels]).astype(dtype), labels


def train(epochs, checkpoint=None, dtype="float64", **options):
    """Train a network with dropout and batch normalisation on the current backend; return it and its history."""
    tg.manual_seed(3)
    net = fully_connected([4, 8, 8, 3], dropout=0.3, batch_norm=True, seed=0, dtype=dtype)
    optimizer = optim.SGD(net.parameters(), 0.05, 0.9)
    data = blobs(dtype=dtype)
    options |= {"validation": data, "checkpoint": checkpoint, "l2": 1e-3}
    done = tg.fit(net, losses.cross_entropy, data, optimizer, epochs, 7, **options)
    return net, done


def assert_alike(ours, theirs, rtol):
    for (name, a), (_, b) in zip(ours[0].state_dict().items(), theirs[0].state_dict().items(), strict=True):
        np.testing.assert_allclose(tg.tensor(a).numpy(), tg.tensor(b).numpy(), rtol=rtol, atol=rtol, err_msg=name)
    np.testing.assert_allclose(ours[1].losses, theirs[1].losses, rtol=rtol)
    assert ours[1].errors == theirs[1].errors
    assert ours[1]["validation_error"] == theirs[1]["validation_error"]


def test_every_test_runs_on_the_backend_it_names(request):
    assert backends.current().name == request.node.callspec.params["backend"]
    assert tg.tensor([1.0]).backend.name == request.node.callspec.params["backend"]


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-9), ("float32", 1e-3)])
@pytest.mark.parametrize("compiled", [True, False])
def test_one_seed_gives_the_same_run_on_every_backend(dtype, rtol, compiled):
    here = train(4, dtype=dtype, compiled=compiled)
    with tg.using("numpy"):
        assert_alike(here, train(4, dtype=dtype, compiled=compiled), rtol)


def test_a_run_can_be_resumed_on_another_backend(tmp_path):
    with tg.using("numpy"):
        train(2, tmp_path / "from host")
        whole = train(5)
    train(2, tmp_path / "from here")
    assert_alike(train(5, tmp_path / "from host"), whole, 1e-9)
    with tg.using("numpy"):
        assert_alike(train(5, tmp_path / "from here"), whole, 1e-9)


def test_a_data_set_that_does_not_fit_travels_batch_by_batch(monkeypatch, backend):
    moved = train(3)
    monkeypatch.setattr(type(backends.current()), "free_memory", lambda self: 1)
    monkeypatch.setattr(tg.data.Batches, "moved", None)  # is not called
    assert_alike(train(3), moved, 1e-12)


def test_a_compiled_step_reads_nothing_on_the_host(monkeypatch, backend):
    if backend == "numpy":
        return  # where the host is the device
    reads = []
    kind = type(backends.current())
    to_host = kind.to_host
    monkeypatch.setattr(kind, "to_host", lambda self, array: reads.append(array) or to_host(self, array))
    # checks count batches, whatever the machine is doing
    monkeypatch.setattr("tinygraph.train.loop.FINITE_CHECK_SECONDS", np.inf)
    counts = []
    for n in (70, 700):
        net = fully_connected([4, 8, 3], seed=0)
        tg.fit(net, losses.cross_entropy, blobs(n, np.float32), optim.SGD(net.parameters(), 0.05), 1, 7)
        counts.append(len(reads))
        reads.clear()
    assert abs(counts[1] - counts[0]) <= 2  # for ten times the steps: a look whether the loss is finite


def test_a_module_moves_with_its_state():
    net, _ = train(1)
    x = blobs()[0][:5]
    net.eval()
    here = net(x).numpy()
    net.to("numpy")
    assert net(x).backend.name == "numpy"
    np.testing.assert_allclose(net(x).numpy(), here, rtol=1e-12)


# -- what is missing ------------------------------------------------------------------------------------


def message():
    with pytest.raises(BackendError) as caught:
        cupy_backend.CupyBackend()
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def pretend(monkeypatch):
    """Let CuPy be the stand-in, with things missing."""
    host_cuda = pytest.importorskip("host_cuda")
    for name, module in host_cuda.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return host_cuda.modules()["cupy"].cuda.runtime


@pytest.mark.host
def test_without_cupy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "CuPy is not installed" in message()
    assert "cuda12" in message()


@pytest.mark.host
def test_without_a_driver(pretend, monkeypatch):
    monkeypatch.setattr(pretend, "driverGetVersion", lambda: 0)
    assert "no NVIDIA driver" in message()


@pytest.mark.host
def test_without_a_device(pretend, monkeypatch):
    def none():
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    monkeypatch.setattr(pretend, "getDeviceCount", none)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "no device (cudaErrorNoDevice" in message()
    assert "CUDA_VISIBLE_DEVICES is ''" in message()


@pytest.fixture
def with_libraries(pretend, monkeypatch):
    monkeypatch.setattr(nvidia, "library", lambda name: None)
    return sys.modules["cupy"]


@pytest.mark.host
def test_without_the_headers_of_cuda(with_libraries, monkeypatch):
    monkeypatch.setattr(sys.modules["cuda.pathfinder"], "find_nvidia_header_directory", lambda name: None)
    assert "the headers of CUDA, with which kernels are compiled, are missing" in message()
    assert ".[cuda12]" in message()


@pytest.mark.host
def test_kernels_that_do_not_compile_or_run_are_told_before_any_is_needed(with_libraries, monkeypatch):
    def fails(self, *launch):
        raise RuntimeError("\n\nCUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available\nmore")

    monkeypatch.setattr(with_libraries.RawKernel, "__call__", fails)
    assert "no kernel can be compiled and run: CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available" in message()
    monkeypatch.setattr(with_libraries.RawKernel, "__call__", lambda self, *launch: None)
    assert "a kernel was run and did nothing" in message()


@pytest.mark.host
@pytest.mark.parametrize(("library", "name"), [("cublas", "cuBLAS"), ("nvrtc", "NVRTC")])
def test_without_a_library(pretend, monkeypatch, library, name):
    def load(wanted):
        if wanted == library:
            raise OSError(f"lib{library}.so not found")

    monkeypatch.setattr(nvidia, "library", load)
    assert name in message()
    assert f"lib{library}.so not found" in message()


@pytest.mark.host
def test_backends_say_what_is_missing_and_info_prints_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    backends.register("cupy", cupy_backend.CupyBackend)
    assert tg.backends()["numpy"] == "ok"
    assert "not installed" in tg.backends()["cupy"]
    with pytest.raises(SystemExit) as left:
        cli.main(["info"])
    assert left.value.code == 0
    assert "cupy: CuPy is not installed" in capsys.readouterr().out


def has_cupy_without_driver():
    try:
        metadata.distribution("cupy-cuda12x")
    except metadata.PackageNotFoundError:
        return False
    return tg.backends()["cupy"] != "ok"


@pytest.mark.host
@pytest.mark.skipif(not has_cupy_without_driver(), reason="needs cupy-cuda12x, and no driver")
def test_the_real_cupy_without_a_driver():
    assert "no NVIDIA driver" in tg.backends()["cupy"] or "no device" in tg.backends()["cupy"]
    with pytest.raises(BackendError, match="NVIDIA driver"):
        tg.use("cupy")
    assert backends.current().name == "numpy"


# -- choosing -------------------------------------------------------------------------------------------


def python(program, **variables):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | variables, check=False
    )


@pytest.mark.host
def test_importing_tinygraph_does_not_import_cupy():
    done = python("import sys, tinygraph; print([m for m in sys.modules if m.partition('.')[0] in ('cupy', 'cuda')])")
    assert done.stdout == "[]\n"


@pytest.mark.host
def test_the_environment_chooses_the_backend():
    program = "import tinygraph as tg; print(tg.tensor([1.0]).backend.name)"
    assert python(program, TINYGRAPH_BACKEND="strict").stdout == "strict\n"
    assert "did you mean 'numpy'?" in python(program, TINYGRAPH_BACKEND="nunpy").stderr


@pytest.mark.host
def test_the_command_line_chooses_the_backend(tinygraph, tmp_path, monkeypatch):
    short = ("train", "--epochs", 1, "--hidden", "8")
    assert tinygraph(*short, "--out", "a", "--backend", "strict")[0] == 0
    assert json.loads((tmp_path / "a" / "settings.json").read_text())["backend"] == "strict"
    assert tinygraph(*short[:2], 2, *short[3:], "--out", "a", "--backend", "numpy", "--resume")[0] == 0
    with tg.using("strict"):
        assert tinygraph(*short, "--out", "b")[0] == 0
    assert json.loads((tmp_path / "b" / "settings.json").read_text())["backend"] == "strict"
    monkeypatch.setitem(sys.modules, "cupy", None)
    backends.register("cupy", cupy_backend.CupyBackend)
    status, out, err = tinygraph(*short, "--out", "c", "--backend", "cupy")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "CuPy is not installed" in err
    assert not (tmp_path / "c").exists()


@pytest.mark.host
def test_no_memory_ends_in_one_line(tinygraph, monkeypatch):
    def full(*arguments, **options):
        raise MemoryError("Out of memory allocating 1,024 bytes (allocated so far: 512 bytes).")

    monkeypatch.setattr(backends.numpy.NumpyBackend, "asarray", full)
    status, _, err = tinygraph("train", "--epochs", 1)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "1,024 bytes" in err
    assert "--batch-size" in err
