"""The map of the chapter has every item; every citation is of an item that is there, and of the thing cited."""

import re

import pytest
from repo import citations
from repo.citations import ROOT

import tinygraph

pytestmark = pytest.mark.host

CODE = sorted(p for top in ("tinygraph", "models", "tools") for p in (ROOT / top).rglob("*.py"))
CODE = [p for p in CODE if not {"models", "tools"} & set(p.relative_to(ROOT).parts[1:2])]  # not twice, by a link
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES.remove(ROOT / "docs" / "chapter.md")
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name(path):
    return str(path.relative_to(ROOT))


def resolve(dotted):
    found = tinygraph
    for part in dotted.removeprefix("tg.").split("."):
        found = getattr(found, part)
    return found


def test_every_item_has_one_row():
    covered = [item for row in citations.rows() for item in row.covers]
    assert [item for item in citations.items() if covered.count(item) != 1] == []


@pytest.mark.parametrize("row", citations.rows(), ids=lambda row: row.cited)
def test_a_row_has_name_and_test_or_is_prose(row):
    assert row.what
    if "prose" in row.kinds:
        assert not row.names
        assert not row.tests
        return
    assert row.names
    assert row.tests
    for dotted in row.names:
        if dotted.startswith("tg."):
            assert resolve(dotted) is not None
        else:
            assert dotted.startswith("tinygraph figure ")
    text = ""
    for path in row.tests:
        file = ROOT / path if "/" in path else ROOT / "tests" / "chapter" / path
        assert file.is_file(), file
        text += file.read_text()
    cited = {item for citation in citations.find(text) for item in citation.covers}
    assert [item for item in row.covers if item not in cited] == [], "the test does not say that it holds these"
    used = [re.split(r"[. ]", dotted)[-1] for dotted in row.names]
    assert any(re.search(rf"\b{re.escape(word)}\b", text) for word in used), f"{row.tests} uses none of {used}"


@pytest.mark.parametrize("row", [r for r in citations.rows() if "erratum" in r.kinds], ids=lambda row: row.cited)
def test_an_erratum_is_on_the_page_of_errata(row):
    page = (ROOT / "docs" / "errata.md").read_text()
    assert {i for c in citations.find(page) for i in c.covers} & set(row.covers)


def test_an_erratum_that_changes_a_number_is_marked_on_the_map():
    headings = re.findall(r"^### (.*)$", (ROOT / "docs" / "errata.md").read_text(), re.MULTILINE)
    wrong = {item for heading in headings for citation in citations.find(heading) for item in citation.covers}
    assert [item for item in sorted(wrong) if "erratum" not in citations.row_of(item).kinds] == []


def test_every_test_of_the_chapter_is_on_the_map():
    listed = {path for row in citations.rows() for path in row.tests}
    assert [p.name for p in (ROOT / "tests" / "chapter").glob("test_*.py") if p.name not in listed] == []


@pytest.mark.parametrize("path", [*CODE, *PAGES, *TESTS], ids=name)
def test_a_citation_is_of_an_item_that_there_is(path):
    text = path.read_text()
    if path.name == "test_chapter_map.py":
        return
    assert [c.text for c in citations.find(text) if not c.covers] == []
    assert citations.unread(text) == [], "not written as citations are"


# The page of errata quotes formulas from where they stand; tests/repo/test_errata.py computes them.
@pytest.mark.parametrize("path", [p for p in [*CODE, *PAGES] if p.name != "errata.md"], ids=name)
def test_a_citation_is_of_what_it_stands_beside(path):
    """The text around a citation shares a word with the map's row of the number, at both ends of a range."""
    wrong = []
    for citation, around in citations.places(path):
        for end in citation.ends:
            if end in citations.sections():
                continue
            rows = {citations.row_of(item) for item in citations.parts(end)}
            shared = [citations.words(f"{r.what} {' '.join(r.names)}") & citations.words(around) for r in rows]
            if not any(found - citations.common() for found in shared):
                wrong.append(f"{citation.text}: {' / '.join(row.what for row in rows)}")
    assert wrong == []
