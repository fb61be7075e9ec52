"""Problem 65.16: the autoencoder of Figure 65.10 with W2 = W1^T, sigmoids and the regularised cross-entropy.

By the chain rule, with one W for both layers: delta_3 = h-hat - h as in (65.144), delta_2 = f'(z_2) o (W^T delta_3) as
in (65.61), and the gradient of W is h delta_2^T + delta_3 y_2^T, the sum over its two uses.
"""

import copy

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import autoencoder

SIZES = [5, 3, 5]
STEPS, MU = 20, 0.1


def tied_step(h, W, theta, mu, rho):
    """One step by a single h of entries in (0, 1), from ``W[1]``, of shape (M, n_2), ``theta[1]`` and ``theta[2]``."""
    M, n_2 = len(W[1]), len(W[1][0])
    z_2 = [sum(W[1][i][j] * h[i] for i in range(M)) - theta[1][j] for j in range(n_2)]
    y_2 = [listings.sigmoid(z) for z in z_2]
    z_3 = [sum(W[1][i][j] * y_2[j] for j in range(n_2)) - theta[2][i] for i in range(M)]
    h_hat = [listings.sigmoid(z) for z in z_3]
    delta_3 = [h_hat[i] - h[i] for i in range(M)]
    delta_2 = [listings.sigmoid_slope(z_2[j]) * sum(W[1][i][j] * delta_3[i] for i in range(M)) for j in range(n_2)]
    W_m = [
        [(1 - 2 * mu * rho) * W[1][i][j] - mu * (h[i] * delta_2[j] + delta_3[i] * y_2[j]) for j in range(n_2)]
        for i in range(M)
    ]
    theta_1 = [theta[1][j] + mu * delta_2[j] for j in range(n_2)]
    theta_2 = [theta[2][i] + mu * delta_3[i] for i in range(M)]
    return {1: W_m}, {1: theta_1, 2: theta_2}


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("rho", "times"), [(0.0, 1), (0.02, 1), (0.02, 2)])  # W counted once, or for both layers
def test_twenty_steps_of_stochastic_gradient(way, rho, times, rng):
    net = autoencoder(SIZES, tied=True, activation="sigmoid", init_bias="normal", seed=4, dtype=np.float64)
    pairs = [(H, H) for H in rng.random((STEPS, 1, 5))]

    def listing(x, y, W, theta):
        return tied_step(x[0], W, theta, MU, times * rho)

    optimizer = optim.SGD(net.parameters(), MU)
    loss = losses.binary_cross_entropy
    found = largest_difference_over_steps(way, net, loss, optimizer, pairs, listing, times * rho)
    assert found <= TOLERANCE


def test_a_regulariser_counts_the_shared_weights_once():
    net = autoencoder(SIZES, tied=True, seed=4, dtype=np.float64)
    (W,) = (t for t in net.parameters() if t.role == "weight")
    once = 0.3 * (W.numpy() ** 2).sum()
    np.testing.assert_allclose(losses.l2(net, 0.3).numpy(), once, rtol=1e-12)
    untied = autoencoder(SIZES, seed=4, dtype=np.float64)
    for layer, value in ((untied.encoder[0], W.numpy()), (untied.decoder[0], W.numpy().T)):
        layer.W.assign_(value)
    np.testing.assert_allclose(losses.l2(untied, 0.3).numpy(), 2 * once, rtol=1e-12)


def test_the_gradient_of_a_deep_one(rng):
    net = autoencoder([4, 3, 2, 3, 4], tied=True, activation="sigmoid", init_bias="normal", seed=1, dtype=np.float64)
    x = rng.random((5, 4))
    assert [t.shape for t in net.parameters()] == [(4, 3), (3,), (3, 2), (2,), (3,), (4,)]
    tg.gradcheck(net, x, x, losses.binary_cross_entropy)


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
