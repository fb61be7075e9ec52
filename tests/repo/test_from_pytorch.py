"""What the page for those who come from PyTorch shows of it, where that is installed."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.host
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "from-pytorch.md").read_text()
LOOP, TO_TORCH, FROM_TORCH, TWIN = re.findall(r"^```py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
HERE = re.search(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture(scope="module")
def trained():
    """Both loops of the page, run as they stand there."""
    here = {}
    exec(HERE, here)
    there = {name: here[name] for name in ("X", "X_test", "labels", "labels_test")}
    exec(LOOP, there)
    return here, there


@pytest.fixture
def ways():
    names = {"tg": tg, "nn": nn}
    exec(TO_TORCH + FROM_TORCH, names)
    return names


def signals_of(dense, y):
    z = y @ dense.W
    return z if dense.theta is None else z - dense.theta


def test_both_loops_learn_the_digits(trained):
    here, there = trained
    assert there["error"] < 0.04
    assert here["error"] < 0.04


def test_a_loop_with_the_other_ones_weights_and_batches_takes_the_same_steps(trained, ways):
    here, there = trained
    net = nn.Sequential(nn.Dense(64, 64, activation="relu", seed=2), nn.Dense(64, 10, seed=3), output="softmax")
    model = torch.nn.Sequential(ways["to_torch"](net[0]), torch.nn.ReLU(), ways["to_torch"](net[1]))
    optimizer = tg.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    theirs = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for x, y in list(tg.data.batches(here["X"], here["labels"], 32))[:20]:
        optimizer.zero_grad()
        theirs.zero_grad()
        loss = tg.losses.cross_entropy(net(x), y)
        other = there["criterion"](model(torch.from_numpy(x)), torch.from_numpy(y))
        losses.append((loss.item(), other.item()))
        loss.backward()
        other.backward()
        optimizer.step()
        theirs.step()
    ours, others = np.transpose(losses)
    assert ours[-1] < 0.7 * ours[0]
    np.testing.assert_allclose(ours, others, rtol=1e-4)


def test_a_trained_model_becomes_a_network(trained, ways):
    here, there = trained
    exec(TWIN, ways | there | {"nn": nn}, names := {})
    expected = there["model"](torch.from_numpy(here["X_test"])).detach().numpy()
    np.testing.assert_allclose(names["twin"](here["X_test"]).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_layers_of_pytorch_compute_the_same_and_give_their_weights_back(ways):
    net = tg.models.fully_connected([64, 8, 10], "tanh", batch_norm=True, init_bias="normal", seed=0)
    digits = tg.data.load("digits")
    tg.fit(net, tg.losses.cross_entropy, digits, tg.optim.SGD(net.parameters(), 0.1), 1, progress=False)
    fresh = tg.models.fully_connected([64, 8, 10], "tanh", batch_norm=True, init_bias="normal", seed=1)
    x, y = tg.tensor(digits.test[0]), torch.from_numpy(digits.test[0])
    for (_, module), (_, other) in zip(net.named_modules(), fresh.named_modules(), strict=True):
        if isinstance(module, nn.Dense | nn.BatchNorm):
            layer = ways["to_torch"](module)
            with net._in_mode(False), torch.no_grad():
                signals = module(x) if isinstance(module, nn.BatchNorm) else signals_of(module, x)
                found = layer(y)
            np.testing.assert_allclose(found.numpy(), signals.numpy(), rtol=1e-4, atol=1e-5)
            x, y = tg.tanh(signals), torch.tanh(found)
            ways["from_torch"](layer, other)
    for name, tensor in fresh.state_dict().items():
        np.testing.assert_array_equal(tensor, net.state_dict()[name], err_msg=name)


def test_what_has_no_counterpart_is_named(ways):
    with pytest.raises(TypeError, match="no layer for a Dropout"):
        ways["to_torch"](nn.Dropout(0.5))
    with pytest.raises(TypeError, match="no module for a ReLU"):
        ways["from_torch"](torch.nn.ReLU(), nn.Dense(2, 2))


def test_the_differences_that_the_page_tells():
    y, target = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32), np.zeros((2, 2), np.float32)
    mean = torch.nn.MSELoss()(torch.from_numpy(y), torch.from_numpy(target)).item()
    assert tg.losses.squared_error(y, target).item() == 2 * mean

    net = nn.Dense(3, 2, init_bias="normal", seed=0)
    rows = np.eye(3, dtype=np.float32)
    (tg.sum(net(rows)) * 0 + tg.losses.l2(net, 0.05)).backward()
    np.testing.assert_allclose(net.W.grad.numpy(), 0.1 * net.W.numpy(), rtol=1e-6)  # as weight_decay=0.1 adds
    assert not net.theta.grad.numpy().any()
    W, theta = net.W.numpy(), net.theta.numpy()
    tg.optim.SGD(net.parameters(), lr=0.5, weight_decay=0.1).step()  # beside the gradient from above
    np.testing.assert_allclose(net.W.numpy(), W - 0.5 * 0.2 * W, rtol=1e-6)
    np.testing.assert_array_equal(net.theta.numpy(), theta)

    dropout = nn.Dropout(0.5)
    assert len(np.unique(dropout(np.ones((50, 4), np.float32)).numpy(), axis=0)) == 1
    dropout.eval()
    assert (dropout(np.ones((2, 4), np.float32)).numpy() == 0.5).all()

    torch_norm, norm = torch.nn.BatchNorm1d(2, momentum=0.1), nn.BatchNorm(2, smoothing=0.9)
    torch_norm(torch.from_numpy(y))
    norm(y)
    np.testing.assert_allclose(norm.mean.numpy(), torch_norm.running_mean.numpy(), rtol=1e-6)
