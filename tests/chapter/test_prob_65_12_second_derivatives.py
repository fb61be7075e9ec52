"""Problems 65.12-65.14: second derivatives of loss and risk with respect to single weights and biases.

The print has d2Q/dw_ij^2 = y_l(i)^2 f''(z_{l+1}(j)) w_j' delta_{l+2} for a weight (Problem 65.12), with w_j the weights
from node j of layer l + 1, and the same without y_l(i)^2 for a bias (Problem 65.13); for the risk their mean over the
samples, and 2 rho for the weights (Problem 65.14). It treats delta_{l+2} as if it did not depend on z_{l+1}: with H_l
the Hessian of Q with respect to z_l, it leaves out f'(z_{l+1}(j))^2 w_j' H_{l+2} w_j.

Complete are d2Q/dw_ij^2 = y_l(i)^2 H_{l+1}(j, j) and d2Q/dtheta_l(i)^2 = H_{l+1}(i, i), where

    H_l(j, k) = f'(z_l(j)) f'(z_l(k)) w_j' H_{l+1} w_k, and for j = k also f''(z_l(j)) w_j' delta_{l+1},

with w_j the weights from node j of layer l, and H_L is diag(2 f'(z)^2 + 2 (gamma-hat - gamma) f''(z)) for least
squares, the Jacobian of the softmax (65.69) for cross-entropy.
"""

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import fully_connected

SIZES, RHO, N = [3, 4, 3, 2], 0.05, 4
L = len(SIZES)
CASES = [
    ("tanh", "tanh", "least squares"),
    ("tanh", "softmax", "cross-entropy"),
    ("relu", "linear", "least squares"),
]


def curvature(f, z):
    """f'' of each entry of a vector."""
    y, f_prime = listings.activate(f, z), listings.slope(f, z)
    if f == "tanh":
        return [-2 * y[i] * f_prime[i] for i in range(len(z))]
    return [0.0] * len(z)  # of a rectifier and of a linear combiner


def inner(w, delta):
    return sum(w[a] * delta[a] for a in range(len(delta)))


def quadratic(u, H, v):
    """u' H v."""
    return sum(u[a] * H[a][b] * v[b] for a in range(len(u)) for b in range(len(v)))


class Sample:
    """Signals, sensitivities and Hessians of one sample."""

    def __init__(self, h, gamma, W, theta, f, risk):
        self.W, self.f = W, f
        self.gamma_hat, z, self.y, self.z = listings.forward(h, W, theta, f)
        delta_L = listings.boundary(self.gamma_hat, gamma, z, f[L], risk)
        self.delta = listings.backward(delta_L, f, self.z, W)
        self.slope = {l: listings.slope(f[l], self.z[l]) for l in range(2, L)}
        self.curvature = {l: curvature(f[l], self.z[l]) for l in range(2, L)}
        self.H = {L: self.last_hessian(gamma, z, risk)}
        for l in range(L - 1, 1, -1):
            nodes = range(SIZES[l - 1])
            self.H[l] = [[self.through_the_next_layer(l, j, k) for k in nodes] for j in nodes]
            for j in nodes:
                self.H[l][j][j] += self.printed(l, j)

    def last_hessian(self, gamma, z, risk):
        """H_L."""
        if risk == "cross-entropy":
            return listings.jacobian(self.gamma_hat)
        f1, f2 = listings.slope(self.f[L], z), curvature(self.f[L], z)
        nodes = range(len(z))
        return [
            [2 * f1[q] ** 2 + 2 * (self.gamma_hat[q] - gamma[q]) * f2[q] if q == r else 0.0 for r in nodes]
            for q in nodes
        ]

    def through_the_next_layer(self, l, j, k):
        """f'(z_l(j)) f'(z_l(k)) w_j' H_{l+1} w_k; for j = k what the print leaves out."""
        return self.slope[l][j] * self.slope[l][k] * quadratic(self.W[l][j], self.H[l + 1], self.W[l][k])

    def printed(self, l, j):
        """f''(z_l(j)) w_j' delta_{l+1}, the print's d2Q/dz_l(j)^2."""
        return self.curvature[l][j] * inner(self.W[l][j], self.delta[l + 1])


def second_derivatives(samples, l, of_node, rho):
    """d2P/dW_l^2 and d2P/dtheta_l^2 of Problem 65.14, where ``of_node(sample, j)`` is d2Q/dz_{l+1}(j)^2."""
    n, m = SIZES[l - 1], SIZES[l]
    of_W = [
        [2 * rho + sum(s.y[l][i] ** 2 * of_node(s, j) for s in samples) / len(samples) for j in range(m)]
        for i in range(n)
    ]
    return of_W, [sum(of_node(s, j) for s in samples) / len(samples) for j in range(m)]


def complete(samples, l, rho=RHO):
    return second_derivatives(samples, l, lambda s, j: s.H[l + 1][j][j], rho)


def by_the_print(samples, l, rho=RHO):
    return second_derivatives(samples, l, lambda s, j: s.printed(l + 1, j), rho)


def left_out(samples, l):
    return second_derivatives(samples, l, lambda s, j: s.through_the_next_layer(l + 1, j, j), 0.0)


class Case:
    """A network, N training pairs, and the same in plain numbers."""

    def __init__(self, hidden, output, risk, rng):
        self.net = fully_connected(SIZES, hidden, output, init_bias="normal", seed=0, dtype=np.float64)
        self.X, self.Y = rng.normal(size=(N, SIZES[0])), np.eye(SIZES[-1])[[0, 1, 1, 0]]
        self.risk, self.f = risk, listings.activations(L, hidden, output)
        self.W, self.theta = listings.parameters(self.net)
        self.samples = [
            Sample(h, g, self.W, self.theta, self.f, risk)
            for h, g in zip(self.X.tolist(), self.Y.tolist(), strict=True)
        ]

    def loss(self):
        """The library's regularised risk."""
        if self.risk == "cross-entropy":
            Q = losses.cross_entropy(self.net(self.X), self.Y)
        else:
            Q = losses.squared_error(self.net.predict(self.X), self.Y)
        return Q + losses.l2(self.net, RHO)

    def layers(self):
        return {1: self.net.layer1, 2: self.net.layer2, 3: self.net.layer3}

    def by_differences(self, l, kind, step=1e-5):
        """Central differences of the gradients (65.81) of the transcription."""

        def at(change, *place):
            moved = {"W": {k: [list(row) for row in v] for k, v in self.W.items()}}
            moved["theta"] = {k: list(v) for k, v in self.theta.items()}
            row = moved[kind][l][place[0]] if kind == "W" else moved[kind][l]
            row[place[-1]] += change
            arguments = (self.X.tolist(), self.Y.tolist(), moved["W"], moved["theta"], RHO, self.f, self.risk)
            found = listings.gradients(*arguments)[kind == "theta"][l]
            return found[place[0]][place[1]] if kind == "W" else found[place[0]]

        def second(*place):
            return (at(step, *place) - at(-step, *place)) / (2 * step)

        n, m = SIZES[l - 1], SIZES[l]
        return [[second(i, j) for j in range(m)] for i in range(n)] if kind == "W" else [second(j) for j in range(m)]


@pytest.fixture(params=CASES, ids=lambda case: case[1])
def case(request, rng):
    return Case(*request.param, rng)


@pytest.mark.parametrize("l", [1, 2, 3])
def test_the_complete_formulas_are_those_of_central_differences(l, case):
    of_W, of_theta = complete(case.samples, l)
    assert listings.largest_difference(of_W, case.by_differences(l, "W")) <= 1e-8
    assert listings.largest_difference(of_theta, case.by_differences(l, "theta")) <= 1e-8


@pytest.mark.parametrize("l", [1, 2, 3])
def test_the_library_computes_the_complete_formulas(l, case):
    of_W, of_theta = complete(case.samples, l)
    layer, loss = case.layers()[l], case.loss()
    assert listings.largest_difference(tg.hessian_diagonal(loss, layer.W).numpy().tolist(), of_W) <= 1e-13
    assert listings.largest_difference(tg.hessian_diagonal(loss, layer.theta).numpy().tolist(), of_theta) <= 1e-13


@pytest.mark.parametrize("l", [1, 2, 3])
def test_products_with_the_hessian_follow_from_the_same_recursion(l, case, rng):
    """With respect to w_ij and w_km it is y_l(i) y_l(k) H_{l+1}(j, m), plus 2 rho where they are the same."""
    V = rng.normal(size=(SIZES[l - 1], SIZES[l]))
    n, m = range(SIZES[l - 1]), range(SIZES[l])
    expected = [
        [
            2 * RHO * V[i][j]
            + sum(s.y[l][i] * s.y[l][k] * s.H[l + 1][j][r] * V[k][r] for s in case.samples for k in n for r in m) / N
            for j in m
        ]
        for i in n
    ]
    found = tg.hvp(case.loss(), case.layers()[l].W, V).numpy().tolist()
    assert listings.largest_difference(found, expected) <= 1e-13


# By output activation and l: the largest difference between the printed formulas and central differences, over the
# weights W_l and over the biases theta_l. The print has nothing for the last weights, after which no layer comes.
PRINTED_IS_OFF_BY = {
    ("tanh", 1): (0.4022, 0.1528),
    ("tanh", 2): (0.2061, 0.4220),
    ("softmax", 1): (0.1926, 0.0464),
    ("softmax", 2): (0.0412, 0.0796),
    ("linear", 1): (1.1010, 0.6973),  # all of it: with rectifiers f'' is 0
    ("linear", 2): (0.0920, 0.5996),
}


@pytest.mark.parametrize("l", [1, 2])
def test_the_printed_formulas_leave_out_one_term(l, case):
    formulas = by_the_print(case.samples, l), left_out(case.samples, l), complete(case.samples, l)
    off_by = []
    for kind, printed, missing, full in zip(("W", "theta"), *formulas, strict=True):
        printed, missing, full = map(listings.numbers, (printed, missing, full))
        assert [p + term for p, term in zip(printed, missing, strict=True)] == pytest.approx(full, abs=1e-14)
        off_by.append(listings.largest_difference(printed, listings.numbers(case.by_differences(l, kind))))
    assert off_by == pytest.approx(PRINTED_IS_OFF_BY[case.f[L], l], abs=5e-5)


def test_a_chain_of_two_linear_combiners_by_hand():
    """Q = (gamma - w_2 w_1 h)^2: the second derivative by w_1 is 2 (w_2 h)^2; by the print, with f'' = 0, it is 0."""
    h, w_1, w_2, gamma = 0.5, 0.7, 3.0, 2.0
    net = fully_connected([1, 1, 1], "identity", "linear", dtype=np.float64)
    net.layer1.W.assign_(np.array([[w_1]]))
    net.layer2.W.assign_(np.array([[w_2]]))
    loss = losses.squared_error(net(np.array([[h]])), np.array([[gamma]]))
    assert tg.hessian_diagonal(loss, net.layer1.W).item() == pytest.approx(2 * (w_2 * h) ** 2)


# -- the operations themselves ----------------------------------------------------------------------------


def hessian_by_differences(gradient, x, h=1e-5):
    H = np.zeros((x.size, x.size))
    for i in range(x.size):
        e = np.zeros(x.size)
        e[i] = h
        up, down = gradient(x + e.reshape(x.shape)), gradient(x - e.reshape(x.shape))
        H[:, i] = ((up - down) / (2 * h)).ravel()
    return H


@pytest.mark.parametrize("output", ["softmax", "linear"])
def test_the_hessian_of_a_network_with_respect_to_each_parameter(output, rng):
    net = fully_connected([3, 4, 2], "tanh", output, init_bias="normal", seed=0, dtype=np.float64)
    X, Y = rng.normal(size=(5, 3)), np.eye(2)[[0, 1, 1, 0, 1]]

    def loss():
        return losses.cross_entropy(net(X), Y) if output == "softmax" else losses.squared_error(net(X), Y)

    for p in net.parameters():
        value = p.numpy()

        def gradient(at, p=p):
            p.assign_(at)
            return tg.grad(loss(), [p])[0].numpy()

        H = hessian_by_differences(gradient, value)
        p.assign_(value)
        np.testing.assert_allclose(tg.hessian_diagonal(loss(), p).numpy().ravel(), np.diag(H), rtol=1e-6, atol=1e-9)
        v = rng.normal(size=value.shape)
        np.testing.assert_allclose(tg.hvp(loss(), p, v).numpy().ravel(), H @ v.ravel(), rtol=1e-6, atol=1e-8)


def test_products_over_several_parameters_include_the_mixed_terms(rng):
    a, b = tg.tensor(rng.normal(size=2)), tg.tensor(rng.normal(size=3))
    y = (a.sum() * b.sum()) ** 2 + (a * a * a).sum()
    va, vb = rng.normal(size=2), rng.normal(size=3)
    A, B = a.numpy().sum(), b.numpy().sum()
    ha, hb = tg.hvp(y, [a, b], [va, vb])
    np.testing.assert_allclose(ha.numpy(), 2 * B * B * va.sum() + 4 * A * B * vb.sum() + 6 * a.numpy() * va)
    np.testing.assert_allclose(hb.numpy(), 2 * A * A * vb.sum() * np.ones(3) + 4 * A * B * va.sum())


def test_a_linear_function_has_no_curvature():
    x = tg.tensor(np.ones(3))
    np.testing.assert_array_equal(tg.hessian_diagonal((x * 2.0).sum(), x).numpy(), np.zeros(3))
    np.testing.assert_array_equal(tg.hvp((x * 2.0).sum(), x, np.ones(3)).numpy(), np.zeros(3))


def test_many_entries_are_warned_of():
    x = tg.tensor(np.zeros(10_001, np.float32))
    with pytest.warns(UserWarning, match="10001 elements take as many products"):
        tg.hessian_diagonal((x * 2.0).sum(), x)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=4)
    theirs = torch.func.hessian(lambda t: (torch.tanh(t) * t.prod()).sum())(torch.tensor(x)).numpy()
    t = tg.tensor(x)
    y = (tg.tanh(t) * (t[0] * t[1] * t[2] * t[3])).sum()
    np.testing.assert_allclose(tg.hessian_diagonal(y, t).numpy(), np.diag(theirs), rtol=1e-10)
