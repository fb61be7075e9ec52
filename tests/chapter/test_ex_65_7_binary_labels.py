"""Ex. 65.7: cross-entropy for Q = 2 classes, and the same with a single output.

(65.129) two softmax outputs that add up to one, (65.130) their labels, (65.131) the risk, written with gamma(1) alone.
"""

import math

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.models import fully_connected

MU, RHO, SIZES, N, B, STEPS = 0.1, 0.01, [4, 5, 3, 2], 30, 6, 20
SOFTMAX = listings.activations(len(SIZES), "tanh", "softmax")


def network(sizes=SIZES, output="softmax"):
    return fully_connected(sizes, "tanh", output, init_bias="normal", seed=7, dtype=np.float64)


def samples(rng):
    """Feature vectors, and the labels (65.130): (1, 0) for the first class, (0, 1) for the second."""
    return rng.normal(size=(N, 4)), data.one_hot(rng.integers(0, 2, N), 2, np.float64)


def risk(outputs, gamma):
    """The second term of (65.131), of the outputs gamma-hat(1) and labels gamma(1)."""
    return -sum(g * math.log(y) + (1 - g) * math.log(1 - y) for g, y in zip(gamma, outputs, strict=True)) / len(gamma)


def test_the_risk_65_131(rng):
    net, (H, gamma) = network(), samples(rng)
    W, theta = listings.parameters(net)
    P = sum(RHO * w**2 for W_l in W.values() for row in W_l for w in row)
    outputs = [listings.forward(h, W, theta, SOFTMAX)[0] for h in H.tolist()]
    assert all(abs(y[0] + y[1] - 1) < 1e-15 for y in outputs)  # (65.129)
    P += risk([y[0] for y in outputs], gamma[:, 0].tolist())
    assert (losses.cross_entropy(net(H), gamma) + losses.l2(net, RHO)).item() == pytest.approx(P, rel=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps(way, rng):
    net, (H, gamma) = network(), samples(rng)
    rows = [rng.integers(0, N, B) for _ in range(STEPS)]

    def listing(x, y, W, theta):
        return listings.minibatch_step(x, y, W, theta, MU, RHO, SOFTMAX, "cross-entropy")

    pairs, optimizer = [(H[r], gamma[r]) for r in rows], optim.SGD(net.parameters(), MU)
    assert largest_difference_over_steps(way, net, losses.cross_entropy, optimizer, pairs, listing, RHO) <= TOLERANCE


def test_a_single_output_is_the_difference_of_two(rng):
    """A sigmoid of z(1) - z(2) is gamma-hat(1), so the risk is the binary cross-entropy of one output."""
    net, one, (H, gamma) = network(), network([4, 5, 3, 1], "sigmoid"), samples(rng)
    for layer in ("layer1", "layer2"):
        for name in ("W", "theta"):
            getattr(getattr(one, layer), name).assign_(getattr(getattr(net, layer), name).numpy())
    W, theta = net.layer3.W.numpy(), net.layer3.theta.numpy()
    one.layer3.W.assign_(W[:, [0]] - W[:, [1]])
    one.layer3.theta.assign_(theta[[0]] - theta[[1]])
    np.testing.assert_allclose(one.predict(H).numpy()[:, 0], net.predict(H).numpy()[:, 0], rtol=1e-12)
    ours, theirs = losses.binary_cross_entropy(one(H), gamma[:, [0]]), losses.cross_entropy(net(H), gamma)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)


@pytest.mark.parametrize("z", [1e4, -1e4, 0.0])
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_nothing_overflows_in_float32(z, t):
    x = tg.tensor(np.array([[z]], np.float32), requires_grad=True)
    loss = losses.binary_cross_entropy(x, np.array([[t]], np.float32))
    (first,) = tg.grad(loss, [x])
    (second,) = tg.grad(first.sum() * first.sum() + x.sum(), [x])
    assert loss.item() == pytest.approx(max(z, 0) - z * t + math.log1p(math.exp(-abs(z))))
    assert np.isfinite([first.item(), second.item()]).all()
    assert loss.dtype == first.dtype == np.float32


def test_second_derivatives(rng):
    t = rng.uniform(0, 1, (3, 2))
    tg.gradcheck(lambda z: losses.binary_cross_entropy(z, t), rng.normal(size=(3, 2)), second=True)


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    z, t = rng.normal(size=(4, 3)), rng.uniform(0, 1, (4, 3))
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(z), torch.tensor(t), reduction="sum") / 4
    assert losses.binary_cross_entropy(tg.tensor(z), t).item() == pytest.approx(theirs.item())
