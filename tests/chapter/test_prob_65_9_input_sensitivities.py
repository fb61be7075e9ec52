"""Problem 65.9: the sensitivities lambda_l^q of an output gamma-hat(q) of a softmax network, from the last layer back.

The answer: lambda_L^q = gamma-hat(q) (e_q - gamma-hat), row q of the Jacobian J of the softmax (65.69), with e_q the
basis vector; then the recursion of delta_l (65.61), lambda_l^q = f'(z_l) times W_l lambda_{l+1}^q entry by entry; the
input has no activation, so lambda_1^q = W_1 lambda_2^q. With rectifiers f' is 1 or 0: the matrices are multiplied
without the rows of the nodes that rest, and no derivative is computed.
"""

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph.models import fully_connected

SIZES = [3, 5, 4, 3]
L = len(SIZES)
H = [0.7, -0.4, 1.1]


def network(activation):
    return fully_connected(SIZES, activation, "softmax", init_bias="normal", seed=2, dtype=np.float64)


def boundary(gamma_hat, q):
    """lambda_L^q(j) = gamma-hat(q) (e_q(j) - gamma-hat(j))."""
    return [gamma_hat[q] * ((1.0 if j == q else 0.0) - gamma_hat[j]) for j in range(len(gamma_hat))]


def product(W, sensitivity, rows):
    """The entries of W_l lambda_{l+1} in `rows`."""
    return {i: sum(W[i][j] * sensitivity[j] for j in range(len(sensitivity))) for i in rows}


def backward_recursion(W, theta, activation, q):
    """lambda_l^q of every layer, the last first."""
    gamma_hat, _, _, z = listings.forward(H, W, theta, listings.activations(L, activation, "softmax"))
    sensitivity = {L: boundary(gamma_hat, q)}
    for l in range(L - 1, 1, -1):
        f_prime = listings.slope(activation, z[l])
        back = product(W[l], sensitivity[l + 1], range(SIZES[l - 1]))
        sensitivity[l] = [f_prime[i] * back[i] for i in back]
    sensitivity[1] = list(product(W[1], sensitivity[2], range(SIZES[0])).values())
    return sensitivity


def recursion_of_rectifiers(W, theta, q):
    """The same where the activations are rectifiers: no f', only which nodes are awake, z_l(i) > 0."""
    gamma_hat, _, _, z = listings.forward(H, W, theta, listings.activations(L, "relu", "softmax"))
    sensitivity = {L: boundary(gamma_hat, q)}
    for l in range(L - 1, 0, -1):
        awake = [i for i in range(SIZES[l - 1]) if l == 1 or z[l][i] > 0]
        back = product(W[l], sensitivity[l + 1], awake)
        sensitivity[l] = [back.get(i, 0.0) for i in range(SIZES[l - 1])]
    return sensitivity


def by_the_library(net, q):
    """The gradients of gamma-hat(q) with respect to the input and to every z_l."""
    signals = net.activations(np.array([H]))
    points = [signals["y1"], *(signals[f"z{l}"] for l in range(2, L + 1))]
    gradients = tg.grad(signals[f"y{L}"][0, q], points)
    return {l: g.numpy()[0].tolist() for l, g in enumerate(gradients, 1)}


@pytest.mark.parametrize("q", range(3))
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_the_library_gives_every_lambda_of_the_recursion(activation, q):
    net = network(activation)
    expected = backward_recursion(*listings.parameters(net), activation, q)
    assert listings.largest_difference(by_the_library(net, q), expected) <= 1e-15


@pytest.mark.parametrize("q", range(3))
def test_rectifiers_leave_products_of_parts_of_the_matrices(q):
    net = network("relu")
    W, theta = listings.parameters(net)
    expected = recursion_of_rectifiers(W, theta, q)
    resting = [v == 0 for l in (2, 3) for v in expected[l]]
    assert any(resting)
    assert not all(resting)
    assert listings.largest_difference(backward_recursion(W, theta, "relu", q), expected) == 0
    assert listings.largest_difference(by_the_library(net, q), expected) <= 1e-15


@pytest.mark.host
@pytest.mark.parametrize("q", range(3))
def test_the_boundary_is_a_row_of_the_jacobian_of_the_softmax(q):
    gamma_hat = listings.softmax([0.3, -1.0, 0.8])
    assert boundary(gamma_hat, q) == pytest.approx(listings.jacobian(gamma_hat)[q])


@pytest.mark.host
@pytest.mark.parametrize("q", range(3))
def test_the_recursion_against_central_differences(q):
    W, theta = listings.parameters(network("tanh"))
    f = listings.activations(L, "tanh", "softmax")
    for j, expected in enumerate(backward_recursion(W, theta, "tanh", q)[1]):
        up, down = (listings.forward([*H[:j], H[j] + step, *H[j + 1 :]], W, theta, f)[0] for step in (1e-5, -1e-5))
        assert (up[q] - down[q]) / 2e-5 == pytest.approx(expected, rel=1e-7, abs=1e-10)
