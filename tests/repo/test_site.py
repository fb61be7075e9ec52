"""What the site adds to pages: links from names to the reference and from numbers to the map, tables of names."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from repo import citations

pytest.importorskip("mkdocs")

from tinygraph import errors
from tinygraph.counterparts import COUNTERPARTS

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def at(identifier):
    return f"api/#{identifier}"


def nowhere(identifier):
    return None


@pytest.mark.parametrize(
    ("code", "identifier"),
    [
        ("tg.fit", "tinygraph.train.loop.fit"),
        ("nn.Dense(3, 4)", "tinygraph.nn.layers.Dense"),
        ("tg.nn.Module.predict", "tinygraph.nn.module.Module.predict"),
        ("losses.huber", "tinygraph.losses.huber"),
        ("tg.multiply", "tinygraph.ops.elementwise.multiply"),
        ("tg.nn.INITIALIZERS", "tinygraph.nn.init.INITIALIZERS"),
    ],
)
def test_a_name_in_code_leads_to_the_reference(hooks, code, identifier):
    html = f"<p>See <code>{code}</code>.</p>"
    assert hooks.with_names(html, at) == f'<p>See <a href="api/#{identifier}"><code>{code}</code></a>.</p>'
    assert hooks.with_names(html, nowhere) == html


@pytest.mark.parametrize(
    "html",
    [
        "<p><code>tg.cat</code>, <code>tg</code>, <code>fit</code>, <code>data.csv</code></p>",
        "<pre><span></span><code>tg.fit</code></pre>",
        "<h2>By <code>tg.fit</code></h2>",
        '<p><a href="x"><em>Of</em> <code>tg.fit</code></a></p>',
    ],
)
def test_what_is_no_name_or_has_no_room_for_a_link_stays(hooks, html):
    assert hooks.with_names(html, at) == html


@pytest.mark.parametrize("row", citations.rows(), ids=lambda row: row.cited)
def test_a_number_leads_to_its_row_of_the_map(hooks, row):
    html = hooks.with_numbers(f"<p>as in {row.cited}.</p>", "../chapter/")
    assert {*re.findall(r'href="(.*?)"', html)} == {f"../chapter/#{hooks.anchor(row)}"}
    assert re.sub(r"<.*?>", "", html) == f"as in {row.cited}."


@pytest.mark.parametrize(
    "html", ["<code>(65.83)</code>", "<h2>By (65.83)</h2>", '<a href="x">(65.83)</a>', '<p><img alt="By (65.83)"></p>']
)
def test_a_number_in_code_a_heading_a_link_or_a_tag_stays(hooks, html):
    assert hooks.with_numbers(html, "chapter/") == html


def test_every_row_of_the_map_can_be_linked_to(hooks):
    markdown = pytest.importorskip("markdown")
    html = markdown.markdown((ROOT / "docs" / "chapter.md").read_text(), extensions=["tables"])
    html = hooks.with_anchors(html, {item: f"errata/#{item}" for item in citations.items()})
    assert html.count(">erratum</a>") == sum("erratum" in row.kinds for row in citations.rows())
    found = re.findall(r'<tr id="([^"]+)">', html)
    assert found == [hooks.anchor(row) for row in citations.rows()]
    assert len(set(found)) == len(found)


def test_code_has_no_marks_of_code(hooks):
    assert hooks.without_marks("<code>tensor like `x`</code> `here`") == "<code>tensor like x</code> `here`"


def test_every_name_of_the_map_is_in_the_reference(hooks):
    for row in citations.rows():
        for name in row.names:
            assert hooks.identifiers(name) or not name.startswith("tg."), name


def test_every_error_leads_to_its_section_of_the_page_on_errors():
    griffe = pytest.importorskip("griffe")
    extension = griffe.load_extensions(str(ROOT / "docs" / "rules.py"))
    shown = griffe.load("tinygraph.errors", extensions=extension, search_paths=[str(ROOT)])
    sections = re.findall(r"^#+ (.*)$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    for name in errors.__all__:
        (target,) = re.findall(r"\[Troubleshooting\]\[(\w+)\]", shown[name].docstring.value)
        assert target in map(str.lower, sections), name


def test_docstrings_are_markdown_with_the_rule_first():
    griffe = pytest.importorskip("griffe")
    extension = griffe.load_extensions(str(ROOT / "docs" / "rules.py"))
    shown = griffe.load("tinygraph.ops", extensions=extension, search_paths=[str(ROOT)])
    functions = [f for module in shown.modules.values() for f in module.functions.values() if f.docstring]
    texts = [f.docstring.value for f in functions]
    assert not [text for text in texts if re.search(r"::$", text, re.MULTILINE) or "Notes\n" in text]
    rules = [text for text in texts if "Local backward rule: " in text]
    assert len(rules) > 50
    assert all(text.split("\n\n")[1].startswith("Local backward rule: ``") for text in rules)


def test_the_tables_have_every_name_and_code_as_code(hooks):
    page = hooks.on_page_markdown((ROOT / "docs" / "from-pytorch.md").read_text())
    for names in COUNTERPARTS.values():
        for name in names:
            assert f"| `{name}` | " in page, name
    assert "| `cat` | `tg.concatenate` |" in page
    assert "``" not in page.replace("```", "")
