"""Example 65.4: autoencoders, networks with Q = M outputs and gamma = h (65.99).

The code of Figure 65.10's network (65.100), encoding (65.101) and decoding (65.102); training by the listings (65.87)
and (65.82) with the inputs as targets; zeroed inputs; codes larger than the input; several hidden layers; outputs by
the range of the data.
"""

import math

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import data, losses, nn, optim
from tinygraph.errors import ArgumentError
from tinygraph.models import autoencoder

FIGURE = [5, 3, 5]  # Figure 65.10
STEPS, MU, RHO = 20, 0.05, 0.01


def test_encoding_65_101_and_decoding_65_102_by_plain_loops(rng):
    net = autoencoder(FIGURE, activation="tanh", init_bias="normal", seed=0, dtype=np.float64)
    W1, theta1, W2, theta2 = (t.numpy().tolist() for t in net.parameters())
    h = rng.random(5).tolist()
    y2 = [math.tanh(sum(W1[i][j] * h[i] for i in range(5)) - theta1[j]) for j in range(3)]
    z3 = [sum(W2[i][j] * y2[i] for i in range(3)) - theta2[j] for j in range(5)]
    h_hat = [1 / (1 + math.exp(-z)) for z in z3]
    np.testing.assert_allclose(net.encode(np.array([h])).numpy()[0], y2, rtol=1e-12)
    np.testing.assert_allclose(net(np.array([h])).numpy()[0], z3, rtol=1e-12)
    np.testing.assert_allclose(net.decode(np.array([y2])).numpy()[0], h_hat, rtol=1e-12)
    np.testing.assert_allclose(net.predict(np.array([h])).numpy()[0], h_hat, rtol=1e-12)


@pytest.mark.parametrize("output", nn.OUTPUTS)
def test_decoding_the_code_is_the_prediction_for_every_output(output, rng):
    net, x = autoencoder(FIGURE, output=output, seed=0, dtype=np.float64), rng.normal(size=(7, 5))
    np.testing.assert_array_equal(net.decode(net.encode(x)).numpy(), net.predict(x).numpy())


@pytest.mark.parametrize(("output", "low", "high"), [("sigmoid", 0, 1), ("tanh", -1, 1), ("linear", -1e9, 1e9)])
def test_the_output_keeps_to_the_range_of_the_data(output, low, high, rng):
    net = autoencoder(FIGURE, output=output, seed=0, dtype=np.float64)
    back = net.predict(8 * rng.normal(size=(50, 5))).numpy()
    assert low < back.min() < low + 0.1 or output == "linear"
    assert high > back.max() > high - 0.1 or output == "linear"
    assert output != "linear" or np.abs(back).max() > 3


def steps_with_the_input_as_target(rng, B, sizes, low):
    """Pairs (h, gamma = h) of entries between `low` and 1."""
    return [(H, H) for H in rng.uniform(low, 1, size=(STEPS, B, sizes[0]))]


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sizes", [FIGURE, [4, 7, 4], [5, 4, 2, 4, 5]], ids=["figure", "overcomplete", "deep"])
@pytest.mark.parametrize(("output", "low"), [("sigmoid", 0), ("tanh", -1), ("linear", -3)])
def test_twenty_steps_of_65_87_with_gamma_equal_to_h(way, sizes, output, low, rng):
    net = autoencoder(sizes, output=output, activation="sigmoid", init_bias="normal", seed=5, dtype=np.float64)
    f = listings.activations(len(sizes), "sigmoid", output)

    def listing(x, y, W, theta):
        return listings.stochastic_step(x[0], x[0], W, theta, MU, RHO, f, "least squares")

    pairs, optimizer = steps_with_the_input_as_target(rng, 1, sizes, low), optim.SGD(net.parameters(), MU)
    found = largest_difference_over_steps(way, net, losses.squared_error, optimizer, pairs, listing, RHO)
    assert found <= TOLERANCE


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps_of_65_82_with_gamma_equal_to_h(way, rng):
    net = autoencoder(FIGURE, activation="tanh", init_bias="normal", seed=5, dtype=np.float64)
    f = listings.activations(3, "tanh", "sigmoid")

    def listing(x, y, W, theta):
        return listings.minibatch_step(x, x, W, theta, MU, RHO, f, "least squares")

    pairs, optimizer = steps_with_the_input_as_target(rng, 6, FIGURE, 0), optim.SGD(net.parameters(), MU)
    found = largest_difference_over_steps(way, net, losses.squared_error, optimizer, pairs, listing, RHO)
    assert found <= TOLERANCE


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps_from_damaged_inputs_to_whole_targets(way, rng):
    """The denoising kind: half of the entries of h are zeroed, and h itself stays the target."""
    net = autoencoder(FIGURE, denoise=0.5, activation="tanh", init_bias="normal", seed=5, dtype=np.float64)
    f = listings.activations(3, "tanh", "sigmoid")
    pairs = steps_with_the_input_as_target(rng, 6, FIGURE, 0.1)
    tg.manual_seed(8)
    masks = iter([tg.bernoulli(0.5, (6, 5), np.float64).numpy().tolist() for _ in range(STEPS)])

    def listing(x, y, W, theta):
        damaged = [[h * a for h, a in zip(*row, strict=True)] for row in zip(x, next(masks), strict=True)]
        return listings.minibatch_step(damaged, x, W, theta, MU, RHO, f, "least squares")

    tg.manual_seed(8)
    optimizer = optim.SGD(net.parameters(), MU)
    found = largest_difference_over_steps(way, net, losses.squared_error, optimizer, pairs, listing, RHO)
    assert found <= TOLERANCE


@pytest.mark.parametrize("tied", [False, True])
def test_a_deep_one_passes_the_gradient_check(rng, tied):
    net = autoencoder([4, 3, 2, 3, 4], tied, "linear", activation="tanh", seed=1, dtype=np.float64)
    x = rng.normal(size=(5, 4))
    tg.gradcheck(net, x, x, losses.squared_error)
    assert net.encode(x).shape == (5, 2)


def test_an_overcomplete_code_is_larger_than_the_input(rng):
    assert autoencoder([4, 9, 4])(np.zeros((2, 4), np.float32)).shape == (2, 4)
    assert autoencoder([4, 9, 4]).encode(np.zeros((2, 4), np.float32)).shape == (2, 9)


def test_a_fraction_of_the_inputs_is_zeroed_in_training_only():
    tg.manual_seed(4)
    net = autoencoder([50, 50, 50], output="linear", activation="identity", denoise=0.3, seed=0)
    for layer in (net.encoder[0], net.decoder[0]):
        layer.W.assign_(np.eye(50, dtype=np.float32))  # the network shows what its encoder sees
    x = np.full((200, 50), 2.0, np.float32)
    seen = net(x).numpy()
    assert set(np.unique(seen)) == {0.0, 2.0}
    assert abs((seen == 0).mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / seen.size)
    assert (net(x).numpy() != seen).any()  # drawn anew
    assert (net.encode(x).numpy() == 2).all()
    assert (net.eval()(x).numpy() == 2).all()


@pytest.mark.host
def test_a_denoising_one_restores_zeroed_digits_better_than_a_plain_one(rng):
    digits = data.load("digits")
    X, held_out = digits.train[0], digits.test[0]
    damaged = held_out * (rng.random(held_out.shape) >= 0.3)
    error = {}
    for denoise in (0.0, 0.3):
        tg.manual_seed(0)
        net = autoencoder([64, 100, 64], denoise=denoise, seed=0)
        optimizer = optim.Adam(net.parameters(), 3e-3)
        tg.fit(net, losses.squared_error, (X, X), optimizer, epochs=30, progress=False)
        error[denoise] = float(losses.squared_error(net.predict(damaged), held_out))
    assert error[0.3] < 0.8 * error[0.0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([4, 3],), r"an odd number of layers, at least 3, .* got \[4, 3\]"),
        (([4, 3, 5],), "the last as large as the first"),
        ((7,), "got 7"),
        (([4, 3, 2, 2, 4], True), "read the same backwards"),
        (([4, 3, 4], False, "sigmoid", 1.0), "denoise must be at least 0 and below 1, got 1.0"),
        (([4, 3, 4], False, "sigmoyd"), "did you mean 'sigmoid'"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(arguments, text):
    with pytest.raises(ArgumentError, match=text) as caught:
        autoencoder(*arguments)
    assert "\n" not in str(caught.value)
