"""(65.35)-(65.42): from gamma-hat to the decision gamma-star, for every output activation, and counted errors."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.errors import ArgumentError
from tinygraph.models import fully_connected

A, B = 1 / math.tanh(2 / 3), 2 / 3

ACTIVATIONS = {
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "scaled_tanh": lambda z: A * math.tanh(B * z),
    "signed": lambda z: z,
    "linear": lambda z: z,
    "softplus": lambda z: math.log(1 + math.exp(z)),
    "relu": lambda z: max(0.0, z),
    "leaky_relu": lambda z: z if z >= 0 else 0.01 * z,
    "elu": lambda z: z if z >= 0 else math.exp(z) - 1,
}
SIGNED = ("tanh", "scaled_tanh", "signed")


def softmax(z):
    e = [math.exp(v) for v in z]
    return [v / sum(e) for v in e]


def gamma_hat(output, z):
    return softmax(z) if output == "softmax" else [ACTIVATIONS[output](v) for v in z]


def gamma_star(output, y):
    """The decision on one prediction: (65.36) for a sigmoid, (65.37) for a tanh, (65.41)-(65.42) for a softmax."""
    if output == "softmax":
        r = max(range(len(y)), key=lambda q: y[q])
        return [1.0 if q == r else 0.0 for q in range(len(y))]
    if output == "sigmoid":
        return [1.0 if v >= 1 / 2 else 0.0 for v in y]
    if output in SIGNED:
        return [1.0 if v >= 0 else -1.0 for v in y]
    return y


@pytest.mark.parametrize("output", ["softmax", *ACTIVATIONS])
def test_predictions_and_decisions_are_the_chapters(output, rng):
    net = fully_connected([3, 4], output=output, init_bias="normal", seed=0, dtype=np.float64)
    X = rng.normal(size=(20, 3))
    W, theta = net.layer1.W.numpy().tolist(), net.layer1.theta.numpy().tolist()
    predicted, decided = net.predict(X).numpy(), net.decide(X).numpy()
    for h, y, star in zip(X.tolist(), predicted, decided, strict=True):
        z = [sum(W[i][j] * h[i] for i in range(3)) - theta[j] for j in range(4)]
        np.testing.assert_allclose(y, gamma_hat(output, z), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(star, gamma_star(output, gamma_hat(output, z)), rtol=1e-12, atol=1e-14)


def decide(output, z):
    return nn.Sequential(lambda x: x, output=output).decide(tg.tensor(np.array(z, np.float64))).numpy().tolist()


def test_exactly_one_half_decides_1_65_36():
    assert decide("sigmoid", [[0.0, -0.0]]) == [[1.0, 1.0]]


@pytest.mark.parametrize("output", SIGNED)
def test_exactly_0_decides_1_so_that_every_decision_is_1_or_minus_1(output):
    assert decide(output, [[0.0, -0.0, 1e-300, -1e-300]]) == [[1.0, 1.0, 1.0, -1.0]]


def test_the_first_of_equals_is_the_class_65_41():
    assert decide("softmax", [[1.0, 2.0, 2.0]]) == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("output", ["linear", "softplus", "relu", "leaky_relu", "elu"])
def test_where_nothing_is_decided_there_is_no_error_rate(output, rng):
    net = fully_connected([3, 2], output=output, seed=0)
    X, Y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    history = tg.fit(net, losses.squared_error, (X, Y), optim.SGD(net.parameters(), 0.01), 1)
    assert history.errors == [None]
    assert tg.evaluate(net, losses.squared_error, (X, Y))[1] is None


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", *SIGNED])
def test_fit_counts_the_errors_that_decide_makes(output, compiled, rng):
    """A pass of one batch, whose errors are counted before its update; one row is 0, and so is its z."""
    net = fully_connected([3, 4], output=output, seed=0, dtype=np.float64)
    X = rng.normal(size=(30, 3))
    X[0] = 0.0
    labels = rng.normal(size=(30, 4))
    labels[0] = -1.0
    Y = np.eye(4)[labels.argmax(axis=1)] if output == "softmax" else np.where(labels > 0, 1.0, -(output in SIGNED))
    decided = net.decide(X).numpy()
    wrong = (decided != Y).any(axis=1) if output == "softmax" else decided != Y
    assert 0 < wrong.mean() < 1
    assert tg.evaluate(net, losses.squared_error, (X, Y))[1] == wrong.mean()
    history = tg.fit(
        net, losses.squared_error, (X, Y), optim.SGD(net.parameters(), 0.1), 1, batch_size=30, compiled=compiled
    )
    assert history.errors[0] == wrong.mean()


def test_dropout_does_not_change_a_decision(rng):
    net = fully_connected([3, 50, 2], dropout=0.5, seed=0)
    X = rng.normal(size=(40, 3)).astype(np.float32)
    np.testing.assert_array_equal(net.decide(X).numpy(), net.eval().decide(X).numpy())
    assert not net.training


def test_an_unknown_output_is_named():
    net = fully_connected([2, 2])
    net.output = "scaledtanh"
    with pytest.raises(ArgumentError, match="output 'scaledtanh' is not known; .*did you mean 'scaled_tanh'"):
        net.decide(np.zeros((1, 2)))
    with pytest.raises(ArgumentError, match="output 'scaledtanh' is not known"):
        tg.evaluate(net, losses.squared_error, (np.zeros((1, 2)), np.zeros((1, 2))))
