"""Prob. 65.17: the Huber loss of an error vector, and what it changes in backpropagation.

Only the boundary value changes: delta_L = f'(z) times the slope of H_Delta in gamma-hat, which is the error over Delta
where its norm is at most Delta, and its direction, of norm 1, beyond.
"""

import math
from functools import partial

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.errors import ArgumentError
from tinygraph.models import fully_connected

MU, RHO, SIZES, STEPS = 0.05, 0.01, [4, 5, 3, 2], 20


def H(x, Delta):
    """As printed."""
    size = math.sqrt(sum(v * v for v in x))
    return size**2 / (2 * Delta) if size <= Delta else size - Delta / 2


def boundary(Delta, f_L, outliers):
    """delta_L for f at the output; `outliers` gathers on which side of Delta the errors were."""

    def risk(gamma_hat, gamma, z):
        x = [g - y for g, y in zip(gamma, gamma_hat, strict=True)]
        size = math.sqrt(sum(v * v for v in x))
        outliers.append(size > Delta)
        f_prime = listings.slope(f_L, z)
        return [-x[q] / (Delta if size <= Delta else size) * f_prime[q] for q in range(len(x))]

    return risk


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("B", [1, 6])
@pytest.mark.parametrize("Delta", [0.8, 2.0])
@pytest.mark.parametrize("output", ["tanh", "linear"])
def test_twenty_steps(way, B, Delta, output, rng):
    net = fully_connected(SIZES, "tanh", output, init_bias="normal", seed=7, dtype=np.float64)
    pairs = [(rng.normal(size=(B, 4)), rng.normal(size=(B, 2))) for _ in range(STEPS)]
    f, outliers = listings.activations(len(SIZES), "tanh", output), []
    delta_L = boundary(Delta, output, outliers)

    def listing(x, y, W, theta):
        if B == 1:
            return listings.stochastic_step(x[0], y[0], W, theta, MU, RHO, f, delta_L)
        return listings.minibatch_step(x, y, W, theta, MU, RHO, f, delta_L)

    loss, optimizer = partial(losses.huber, delta=Delta), optim.SGD(net.parameters(), MU)
    assert largest_difference_over_steps(way, net, loss, optimizer, pairs, listing, RHO) <= TOLERANCE
    assert set(outliers) == {False, True}


@pytest.mark.parametrize(("loss", "factor"), [(losses.huber, 1.0), (losses.huber_1964, 1.5)])
def test_quadratic_inside_and_linear_outside(loss, factor, rng):
    """`huber` as printed; `huber_1964` Delta times that, whose slope ends at Delta."""
    e, Delta = rng.normal(size=(8, 3)), 1.5
    sizes = [math.sqrt(sum(v * v for v in row)) for row in e]
    assert min(sizes) < Delta < max(sizes)
    output = tg.tensor(e, requires_grad=True)
    value = loss(output, np.zeros((8, 3)), Delta)
    assert value.item() == pytest.approx(factor * sum(H(row, Delta) for row in e) / 8, rel=1e-12)
    value.backward()
    slope = [[factor * v / max(size, Delta) / 8 for v in row] for row, size in zip(e, sizes, strict=True)]
    np.testing.assert_allclose(output.grad.numpy(), slope, rtol=1e-12)


def test_the_printed_values_at_delta_2():
    """An error of norm 5 costs 5 - 1, in the field's form twice that; at the edge both pieces give Delta / 2."""
    x, zero = tg.tensor(np.array([[3.0, 4.0]])), np.zeros((1, 2))
    assert losses.huber(x, zero, 2.0).item() == 4.0
    assert losses.huber_1964(x, zero, 2.0).item() == 8.0
    for size in (2.0, np.nextafter(2.0, 3.0)):
        assert losses.huber(tg.tensor(np.array([[0.0, size]])), zero, 2.0).item() == pytest.approx(1.0, rel=1e-15)


def test_derivatives_exist_at_a_vanishing_error():
    output = tg.tensor(np.zeros((2, 3), np.float32), requires_grad=True)
    (first,) = tg.grad(losses.huber(output, np.zeros((2, 3), np.float32), 0.5), [output])
    (second,) = tg.grad(first[0, 0], [output])
    assert not first.numpy().any()
    assert second.numpy()[0, 0] == pytest.approx(1.0)  # 1 / (B Delta)


def test_against_pytorch_for_one_column(rng):
    torch = pytest.importorskip("torch")
    a, b = rng.normal(size=(9, 1)) * 3, rng.normal(size=(9, 1))
    x, y = torch.tensor(a), torch.tensor(b)
    theirs = torch.nn.functional.smooth_l1_loss(x, y, beta=0.7).item()
    assert losses.huber(tg.tensor(a), b, 0.7).item() == pytest.approx(theirs)
    theirs = torch.nn.functional.huber_loss(x, y, delta=0.7).item()
    assert losses.huber_1964(tg.tensor(a), b, 0.7).item() == pytest.approx(theirs)
    tg.gradcheck(lambda x: losses.huber(x, b, 0.7), a, second=True)


def test_a_delta_that_is_not_positive_is_refused():
    with pytest.raises(ArgumentError, match="huber: delta must be a finite number above 0, got 0"):
        losses.huber(tg.tensor([[1.0]]), [[0.0]], 0)
    with pytest.raises(ArgumentError, match="huber_1964: delta must be a finite number above 0, got -1"):
        losses.huber_1964(tg.tensor([[1.0]]), [[0.0]], -1)
