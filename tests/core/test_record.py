"""What stands in a graph's record, and what leaves and gives back a state."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.describe import shown, table, unique_names
from tinygraph.graphs import graph
from tinygraph.ops.state import preserved
from tinygraph.record import Node, number_text
from tinygraph.structure import Stateful

pytestmark = pytest.mark.host


def node(i, name="", scope="", kind="op", label="", shape=()):
    return Node(id=i, kind=kind, label=label, name=name, scope=scope, shape=shape, dtype="float32", inputs=())


# -- numbers and lengths that follow the batch ----------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((2.0,), "2"),
        ((2,), "2"),
        ((True,), "True"),
        ((1234567,), "1234567"),
        ((0.1,), "0.1"),
        ((float("inf"), float("inf")), "inf"),
        ((float("nan"), float("nan")), "nan"),
        ((0.0, 0.0), "0"),
        ((-0.5, -0.5), "-0.5"),
        ((2.0, 3.0), "B"),
        ((2, 3), "B"),
        ((-2.0, -3.0), "-B"),
        ((7.0, 10.5), "3.5B"),
        ((1 / 2, 1 / 3), "1/B"),
        ((float(np.float32(1 / 2)), float(np.float32(1 / 3))), "1/B"),
        ((np.pi / 2, np.pi / 3), "3.14159/B"),
        ((-3.0, -2.0), "-6/B"),
        ((1.0, 2.0), "1"),  # B - 1 is shown as it was with two
    ],
)
def test_numbers_in_words(values, text):
    assert number_text(*values) == text


def test_a_factor_of_the_batch_is_shown():
    g = graph(lambda x: tg.sum(x) * x.shape[0] / (3.0 * x.shape[0]), input_shape=(None, 3))
    assert [n.label for n in g.nodes if n.kind == "constant"] == ["B", "3B"]
    assert "multiply × B" in g.to_dot()  # noqa: RUF001


def test_sizes_are_those_of_one_sample():
    n = node(0, shape=("3B", 2, "B"), kind="parameter")
    assert (n.size, n.bytes, n.parameters) == (6, 24, 6)
    assert node(0, shape=(2, 2)).parameters == 0


# -- words and tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [79, 80, 81, 82, 200, 20_000])
@pytest.mark.parametrize("longest", [3, 10, 80])
def test_a_long_text_keeps_its_ends(length, longest):
    text = "".join(chr(0x4E00 + i) for i in range(length))
    short = shown(text, longest)
    assert len(short) == min(length, longest)
    if length > longest:
        start, end = short.split("…")
        assert text.startswith(start)
        assert text.endswith(end)
        assert 0 <= len(start) - len(end) <= 1
    else:
        assert short == text


def test_names_are_unique():
    nodes = [
        node(0, "W", "layer1"),
        node(1, "W", "layer1"),
        node(2),
        node(3, ".x"),
        node(4, "z", "layer1"),
        node(5, kind="constant", label="2"),
        node(6, kind="constant", label="2"),
        node(7, kind="constant", label="table", name="table", shape=(3,)),
        node(8, "n" * 500 + "a" + "n" * 500),
        node(9, "n" * 500 + "b" + "n" * 500),
    ]
    names = unique_names(nodes)
    assert names[:8] == ["layer1.W", "layer1.W#1", "%2", ".x", "layer1.z", "2", "2", "table"]
    assert names[9] == f"{names[8]}#9"
    assert all(len(name) < 90 for name in names)


def test_the_columns_of_a_table_are_aligned():
    assert table([("op", "n"), ("exp", "10")]) == "op   n\nexp  10"
    assert table([("op", "n"), ("exp", "10")], numbers=1) == "op    n\nexp  10"


# -- state ----------------------------------------------------------------------------------------------


def test_what_holds_tensors_under_names_is_told_by_its_method():
    class Other:
        def named_tensors(self):
            return iter([("t", tg.tensor(1.0))])

    assert isinstance(nn.Dense(2, 2), Stateful)
    assert isinstance(Other(), Stateful)
    assert not isinstance(object(), Stateful)
    assert not isinstance(tg.exp, Stateful)


def test_leaves_have_their_values_back_after_an_error_too():
    kept, changed, outside = (tg.tensor([float(i), 2.0]) for i in range(3))
    before = changed.modified, id(changed.data)
    with pytest.raises(KeyError), preserved([kept, changed]):
        changed.assign_([5.0, 5.0])
        changed.assign_(changed * 2.0)
        outside.assign_(7.0)
        raise KeyError
    assert [t.numpy().tolist() for t in (kept, changed, outside)] == [[0.0, 2.0], [1.0, 2.0], [7.0, 7.0]]
    assert (changed.modified, id(changed.data)) == before


def test_an_object_of_ones_own_with_tensors_is_drawn_with_its_dtype_and_left_as_it_was():
    class Scaled:
        def __init__(self):
            self.W = tg.parameter([2.0], name="W", dtype="float64")
            self.calls = tg.tensor(0.0)

        def named_tensors(self):
            yield "W", self.W
            yield "calls", self.calls

        def __call__(self, x):
            self.calls.assign_(self.calls + 1.0)
            return x * self.W

    scaled = Scaled()
    g = graph(scaled, input_shape=(None, 3))
    assert {n.name: n.dtype for n in g.nodes if n.name} == {"W": "float64", "x": "float64"}
    assert float(scaled.calls) == 0.0


def test_a_function_that_calls_a_module_leaves_its_state_as_it_was():
    net = nn.Sequential(nn.BatchNorm(3), nn.Dropout(0.5), nn.Dense(3, 2))
    before = {name: t.numpy().tolist() for name, t in net.named_tensors()}
    modified = {name: t.modified for name, t in net.named_tensors()}

    def step(x):
        loss = tg.sum(net(x))
        for p in net.parameters():
            p.assign_(p - 0.1)
        return loss

    graph(step, input_shape=(None, 3), backward=False)
    assert {name: t.numpy().tolist() for name, t in net.named_tensors()} == before
    assert {name: t.modified for name, t in net.named_tensors()} == modified
