"""Products by oneDNN: the values of float64, BLAS where it refuses or is not faster, one thread for each."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools

import numpy as np
import pytest

from tinygraph.backend import blas

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def library():
    """OpenBLAS with oneDNN."""
    found = blas.load("onednn")
    if found is None:
        pytest.skip("needs the extra onednn")
    return found


def product(library, a, b, y, flips=(0, 0), alpha=1.0, beta=0.0):
    """Return a call of ``y = alpha a b + beta y``, matrices column by column, and what its addresses point to."""
    m, n = y.shape
    k = a.shape[0 if flips[0] else 1]
    numbers = np.array([*(ord("NT"[f]) for f in flips), m, n, k, *(x.strides[1] // x.itemsize for x in (a, b, y))])
    factors = np.array([alpha, beta], y.dtype)
    at, c = numbers.ctypes.data, factors.ctypes.data
    places = a.ctypes.data, at + 40, b.ctypes.data, at + 48, c + y.itemsize, y.ctypes.data, at + 56
    name = "sgemm" if y.dtype == np.float32 else "dgemm"
    return library.call(name, [at, at + 8, at + 16, at + 24, at + 32, c, *places]), (numbers, factors, a, b, y)


def matrices(rng, m, n, k, flips, dtype=np.float32):
    """Return column-major matrices that are parts of larger ones."""
    shapes = (k, m) if flips[0] else (m, k), (n, k) if flips[1] else (k, n), (m, n)
    return [np.asfortranarray(rng.standard_normal((r + 3, c)).astype(dtype))[:r] for r, c in shapes]


@pytest.mark.parametrize("flips", list(itertools.product((0, 1), repeat=2)))
@pytest.mark.parametrize("lengths", [(256, 32, 784), (128, 128, 64), (17, 250, 301), (400, 128, 32), (64, 16, 1024)])
@pytest.mark.parametrize("factors", [(1.0, 0.0), (-0.01, 0.998), (2.0, 1.0)])
def test_products_are_those_of_float64(library, flips, lengths, factors):
    rng = np.random.default_rng(0)
    alpha, beta = factors
    m, n, k = lengths
    assert library.onednn_for("sgemm", m, n, k) is not None
    a, b, y = matrices(rng, m, n, k, flips)
    if not beta:
        y[:] = np.nan  # what is multiplied by 0 is not read
    x, z = (v.astype(np.float64) for v in ((a.T if flips[0] else a), (b.T if flips[1] else b)))
    expected = alpha * (x @ z) + (beta * y if beta else 0.0)
    call, _ = product(library, a, b, y, flips, alpha, beta)
    call()
    np.testing.assert_allclose(y, expected, rtol=0, atol=abs(alpha) * k**0.5 * 3e-6 + 1e-6)


def test_infinities_and_nan_reach_the_result(library):
    """0 times infinity is NaN, in the whole row or column and nowhere else."""
    a, b, y = (np.zeros((128, 128), np.float32, "F") for _ in range(3))
    b[:] = 1.0
    a[5, 7], b[3, 9] = np.inf, np.nan
    call, _ = product(library, a, b, y)
    call()
    expected = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    assert np.isposinf(y[5, 0])


def test_small_narrow_and_double_products_are_those_of_blas(library):
    assert library.onednn_for("sgemm", 64, 64, 64) is None
    assert library.onednn_for("sgemm", 10, 4096, 4096) is None
    assert library.onednn_for("dgemm", 512, 512, 512) is None
    rng = np.random.default_rng(1)
    a, b, y = matrices(rng, 200, 200, 200, (0, 0), np.float64)
    call, _ = product(library, a, b, y)
    call()
    np.testing.assert_allclose(y, a @ b, rtol=1e-12, atol=1e-11)


def test_where_it_refuses_blas_does_it(library):
    """As where there is no memory for it: the product is right all the same."""
    refusing = dataclasses.replace(library.onednn, product=lambda *arguments: 1)
    rng = np.random.default_rng(2)
    a, b, y = matrices(rng, 128, 128, 128, (0, 1))
    call, _ = product(dataclasses.replace(library, onednn=refusing), a, b, y, (0, 1))
    call()
    np.testing.assert_allclose(y, a @ b.T, rtol=0, atol=1e-4)


def test_the_threads_of_openmp_are_as_before(library):
    """A product runs on the thread that makes it; other code of the process keeps its threads."""
    onednn = library.onednn
    before = onednn.threads()
    seen = []

    def watched(*arguments):
        seen.append(onednn.threads())
        return onednn.product(*arguments)

    rng = np.random.default_rng(3)
    a, b, y = matrices(rng, 128, 128, 128, (0, 0))
    onednn.set_threads(3)
    try:
        call, _ = product(dataclasses.replace(library, onednn=dataclasses.replace(onednn, product=watched)), a, b, y)
        call()
        assert seen == [1]
        assert onednn.threads() == 3
    finally:
        onednn.set_threads(before)


def test_the_place_in_memory_makes_no_difference_to_the_bits(library):
    rng = np.random.default_rng(4)
    a, b, y = (np.asfortranarray(rng.standard_normal((130, 130)).astype(np.float32)) for _ in range(3))
    results = []
    for offset in (0, 4, 8, 20, 64):
        copies = []
        for x in (a, b, y):
            buffer = np.zeros(x.nbytes + 128, np.uint8)
            start = (-buffer.ctypes.data) % 64 + offset
            copy = buffer[start : start + x.nbytes].view(np.float32).reshape(x.shape, order="F")
            copy[:] = x
            copies.append(copy)
        call, _ = product(library, *copies, beta=0.5)
        call()
        results.append(copies[2].tobytes())
    assert len(set(results)) == 1


def test_it_needs_openblas_and_its_package(monkeypatch):
    monkeypatch.setitem(blas.LIBRARIES, "onednn", "no-such-package")
    assert blas.load("onednn") is None
    monkeypatch.undo()
    monkeypatch.setattr(ctypes, "CDLL", lambda *names: (_ for _ in ()).throw(OSError("cannot be loaded")))
    assert blas.load("onednn") is None
