"""Public names: a module is not hidden by a function, and a function of an operation says what it takes and does."""

import copy
import importlib
import importlib.util
import inspect
import pickle
import pkgutil
import pydoc
import re
import sys

import pytest

import tinygraph as tg
from tinygraph.counterparts import COUNTERPARTS

pytestmark = pytest.mark.host
SUBPACKAGES = ("backend", "data", "drawing", "models", "nn", "ops", "optim", "plan", "tools", "train")
EXTRAS = {  # modules that import what an extra brings
    "tinygraph.plan.loops": "llvmlite",
    "tinygraph.plan.machine": "numba",
    "tinygraph.sklearn": "sklearn",
}
PACKAGES = ["tinygraph", *(f"tinygraph.{name}" for name in SUBPACKAGES)]


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_module_gives_the_module(package):
    found = importlib.import_module(package)
    for _, name, _ in pkgutil.iter_modules(found.__path__, package + "."):
        if name in EXTRAS and importlib.util.find_spec(EXTRAS[name]) is None:
            continue
        importlib.import_module(name)
        assert getattr(found, name.rpartition(".")[2]) is sys.modules[name], name


@pytest.mark.parametrize("name", [name for name in tg.ops.__all__ if hasattr(getattr(tg, name), "op")])
def test_a_declared_function_is_like_one_written_out(name):
    function = getattr(tg, name)
    operands = list(inspect.signature(function).parameters)
    assert function.__name__ == function.__qualname__ == name
    assert getattr(sys.modules[function.__module__], name) is function
    assert pickle.loads(pickle.dumps(function)) is function
    assert pickle.loads(pickle.dumps(function.op)) is copy.deepcopy(function.op) is function.op
    assert f"Local backward rule: ``{function.op.rule}``" in pydoc.render_doc(function)
    with pytest.raises(TypeError, match=rf"{name}\(\) missing {len(operands)} required positional"):
        function()


def test_operands_are_named():
    assert list(inspect.signature(tg.multiply).parameters) == ["a", "b"]
    assert list(inspect.signature(tg.bias).parameters) == ["z", "theta"]
    assert tg.subtract(b=2.0, a=3.0).item() == 1.0


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in COUNTERPARTS.items() for n in names])
def test_a_name_of_other_libraries_leads_to_one_that_is_here(module, name):
    found, text = importlib.import_module(module), COUNTERPARTS[module][name]
    assert not hasattr(found, name)
    with pytest.raises(AttributeError) as error:
        getattr(found, name)
    assert str(error.value) == f"module {module!r} has no attribute {name!r}; what it does elsewhere is here {text}"
    for place, other in re.findall(r"\b(tg|nn|optim|losses)\.(\w+)", text):
        thing = getattr({"tg": tg}.get(place) or getattr(tg, place), other)
        assert getattr(thing, "__name__", other) in (other, f"tinygraph.{other}"), "imported there under another name"


def test_other_names_are_missing_as_usual():
    for module in COUNTERPARTS:
        with pytest.raises(AttributeError, match=f"^module '{module}' has no attribute 'nothing'$"):
            importlib.import_module(module).nothing  # noqa: B018
