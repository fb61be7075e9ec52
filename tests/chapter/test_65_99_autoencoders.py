"""(65.99)-(65.109), Problem 65.16: autoencoders by loops, tied weights, zeroed inputs, principal components."""

import copy
import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.errors import ArgumentError
from tinygraph.models import autoencoder


def test_encoder_and_decoder_by_plain_loops(rng):
    net = autoencoder([3, 2, 3], activation="tanh", seed=0, dtype=np.float64)
    W1, theta1, W2, theta2 = (t.numpy() for t in net.parameters())
    x = rng.normal(size=3)
    code = [math.tanh(sum(W1[i, j] * x[i] for i in range(3)) - theta1[j]) for j in range(2)]
    z = [sum(W2[i, j] * code[i] for i in range(2)) - theta2[j] for j in range(3)]
    np.testing.assert_allclose(net.encode(x[None]).numpy()[0], code, rtol=1e-12)
    np.testing.assert_allclose(net(x[None]).numpy()[0], z, rtol=1e-12)
    back = net.decode(np.array([code])).numpy()[0]
    np.testing.assert_allclose(back, [1 / (1 + math.exp(-v)) for v in z], rtol=1e-12)
    np.testing.assert_allclose(net.predict(x[None]).numpy()[0], back, rtol=1e-14)


@pytest.mark.parametrize("tied", [False, True])
def test_a_deep_one_passes_the_gradient_check(rng, tied):
    net = autoencoder([4, 3, 2, 3, 4], tied, "linear", activation="tanh", seed=1, dtype=np.float64)
    x = rng.normal(size=(5, 4))
    tg.gradcheck(net, x, x, losses.squared_error)
    assert net.encode(x).shape == (5, 2)


def test_an_overcomplete_code_is_larger_than_the_input(rng):
    assert autoencoder([4, 9, 4])(np.zeros((2, 4), np.float32)).shape == (2, 4)
    assert autoencoder([4, 9, 4]).encode(np.zeros((2, 4), np.float32)).shape == (2, 9)


def test_tied_weights_are_one_parameter_and_its_gradient_is_the_sum_of_both_uses(rng):
    tied = autoencoder([4, 3, 4], tied=True, activation="tanh", output="linear", seed=2, dtype=np.float64)
    free = autoencoder([4, 3, 4], activation="tanh", output="linear", seed=2, dtype=np.float64)
    assert [t.shape for t in tied.parameters()] == [(4, 3), (3,), (4,)]
    (W1, _, W2, _), x = free.parameters(), rng.normal(size=(6, 4))
    W2.assign_(W1.numpy().T)
    for net in (tied, free):
        losses.squared_error(net(x), x).backward()
    both = W1.grad.numpy() + W2.grad.numpy().T
    np.testing.assert_allclose(tied.parameters()[0].grad.numpy(), both, rtol=1e-12)


def test_tied_weights_stay_tied_when_learned_loaded_and_copied(rng):
    x = rng.normal(size=(6, 4))
    net = autoencoder([4, 3, 4], tied=True, output="linear", seed=3, dtype=np.float64)
    before = net.parameters()[0].numpy()
    tg.fit(net, losses.squared_error, (x, x), optim.SGD(net.parameters(), 0.05), epochs=2, progress=False)
    other = copy.deepcopy(net)
    other.load_state_dict({name: t.numpy() * 2 for name, t in net.state_dict().items()})
    assert (net.parameters()[0].numpy() != before).any()
    for each in (net, other):
        np.testing.assert_array_equal(each.decoder[0].W.numpy(), each.encoder[0].W.numpy())
    np.testing.assert_array_equal(other.decoder[0].W.numpy(), 2 * net.encoder[0].W.numpy())


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
def test_the_linear_one_reaches_the_reconstruction_error_of_principal_components():
    X = data.load("digits").train[0].astype(np.float64)
    singular = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    best = (singular[16:] ** 2).sum() / len(X)
    net = autoencoder([64, 16, 64], activation="identity", output="linear", seed=0, dtype=np.float64)
    optimizer = optim.Adam(net.parameters(), 1e-2)
    for _ in range(1500):
        optimizer.zero_grad()
        loss = losses.squared_error(net(X), X)
        loss.backward()
        optimizer.step()
    error = float(losses.squared_error(net.predict(X), X))
    assert best * (1 - 1e-9) <= error <= 1.01 * best


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
        (([4, 3, 4], False, "sigmoid", 1.0), "denoise must be a fraction from 0 to below 1, got 1.0"),
        (([4, 3, 4], False, "sigmoyd"), "did you mean 'sigmoid'"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(arguments, text):
    with pytest.raises(ArgumentError, match=text) as caught:
        autoencoder(*arguments)
    assert "\n" not in str(caught.value)
