"""Problem 65.10: the Jacobians Lambda_l of y_l with respect to the input, from the first layer on.

The answer: y_1 is h, so Lambda_1 is the identity; Lambda_{l+1} = diag(f'(z_{l+1})) W_l' Lambda_l; at the output the
Jacobian J of the softmax (65.69) stands in the place of the diagonal matrix.
"""

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph.errors import ArgumentError, ShapeError
from tinygraph.models import fully_connected

SIZES = [3, 4, 5, 2]
L = len(SIZES)
H = [0.7, -0.4, 1.1]


def network(activation):
    return fully_connected(SIZES, activation, "softmax", init_bias="normal", seed=2, dtype=np.float64)


def product(A, B):
    return [[sum(A[i][k] * B[k][j] for k in range(len(B))) for j in range(len(B[0]))] for i in range(len(A))]


def diagonal(entries):
    return [[x if i == j else 0.0 for j in range(len(entries))] for i, x in enumerate(entries)]


def forward_recursion(W, theta, activation):
    """Lambda_l of every layer, the first first."""
    gamma_hat, _, _, z = listings.forward(H, W, theta, listings.activations(L, activation, "softmax"))
    Lambda = {1: diagonal([1.0] * SIZES[0])}
    for l in range(1, L):
        last = l + 1 == L
        J = listings.jacobian(gamma_hat) if last else diagonal(listings.slope(activation, z[l + 1]))
        W_transposed = [list(column) for column in zip(*W[l], strict=True)]
        Lambda[l + 1] = product(J, product(W_transposed, Lambda[l]))
    return Lambda


@pytest.mark.parametrize("mode", ["reverse", "forward"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_the_library_gives_every_jacobian_of_the_recursion(activation, mode):
    net = network(activation)
    expected = forward_recursion(*listings.parameters(net), activation)
    signals = net.activations(np.array([H]))
    for l in range(1, L + 1):
        Lambda = tg.jacobian(signals[f"y{l}"], signals["y1"], mode)[0, :, 0]
        assert listings.largest_difference(Lambda.numpy().tolist(), expected[l]) <= 1e-15


def test_the_first_is_the_identity():
    signals = network("tanh").activations(np.array([H]))
    assert tg.jacobian(signals["y1"], signals["y1"])[0, :, 0].numpy().tolist() == np.eye(3).tolist()


def test_a_row_of_the_last_is_the_gradient_of_that_output():
    net = network("tanh")
    Lambda = forward_recursion(*listings.parameters(net), "tanh")[L]
    for q in range(2):
        x = tg.tensor(np.array([H]))
        (gradient,) = tg.grad(net.predict(x)[0, q], [x])
        assert listings.largest_difference(gradient.numpy()[0].tolist(), Lambda[q]) <= 1e-15


def test_jvp_is_the_last_times_a_direction(rng):
    net, v = network("tanh"), rng.normal(size=3)
    Lambda = forward_recursion(*listings.parameters(net), "tanh")[L]
    y, Jv = tg.jvp(lambda t: net.predict(t.reshape(1, 3)).reshape(2), np.array(H), v)
    np.testing.assert_allclose(Jv.numpy(), [sum(row[j] * v[j] for j in range(3)) for row in Lambda], rtol=1e-12)
    np.testing.assert_allclose(y.numpy(), net.predict(np.array([H])).numpy()[0], rtol=1e-14)


def test_shapes_of_jacobians(rng):
    x = tg.tensor(rng.normal(size=(2, 3)))
    y = x @ x.T
    assert tg.jacobian(y, x).shape == (2, 2, 2, 3)
    np.testing.assert_allclose(tg.jacobian(y, x).numpy(), tg.jacobian(y, x, mode="forward").numpy(), atol=1e-12)
    with pytest.raises(ArgumentError, match="jacobian: mode .* is not known; known: reverse, forward"):
        tg.jacobian(y, x, mode="sideways")
    with pytest.raises(ShapeError, match="v must have the shape of a leaf"):
        tg.jvp(tg.exp, np.zeros(2), np.zeros(3))


def test_both_modes_agree_by_a_random_direction(rng):
    x, v, u = rng.normal(size=(3, 5))

    def f(t):
        return tg.softmax(tg.tanh(t) * t)

    _, Jv = tg.jvp(f, x, v)
    t = tg.tensor(x)
    (Ju,) = tg.grad(f(t), [t], u)
    assert (u * Jv.numpy()).sum() == pytest.approx((Ju.numpy() * v).sum())


def test_several_inputs_and_a_derivative_that_vanishes():
    y, Jv = tg.jvp(lambda a, b: a * b, (np.array([2.0]), np.array([3.0])), (np.array([1.0]), np.array([10.0])))
    assert (y.item(), Jv.item()) == (6, 23)
    assert tg.jvp(tg.sign, np.array([2.0]), np.array([1.0]))[1].item() == 0
