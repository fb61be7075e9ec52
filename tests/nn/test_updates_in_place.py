"""Updates of leaves in their own memory: the same bits, versions and errors as an assignment, and less memory."""

import tracemalloc

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.errors import GraphError, TinygraphError
from tinygraph.mode import mode
from tinygraph.models import fully_connected
from tinygraph.ops.elementwise import add, subtract_scaled
from tinygraph.ops.state import update_
from tinygraph.watchers import Watcher, watching

OPTIMIZERS = {
    "SGD": lambda ps: optim.SGD(ps, 0.05),
    "momentum": lambda ps: optim.SGD(ps, 0.05, 0.9),
    "nesterov": lambda ps: optim.SGD(ps, 0.05, 0.9, nesterov=True),
    "Adam": lambda ps: optim.Adam(ps, 0.01, bias_betas=(0.8, 0.9)),
    "AdamW": lambda ps: optim.AdamW(ps, 0.01),
    "RMSProp": lambda ps: optim.RMSProp(ps, 0.01),
}


def trained(make, dtype, block):
    """Return the losses, weights and state of 20 steps, each taken inside a block."""
    rng = np.random.default_rng(0)
    net = fully_connected([6, 9, 7, 3], "tanh", seed=3, dtype=dtype)
    optimizer = make(net.parameters())
    found = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = losses.cross_entropy(net(rng.normal(size=(5, 6))), rng.integers(3, size=5))
        loss.backward()
        with block():
            optimizer.step()
        found.append(loss.numpy())
    return [*found, *(p.numpy() for p in net.parameters()), *(t.numpy() for t in optimizer.named_state().values())]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_in_place_has_the_bits_of_an_assignment(name, dtype):
    in_place = trained(OPTIMIZERS[name], dtype, tg.no_grad)
    assigned = trained(OPTIMIZERS[name], dtype, lambda: watching(Watcher()))
    for a, b in zip(in_place, assigned, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_graph_with_the_value_before_the_update_is_refused(name):
    net = fully_connected([3, 4, 2], seed=0)
    optimizer = OPTIMIZERS[name](net.parameters())
    x, memory = np.ones((2, 3), np.float32), [p.data for p in net.parameters()]
    loss, other = (losses.cross_entropy(net(x), [0, 1]) for _ in range(2))
    loss.backward()
    optimizer.step()
    assert all(p.data is data for p, data in zip(net.parameters(), memory, strict=True))
    with pytest.raises(GraphError, match="was assigned after"):
        other.backward()


def leaf(shape, dtype=np.float32, seed=0):
    return tg.parameter(np.random.default_rng(seed).normal(size=shape), dtype=dtype)


def constant():
    return (leaf((3,)) + 1).inputs[1]


MISFITS = {
    "another dtype": lambda: (leaf((3,)), leaf((3,)), leaf((3,), np.float64)),
    "a dtype that is not the leaf's": lambda: (leaf((3,)), leaf((3,), np.float64), leaf((3,), np.float64)),
    "a shape that is larger": lambda: (leaf((3,)), leaf((3,)), leaf((2, 3))),
    "a shape that is not the leaf's": lambda: (leaf((3,)), leaf((2,)), leaf((2,))),
    "shapes that do not broadcast": lambda: (leaf((3,)), leaf((3,)), leaf((2,))),
    "numbers for whole numbers": lambda: (tg.tensor([1, 2, 3]), leaf((3,)), leaf((3,))),
    "a result": lambda: (leaf((3,)) * 2.0, leaf((3,)), leaf((3,))),
    "a constant": lambda: (constant(), leaf(()), leaf(())),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_has_the_error_of_an_assignment_and_changes_nothing(case):
    t, a, b = MISFITS[case]()
    before, modified = t.numpy(), t.modified
    with pytest.raises(TinygraphError) as expected:
        t.assign_(add(a, b))
    with tg.no_grad(), pytest.raises(TinygraphError) as raised:
        update_(t, add.op, a, b)
    assert (type(raised.value), str(raised.value)) == (type(expected.value), str(expected.value))
    np.testing.assert_array_equal(t.numpy(), before)
    assert t.modified == modified


FITS = {
    "equal shapes": ((3, 4), (3, 4), (3, 4)),
    "numbers beside it": ((3, 4), (), (3, 4)),
    "numbers only": ((3, 4), (), ()),
    "rows that broadcast": ((3, 4), (4,), (3, 1)),
    "without axes": ((), (), ()),
    "empty": ((0, 2), (0, 2), ()),
}


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize("case", FITS)
def test_an_update_is_an_assignment_of_the_result(case, recording):
    shape, first, second = FITS[case]
    t, a, mu, b = leaf(shape), leaf(first, seed=1), leaf((), seed=2), leaf(second, seed=3)
    place = a.index
    expected = np.broadcast_to(a.numpy() - mu.numpy() * b.numpy(), shape)
    with tg.enable_grad() if recording else tg.no_grad():
        assert mode.recording is recording
        assert update_(t, subtract_scaled.op, a, mu, b) is t
    np.testing.assert_allclose(t.numpy(), expected, rtol=1e-5)  # BLAS may round a product and a difference at once
    assert t.is_leaf
    assert t.modified > place


def test_an_assignment_is_shown_to_those_who_watch():
    class Noted(Watcher):
        def __init__(self):
            self.seen = []

        def made(self, op, inputs, y):
            self.seen.append(op.name)

        def assigns(self, t, source):
            self.seen.append(t.name)
            return False

    noted, p = Noted(), tg.parameter([1.0, 2.0], name="W")
    (p * p).sum().backward()
    with watching(noted):
        optim.SGD([p], 0.1).step()
    assert noted.seen == ["subtract_scaled", "W"]


@pytest.mark.host
@pytest.mark.parametrize(("decay", "momentum", "arrays"), [(0.0, 0.0, 0), (0.1, 0.0, 0), (0.0, 0.9, 0), (0.1, 0.9, 1)])
def test_arrays_of_the_size_of_a_parameter_that_a_step_of_sgd_makes(decay, momentum, arrays):
    p = tg.parameter(np.ones(10**6), dtype=np.float32)
    p.grad = tg.tensor(np.ones(10**6, np.float32))
    p.role = "weight"
    optimizer = optim.SGD([p], 0.1, momentum, weight_decay=decay)
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 4e6 * arrays <= peak < 4e6 * arrays + 1e5
