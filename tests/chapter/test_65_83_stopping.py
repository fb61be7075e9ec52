"""(65.83), (65.94): stop when the risk improves by less than eps, after a number of passes, or with the pocket."""

import numpy as np

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected


def problem(rng):
    X = rng.normal(size=(40, 3))
    return X, X @ rng.normal(size=(3, 1)) + 0.3 * rng.normal(size=(40, 1))


def start():
    net = fully_connected([3, 6, 1], "tanh", "linear", seed=0, dtype=np.float64)
    return net, optim.SGD(net.parameters(), 0.05)


def passes_by_hand(X, Y, count):
    """The risk of every pass and the parameters after it, by a plain loop."""
    net, optimizer = start()
    risks, states = [], []
    for _ in range(count):
        optimizer.zero_grad()
        loss = losses.squared_error(net(X), Y)
        loss.backward()
        optimizer.step()
        risks.append(loss.item())
        states.append(net.state_dict())
    return risks, states


def test_stop_when_the_risk_improves_by_less_than_eps(rng):
    X, Y = problem(rng)
    risks, states = passes_by_hand(X, Y, 400)
    eps = 1e-3
    last = next(k for k in range(1, 400) if risks[k - 1] - risks[k] < eps)
    net, optimizer = start()
    history = tg.fit(net, losses.squared_error, [(X, Y)], optimizer, 400, stop_tolerance=eps)
    assert len(history) == last + 1
    np.testing.assert_allclose(history.losses, risks[: last + 1], rtol=1e-12)
    np.testing.assert_allclose(net.layer1.W.numpy(), states[last]["layer1.W"].numpy(), rtol=1e-12)


def test_stop_after_a_number_of_passes(rng):
    X, Y = problem(rng)
    net, optimizer = start()
    assert len(tg.fit(net, losses.squared_error, [(X, Y)], optimizer, 7)) == 7


def test_early_stopping_ends_with_the_pocket_variables(rng):
    """(65.94): the pocket keeps the parameters with the smallest risk on held-out data seen so far."""
    X, Y = problem(rng)
    held_out = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    _, states = passes_by_hand(X, Y, 200)
    net, optimizer = start()
    scores = []
    for state in states:
        net.load_state_dict(state)
        scores.append(losses.squared_error(net(held_out[0]), held_out[1]).item())
    patience, best = 5, 0
    for k in range(200):
        if scores[k] < scores[best]:
            best = k
        if k - best >= patience:
            break
    net, optimizer = start()
    history = tg.fit(net, losses.squared_error, [(X, Y)], optimizer, 200, validation=held_out, early_stopping=patience)
    assert len(history) == k + 1 < 200
    np.testing.assert_allclose(net.layer1.W.numpy(), states[best]["layer1.W"].numpy(), rtol=1e-12)
