"""Batches that travel to a device: the same rows, on their way before they are needed, and never overwritten."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.data import Batches
from tinygraph.models import fully_connected

host_cuda = pytest.importorskip("host_cuda")
host_kernels = pytest.importorskip("host_kernels")
pytestmark = [pytest.mark.host, pytest.mark.skipif(not host_kernels.HAS_COMPILER, reason="needs g++")]


@pytest.fixture(autouse=True)
def cupy():
    """The CuPy backend on the stand-in, as the current one."""
    with host_cuda.installed(), tg.using("cupy") as backend:
        yield backend


@pytest.fixture
def copies(monkeypatch):
    """The streams by which batches are copied, as they are made."""
    made = []
    make = host_cuda.Stream.__init__

    def noted(self, *arguments, **options):
        make(self, *arguments, **options)
        made.append(self)

    monkeypatch.setattr(host_cuda.Stream, "__init__", noted)
    return made


def samples(n=23):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3, 2)).astype(np.float32), rng.integers(0, 9, n), rng.random(n)


@pytest.mark.parametrize("size", [1, 4, 5, 23, 40])
@pytest.mark.parametrize(
    "options", [{"shuffle": False}, {"seed": 3}, {"replacement": True}, {"drop_last": True}], ids=str
)
def test_batches_that_are_sent_hold_the_same_rows(cupy, size, options):
    X, Y, weights = samples()
    if size > len(X) and "drop_last" in options:
        return
    batches = Batches(X, Y, size, weights=weights, **options)
    sent = batches.sent(cupy)
    for _ in range(2):
        got, expected = list(sent), list(batches)
        assert len(got) == len(expected) == len(batches)
        for mine, theirs in zip(got, expected, strict=True):
            for t, a in zip(mine, theirs, strict=True):
                assert isinstance(t, tg.Tensor)
                assert t.dtype == a.dtype
                np.testing.assert_array_equal(t.numpy(), a)


def test_the_next_batch_is_on_its_way_while_one_is_worked_on(cupy, copies):
    X, Y, _ = samples()
    walk = iter(Batches(X, Y, 5, shuffle=False).sent(cupy))
    for n, (x, _) in enumerate(walk):
        (stream,) = copies
        np.testing.assert_array_equal(x.data.host, X[5 * n : 5 * n + 5])  # the default stream has waited for it
        assert bool(stream.waiting) == (n < 4)  # the next has been asked for, and is not here


@pytest.mark.parametrize("copies_are_late", [False, True])
def test_memory_of_batches_before_is_not_written_while_it_may_be_read(cupy, copies, monkeypatch, copies_are_late):
    """The pool gives a batch the memory of one before, on which the device may not have worked yet."""
    X, Y, _ = samples(25)
    empty, given = cupy.cupy.empty, []

    def from_pool(shape, dtype):
        given.append(given[-4] if len(given) >= 4 else empty(shape, dtype))
        return given[-1]

    monkeypatch.setattr(cupy.cupy, "empty", from_pool)
    seen = []
    work = host_cuda.Stream(non_blocking=True)
    with work:
        for x, _ in Batches(X, Y, 5, shuffle=False).sent(cupy):
            work.ask(lambda x=x: seen.append(x.data.host.copy()))
            if not copies_are_late:
                copies[-1].synchronize()
    work.synchronize()
    np.testing.assert_array_equal(np.concatenate(seen), X)


def test_leaving_early_leaves_nothing_on_its_way(cupy, copies):
    X, Y, _ = samples()
    walk = iter(Batches(X, Y, 5).sent(cupy))
    next(walk)
    assert copies[0].waiting
    walk.close()
    assert not copies[0].waiting


@pytest.mark.parametrize("fits", [True, False])
def test_fit_brings_each_set_to_the_device_once_or_batch_by_batch(cupy, monkeypatch, fits):
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 3, 60)
    held_out = rng.normal(size=(17, 4)).astype(np.float32), rng.integers(0, 3, 17)

    def train(backend):
        with tg.using(backend):
            net = fully_connected([4, 8, 3], seed=0)
            sgd = optim.SGD(net.parameters(), 0.1)
            return tg.fit(
                net, losses.cross_entropy, (X, labels), sgd, 3, 7, validation=held_out, early_stopping=True,
                stop_tolerance=1e-9, stop_every="epoch", progress=False,
            )  # fmt: skip

    moved, sent = [], []
    asarray, send = type(cupy).asarray, type(cupy).prefetch
    monkeypatch.setattr(type(cupy), "asarray", lambda self, v, *d: moved.append(np.shape(v)) or asarray(self, v, *d))
    monkeypatch.setattr(
        type(cupy), "prefetch", lambda self, arrays, rows: sent.append(len(arrays[0])) or send(self, arrays, rows)
    )
    if not fits:
        monkeypatch.setattr(type(cupy), "free_memory", lambda self: 1)
    got = train("cupy")
    for shape in ((60, 4), (60, 3), (17, 4), (17, 3)):
        assert moved.count(shape) == (1 if fits else 0)
    # epochs, looks at the validation set, looks at the risk with that of the initial parameters
    assert (sent.count(60), sent.count(17)) == ((0, 0) if fits else (3 + 4, 3))
    expected = train("numpy")
    np.testing.assert_allclose(got.losses, expected.losses, rtol=1e-5)
    for a, b in zip(got.rows, expected.rows, strict=True):
        assert a["validation_loss"] == pytest.approx(b["validation_loss"], rel=1e-5)
        assert a["validation_error"] == b["validation_error"]
