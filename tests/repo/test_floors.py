"""The floors of the house: a file imports only what stands below it, and nothing imports in a circle."""

import ast
import graphlib
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]

# From the ground up. A file belongs to the longest name here that its module's name begins with.
FLOORS = [
    {"tinygraph.errors"},
    {"tinygraph.files"},
    {"tinygraph.backend"},
    {f"tinygraph.{name}" for name in ("structure", "mode", "operators", "tensors", "leaves", "op", "watchers")},
    {"tinygraph.ops", "tinygraph.data"},
    {
        "tinygraph.anomaly",
        "tinygraph.autodiff",
        "tinygraph.derivatives",
        "tinygraph.gradient_check",
        "tinygraph.graphs",
        "tinygraph.render",
    },
    {"tinygraph.plan"},
    {
        "tinygraph.nn",
        "tinygraph.labels",
        "tinygraph.losses",
        "tinygraph.optim",
        "tinygraph.metrics",
        "tinygraph.sensitivity",
    },
    {"tinygraph.train", "tinygraph.checkpoint"},
    {"tinygraph.models"},
    {"tinygraph.tools"},
]
INSIDE_FUNCTIONS = {  # imports of our own inside functions: commands that should not slow down the others
    ("tinygraph.tools.cli", "tinygraph.tools.training"),
    ("tinygraph.tools.cli", "tinygraph.tools.experiments"),
    ("tinygraph.tools.cli", "tinygraph.tools.figures"),
    ("tinygraph.tools.cli", "tinygraph.tools.check"),
    ("tinygraph.tools.cli", "tinygraph.tools.info"),
    ("tinygraph.tools.cli", "tinygraph.tools.bench.run"),
}


def modules():
    """The project's modules by name; `models` and `tools` stand at the top and are imported from inside."""
    found = {}
    for top, name in (("tinygraph", "tinygraph"), ("models", "tinygraph.models"), ("tools", "tinygraph.tools")):
        for path in sorted((ROOT / top).rglob("*.py")):
            inner = path.relative_to(ROOT / top).with_suffix("").parts
            if top == "tinygraph" and inner[0] in ("models", "tools"):
                continue  # the symlinks
            found[".".join((name, *inner)).removesuffix(".__init__")] = path
    return found


def imports(name, source, is_package):
    """The modules of ours that a source imports: pairs of name and whether it happens inside a function."""
    tree = ast.parse(source)
    functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, functions) for n in ast.walk(f)}
    typing_only = {
        id(n)
        for i in ast.walk(tree)
        if isinstance(i, ast.If) and isinstance(i.test, ast.Name) and i.test.id == "TYPE_CHECKING"
        for branch in i.body  # not its else: that runs
        for n in ast.walk(branch)
    }
    package = name.split(".") if is_package else name.split(".")[:-1]
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((a.name, id(node) in inside) for a in node.names if a.name.split(".")[0] == "tinygraph")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            if full.split(".")[0] == "tinygraph":
                yield from ((f"{full}.{a.name}", id(node) in inside) for a in node.names)


def floor_of(name):
    matches = [(len(m), i) for i, floor in enumerate(FLOORS) for m in floor if name == m or name.startswith(m + ".")]
    return max(matches)[1] if matches else None


def violations(sources, packages=()):
    """What is wrong with the imports in a dict of sources by module name."""
    wrong, arrows = [], {}
    for name, source in sources.items():
        if name != "tinygraph" and floor_of(name) is None:
            wrong.append(f"{name} has no floor")
            continue
        for imported, inside in imports(name, source, name in packages):
            target = imported if imported in sources or imported == "tinygraph" else imported.rpartition(".")[0]
            if target == name or name == "tinygraph":
                continue
            if target == "tinygraph":
                if floor_of(name) < floor_of("tinygraph.models"):
                    wrong.append(f"{name} imports the whole of tinygraph")
                continue
            if inside and (name, target) not in INSIDE_FUNCTIONS:
                wrong.append(f"{name} imports {target} inside a function")
            if not inside:
                arrows.setdefault(name, set()).add(target)
            if floor_of(target) is None or floor_of(target) > floor_of(name):
                wrong.append(f"{name} imports {target}, which stands above it")
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        wrong.append(f"a circle: {' -> '.join(error.args[1])}")
    return wrong


def test_every_file_keeps_to_its_floor():
    found = modules()
    packages = {name for name, path in found.items() if path.name == "__init__.py"}
    assert violations({name: path.read_text() for name, path in found.items()}, packages) == []


def test_the_list_of_imports_inside_functions_holds_no_more_than_there_is():
    used = {
        (name, target)
        for name, path in modules().items()
        for imported, inside in imports(name, path.read_text(), path.name == "__init__.py")
        for target in (imported, imported.rpartition(".")[0])
        if inside
    }
    assert used >= INSIDE_FUNCTIONS


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        ({"tinygraph.op": "from .nn import Module", "tinygraph.nn": ""}, "which stands above it"),
        ({"tinygraph.ops.a": "from .b import f", "tinygraph.ops.b": "from .a import g"}, "a circle"),
        ({"tinygraph.op": "def f():\n    from .tensors import T", "tinygraph.tensors": ""}, "inside a function"),
        ({"tinygraph.op": "async def f():\n    from .tensors import T", "tinygraph.tensors": ""}, "inside a function"),
        ({"tinygraph.op": "if TYPE_CHECKING:\n    pass\nelse:\n    from .nn import M", "tinygraph.nn": ""}, "above it"),
        ({"tinygraph.backend.a": "from ..op import Op", "tinygraph.op": ""}, "which stands above it"),
        ({"tinygraph.nn": "import tinygraph"}, "the whole of tinygraph"),
        ({"tinygraph.stray": "import tinygraph"}, "has no floor"),
    ],
)
def test_violations_are_found(sources, text):
    assert any(text in wrong for wrong in violations(sources))


def test_a_house_in_order_has_no_violations():
    sources = {
        "tinygraph.errors": "",
        "tinygraph.backend.base": "from ..errors import BackendError",
        "tinygraph.op": "from .backend.base import Backend\nif TYPE_CHECKING:\n    from .nn import Module",
        "tinygraph.nn": "from . import op",
        "tinygraph.tools": "import tinygraph",
    }
    assert violations(sources) == []
