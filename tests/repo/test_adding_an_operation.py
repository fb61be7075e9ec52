"""An operation is added in at most four places of three files, and is then differentiated, checked and fused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]

BEFORE = '@operation("dx = dy y", FloatingOp)\ndef exp('  # a declaration to stand before
DECLARATION = '''@operation("{rule}", FloatingOp)
def {name}(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the {name} of every entry."""
    return ({gradient},)


'''
USE = """
import sys

import numpy as np

import host_cuda
import tinygraph as tg
from tinygraph.tools.check import cases

name, rule = sys.argv[1:]
function, inputs = cases()[name]
assert function is getattr(tg, name) and name in tg.__all__ and rule in function.__doc__
tg.gradcheck(function, *inputs, second=True)


def gradient(x):
    return tg.grad(function(x * 0.5), [x], x)[0]


def replayed():
    compiled, x = tg.compile(gradient), tg.tensor(inputs[0])
    for _ in range(3):
        result = compiled(x).numpy()
    np.testing.assert_allclose(result, gradient(x).numpy(), rtol=1e-12)
    return compiled.plan


assert name in str(replayed())
with host_cuda.installed(), tg.using("cupy"):
    plan = replayed()
    assert plan.source.count("\\n") == 0, plan.source  # one kernel
    assert plan.replay.run.graph is not None  # captured
"""


def added(source, text, before):
    """The source with a text before something that it has once."""
    assert source.count(before) == 1, before
    return source.replace(before, text + before)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_places_where_an_operation_is_added(tmp_path):
    name, rule, gradient, c = "reciprocal", "dx = -dy y**2", "-dy * y * y", "1 / {0}"
    for folder in ("tinygraph", "models", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    places = [
        ("tinygraph/ops/elementwise.py", DECLARATION.format(name=name, rule=rule, gradient=gradient), BEFORE),
        ("tinygraph/ops/elementwise.py", f'"{name}", ', '"sign", '),
        ("tools/check.py", f'        "{name}": (tg.{name}, [positive]),\n', '        "log": (tg.log, [positive]),\n'),
        ("tinygraph/plan/primitives.py", f'    "{name}": Primitive("{c}"),\n', '    "negative": '),
    ]
    assert len(places) <= 4
    assert len({file for file, _, _ in places}) <= 3
    for file, text, before in places:
        path = tmp_path / file
        path.write_text(added(path.read_text(), text, before))
    paths = os.pathsep.join([str(tmp_path), str(ROOT / "tests")])
    command = [sys.executable, "-W", "error", "-c", USE, name, rule]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, check=True)
