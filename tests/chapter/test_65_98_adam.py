"""(65.95)-(65.98): Adam, with forgetting factors of their own for weights and biases, in plain loops."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected


def listing(p, g, state, n, mu, betas, eps):
    m, s = state
    for at in np.ndindex(p.shape):
        m[at] = betas[0] * m[at] + (1 - betas[0]) * g[at]
        s[at] = betas[1] * s[at] + (1 - betas[1]) * g[at] ** 2
        correction = math.sqrt(1 - betas[1] ** n) / (1 - betas[0] ** n)
        p[at] -= mu * correction * m[at] / (math.sqrt(s[at]) + eps)


def test_fifty_steps_of_the_listing(rng):
    net = fully_connected([3, 4, 2], "tanh", init_bias="normal", seed=0, dtype=np.float64)
    optimizer = optim.Adam(net.parameters(), 0.01, betas=(0.9, 0.99), bias_betas=(0.5, 0.8), eps=1e-3)
    copies = {name: (t.numpy(), (np.zeros(t.shape), np.zeros(t.shape))) for name, t in net.named_parameters()}
    for n in range(1, 51):
        X, labels = rng.normal(size=(6, 3)), rng.integers(0, 2, 6)
        optimizer.zero_grad()
        losses.cross_entropy(net(X), labels).backward()
        for name, t in net.named_parameters():
            betas = (0.5, 0.8) if name.endswith("theta") else (0.9, 0.99)
            listing(copies[name][0], t.grad.numpy(), copies[name][1], n, 0.01, betas, 1e-3)
        optimizer.step()
    for name, t in net.named_parameters():
        np.testing.assert_allclose(t.numpy(), copies[name][0], rtol=1e-10, atol=1e-12)


def test_one_step_equals_pytorchs_with_eps_scaled(rng):
    torch = pytest.importorskip("torch")
    x, g = rng.normal(size=5), rng.normal(size=5)
    p, q = tg.parameter(x), torch.tensor(x, requires_grad=True)
    p.grad, q.grad = tg.tensor(g), torch.tensor(g)
    torch.optim.Adam([q], 0.1, eps=1e-2).step()
    optim.Adam([p], 0.1, eps=1e-2 * math.sqrt(1 - 0.999)).step()
    np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-12)
