"""Draw the pictures of the documentation: ``python docs/images/draw.py``.

`tests/repo/test_docs.py` compares what the pictures say with what would be drawn now.
"""

import contextlib
import re
import runpy
import shutil
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import tinygraph as tg
from tinygraph import nn
from tinygraph.models import autoencoder, fully_connected, graph_neighborhood, multitask, siamese, transfer
from tinygraph.tools import figures
from tinygraph.tools.experiments import prepare, settings_of

IMAGES = Path(__file__).resolve().parent


def blocks(page, count=1):
    """Run the first `count` Python blocks of a page, where files do not stay; return the names they define."""
    names = {"__name__": "page"}
    text = (IMAGES.parent / page).read_text()
    with TemporaryDirectory() as folder, chdir(folder):
        for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[:count]:
            exec(code, names)
    return names


def with_gradients():
    """Return what ``tinygraph render --backward --hidden 32`` draws."""
    return prepare(settings_of("fully_connected", hidden="32")).graph(backward=True)


def folded():
    """Return the modules of a deep network, equal ones once."""
    return tg.graph(blocks("drawings.md")["net"], input_shape=(None, 64), level="modules")


def xor_numbers():
    """Return XOR with all numbers of a forward and a backward pass, in the colours of its gradients."""
    return blocks("drawings.md", 2)["numbers"]


def vanishing():
    """Return ten layers of sigmoids in the colours of their gradients."""
    return blocks("drawings.md", 3)["vanishing"]


def first_network():
    """Return the network that ``tinygraph train`` trains."""
    return tg.graph(fully_connected([64, 64, 10], seed=0), input_shape=(None, 64))


def one_node():
    """Return the loss of one node with its gradients."""
    return tg.graph(blocks("how-it-works.md")["Q"], backward=True)


def two_branches():
    """Return a network of one's own, with a branch that is called twice."""
    return tg.graph(blocks("custom-architecture.md")["net"], input_shape=(None, 64))


def compiled_step():
    """Return the plan of a training step."""
    return blocks("compile.md")["fast"].plan.graph()


def signs(name):
    """Return a function that makes one of the drawings that explain the signs."""
    return lambda: blocks("reading-a-drawing.md", 5)[name]


def one_network(net, *shapes):
    """Return a function that draws the graph of a network."""
    return lambda: tg.graph(net, input_shape=shapes[0] if len(shapes) == 1 else shapes)


def convolution():
    """Return a network of a convolution, the largest signals of its squares, and a dense layer."""
    layers = [nn.Reshape(8, 8, 1), nn.Convolution(1, 8, 3, "relu"), nn.MaxPool(2), nn.Reshape(-1), nn.Dense(72, 10)]
    return tg.graph(nn.Sequential(*layers, output="softmax"), input_shape=(None, 64))


def recurrent():
    """Return a cell that is called for each of eight rows, drawn once."""
    net = nn.Sequential(nn.Recurrent(nn.GRUCell(8, 32), last=True), nn.Dense(32, 10))
    return tg.graph(net, input_shape=(None, 8, 8), depth=2)


PICTURES = {
    "autoencoder": one_network(autoencoder([64, 16, 64], tied=True, seed=0), (None, 64)),
    "graph-neighborhood": one_network(
        graph_neighborhood([tg.Neighborhoods.grid((8, 8)), None], [64, 64, 10], seed=0), (None, 64)
    ),
    "multitask": one_network(multitask([32], tasks=5, n_in=64, seed=0), (None, 64)),
    "siamese": one_network(siamese([64, 32, 16], head="absolute_difference", seed=0), (None, 64), (None, 64)),
    "transfer": one_network(transfer(fully_connected([64, 32, 5], seed=0), new_layers=[5], seed=1), (None, 64)),
    "readme-graph": with_gradients,
    "folded": folded,
    "xor-numbers": xor_numbers,
    "vanishing": vanishing,
    "first-network": first_network,
    "one-node": one_node,
    "two-branches": two_branches,
    "compiled-step": compiled_step,
    "convolution": convolution,
    "recurrent": recurrent,
    "reading-layer": signs("one_layer"),
    "reading-states": signs("states"),
    "reading-shared": signs("shared"),
    "reading-rules": signs("rules"),
    "reading-modules": signs("modules"),
}
EXAMPLES = sorted((IMAGES.parent / "examples").glob("*.py"))
PICTURES |= {path.stem.replace("_", "-"): runpy.run_path(str(path))["picture"] for path in EXAMPLES}

FIGURES = ["65.2", "65.18", "65.197", "vanishing-gradient"]  # as `tinygraph figure` draws them


def gallery():
    """Run the code of the gallery, which writes its pictures of training and results."""
    names = {"__name__": "page"}
    with contextlib.chdir(IMAGES / "gallery"):
        for block in re.findall(
            r"^```python\n(.*?)^```", (IMAGES.parent / "gallery.md").read_text(), re.MULTILINE | re.DOTALL
        ):
            exec(block, names)


def screenshot():
    """Write how a page looks in a browser, Chromium, while the pointer is on an element of a product."""
    from playwright.sync_api import sync_playwright

    page = blocks("explore.md")["page"]
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.set_content(page.html)
        tab.evaluate("go(11)")  # a product, backwards
        tab.hover("#panel .side .cells > span:nth-child(3)")
        tab.screenshot(path=IMAGES / "explore.png")
        browser.close()


if __name__ == "__main__":
    gallery()
    screenshot()
    for name in FIGURES:
        figures.write(name, IMAGES / f"figure-{name}.svg")
    for name, make in PICTURES.items():
        make().render(IMAGES / f"{name}.svg")
