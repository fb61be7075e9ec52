"""What the page on export shows of other packages, where these are installed."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg

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


def test_the_model_gives_in_onnxruntime_what_the_network_gives(trained, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    net, X = trained
    exec(CODE[0], {"tg": tg, "np": np, "net": net, "X": X})
    assert capsys.readouterr().out == f"({len(X)}, 10) True\n"
