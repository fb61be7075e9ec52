"""Layers: a file imports only from its own or from lower ones, nothing imports in a circle; not even for types."""

import ast
import graphlib
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]

# From the lowest up. A file belongs to the longest name here that its module's name begins with.
LAYERS = [
    {"tinygraph.errors", "tinygraph.counterparts", "tinygraph.typing"},
    {"tinygraph.files", "tinygraph.arguments"},
    {"tinygraph.allocation"},
    {"tinygraph.backend"},
    {
        "tinygraph.leaves",
        "tinygraph.mode",
        "tinygraph.op",
        "tinygraph.operand_checks",
        "tinygraph.operators",
        "tinygraph.promotion",
        "tinygraph.structure",
        "tinygraph.tensors",
        "tinygraph.watchers",
    },
    {"tinygraph.ops", "tinygraph.data", "tinygraph.creation"},
    {
        "tinygraph.anomaly",
        "tinygraph.autodiff",
        "tinygraph.batching",
        "tinygraph.derivatives",
        "tinygraph.gradient_check",
        "tinygraph.mapping",
        "tinygraph.measured",
        "tinygraph.notebook",
        "tinygraph.record",
        "tinygraph.describe",
        "tinygraph.drawing",
        "tinygraph.graphs",
        "tinygraph.walkthrough",
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
    {"tinygraph.parallel"},
    {"tinygraph.train", "tinygraph.checkpoint", "tinygraph.onnx_export", "tinygraph.onnx_operations"},
    {"tinygraph.plots"},
    {"tinygraph.models"},
    {"tinygraph.sklearn"},
    {"tinygraph.tools"},
]
INSIDE_FUNCTIONS = {  # imports of our own inside functions: commands that should not slow down the others, and
    ("tinygraph.backend.base", "tinygraph.backend"),  # the registry, in which a backend that was pickled is found again
    ("tinygraph.plots.canvas", "tinygraph.plots.picture"),  # Matplotlib, when something is drawn
    ("tinygraph.plan.native", "tinygraph.plan.machine"),  # numba, where it is installed, in the background
    ("tinygraph.plan.kernels_native", "tinygraph.plan.loops"),  # LLVM, which comes with it
    ("tinygraph.tools.cli", "tinygraph.tools.training"),
    ("tinygraph.tools.cli", "tinygraph.tools.figures"),
    ("tinygraph.tools.cli", "tinygraph.tools.reproduce"),
    ("tinygraph.tools.cli", "tinygraph.tools.check"),
    ("tinygraph.tools.cli", "tinygraph.tools.info"),
    ("tinygraph.tools.cli", "tinygraph.tools.bench.run"),
}
FOR_TYPES_ONLY = {  # imports that would close a circle, and so stand under TYPE_CHECKING
    ("tinygraph.leaves", "tinygraph.op"),  # an operation makes leaves of its operands
    ("tinygraph.tensors", "tinygraph.op"),  # a tensor keeps the operation that made it, which is applied to tensors
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
    """The modules of ours that a source imports: triples of name, whether inside a function, whether for types only."""
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
        where = id(node) in inside, id(node) in typing_only
        if isinstance(node, ast.Import):
            yield from ((a.name, *where) for a in node.names if a.name.split(".")[0] == "tinygraph")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            if full.split(".")[0] == "tinygraph":
                yield from ((f"{full}.{a.name}", *where) for a in node.names)


def layer_of(name):
    matches = [(len(m), i) for i, layer in enumerate(LAYERS) for m in layer if name == m or name.startswith(m + ".")]
    return max(matches)[1] if matches else None


def violations(sources, packages=()):
    """What is wrong with the imports in a dict of sources by module name."""
    wrong, arrows = [], {}
    for name, source in sources.items():
        if name != "tinygraph" and layer_of(name) is None:
            wrong.append(f"{name} has no layer")
            continue
        for imported, inside, typing_only in imports(name, source, name in packages):
            target = imported if imported in sources or imported == "tinygraph" else imported.rpartition(".")[0]
            if target == name or name == "tinygraph":
                continue
            if target == "tinygraph":
                if layer_of(name) < layer_of("tinygraph.models"):
                    wrong.append(f"{name} imports the whole of tinygraph")
                continue
            if inside and (name, target) not in INSIDE_FUNCTIONS:
                wrong.append(f"{name} imports {target} inside a function")
            if not inside and not (typing_only and (name, target) in FOR_TYPES_ONLY):
                arrows.setdefault(name, set()).add(target)
            if layer_of(target) is None or layer_of(target) > layer_of(name):
                wrong.append(f"{name} imports {target}, which stands above it")
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        wrong.append(f"a circle: {' -> '.join(error.args[1])}")
    return wrong


def test_every_file_keeps_to_its_layer():
    found = modules()
    packages = {name for name, path in found.items() if path.name == "__init__.py"}
    assert violations({name: path.read_text() for name, path in found.items()}, packages) == []


def test_the_lists_of_exceptions_hold_no_more_than_there_is():
    inside_functions, for_types_only = set(), set()
    for name, path in modules().items():
        for imported, inside, typing_only in imports(name, path.read_text(), path.name == "__init__.py"):
            pairs = {(name, imported), (name, imported.rpartition(".")[0])}
            inside_functions |= pairs if inside else set()
            for_types_only |= pairs if typing_only else set()
    assert inside_functions >= INSIDE_FUNCTIONS
    assert for_types_only >= FOR_TYPES_ONLY


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        ({"tinygraph.op": "from .nn import Module", "tinygraph.nn": ""}, "which stands above it"),
        ({"tinygraph.ops.a": "from .b import f", "tinygraph.ops.b": "from .a import g"}, "a circle"),
        ({"tinygraph.op": "def f():\n    from .tensors import T", "tinygraph.tensors": ""}, "inside a function"),
        ({"tinygraph.op": "async def f():\n    from .tensors import T", "tinygraph.tensors": ""}, "inside a function"),
        ({"tinygraph.op": "if TYPE_CHECKING:\n    from .nn import M", "tinygraph.nn": ""}, "above it"),
        (
            {"tinygraph.ops.a": "from .b import f", "tinygraph.ops.b": "if TYPE_CHECKING:\n    from .a import g"},
            "a circle",
        ),
        ({"tinygraph.op": "from .tensors import T", "tinygraph.tensors": "from .op import Op"}, "a circle"),
        ({"tinygraph.op": "if TYPE_CHECKING:\n    pass\nelse:\n    from .nn import M", "tinygraph.nn": ""}, "above it"),
        ({"tinygraph.backend.a": "from ..op import Op", "tinygraph.op": ""}, "which stands above it"),
        ({"tinygraph.nn": "import tinygraph"}, "the whole of tinygraph"),
        ({"tinygraph.stray": "import tinygraph"}, "has no layer"),
    ],
)
def test_violations_are_found(sources, text):
    assert any(text in wrong for wrong in violations(sources))


def test_imports_in_order_have_no_violations():
    sources = {
        "tinygraph.errors": "",
        "tinygraph.backend.base": "from ..errors import BackendError",
        "tinygraph.tensors": "from .backend.base import Backend\nif TYPE_CHECKING:\n    from .op import Op",
        "tinygraph.op": "from .tensors import Tensor",
        "tinygraph.nn": "from . import op",
        "tinygraph.tools": "import tinygraph",
    }
    assert violations(sources) == []
