"""Problem 65.17: the Huber loss of an error vector."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses


def test_quadratic_inside_and_linear_outside(rng):
    e, delta = rng.normal(size=(8, 3)), 1.5
    expected, slope = 0.0, np.zeros((8, 3))
    for b in range(8):
        size = math.sqrt(sum(v * v for v in e[b]))
        expected += (0.5 * size**2 if size <= delta else delta * (size - delta / 2)) / 8
        slope[b] = e[b] / 8 if size <= delta else delta * e[b] / size / 8
    assert any(np.linalg.norm(row) > delta for row in e)
    output = tg.tensor(e, requires_grad=True)
    loss = losses.huber(output, np.zeros((8, 3)), delta)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    np.testing.assert_allclose(output.grad.numpy(), slope, rtol=1e-12)


def test_derivatives_exist_at_a_vanishing_error():
    output = tg.tensor(np.zeros((2, 3), np.float32), requires_grad=True)
    (first,) = tg.grad(losses.huber(output, np.zeros((2, 3), np.float32), 1.0), [output])
    (second,) = tg.grad(first[0, 0], [output])
    assert not first.numpy().any()
    assert second.numpy()[0, 0] == pytest.approx(0.5)  # 1 / B


def test_against_pytorch_for_one_column(rng):
    torch = pytest.importorskip("torch")
    a, b = rng.normal(size=(9, 1)) * 3, rng.normal(size=(9, 1))
    theirs = torch.nn.functional.huber_loss(torch.tensor(a), torch.tensor(b), delta=0.7)
    assert losses.huber(tg.tensor(a), b, 0.7).item() == pytest.approx(theirs.item())
    tg.gradcheck(lambda x: losses.huber(x, b, 0.7), a, second=True)
