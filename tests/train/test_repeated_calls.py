"""`fit` called again goes on in the order of the data: n calls of one epoch train as one call of n does."""

import pickle

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.errors import ArgumentError
from tinygraph.models import fully_connected, siamese

pytestmark = pytest.mark.host
X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
L = np.arange(30) % 3


class Loader:
    """Batches in an order of its own for every epoch that it is told."""

    def __init__(self):
        self.told = []

    def set_epoch(self, epoch):
        self.told.append(epoch)

    def __iter__(self):
        order = np.random.default_rng(self.told[-1]).permutation(30)
        yield from ((X[rows], L[rows]) for rows in order.reshape(5, 6))


def network():
    tg.manual_seed(1)
    return fully_connected([4, 6, 3], dropout=[0.0, 0.2], batch_norm=True, seed=0)


def weights(net):
    return {name: t.numpy() for name, t in net.state_dict().items()}


def assert_same(one, other):
    for name, value in weights(one).items():
        np.testing.assert_array_equal(value, weights(other)[name], err_msg=name)


SETS = {
    "arrays": lambda: (X, L),
    "batches": lambda: data.batches(X, L, 7, seed=5),
    "loader": Loader,
    "list": lambda: [(X[:20], L[:20]), (X[20:], L[20:])],
}


OPTIONS = {
    "plain": {},
    "eager": {"compiled": False},
    "l2": {"l2": 0.1},
    "validation": {"validation": (X[:9], L[:9])},
    "replacement": {"replacement": True},
}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param(kind, options, id=f"{kind}-{name}")
        for kind in SETS
        for name, options in OPTIONS.items()
        if kind == "arrays" or name != "replacement"
    ],
)
@pytest.mark.parametrize("parts", [(1, 1, 1, 1), (3, 1)], ids=str)
def test_calls_one_after_the_other_train_as_one_call(parts, kind, options):
    nets, rows = [], []
    for epochs in (parts, (sum(parts),)):
        net, train_set = network(), SETS[kind]()
        rule = optim.SGD(net.parameters(), 0.1, 0.9)
        done = [tg.fit(net, losses.cross_entropy, train_set, rule, n, 7, seed=3, **options) for n in epochs]
        nets.append(net)
        rows.append([[value for h in done for value in h[c]] for c in ("loss", "validation_loss")])
    assert_same(*nets)
    assert rows[0] == rows[1]


@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW, optim.RMSProp])
def test_whatever_the_optimiser(make):
    nets = []
    for epochs in ([1, 1, 1], [3]):
        nets.append(net := network())
        rule = make(net.parameters(), 0.01)
        for n in epochs:
            tg.fit(net, losses.cross_entropy, (X, L), rule, n, 7)
        assert rule.epoch == 3
    assert_same(*nets)


def test_pairs_are_drawn_on():
    nets = []
    for epochs in ([1, 1], [2]):
        net = siamese([4, 5, 3], seed=0)
        rule = optim.SGD(net.parameters(), 0.1)
        for n in epochs:
            tg.fit(net, losses.squared_error, data.PairBatches(X, L, 20, 8, negative_label=-1), rule, n)
        nets.append(net)
    assert_same(*nets)


def test_a_loader_is_told_how_many_epochs_there_were():
    net, loader = network(), Loader()
    rule = optim.SGD(net.parameters(), 0.1)
    for n in (1, 2, 1):
        tg.fit(net, losses.cross_entropy, loader, rule, n)
    assert loader.told == [0, 1, 2, 3]
    tg.fit(net, losses.cross_entropy, loader, rule, max_iterations=2)  # cut short: the next call takes another order
    tg.fit(net, losses.cross_entropy, loader, rule, max_iterations=5)
    tg.fit(net, losses.cross_entropy, loader, optim.SGD(net.parameters(), 0.1), 1)
    rule.epoch = 1
    tg.fit(net, losses.cross_entropy, loader, rule, 2)
    assert loader.told == [0, 1, 2, 3, 4, 5, 0, 1, 2]


@pytest.mark.parametrize("kind", ["arrays", "loader"])
@pytest.mark.parametrize("cut", [{"epochs": 2}, {"max_iterations": 8}], ids=str)  # 8 of 5 an epoch: within the second
def test_a_checkpoint_knows_where_its_run_began(tmp_path, kind, cut):
    """Written in the second of two calls, continued by an optimiser that has seen nothing."""

    def begin():
        net = network()
        rule = optim.SGD(net.parameters(), 0.1, 0.9)
        tg.fit(net, losses.cross_entropy, SETS[kind](), rule, 3, 6)
        return net, rule

    whole, rule = begin()
    tg.fit(whole, losses.cross_entropy, SETS[kind](), rule, 4, 6)
    net, rule = begin()
    tg.fit(net, losses.cross_entropy, SETS[kind](), rule, batch_size=6, checkpoint=tmp_path / "c", **cut)
    other = network()
    rule = optim.SGD(other.parameters(), 0.1, 0.9)
    loader = SETS[kind]()
    tg.fit(other, losses.cross_entropy, loader, rule, 4, 6, checkpoint=tmp_path / "c")
    assert rule.epoch == 7
    if kind == "loader":
        assert loader.told == ([5, 6] if "epochs" in cut else [4, 5, 6])
    assert_same(whole, other)


def test_one_checkpoint_in_calls_with_one_optimiser(tmp_path):
    """What a checkpoint has trained counts once, though the optimiser has seen it too."""
    whole, net = network(), network()
    tg.manual_seed(1)
    tg.fit(whole, losses.cross_entropy, (X, L), optim.SGD(whole.parameters(), 0.1), 3, 7)
    tg.manual_seed(1)
    rule = optim.SGD(net.parameters(), 0.1)
    for epochs in (1, 2, 3):
        tg.fit(net, losses.cross_entropy, (X, L), rule, epochs, 7, checkpoint=tmp_path / "c")
    assert_same(whole, net)


def test_the_count_goes_with_the_state():
    net = network()
    rule = optim.Adam(net.parameters(), 0.1)
    tg.fit(net, losses.cross_entropy, (X, L), rule, 2)
    other = optim.Adam(net.parameters(), 0.1)
    other.load_state_dict(rule.state_dict())
    assert (other.epoch, pickle.loads(pickle.dumps(rule)).epoch) == (2, 2)
    other.load_state_dict({name: a for name, a in rule.state_dict().items() if name != "epoch"} | {"lr": 0.5})
    assert (other.epoch, other.lr) == (2, 0.5)
    for wrong in (-1, 1.5, "2", None):
        with pytest.raises(ArgumentError, match="Adam: epoch"):
            other.epoch = wrong
    assert other.epoch == 2


def test_an_interrupted_epoch_has_been_begun():
    net = network()
    rule = optim.SGD(net.parameters(), 0.1)

    def stops(net, x, y):
        if rule.epoch == 2:
            raise KeyboardInterrupt
        return losses.cross_entropy(net(x), y)

    with pytest.raises(KeyboardInterrupt):
        tg.fit(net, stops, (X, L), rule, 5, compiled=False)
    assert rule.epoch == 2
