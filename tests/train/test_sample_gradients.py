"""`per_sample_gradients` against loops over samples, their mean, and the products of the chapter."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.errors import DataError, GraphError, ShapeError
from tinygraph.models import fully_connected

B = 6
EDGES = [[0, 1], [1, 2], [0, 2]]


def gradients(loss_fn, net, x, y):
    """The gradients of the loss of a batch by name."""
    z = net(x) if losses.takes_logits(loss_fn) else net.predict(x, train=net.training)
    found = tg.grad(loss_fn(z, y), net.parameters())
    return {name: g.numpy() for (name, _), g in zip(net.named_parameters(), found, strict=True)}


def one_by_one(loss_fn, net, X, Y):
    several = [gradients(loss_fn, net, X[b : b + 1], Y[b : b + 1]) for b in range(len(X))]
    return {name: np.stack([g[name] for g in several]) for name in several[0]}


def dense(output="softmax", **options):
    return fully_connected([3, 5, 4], "tanh", output, seed=1, dtype=np.float64, **options)


class Attending(nn.Module):
    def __init__(self):
        self.embedding = nn.Embedding(7, 4, seed=0, dtype=np.float64)
        self.attention = nn.MultiHeadAttention(4, 2, causal=True, seed=1, dtype=np.float64)
        self.norm = nn.LayerNorm(4, dtype=np.float64)
        self.out = nn.Dense(4, 3, seed=2, dtype=np.float64)

    def forward(self, words):
        x = self.embedding(words)
        return self.out(tg.max(self.norm(x + self.attention(x)), 1))


NETWORKS = {
    "logits and classes": lambda r: (losses.cross_entropy, dense(), r.normal(size=(B, 3)), r.integers(0, 4, B)),
    "predictions": lambda r: (losses.squared_error, dense(), r.normal(size=(B, 3)), r.normal(size=(B, 4))),
    "binary labels": lambda r: (
        losses.binary_cross_entropy,
        dense("sigmoid"),
        r.normal(size=(B, 3)),
        r.integers(0, 2, (B, 4)) * 1.0,
    ),
    "Huber": lambda r: (losses.huber, dense("linear"), r.normal(size=(B, 3)), 2 * r.normal(size=(B, 4))),
    "attention": lambda r: (losses.cross_entropy, Attending(), r.integers(0, 7, (B, 5)), r.integers(0, 3, B)),
    "neighbourhoods": lambda r: (
        losses.squared_error,
        nn.Sequential(
            nn.NeighborhoodDense(tg.Neighborhoods(EDGES), activation="tanh", seed=0, dtype=np.float64),
            nn.Dense(3, 2, seed=1, dtype=np.float64),
            output="linear",
        ),
        r.normal(size=(B, 3)),
        r.normal(size=(B, 2)),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_the_gradients_of_one_sample_after_the_other_and_their_mean_that_of_the_batch(name, rng):
    loss_fn, net, X, Y = NETWORKS[name](rng)
    found = tg.per_sample_gradients(loss_fn, net, X, Y)
    whole = gradients(loss_fn, net, X, Y)
    assert list(found) == [path for path, _ in net.named_parameters()]
    for path, expected in one_by_one(loss_fn, net, X, Y).items():
        np.testing.assert_allclose(found[path].numpy(), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[path].numpy().mean(0), whole[path], rtol=1e-9, atol=1e-12)
    assert all(t.grad is None for t in net.parameters())


def test_they_are_the_products_of_signals_and_sensitivities(rng):
    net = fully_connected([3, 4, 3, 2], "sigmoid", "linear", seed=0, dtype=np.float64)
    X, Y = rng.normal(size=(B, 3)), rng.normal(size=(B, 2))
    found = tg.per_sample_gradients(losses.squared_error, net, X, Y)
    signals = net.activations(X)
    delta = tg.sensitivities(losses.squared_error(net.predict(X), Y), net)
    for l in (1, 2, 3):
        y, d = signals[f"y{l}"].numpy(), delta[f"z{l + 1}"].numpy()
        np.testing.assert_allclose(found[f"layer{l}.W"].numpy(), y[:, :, None] * d[:, None, :], rtol=1e-12)  # (65.73)
        np.testing.assert_allclose(found[f"layer{l}.theta"].numpy(), -d, rtol=1e-12)  # (65.79)


@pytest.mark.parametrize(("shared", "randomness"), [(True, "same"), (False, "different")])
def test_masks_are_those_of_the_batch_from_the_same_seed(shared, randomness, rng):
    net = nn.Sequential(
        nn.Dense(3, 20, activation="tanh", seed=0, dtype=np.float64),
        nn.Dropout(0.5, shared=shared),
        nn.Dense(20, 2, seed=1, dtype=np.float64),
    )
    X, Y = rng.normal(size=(B, 3)), rng.integers(0, 2, B)
    tg.manual_seed(5)
    found = tg.per_sample_gradients(losses.cross_entropy, net, X, Y, randomness)
    tg.manual_seed(5)
    for path, expected in gradients(losses.cross_entropy, net, X, Y).items():
        np.testing.assert_allclose(found[path].numpy().mean(0), expected, rtol=1e-9, atol=1e-12)


def test_of_a_loss_of_ones_own_frozen_parameters_and_one_sample(rng):
    net, X, Y = dense("linear"), rng.normal(size=(B, 3)), rng.normal(size=(B, 4))
    net.layer1.freeze()

    def loss(net, x, y):
        return tg.mean(tg.abs(net(x) - y)) + tg.sum(tg.square(net.layer2.W))

    found = tg.per_sample_gradients(loss, net, X, Y)
    assert list(found) == ["layer2.W", "layer2.theta"]
    for b in range(B):
        expected = tg.grad(loss(net, X[b : b + 1], Y[b : b + 1]), [net.layer2.W])[0].numpy()
        np.testing.assert_allclose(found["layer2.W"].numpy()[b], expected, rtol=1e-9, atol=1e-12)
    alone = tg.per_sample_gradients(loss, net, X[:1], Y[:1])
    np.testing.assert_allclose(alone["layer2.W"].numpy()[0], found["layer2.W"].numpy()[0], rtol=1e-9)


def test_they_can_be_differentiated_compiled_and_computed_without_a_graph(rng):
    net, X, Y = dense(), rng.normal(size=(B, 3)), rng.integers(0, 4, B)
    W = net.layer1.W

    def penalty():
        return tg.sum(tg.square(tg.per_sample_gradients(losses.cross_entropy, net, X, Y)["layer1.W"]))

    (slope,) = tg.grad(penalty(), [W])
    before = W.numpy()
    for at in ((0, 0), (2, 3)):
        ends = []
        for h in (1e-5, -1e-5):
            moved = before.copy()
            moved[at] += h
            W.assign_(moved)
            ends.append(float(penalty()))
        np.testing.assert_allclose(slope.numpy()[at], (ends[0] - ends[1]) / 2e-5, rtol=1e-6)
    W.assign_(before)
    found = tg.per_sample_gradients(losses.cross_entropy, net, X, Y)
    with tg.no_grad():
        plain = tg.per_sample_gradients(losses.cross_entropy, net, X, Y)
    step = tg.compile(lambda x, y: tg.per_sample_gradients(losses.cross_entropy, net, x, y))
    step(X, Y)
    for path, g in step(X, Y).items():
        assert plain[path].is_leaf
        np.testing.assert_array_equal(plain[path].numpy(), found[path].numpy())
        np.testing.assert_allclose(g.numpy(), found[path].numpy(), rtol=1e-9, atol=1e-12)


def test_what_has_no_gradients_per_sample_is_refused(rng):
    X, Y = rng.normal(size=(B, 3)), rng.normal(size=(B, 2))
    net = nn.Sequential(nn.Dense(3, 2, seed=0), nn.BatchNorm(2), output="linear")
    with pytest.raises(GraphError, match=r"per_sample_gradients: 1 is batch normalisation in training mode"):
        tg.per_sample_gradients(losses.squared_error, net, X, Y)
    net.eval()
    found = tg.per_sample_gradients(losses.squared_error, net, X, Y)
    whole = tg.grad(losses.squared_error(net(X), Y.astype(np.float32)), net.parameters())
    for g, expected in zip(found.values(), whole, strict=True):
        np.testing.assert_allclose(g.numpy().mean(0), expected.numpy(), rtol=1e-4, atol=1e-6)
    with pytest.raises(ShapeError, match=r"as many targets as inputs, got X \(6, 3\) and Y \(5, 2\)"):
        tg.per_sample_gradients(losses.squared_error, net, X, Y[:5])
    with pytest.raises(DataError, match="per_sample_gradients: Y of a batch: class 4 in row 2 is outside 0 to 3"):
        tg.per_sample_gradients(losses.cross_entropy, dense(), X, np.array([0, 1, 4, 0, 0, 0]))
    with pytest.raises(GraphError, match="no parameter of the network requires a gradient"):
        tg.per_sample_gradients(losses.squared_error, dense().freeze(), X, Y)
