"""Colours that tell amounts, and numbers in boxes: what was measured, the scale, the legend, the palettes."""

import itertools
import math
import re

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.drawing import View, dot
from tinygraph.drawing.output import picture_of
from tinygraph.drawing.themes import NOT_FINITE, SHADES, THEMES, fill_of, ink_on
from tinygraph.drawing.view import COLOURS
from tinygraph.measured import number_lines
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)


def xor(**options):
    """The graph of XOR's squared error with its gradients, and the tensors of the same computation."""
    net = fully_connected([2, 3, 1], activation="tanh", seed=1, output="sigmoid")

    def risk(x, target):
        return losses.squared_error(net.predict(x, train=True), target)

    return net, risk, tg.graph(risk, inputs=(X, Y), backward=True, **options)


def picture(g, **options):
    return picture_of(g, g.view.changed(options))


def numbers(lines):
    """The numbers in lines such as ``[0.5  1]``, after ``arrives:``."""
    return [
        float(n) for line in lines for n in re.findall(r"-?(?:\d+\.?\d*(?:e-?\d+)?|inf)", line.removeprefix("arrives:"))
    ]


# -- what is measured -----------------------------------------------------------------------------------


def test_every_number_of_a_forward_and_backward_pass_is_there():
    net, risk, g = xor(values=True)
    x, target = tg.tensor(X), tg.tensor(Y)
    Q = risk(x, target)
    forward = tg.autodiff.ancestors([Q])
    nodes = [n for n in g.nodes if not n.is_gradient]
    assert len(nodes) == len(forward)
    items = {item.id: item for item in picture(g).items}
    shown = {"value": 0, "gradient": 0}
    for node, t in zip(nodes, forward, strict=True):
        found = numbers(items[f"n{node.id}"].lines[2:])
        assert found == pytest.approx(t.numpy().ravel().tolist(), rel=6e-3)
        shown["value"] += len(found)
        if node.sensitivity is not None:
            item = items[f"d{node.id}"]
            start = (
                2
                if item.kind == "gradient"
                else next(i for i, li in enumerate(item.lines) if li.startswith("arrives:"))
            )
            found = numbers(item.lines[start:])
            assert found == pytest.approx(tg.grad(Q, [t])[0].numpy().ravel().tolist(), rel=6e-3)
            shown["gradient"] += len(found)
    assert shown["value"] == sum(t.size for t in forward)
    assert shown["gradient"] >= sum(p.size for p in net.parameters())


def test_norms_are_euclidean_over_all_samples():
    net, risk, g = xor(color_by="gradients")
    Q = risk(tg.tensor(X), tg.tensor(Y))
    tensors = tg.autodiff.ancestors([Q])
    for node, t in zip([n for n in g.nodes if not n.is_gradient], tensors, strict=True):
        assert node.measured.norm == pytest.approx(math.sqrt(sum(v * v for v in t.numpy().ravel().tolist())))
        if node.sensitivity is not None:
            gradient = tg.grad(Q, [t])[0].numpy().ravel().tolist()
            assert node.measured.gradient_norm == pytest.approx(math.sqrt(sum(v * v for v in gradient)), rel=1e-5)
    assert [p.grad for p in net.parameters()] == [None] * 4


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_norm_does_not_overflow(dtype):
    large = np.full(100, np.finfo(dtype).max / 2, dtype)
    with np.errstate(all="raise"):
        (node,) = tg.graph(tg.tensor(large), color_by="values").nodes
    assert node.measured.norm == pytest.approx(10 * float(np.finfo(dtype).max / 2))


def test_dead_and_saturated_nodes_are_counted_by_the_slope():
    z = np.array([[-1.0, 5.0, -3.0, 0.1], [-2.0, -5.0, -0.5, 0.0]])
    found = {}
    for name in ("relu", "leaky_relu", "tanh", "sigmoid", "scaled_tanh", "elu", "softplus", "softsign", "exp"):
        (_, node) = tg.graph(getattr(tg, name)(tg.tensor(z)), color_by="values").nodes
        found[name] = node.measured.dead, node.measured.saturated
    slopes = {
        "tanh": 1 - np.tanh(z) ** 2,
        "sigmoid": 4 / (1 + np.exp(-z)) / (1 + np.exp(z)),
        "scaled_tanh": 1 - np.tanh(2 / 3 * z) ** 2,
        "elu": np.where(z >= 0, 1, np.exp(z)),
        "softplus": 1 / (1 + np.exp(-z)),
        "softsign": 1 / (1 + np.abs(z)) ** 2,
    }
    assert found["relu"] == (0.5, None)  # the first and the third node are off for both samples
    assert found["leaky_relu"] == (0.0, None)
    assert found["exp"] == (None, None)
    for name, slope in slopes.items():
        assert found[name] == (0.0, np.mean(slope < 0.05)), name
    assert found["elu"][1] > 0


@pytest.mark.parametrize(
    "name", ["sigmoid", "tanh", "softplus", "softsign", "selu", "gelu", "silu", "elu", "scaled_tanh"]
)
def test_the_steepest_slope_is_the_activation_s_own(name):
    z = tg.tensor(np.linspace(-6, 6, 100_001), requires_grad=True)
    slope = np.abs(tg.grad(tg.sum(getattr(tg, name)(z)), [z])[0].numpy())
    node = tg.graph(getattr(tg, name)(z), color_by="saturated").nodes[-1]
    assert node.measured.saturated == pytest.approx(np.mean(slope < 0.05 * slope.max()), abs=1e-3)
    assert node.measured.saturated > 0.2


def test_a_module_has_the_share_of_all_its_activations():
    class Two(nn.Module):
        def forward(self, x):
            return tg.concatenate([tg.relu(x), tg.relu(x[:, :1])], axis=1)

    g = tg.graph(Two(), inputs=(np.array([[-1.0, 2.0, 3.0], [-2.0, 2.0, 3.0]], np.float32),), color_by="dead")
    (box,) = [item for item in picture(g, level="modules").items if item.kind == "module"]
    assert box.lines[-1] == "dead 50 %"  # 1 of 3, and 1 of 1


def test_a_module_is_coloured_by_what_it_gives_and_by_the_gradient_that_arrives_there():
    net = fully_connected([2, 3, 1], seed=0)
    g = tg.graph(lambda x: tg.sum(tg.square(net(x))), inputs=(X,), backward=True, color_by="values", level="modules")
    z = net(X)
    expected = {"values": float(tg.norm(z)), "gradients": 2 * float(tg.norm(z))}
    for color_by, norm in expected.items():
        items = {item.id: item for item in picture(g, color_by=color_by).items}
        box = next(item for item in items.values() if item.lines[0] == "layer2")
        shown = items[f"d{box.id[1:]}"] if color_by == "gradients" else box
        assert float(shown.lines[-1].split()[-1]) == pytest.approx(norm, rel=6e-3)
        assert {item.is_backward for item in items.values() if item.shade is not None} == {shown.is_backward}


def test_bytes_are_known_without_samples():
    g = tg.graph(fully_connected([5, 4, 3], seed=0), input_shape=(None, 5), color_by="bytes", level="modules")
    boxes = {item.lines[0]: item.lines[-1] for item in picture(g).items}
    assert boxes["layer2"] == f"{4 * (4 * 3 + 3) + 4 * 2 * 3} B"
    assert g.to_dot(color_by=None) == tg.graph(fully_connected([5, 4, 3], seed=0), input_shape=(None, 5)).to_dot(
        level="modules"
    )


def test_a_plan_is_coloured_by_its_times():
    step = tg.compile(lambda x: tg.sum(tg.exp(x) @ tg.exp(x).T))
    step(tg.tensor(np.ones((4, 4), np.float32)))
    profile = step.plan.profile()
    items = picture(profile.graph()).items
    timed = [item for item in items if item.shade is not None]
    assert len(timed) == len(step.plan)
    assert all(re.search(r"^[\d.e-]+ us( with \d+ others)?$", item.lines[-1]) for item in timed)
    groups = sum(item.lines[-1].endswith(" us") or item.lines[-1].endswith(" others") for item in timed)
    assert groups >= len(profile.seconds)


def test_a_plan_draws_its_times_itself(tmp_path):
    step = tg.compile(lambda x: tg.sum(tg.exp(x)))
    step(tg.tensor(np.ones((4, 4), np.float32)))
    assert "time in a replay" in step.plan.render(tmp_path / "plan.dot", color_by="time").read_text()


def test_measuring_leaves_everything_as_it_was():
    net = nn.Sequential(nn.Dense(2, 4), nn.Dropout(0.5), nn.BatchNorm(4))
    before = {name: t.numpy() for name, t in net.named_tensors()}
    first = tg.graph(lambda x: tg.sum(net(x)), inputs=(X,), backward=True, values=True)
    second = tg.graph(lambda x: tg.sum(net(x)), inputs=(X,), backward=True, values=True)
    assert first.nodes == second.nodes
    for name, t in net.named_tensors():
        np.testing.assert_array_equal(t.numpy(), before[name])


def test_blocks_that_differ_in_what_is_shown_are_not_folded():
    net = fully_connected([4] * 10, activation="tanh", seed=0)
    g = tg.graph(net, inputs=(np.ones((5, 4), np.float32),), color_by="values", level="modules")
    assert len([item for item in picture(g).items if item.kind == "module"]) == 9
    assert len([item for item in picture(g, color_by="bytes").items if item.kind == "module"]) == 2


# -- numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "lines"),
    [
        (np.float32(0.5), ("0.5",)),
        (np.array([1e-5, -0.0, 123456.0]), ("[1e-5  0  1.23e+5]".replace("e+5", "e5"),)),
        (np.array([[1, 2], [30, 4]]), ("[ 1   2]", "[30   4]")),
        (np.array([True, False]), ("[ True  False]",)),
        (np.array([[np.nan, np.inf]]), ("[nan  inf]",)),
        (np.zeros((0, 3)), ()),
        (np.arange(20.0).reshape(2, 10), ("[0  1  2  ...  7  8  9]", "[10  11  12  ...  17  18  19]")),
    ],
)
def test_numbers_in_lines(array, lines):
    assert number_lines(np.asarray(array)) == lines


@pytest.mark.parametrize("shape", [(3, 4, 5), (20, 20, 20), (1, 1, 1, 1), (100,), (1000, 2), (2, 1000)])
def test_numbers_of_a_large_array_are_few(shape):
    lines = number_lines(np.full(shape, -1.23e-5))
    assert len(lines) <= 13
    assert max(map(len, lines)) < 90


# -- the scale ------------------------------------------------------------------------------------------


def shaded(*values):
    """The shades of leaves with these norms, and the legend."""
    g = tg.graph([tg.tensor([v], name=f"x{i}") for i, v in enumerate(values)], color_by="values")
    shown = picture(g)
    return [item.shade for item in shown.items], shown.legend


def test_colours_follow_the_order_of_amounts_by_equal_factors():
    shades, legend = shaded(*[10.0**k for k in range(SHADES)])
    assert shades == list(range(SHADES))
    starts = [float(words) for _, words in legend.classes]
    assert [b / a for a, b in itertools.pairwise(starts)] == pytest.approx([10 ** (6 / 7)] * 6, rel=1e-2)
    assert legend.end == "1e6"


def test_amounts_that_hardly_differ_have_like_colours():
    shades, _ = shaded(1.0, 1.01)
    assert shades == [SHADES // 2] * 2


def test_zero_is_the_smallest_and_what_is_not_finite_stands_apart():
    shades, legend = shaded(0.0, 1.0, 1000.0, np.inf, np.nan)
    assert shades == [0, 0, SHADES - 1, NOT_FINITE, NOT_FINITE]
    assert legend.classes[0] == (0, "0")
    assert legend.classes[-1] == (NOT_FINITE, "not finite")


def test_nothing_but_zeros_and_nothing_but_nan_have_a_legend():
    assert shaded(0.0, 0.0)[0] == [0, 0]
    assert shaded(np.nan)[0] == [NOT_FINITE]


@pytest.mark.parametrize("theme", THEMES)
def test_the_legend_has_every_colour_of_the_picture(theme):
    _, _, g = xor(color_by="gradients")
    source = g.to_dot(theme=theme)
    legend = source[source.index("<TABLE") : source.index("</TABLE>")]
    used = set(re.findall(r'fillcolor="(#\w+)"', source)) - {THEMES[theme].op[0], *THEMES[theme].frames}
    assert used <= set(re.findall(r'BGCOLOR="(#\w+)"', legend))
    assert "norm of the gradient" in legend


# -- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"color_by": "value"}, "color_by 'value' is not known; known: values, gradients, .*; did you mean 'values'"),
        ({"color_by": 3}, "color_by 3 is not known"),
        ({"values": 1}, "values: expected True or False, got 1"),
        ({"colour_by": "bytes"}, "option of a drawing 'colour_by' is not known; .* did you mean 'color_by'"),
        ({"color_by": "values"}, "color_by='values': the graph does not tell; make it by tg.graph\\(..., color_by"),
        ({"color_by": "gradients"}, "the graph does not tell; make it by tg.graph\\(..., backward=True, color_by"),
        ({"color_by": "time"}, "times are of plans, and drawn by profile\\(\\)"),
        ({"values": True}, "values=True: the graph was made without its numbers; make it by tg.graph"),
    ],
)
def test_what_cannot_be_shown_is_one_line(options, text, tmp_path):
    g = tg.graph(fully_connected([3, 2]), input_shape=(None, 3))
    for act in (lambda: g.to_dot(**options), lambda: g.render(tmp_path / "g.dot", **options)):
        with pytest.raises(tg.ArgumentError, match=text) as error:
            act()
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"input_shape": (None, 2), "values": True}, "graph: values=True needs samples; give them by inputs="),
        ({"input_shape": (None, 2), "color_by": "dead"}, "graph: color_by='dead' needs samples"),
        ({"inputs": (X,), "color_by": "gradients"}, "graph: color_by='gradients' needs backward=True"),
        ({"inputs": (X,), "color_by": "time"}, "graph: color_by='time' is for plans"),
        ({"inputs": (X,), "color_by": "shape"}, "color_by 'shape' is not known"),
    ],
)
def test_what_cannot_be_measured_is_told_before_the_work(options, text):
    with pytest.raises(tg.ArgumentError, match=text):
        tg.graph(lambda x: 1 / 0, **options)


@pytest.mark.parametrize("color_by", ["dead", "saturated"])
def test_a_graph_without_activations_says_so(color_by):
    g = tg.graph(tg.exp(tg.tensor([1.0])), color_by=color_by)
    with pytest.raises(tg.ArgumentError, match="it has no activation function"):
        g.to_dot()


# -- palettes -------------------------------------------------------------------------------------------


def linear(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


# What is seen without the cones for red, for green, for blue (Machado et al. 2009, severity 1), in linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lightness(colour, blindness):
    """L* of CIE Lab, of a colour as somebody sees it."""
    seen = np.clip(np.array(BLINDNESS[blindness]) @ linear(colour), 0, 1)
    y = float(seen @ (0.2126, 0.7152, 0.0722))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("theme", THEMES)
def test_the_steps_of_a_scale_stay_apart_in_order_for_everybody(theme, blindness):
    steps = [lightness(colour, blindness) for colour in THEMES[theme].scale]
    steps = steps if steps[0] < steps[-1] else steps[::-1]
    assert min(b - a for a, b in itertools.pairwise(steps)) > 5
    assert len(steps) == SHADES


@pytest.mark.parametrize("theme", THEMES)
def test_text_on_every_colour_can_be_read(theme):
    for shade in (*range(SHADES), NOT_FINITE):
        fill = fill_of(shade, THEMES[theme])
        light, dark = sorted((float(linear(c) @ (0.2126, 0.7152, 0.0722)) for c in (fill, ink_on(fill))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, fill


def test_coloured_boxes_have_text_that_can_be_read():
    _, _, g = xor(color_by="gradients")
    shown = picture(g)
    source = dot.source(shown, View(theme="dark"))
    for item in shown.items:
        line = next(li for li in source.splitlines() if li.strip().startswith(f"{item.id} ["))
        if item.shade is not None:
            fill = THEMES["dark"].scale[item.shade]
            assert f'fillcolor="{fill}"' in line
            assert f'fontcolor="{ink_on(fill)}"' in line
        else:
            assert f'fillcolor="{THEMES["dark"].op[0]}"' in line


@pytest.mark.parametrize("color_by", COLOURS)
def test_the_command_line_knows_every_colour(color_by, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        tg.tools.cli.main(["render", "--backward", "--hidden", "8", "--color-by", color_by, "-o", "net.dot"])
    assert ended.value.code == (2 if color_by in ("time", "saturated") else 0)  # ReLU does not saturate
    if ended.value.code:
        assert re.match(r"tinygraph: .*(plans|saturates)", capsys.readouterr().err)
    else:
        assert "<TABLE" in (tmp_path / "net.dot").read_text()


@pytest.mark.parametrize("amount", [1e-200, 5e-324, 1.7e308])
@pytest.mark.parametrize("factor", [1.0, 1.5, 1e3, 1e-3])
def test_amounts_of_any_size_have_classes(amount, factor):
    x = tg.parameter(np.array([amount]))
    with np.errstate(all="ignore"):
        assert "digraph" in tg.graph(x * factor, color_by="values").to_dot()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_graphs_of_empty_arrays(shape):
    x = tg.parameter(np.zeros(shape, np.float32))
    assert "digraph" in tg.graph(tg.sum(x), backward=True, values=True).to_dot()
