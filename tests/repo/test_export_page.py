"""What the page on export shows of other packages, where these are installed."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn

pytestmark = pytest.mark.host
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text()
CODE = re.findall(r"^```py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def trained():
    """A network whose averages and biases are not those it started with."""
    net = tg.models.fully_connected([64, 8, 10], "tanh", batch_norm=True, init_bias="normal", seed=0)
    digits = tg.data.load("digits")
    tg.fit(net, tg.losses.cross_entropy, digits, tg.optim.SGD(net.parameters(), 0.1), 1, progress=False)
    return net, digits.test[0]


def signals_of(dense, y):
    z = y @ dense.W
    return z if dense.theta is None else z - dense.theta


def test_the_model_gives_in_onnxruntime_what_the_network_gives(trained, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    net, X = trained
    exec(CODE[0], {"tg": tg, "np": np, "net": net, "X": X})
    assert capsys.readouterr().out == f"({len(X)}, 10) True\n"


def test_layers_of_pytorch_compute_the_same_and_give_their_weights_back(trained):
    torch = pytest.importorskip("torch")
    net, X = trained
    names = {"tg": tg}
    exec(CODE[1], names)
    to_torch = names["to_torch"]
    x, y = tg.tensor(X), torch.from_numpy(X)
    for _, module in net.named_modules():
        if isinstance(module, nn.Dense | nn.BatchNorm):
            layer = to_torch(module)
            with net._in_mode(False), torch.no_grad():
                signals = module(x) if isinstance(module, nn.BatchNorm) else signals_of(module, x)
                found = layer(y)
            np.testing.assert_allclose(found.numpy(), signals.numpy(), rtol=1e-4, atol=1e-5)
            x, y = tg.tanh(signals), torch.tanh(found)
    dense = nn.Dense(4, 3, init_bias="normal", seed=1)
    rows = X[:, :4]
    np.testing.assert_allclose(
        to_torch(dense)(torch.from_numpy(rows)).detach().numpy(), signals_of(dense, rows).numpy(), rtol=1e-5, atol=1e-6
    )
    layer, other = to_torch(dense), nn.Dense(4, 3, seed=2)
    back = re.findall(r"`(module\.\w+\.assign_\(.*?\))`", PAGE)
    assert len(back) == 2
    for line in back:
        exec(line, {"module": other, "layer": layer})
    for one, same in zip(dense.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(one.numpy(), same.numpy())
    with pytest.raises(TypeError, match="no layer for a Dropout"):
        to_torch(nn.Dropout(0.5))
