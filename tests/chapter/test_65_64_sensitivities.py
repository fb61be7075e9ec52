"""(65.49)-(65.64), Table 65.2: delta_l = dQ/dz_l of every layer and sample (65.52), by the backward recursion.

(65.54)-(65.55) is the chain rule, (65.56)-(65.57) and Table 65.2 the boundary values, (65.58)-(65.62) the step from
layer l + 1 to layer l, (65.63)-(65.64) the listing backward (Figure 65.9). The network is that of Figure 65.4.
"""

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.errors import GraphError
from tinygraph.models import fully_connected

SIZES = [3, 3, 2, 3, 2]  # Figure 65.4
LOSSES = {"least squares": losses.squared_error, "cross-entropy": losses.cross_entropy}
TABLE_65_2 = [  # the output layer and the risk: any activation of Table 65.1, then the softmax with both risks
    *((output, "least squares") for output in listings.ACTIVATIONS),
    ("softmax", "least squares"),
    ("softmax", "cross-entropy"),
]


def network(hidden, output):
    return fully_connected(SIZES, hidden, output, init_bias="normal", seed=1, dtype=np.float64)


def batch_mean(net, X, Y, risk):
    return LOSSES[risk](net(X) if risk == "cross-entropy" else net.predict(X), Y)


def samples(rng):
    return rng.normal(size=(6, SIZES[0])), np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], 6)]


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize(("output", "risk"), TABLE_65_2)
def test_every_delta_of_every_sample(hidden, output, risk, rng):
    net, (X, Y) = network(hidden, output), samples(rng)
    W, theta = listings.parameters(net)
    f = listings.activations(len(SIZES), hidden, output)
    ours = tg.sensitivities(batch_mean(net, X, Y, risk) + losses.l2(net, 0.1), net)
    assert list(ours) == ["z2", "z3", "z4", "z5"]
    for b in range(6):
        delta = listings.sensitivities(X[b].tolist(), Y[b].tolist(), W, theta, f, risk)
        found = {l: ours[f"z{l}"].numpy()[b].tolist() for l in range(2, 6)}
        assert listings.largest_difference(found, delta) < 1e-13


def test_each_layer_takes_the_derivative_of_its_own_activation(rng):
    """Said after (65.56) and after (65.61): f' is that of the layer whose z it is taken at."""
    f = {2: "tanh", 3: "relu", 4: "sigmoid", 5: "tanh"}
    net, (X, Y) = network(["tanh", "relu", "sigmoid"], "tanh"), samples(rng)
    W, theta = listings.parameters(net)
    ours = tg.sensitivities(batch_mean(net, X, Y, "least squares"), net)
    for b in range(6):
        delta = listings.sensitivities(X[b].tolist(), Y[b].tolist(), W, theta, f, "least squares")
        found = {l: ours[f"z{l}"].numpy()[b].tolist() for l in range(2, 6)}
        assert listings.largest_difference(found, delta) < 1e-13


@pytest.mark.host
@pytest.mark.parametrize(("output", "risk"), TABLE_65_2)
def test_the_recursion_is_the_derivative_it_is_defined_as(output, risk, rng):
    """(65.52): delta_l(j) = dQ/dz_l(j), by central differences of the transcribed forward pass from z_l on."""
    net, (X, Y) = network("tanh", output), samples(rng)
    W, theta = listings.parameters(net)
    f, L, step = listings.activations(len(SIZES), "tanh", output), len(SIZES), 1e-6
    h, gamma = X[0].tolist(), Y[0].tolist()

    def Q_from(l, z):
        y = listings.activate(f[l], z)
        for k in range(l, L):
            y = listings.activate(f[k + 1], listings.affine(W[k], y, theta[k]))
        return listings.loss(y, gamma, risk)

    _, _, _, z_l = listings.forward(h, W, theta, f)
    delta = listings.sensitivities(h, gamma, W, theta, f, risk)
    for l in range(2, L + 1):
        for j in range(SIZES[l - 1]):
            up, down = ([z + sign * step * (j == k) for k, z in enumerate(z_l[l])] for sign in (1, -1))
            assert delta[l][j] == pytest.approx((Q_from(l, up) - Q_from(l, down)) / (2 * step), abs=1e-8)


def test_the_forms_with_diagonal_matrices(rng):
    """(65.57): delta_L = 2 J (gamma-hat - gamma), and (65.62): delta_l = J_l W_l delta_{l+1}, J_l = diag f'(z_l).

    As printed the last diagonal entry of J_l is at node Q; it is at node n_l of layer l.
    """
    net, (X, Y) = network("tanh", "sigmoid"), samples(rng)
    ours = tg.sensitivities(batch_mean(net, X, Y, "least squares"), net)
    signals = net.activations(X)
    for b in range(6):
        z = {l: signals[f"z{l}"].numpy()[b].tolist() for l in range(2, 6)}
        J = {
            l: [[s if i == j else 0.0 for j in range(SIZES[l - 1])] for i, s in enumerate(listings.slope(name, z[l]))]
            for l, name in ((2, "tanh"), (3, "tanh"), (4, "tanh"), (5, "sigmoid"))
        }
        delta = {l: ours[f"z{l}"].numpy()[b] for l in range(2, 6)}
        gamma_hat = signals["y5"].numpy()[b]
        np.testing.assert_allclose(delta[5], 2 * np.array(J[5]) @ (gamma_hat - Y[b]), rtol=1e-12)
        for l in (4, 3, 2):
            W_l = getattr(net, f"layer{l}").W.numpy()
            np.testing.assert_allclose(delta[l], np.array(J[l]) @ W_l @ delta[l + 1], rtol=1e-12, atol=1e-16)


def test_the_chain_rule_over_several_paths():
    """(65.54)-(65.55): dy/dz = sum of dy/dx_q dx_q/dz, for y = x1 x2 + x3^2 each x a function of z."""
    z = tg.tensor(np.array(0.7), requires_grad=True)
    x1, x2, x3 = tg.exp(z), tg.tanh(z), z * z
    (dz,) = tg.grad(x1 * x2 + x3 * x3, [z])
    e, t = np.exp(0.7), np.tanh(0.7)
    assert dz.item() == pytest.approx(t * e + e * (1 - t**2) + 2 * 0.49 * 1.4, rel=1e-13)


def test_a_module_called_twice_has_two_sets_of_sensitivities(rng):
    class Twins(nn.Module):
        def __init__(self):
            self.branch = fully_connected([3, 4, 2], "tanh", seed=0, dtype=np.float64)

        def forward(self, a, b):
            return self.branch(a) - self.branch(b)

    net = Twins()
    a, b = rng.normal(size=(2, 5, 3))
    found = tg.sensitivities(tg.square(net(a, b)).sum() * 0.2, net)
    assert list(found) == ["branch.z2#1", "branch.z3#1", "branch.z2#2", "branch.z3#2"]
    np.testing.assert_allclose(found["branch.z3#1"].numpy(), -found["branch.z3#2"].numpy())


def test_a_loss_of_another_network_is_refused():
    net, other = fully_connected([2, 2]), fully_connected([2, 2])
    with pytest.raises(GraphError, match="not computed with this network"):
        tg.sensitivities(losses.cross_entropy(net(np.zeros((1, 2))), [0]), other)
