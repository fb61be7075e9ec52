"""Every Python block of the README and of the documentation runs, and prints what the page says it prints."""

import contextlib
import html
import importlib
import inspect
import re
import runpy
import shutil
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path

import pytest

import tinygraph as tg
from tinygraph.tools import cli, figures

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DRAW = runpy.run_path(str(ROOT / "docs" / "images" / "draw.py"))
PICTURES, FIGURES = DRAW["PICTURES"], DRAW["FIGURES"]
MODULES = ["", ".nn", ".losses", ".optim", ".metrics", ".data", ".models", ".plots"]


def blocks(page):
    """The fenced blocks of a page: pairs of language and content."""
    return FENCED.findall(page.read_text())


def python(page):
    return [code for language, code in blocks(page) if language == "python"]


@pytest.mark.parametrize("page", [p for p in PAGES if python(p)], ids=lambda p: p.name)
def test_the_code_of_a_page_runs_and_prints_what_stands_below_it(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYGRAPH_JIT", "0")  # pages show plans as they are without extras
    monkeypatch.setattr(tg.backend, "_factories", dict(tg.backend._factories))  # a page may register a backend
    monkeypatch.setattr(tg.backend, "_backends", dict(tg.backend._backends))
    names = {"__name__": "page"}
    printed = ""
    for number, (language, content) in enumerate(blocks(page), 1):
        if language == "python":
            exec(compile(content, f"{page.name}, block {number}", "exec"), names)
            printed = capsys.readouterr().out
        elif language == "text":
            assert printed == content, f"{page.name}, block {number}"
    for name in re.findall(r"\(images/gallery/(.*?)\)", page.read_text()):  # what the code has drawn
        assert told(tmp_path / name) == told(ROOT / "docs" / "images" / "gallery" / name), name


def texts(svg):
    """The texts of a figure, whose letters are drawn as shapes, in their order."""
    return re.findall(r"<!-- (.*?) -->", svg.read_text())


def told(svg):
    """The texts of a figure without its numbers, which another machine may round to others, and without ticks."""
    return {
        re.sub(r"[\d.]+", "#", text) for text in texts(svg) if re.search("[a-z]", text) and "mathdefault" not in text
    }


def test_every_picture_is_in_the_gallery():
    shown = re.findall(r"\(images/(.*?)\)", (ROOT / "docs" / "gallery.md").read_text())
    images = ROOT / "docs" / "images"
    assert sorted(shown) == sorted(path.relative_to(images).as_posix() for path in images.rglob("*.[sp][vn]g"))


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def names_in(page):
    """The dotted names of the library in a page's text; names of files are none."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"`((?:tg|tinygraph|nn|losses|optim|metrics|data)(?:\.\w+)+)\b", text)
    return sorted({name for name in found if not re.search(r"\.(py|csv|tsv|npz|npy|parquet|html|toml)$", name)})


def is_there(name):
    first, *parts = name.split(".")
    found = tg if first in ("tg", "tinygraph") else getattr(tg, first)
    for part in parts:
        if not hasattr(found, part) and isinstance(found, types.ModuleType):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(f"{found.__name__}.{part}")
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_names_on_a_page_are_there(page):
    there = {"nn.Linear", "nn.MSELoss"} if page.name == "from-pytorch.md" else set()  # names of PyTorch
    assert [name for name in names_in(page) if not is_there(name)] == sorted(there)


def test_a_name_that_is_not_there_is_noticed():
    assert is_there("tg.nn.Dense")
    assert is_there("tinygraph.tools.gpu_report")
    assert not is_there("tg.losses.nothing")
    assert not is_there("nn.Linear")


def test_every_page_is_in_the_navigation():
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(p.relative_to(ROOT / "docs").as_posix() for p in DOCS)


def test_the_readme_names_the_commands_that_ci_runs():
    text = (ROOT / "README.md").read_text()
    for name in ("main-job", "tests"):
        assert re.search(rf"^<!-- ci: {name} -->\n```bash\n.+?^```", text[:2000], re.MULTILINE | re.DOTALL)


def sections():
    """What the reference shows: the module of each section, and the members it is limited to (None: all public)."""
    text = "\n".join(page.read_text() for page in sorted((ROOT / "docs" / "api").glob("*.md")))
    found = {}
    for module, members in re.findall(r"^::: (\S+)(?:\n    options:\n      members: \[(.*?)\])?", text, re.MULTILINE):
        found[module] = members.split(", ") if members else None
    return found


def is_shown(thing):
    for where, members in sections().items():
        if members is None and thing.__module__ == where:
            return thing.__name__ in getattr(importlib.import_module(where), "__all__", [thing.__name__])
        if any(getattr(importlib.import_module(where), name, None) is thing for name in members or ()):
            return True
    return False


@pytest.mark.parametrize("place", MODULES, ids=lambda place: place or "tinygraph")
def test_the_reference_has_every_public_name(place):
    module = importlib.import_module(f"tinygraph{place}")
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__ and n[0] != "_"]
    names = getattr(module, "__all__", own)
    things = {name: getattr(module, name) for name in names}
    documented = {name: t for name, t in things.items() if hasattr(t, "__module__")}  # not modules, not tables
    assert len(documented) > 3
    assert [name for name, t in documented.items() if not is_shown(t)] == []


def test_the_sections_of_the_reference_name_what_is_there():
    for where, members in sections().items():
        module = importlib.import_module(where)
        assert [n for n in members or () if not hasattr(module, n)] == [], where


@pytest.mark.parametrize("place", [place for place in sections() if place.startswith("tinygraph.ops")])
def test_the_reference_shows_the_operands_and_the_rule_of_an_operation(place):
    griffe = pytest.importorskip("griffe")
    extension = griffe.load_extensions(str(ROOT / "docs" / "rules.py"))
    shown = griffe.load(place, extensions=extension, search_paths=[str(ROOT)])
    module = importlib.import_module(place)
    for name in module.__all__:
        function = getattr(module, name)
        if "Local backward rule" in (function.__doc__ or ""):
            assert "Local backward rule: ``" in shown[name].docstring.value, name
            assert [p.name for p in shown[name].parameters] == list(inspect.signature(function).parameters), name


def test_the_page_of_an_operation_has_its_rule(tmp_path, monkeypatch):
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("mkdocs_jupyter")
    page = tmp_path / "docs" / "index.md"
    page.parent.mkdir()
    page.write_text("::: tinygraph.ops.elementwise\n    options:\n      members: [multiply]\n")
    config = re.sub(r"^nav:\n(  .*\n)+", "", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    config = config.replace("docs/rules.py", str(ROOT / "docs" / "rules.py")).replace("hooks: [docs/hooks.py]\n", "")
    (tmp_path / "mkdocs.yml").write_text(config)
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet"], cwd=tmp_path, check=True)
    text = html.unescape(re.sub(r"<[^>]+>", "", (tmp_path / "site" / "index.html").read_text()))
    assert re.search(r"multiply\(\s*a,\s*b\s*\)", text)
    assert tg.multiply.op.rule in text


def words(svg):
    return Counter(html.unescape(text) for text in re.findall(r"<text [^>]*>([^<]*)</text>", svg))


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the executable dot")
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_says_what_would_be_drawn_now(name, tmp_path):
    fresh = PICTURES[name]().render(tmp_path / "now.svg")
    assert words((ROOT / "docs" / "images" / f"{name}.svg").read_text()) == words(fresh.read_text())


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the executable dot")
@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/drawings.md"])
def test_the_first_picture_is_the_one_that_its_command_draws(page, tmp_path, monkeypatch):
    text = (ROOT / page).read_text()
    command = re.search(r"`tinygraph (render --backward [^`]*)`", text).group(1)
    assert "images/readme-graph.svg" in text
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(command.split())
    assert ended.value.code == 0
    drawn = words((tmp_path / command.split()[-1]).read_text())
    assert words((ROOT / "docs" / "images" / "readme-graph.svg").read_text()) == drawn


def test_the_version_is_the_one_in_the_changelog():
    assert f"## {tg.__version__} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_what_would_be_drawn_now(name, tmp_path):
    figures.write(name, tmp_path / "now.svg")
    was, now = texts(ROOT / "docs" / "images" / f"figure-{name}.svg"), texts(tmp_path / "now.svg")
    assert len(was) > 10
    assert was == now
