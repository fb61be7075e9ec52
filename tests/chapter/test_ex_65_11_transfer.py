"""Example 65.11: a new last layer on the frozen layers of a trained network, as in Figure 65.14.

(a) The new layer alone learns, from the trunk's outputs y_4; (b) then all layers, from where they are; (c) several new
layers in the place of the last. Each is a run of the stochastic-gradient listing with cross-entropy (65.150), which
keeps the frozen layers or changes them.
"""

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, walk

import tinygraph as tg
from tinygraph import data, losses, nn, optim
from tinygraph.errors import ArgumentError
from tinygraph.models import autoencoder, fully_connected, transfer
from tinygraph.watchers import Watcher, watching


@pytest.fixture
def trained():
    return fully_connected([6, 5, 4, 3], seed=0, dtype=np.float64)


def ops_of(function):
    """The names of the ops that run during a call, with the modules they belong to."""
    found = []

    class Ops(Watcher):
        def made(self, op, inputs, y):
            found.append((op.name, y.scope.path if y.scope else ""))

    with watching(Ops()):
        function()
    return found


FIGURE = [6, 5, 4, 4, 2]  # Figure 65.14: three hidden layers
STEPS, MU, RHO = 20, 0.1, 0.01


def task_b(rng, steps=STEPS):
    """Pairs {gamma(n), h_n} of the second task, one by one."""
    return rng.normal(size=(steps, 1, 6)), np.eye(2)[rng.integers(0, 2, (steps, 1))]


def network_a():
    return fully_connected(FIGURE, "tanh", init_bias="normal", seed=2, dtype=np.float64)


def outputs(network, h):
    """Every y_l of a fully-connected network, for one sample, by (65.31)."""
    W, theta = listings.parameters(network)
    return listings.forward(h, W, theta, listings.activations(len(W) + 1, "tanh", "softmax"))[2]


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("from_features", [False, True])
@pytest.mark.parametrize("new", [[2], [3, 2]])  # (a), and (c): two layers for one
def test_twenty_steps_of_the_new_layers_on_y_4(way, from_features, new, rng):
    """A network of its own, with one layer or two, fed by y_4; trained in place, or from the trunk's outputs."""
    a = network_a()
    net = transfer(a, new, activation="tanh", init_bias="normal", seed=3)
    assert listings.parameters(net.trunk) == tuple(
        {l: values[l] for l in (1, 2, 3)} for values in listings.parameters(a)
    )
    H, G = task_b(rng)
    W, theta = listings.parameters(net.head)
    f = listings.activations(len(new) + 1, "tanh", "softmax")
    expected = []
    for h, gamma in zip(H, G, strict=True):
        y_4 = outputs(a, h[0].tolist())[4]
        W, theta = listings.stochastic_step(y_4, gamma[0].tolist(), W, theta, MU, RHO, f, "cross-entropy")
        expected.append((W, theta))
    learner, inputs = (net.head, [net.features(h) for h in H]) if from_features else (net, H)
    found, trunk = [], listings.parameters(net.trunk)
    optimizer = optim.SGD(learner.parameters(), MU)
    pairs = list(zip(inputs, G, strict=True))
    walk(way, learner, losses.cross_entropy, optimizer, pairs, lambda: found.append(listings.parameters(net.head)), RHO)
    assert max(listings.largest_difference(*pair) for pair in zip(found, expected, strict=True)) <= TOLERANCE
    assert listings.largest_difference(found[0], found[-1]) > 1e-2
    assert listings.parameters(net.trunk) == trunk


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps_of_all_layers_after_twenty_of_the_last(way, rng):
    """(b): (65.150) for the whole network from the values at the end of (a)."""
    net = transfer(network_a(), [2], init_bias="normal", seed=3)
    H, G = task_b(rng, 2 * STEPS)
    pairs = list(zip(H, G, strict=True))
    walk(way, net, losses.cross_entropy, optim.SGD(net.parameters(), MU), pairs[:STEPS], lambda: None, RHO)
    W, theta = listings.parameters(net)
    f = listings.activations(len(FIGURE), "tanh", "softmax")
    found = []
    net.unfreeze()
    optimizer = optim.SGD(net.parameters(), MU)
    walk(way, net, losses.cross_entropy, optimizer, pairs[STEPS:], lambda: found.append(listings.parameters(net)), RHO)
    for (h, gamma), after in zip(pairs[STEPS:], found, strict=True):
        W, theta = listings.stochastic_step(h[0].tolist(), gamma[0].tolist(), W, theta, MU, RHO, f, "cross-entropy")
        assert listings.largest_difference(after, (W, theta)) <= TOLERANCE


def test_earlier_layers_are_kept_and_the_last_replaced(rng, trained):
    net, x = transfer(trained, new_layers=[10], seed=1), rng.normal(size=(7, 6))
    z = net(x).numpy()
    W, theta = net.head[0].W.numpy(), net.head[0].theta.numpy()
    signals = trained.activations(x)
    assert W.shape == (4, 10)
    np.testing.assert_allclose(z, signals["y3"].numpy() @ W - theta, rtol=1e-12)
    assert transfer(trained, [8, 10])(x).shape == (7, 10)
    assert transfer(trained, [8, 10]).head[0].W.shape == (4, 8)  # two new layers for the last one
    assert transfer(trained, [8, 10], replace=2).head[0].W.shape == (5, 8)


def test_the_frozen_trunk_gets_no_gradient_and_no_gradient_work(rng, trained):
    net, x = transfer(trained, [10], seed=1), rng.normal(size=(7, 6))
    target = np.eye(10)[rng.integers(0, 10, 7)]
    loss = losses.cross_entropy(net(x), target)
    work = ops_of(loss.backward)
    assert all(t.grad is None for t in net.trunk.parameters())
    assert all(t.grad is not None for t in net.head.parameters())
    assert [path for _, path in work if path.startswith("trunk")] == []
    assert [name for name, path in work if path.startswith("head")].count("matmul") == 1  # that of dW
    net.unfreeze()
    loss = losses.cross_entropy(net(x), target)
    thawed = ops_of(loss.backward)
    assert [name for name, path in thawed if path.startswith("trunk")].count("matmul") == 3
    assert all(t.grad is not None for t in net.parameters())


def test_training_changes_the_head_only_until_the_net_is_unfrozen(rng, trained):
    X, Y = rng.normal(size=(20, 6)), np.eye(10)[rng.integers(0, 10, 20)]
    net, source = transfer(trained, [10], seed=1), trained.state_dict()
    before = {name: t.numpy() for name, t in net.state_dict().items()}
    optimizer = optim.SGD(net.parameters(), 0.1)
    tg.fit(net, losses.cross_entropy, (X, Y), optimizer, epochs=1, l2=0.01, progress=False)
    changed = {name for name, t in net.state_dict().items() if (t.numpy() != before[name]).any()}
    assert changed == {"head.0.W", "head.0.theta"}
    net.unfreeze()
    tg.fit(net, losses.cross_entropy, (X, Y), optimizer, epochs=1, progress=False)
    changed = {name for name, t in net.state_dict().items() if (t.numpy() != before[name]).any()}
    assert changed == set(before)
    for name, t in trained.state_dict().items():  # what was transferred from is left as it was
        np.testing.assert_array_equal(t.numpy(), source[name].numpy())
    assert all(t.requires_grad for t in trained.parameters())


def test_the_head_trained_on_precomputed_features_is_the_one_trained_in_place(rng, trained):
    X, Y = rng.normal(size=(20, 6)), np.eye(10)[rng.integers(0, 10, 20)]
    nets = [transfer(trained, [10], seed=1) for _ in range(2)]
    options = {"epochs": 3, "batch_size": 4, "progress": False}
    tg.fit(nets[0], losses.cross_entropy, (X, Y), optim.SGD(nets[0].head.parameters(), 0.1), **options)
    F = nets[1].features(X, batch_size=3)
    assert F.shape == (20, 4)
    work = ops_of(
        lambda: tg.fit(nets[1].head, losses.cross_entropy, (F, Y), optim.SGD(nets[1].head.parameters(), 0.1), **options)
    )
    assert not any(path.startswith("trunk") for _, path in work)
    for a, b in zip(*(net.head.parameters() for net in nets), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10)


def test_rows_of_modules_and_functions_are_transferred_too(rng):
    trained = nn.Sequential(nn.Dense(4, 3, seed=0), tg.tanh, nn.Dense(3, 2, seed=1), output="softmax")
    x = rng.normal(size=(5, 4)).astype(np.float32)
    net = transfer(trained, [6], seed=2)
    np.testing.assert_array_equal(net.features(x), np.tanh(trained[0](x).numpy()))
    assert net.predict(x).shape == (5, 6)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_steps_of_a_network_lead_from_its_input_to_its_output(rng, batch_norm):
    net = fully_connected([6, 5, 3], ["tanh"], dropout=[0, 0.5], batch_norm=batch_norm, seed=0, dtype=np.float64).eval()
    x = tg.tensor(rng.normal(size=(7, 6)))
    y = x
    for step in net.steps:
        y = step(y)
    np.testing.assert_array_equal(y.numpy(), net(x).numpy())


def test_a_frozen_trunk_runs_in_evaluation_mode(rng):
    tg.manual_seed(0)
    trained = fully_connected([6, 50, 3], dropout=[0.0, 0.5], batch_norm=True, seed=0, dtype=np.float64)
    net, x = transfer(trained, [4], seed=1), rng.normal(size=(7, 6))
    before = {name: t.numpy() for name, t in net.state_dict().items()}
    z = net.train()(x).numpy()
    np.testing.assert_allclose(z, net.head(net.features(x)).numpy(), rtol=1e-12)
    np.testing.assert_allclose(z, net.eval()(x).numpy(), rtol=1e-12)
    for name, t in net.state_dict().items():  # no running average moved
        np.testing.assert_array_equal(t.numpy(), before[name])
    assert (net.train().unfreeze()(x).numpy() != z).any()


@pytest.mark.host
def test_from_digits_0_to_4_to_digits_5_to_9_with_ten_samples_a_class_then_all_layers_tuned():
    digits = data.load("digits")
    X, labels = digits.train[0], digits.labels_train
    old, new = labels < 5, digits.labels_test >= 5
    source = fully_connected([64, 64, 32, 5], seed=0)
    learn(source, (X[old], labels[old]), 3e-3, 30)
    held_out = digits.test[0][new], digits.labels_test[new] - 5
    frozen, tuned = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        few = np.concatenate([rng.choice(np.flatnonzero(labels == c), 10, replace=False) for c in range(5, 10)])
        small = X[few], labels[few] - 5
        net = transfer(source, [5], replace=2, seed=seed)
        learn(net, small, 3e-3, 40)
        frozen.append(tg.evaluate(net, losses.cross_entropy, held_out)[1])
        learn(net.unfreeze(), small, 1e-3, 40)
        tuned.append(tg.evaluate(net, losses.cross_entropy, held_out)[1])
    assert np.mean(frozen) < 0.4  # guessing: 0.8
    assert np.mean(tuned) < 0.4


def learn(net, train_set, lr, epochs):
    optimizer = optim.Adam(net.parameters(), lr)
    tg.fit(net, losses.cross_entropy, train_set, optimizer, epochs, batch_size=10, progress=False)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: transfer(autoencoder([4, 2, 4]), [3]), "a network of layers in a row, .* got Autoencoder"),
        (
            lambda: transfer(fully_connected([4, 3, 2]), [3], replace=2),
            "2 layers with weights .* at most 1 .* replace=2",
        ),
        (lambda: transfer(fully_connected([4, 3, 2]), []), "at least one new layer"),
        (
            lambda: transfer(fully_connected([4, 3, 2]), 3),
            r"new_layers must list the sizes of layers, got 3; say \[3\]",
        ),
        (lambda: transfer(fully_connected([4, 3, 2]), [0]), "at least 1, got 0"),
        (lambda: transfer(nn.Sequential(nn.Dense(2, 2), nn.Dense(2, 2)), [3]), "no output activation; pass output="),
        (lambda: transfer(fully_connected([4, 3, 2]), [3], output="soft"), "output 'soft' is not known"),
    ],
)
def test_networks_that_do_not_fit_are_named_in_one_line(make, text):
    with pytest.raises(ArgumentError, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)
