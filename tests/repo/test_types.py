"""Types: what signatures leave open, and a program of a user's under strict type checkers."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repo import user_code

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("user_code.py")


def open_types(source):
    """How often `Any` stands in the signatures of a source."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            a = node.args
            arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
            types = [x.annotation for x in arguments if x is not None] + [node.returns]
            found += sum(isinstance(n, ast.Name) and n.id == "Any" for t in types if t is not None for n in ast.walk(t))
    return found


def test_signatures_leave_no_more_types_open_than_they_did():
    packages = [p for p in sorted((ROOT / "tinygraph").iterdir()) if p.name not in ("models", "tools")]
    files = [q for p in packages for q in ([p] if p.suffix == ".py" else p.rglob("*.py"))]
    found = {str(p.relative_to(ROOT)): n for p in files if (n := open_types(p.read_text()))}
    assert sum(found.values()) <= 260, f"use a type, object or tinygraph.typing instead of Any: {found}"


def test_open_types_are_counted_in_parameters_and_results():
    assert open_types("def f(a: Any, *b: int, c: dict[str, Any] = {}, **d: Any) -> Any:\n    x: Any = 1") == 4
    assert open_types("class C:\n    async def f(self, a: int) -> list[Any]: ...") == 1


def test_a_program_of_a_users_runs(tmp_path):
    assert [t.shape for t in user_code.gradients()] == [(2, 2), (2, 2), (4,), (2, 2)]
    assert user_code.by_hand() > 0
    error, prediction = user_code.by_fit(tmp_path)
    assert 0 <= error <= 1
    assert prediction.shape == (64, 2)


WRONG = """
import numpy as np
import tinygraph as tg
from tinygraph import losses, metrics, models, nn, optim
"""
MISTAKES = [
    "tg.tensor([1.0], dtype=1.5)",
    "tg.parameter([1.0], role='weights')",
    "tg.tensor([1.0]).sum(axis='rows')",
    "tg.data.standardize(None)",
    "metrics.error_rate([1, 0], None)",
    "nn.Dense('4', 2)",
    "models.fully_connected(4)",
    "optim.SGD([np.ones(3)], lr=0.1)",
    "tg.fit(nn.Dense(4, 2), losses.squared_error, (np.ones((8, 4)), np.ones((8, 2))), 0.1)",
    "tg.save(nn.Dense(4, 2), 'weights.safetensors')",
    "x: int = tg.tensor([1.0]) * 2",
    "y: int = tg.compile(tg.tanh)(np.ones(3))",
    "z: int = tg.no_grad()(tg.tanh)(np.ones(3))",
]


def complaints(command, folder):
    """The numbers of the lines of `MISTAKES` that a type checker complains about."""
    path = folder / "mistakes.py"
    path.write_text(WRONG + "\n".join(MISTAKES) + "\n")
    first = WRONG.count("\n") + 1
    said = subprocess.run([*command, path], capture_output=True, text=True, cwd=ROOT).stdout
    return {int(n) - first for n in re.findall(r"mistakes\.py:(\d+).*error", said)}


@pytest.mark.slow
def test_mypy_accepts_the_program_and_sees_mistakes(tmp_path):
    pytest.importorskip("mypy")
    mypy = [sys.executable, "-m", "mypy", "--strict"]
    done = subprocess.run([*mypy, PROGRAM], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert complaints(mypy, tmp_path) == set(range(len(MISTAKES)))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("basedpyright") is None, reason="needs Pyright")
def test_pyright_accepts_package_and_program_and_sees_mistakes(tmp_path):
    pyright = ["basedpyright", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*pyright, "--project", str(ROOT / "pyproject.toml")], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert complaints(pyright, tmp_path) == set(range(len(MISTAKES)))
