"""A backend in a package of its own: the one of the documentation, installed beside the project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
PAGE = Path(__file__).resolve().parents[2] / "docs" / "write-a-backend.md"

TRAINING = """
import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.models import fully_connected

net = fully_connected([64, 8, 10], seed=0)
optimizer = optim.SGD(net.parameters(), 0.1)
tg.fit(net, losses.cross_entropy, data.load("digits").train, optimizer, 1, compiled=False)
print([p.backend.name for p in net.parameters()][0], tg.backend.current().products > 100)
"""


def install(folder, source):
    """Lay a package with one module out as an installer would; return the environment that finds it."""
    (folder / "counting_backend.py").write_text(source)
    about = folder / "counting_backend-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: counting-backend\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tinygraph.backends]\ncounting = counting_backend:CountingBackend\n")
    return os.environ | {"PYTHONPATH": str(folder)}


def python(program, environment):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)


def source_of_the_page():
    return re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


def test_a_package_adds_a_backend(tmp_path):
    environment = install(tmp_path, source_of_the_page())
    assert python("import tinygraph as tg; print(tg.backends()['counting'])", environment).stdout == "ok\n"
    done = python(TRAINING, environment | {"TINYGRAPH_BACKEND": "counting"})
    assert (done.stdout, done.stderr) == ("counting True\n", "")
    command = [
        sys.executable,
        "-m",
        "tinygraph.tools.cli",
        "train",
        "--backend",
        "counting",
        "--epochs",
        "1",
        "--out",
        "x",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "backend counting" in done.stdout


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module", "counting-backend: ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "from tinygraph import BackendError\ndef CountingBackend(): raise BackendError('needs a device')",
            "needs a device",
        ),
    ],
)
def test_a_package_that_cannot_run_says_why_and_disturbs_no_other(tmp_path, source, said):
    environment = install(tmp_path, source)
    done = python("import tinygraph as tg; print(tg.backends()['numpy'], tg.backends()['counting'])", environment)
    assert done.stdout.startswith("ok ")
    assert said in done.stdout
    command = [sys.executable, "-m", "tinygraph.tools.cli", "train", "--backend", "counting"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr
