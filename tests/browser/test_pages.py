"""Reports and figures in a real browser: nothing is asked for, nothing breaks, all of it works."""

import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hlens.figures as figures
import mixture_maps
from hlens import lookup
from hlens.drawing.figure import Figure
from hlens.report import Card, ReportData, Section, page
from hlens.report.sections import neuron_map, neurons, scores, strips
from hlens.types import Estimate
from hostile import TOKENS as HOSTILE
from hostile import explored

pytestmark = pytest.mark.slow

NAMES = lookup.names("figures")
PICTURES = ("transfer", "overlap", "upset", "path", "k_sweep", "volcano", "dose_response", "losses")


def example(name: str) -> dict[str, Any]:
    return lookup.member("figures", name).example()


def data() -> ReportData:
    measured = example("neuron_map")
    strip = figures.tokens(HOSTILE, [0.1, 0.9, 0.2, 0.3, 0.8, 0.1], facts=[[HOSTILE[0]]] * 6)
    drawings = [partial(lookup.member("figures", name).draw, **example(name)) for name in PICTURES]
    return ReportData(
        title=f"Report {HOSTILE[0]}",
        cards=[Card("AUROC", Estimate(0.84, 0.8, 0.88, 400), HOSTILE[0])],
        sections=[
            scores.draw(example("scores")["table"]),
            strips.draw([strip]) or Section("no strips"),
            neuron_map.draw(**measured),
            Section("All figures", "", drawings),
            Section("A table", "", [pd.DataFrame({"x": [2, 10, 1], "t": ["b", "a", HOSTILE[0]]})]),
            neurons.draw(**measured),
        ],
        recipe=HOSTILE[0],
        versions={"hlens": "0"},
    )


@pytest.fixture(scope="module")
def written() -> str:
    return page(data())


def ready(result: Any, theme: str) -> None:
    result.page.wait_for_selector(f'html[data-ready="{theme}"]', state="attached")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_report_draws_every_figure_and_asks_no_host(
    opened: Callable[..., Any], written: str, theme: str
) -> None:
    result = opened(written, theme=theme)
    ready(result, theme)
    plots = result.page.locator(".plot")
    assert plots.count() == len(PICTURES) + 2
    assert result.page.locator(".plot.wait").count() > 0, "what is far below is drawn when near"
    for plot in plots.all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
    assert result.page.locator(".plot.wait").count() == 0
    result.assert_quiet()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_report_that_is_printed_once_loaded_holds_every_figure(
    opened: Callable[..., Any], written: str, theme: str
) -> None:
    result = opened(written, theme=theme)
    # Printing waits for no timer, so what is not drawn by then stays away.
    printed = result.page.evaluate("""async () => {
        dispatchEvent(new Event("beforeprint"));
        for (let turn = 0; turn < 100; turn += 1) await null;
        return [...document.querySelectorAll(".plot")].map((at) => [
            at.dataset.drawn, +at.querySelector(".main-svg")?.getAttribute("width"),
            at.classList.contains("wait")]);
    }""")
    result.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(printed) == len(PICTURES) + 2
    assert {(drawn, waits) for drawn, _, waits in printed} == {("light", False)}
    widths = [width for _, width, _ in printed]
    assert 600 < min(widths) <= max(widths) <= 1060, widths
    # And then it goes on as it was.
    wide = """() => [...document.querySelectorAll(".plot .main-svg")].at(-1)
        .getAttribute("width") > 1060"""
    result.page.wait_for_function(wide)
    assert result.page.evaluate("hlens.theme()") == theme
    result.assert_quiet()


def test_the_theme_switches_and_switches_back(opened: Callable[..., Any], written: str) -> None:
    result = opened(written)
    ready(result, "light")
    paper = "() => getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"
    light = result.page.evaluate(paper)
    button = result.page.get_by_role("button", name="Switch to the dark theme")
    button.focus()
    result.page.keyboard.press("Enter")
    ready(result, "dark")
    assert result.page.evaluate(paper) != light
    result.page.get_by_role("button", name="Switch to the light theme").click()
    ready(result, "light")
    assert result.page.evaluate(paper) == light
    result.assert_quiet()


def test_a_table_sorts_by_keyboard_and_says_so(opened: Callable[..., Any], written: str) -> None:
    result = opened(written)
    table = result.page.locator("section", has_text="A table").last.locator("table")
    first = table.locator("tbody td:first-child")
    table.get_by_role("button", name="x").focus()
    result.page.keyboard.press("Enter")
    assert first.all_inner_texts() == ["10", "2", "1"]
    assert table.locator("th").first.get_attribute("aria-sort") == "descending"
    result.page.keyboard.press("Enter")
    assert first.all_inner_texts() == ["1", "2", "10"]
    assert table.locator("th").first.get_attribute("aria-sort") == "ascending"


def test_hostile_tokens_appear_as_text(opened: Callable[..., Any], written: str) -> None:
    result = opened(written)
    ready(result, "light")
    strip = result.page.locator(".hlens-tokens").first
    for token in HOSTILE[:5]:
        assert token.strip() in strip.inner_text()
    assert result.page.locator("h1").inner_text() == f"Report {HOSTILE[0]}"
    assert "dialog" not in result.complaints


def test_a_token_tells_its_facts_on_focus_and_hover(
    opened: Callable[..., Any], written: str
) -> None:
    result = opened(written)
    token = result.page.locator(".hl-t[tabindex]").nth(1)
    tip = token.locator(".hl-tip")
    assert not tip.is_visible()
    token.focus()
    assert tip.is_visible()
    assert "hallucination risk 0.90" in tip.inner_text()
    result.page.locator(".hl-t[tabindex]").nth(2).hover()
    assert result.page.locator(".hl-t[tabindex]").nth(2).locator(".hl-tip").is_visible()


def test_nothing_offers_an_upload(opened: Callable[..., Any], written: str) -> None:
    result = opened(written)
    ready(result, "light")
    result.page.locator(".plot").first.hover()
    assert result.buttons()


def test_hovering_a_neuron_tells_its_address(opened: Callable[..., Any], written: str) -> None:
    result = opened(written)
    ready(result, "light")
    plot = result.page.locator(".plot").nth(1)
    plot.scroll_into_view_if_needed()
    plot.locator(".scatterlayer .points path").first.wait_for()
    mark = plot.locator(".scatterlayer .points path").nth(3)
    box = mark.bounding_box()
    result.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = plot.locator(".hoverlayer .hovertext")
    label.wait_for()
    assert "associated" in label.text_content()


@pytest.mark.parametrize("width", [360, 768])
def test_a_narrow_page_never_scrolls_sideways(
    opened: Callable[..., Any], written: str, width: int
) -> None:
    result = opened(written, width=width)
    ready(result, "light")
    assert result.page.evaluate("document.documentElement.scrollWidth") <= width


def test_landmarks_names_and_headings_are_in_order(
    opened: Callable[..., Any], written: str
) -> None:
    result = opened(written)
    ready(result, "light")
    levels = result.page.locator("h1,h2,h3").evaluate_all("all => all.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for role in ("main", "navigation", "banner", "contentinfo"):
        assert result.page.get_by_role(role).count() == 1, role
    unnamed = "all => all.filter(e => !e.getAttribute('aria-label')).length"
    assert result.page.locator("[role=img],[role=region]").evaluate_all(unnamed) == 0


# Words that are cut by the edge of their figure, and words that lie on other words.
CLIPPED = """plot => {
  const box = plot.getBoundingClientRect();
  return [...plot.querySelectorAll(".main-svg text")].filter(t => {
    const b = t.getBoundingClientRect();
    return b.width && (b.left < box.left - 1 || b.right > box.right + 1
                       || b.top < box.top - 1 || b.bottom > box.bottom + 1);
  }).map(t => t.textContent);
}"""
COVERED = """plot => {
  const texts = [...plot.querySelectorAll(".main-svg text")].filter(
    t => t.getBoundingClientRect().width);
  const boxes = texts.map(t => t.getBoundingClientRect());
  const found = [];
  boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b, j) => {
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 2 && high > 4) found.push([texts[i].textContent, texts[i + 1 + j].textContent]);
  }));
  return found;
}"""


def test_every_figure_draws_with_no_word_cut_or_covered(opened: Callable[..., Any]) -> None:
    drawn = {name: lookup.member("figures", name).draw(**example(name)) for name in NAMES}
    drawn = {name: figure for name, figure in drawn.items() if isinstance(figure, Figure)}
    assert len(drawn) >= 17
    parts = [
        f.to_html(full_html=False, include_plotlyjs=not i) for i, f in enumerate(drawn.values())
    ]
    result = opened(f"<!doctype html><title>x</title>{''.join(parts)}", width=900)
    plots = result.page.locator(".js-plotly-plot")
    assert plots.count() == len(drawn)
    for name, plot in zip(drawn, plots.all(), strict=True):
        plot.locator(".main-svg").first.wait_for()
        assert (name, plot.evaluate(CLIPPED), plot.evaluate(COVERED)) == (name, [], [])
    assert result.buttons()
    result.assert_quiet()


# Where the rings are that mark the chosen neuron: one, whatever was chosen before.
RINGS = """[...document.querySelectorAll(".plot")].flatMap((plot) => (plot.layout?.shapes || [])
  .filter((shape) => shape.name === "chosen neuron").map((shape) => [shape.yanchor, shape.xanchor]))
"""


def assert_explores(frame: Any, mouse: Any) -> None:
    head = frame.locator(".hx-body h3")
    assert head.inner_text() == "L4N10"
    for word in HOSTILE[:2]:
        assert word in frame.locator(".hx-body").inner_text()
    frame.get_by_role("button", name="Next neuron").click()
    assert head.inner_text() == "L5N3"
    frame.get_by_label("Neuron", exact=True).select_option("L2N40")
    assert head.inner_text() == "L2N40"
    box = frame.locator(".scatterlayer .trace path.point").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse.move(*middle)
    frame.locator(".hoverlayer .hovertext").wait_for()
    mouse.click(*middle)
    head.filter(has_text="L5N3").wait_for()
    frame.wait_for_timeout(300)  # plotly moves the ring a moment later
    assert frame.evaluate(RINGS) == [[5, 3]]


def test_the_explorer_links_map_and_panel(opened: Callable[..., Any]) -> None:
    result = opened(f"<!doctype html><title>x</title>{figures.explorer(**explored())}")
    frame = result.page.frames[1]
    frame.wait_for_selector("html[data-ready]", state="attached")
    assert_explores(frame, result.page.mouse)
    assert result.buttons()
    paper = "getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"
    light = frame.evaluate(paper)
    result.page.emulate_media(color_scheme="dark")
    frame.wait_for_selector('html[data-ready="dark"]', state="attached")
    assert frame.evaluate(paper) != light
    result.assert_quiet()


SIDES = (("x", "width"), ("y", "height"))


def test_the_explorer_of_a_mixture_links_marks_by_their_address(opened: Callable[..., Any]) -> None:
    found = mixture_maps.detector(mixture_maps.DEEPSEEK_V2_LITE, n=3, n_gathered=0)
    result = opened(f"<!doctype html><title>x</title>{figures.explorer(found)}")
    frame = result.page.frames[1]
    frame.wait_for_selector("html[data-ready]", state="attached")
    head = frame.locator(".hx-body h3")
    told = set()
    for mark in frame.locator(".scatterlayer .trace path.point").all():
        box = mark.bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        result.page.mouse.move(*middle)
        frame.locator(".hoverlayer .hovertext").wait_for()
        address = frame.locator(".hoverlayer .hovertext").text_content().split()[0]
        result.page.mouse.click(*middle)
        head.filter(has_text=address).wait_for()
        for _ in range(50):  # the ring is drawn when the browser comes to it
            frame.wait_for_timeout(100)
            ring = frame.locator(".shapelayer path").last.bounding_box()
            box = mark.bounding_box()  # the panel may have moved the marks
            off = [ring[at] + ring[size] / 2 - box[at] - box[size] / 2 for at, size in SIDES]
            if max(map(abs, off)) < 2:
                break
        assert off == pytest.approx([0, 0], abs=2)
        assert len(frame.evaluate(RINGS)) == 1
        told.add(address)
    assert told == {found.selected.address(neuron) for neuron in found.selected}
    result.assert_quiet()


@pytest.mark.parametrize("shape", ["QWEN3_30B", "DEEPSEEK_V2_LITE", "MIXTRAL", "EVERY_OTHER"])
def test_the_map_of_a_mixture_has_no_word_cut_or_covered(
    opened: Callable[..., Any], shape: str
) -> None:
    drawn = figures.neuron_map(mixture_maps.detector(getattr(mixture_maps, shape)))
    markup = drawn.to_html(full_html=False, include_plotlyjs=True)
    result = opened(f"<!doctype html><title>x</title>{markup}", width=900)
    plot = result.page.locator(".js-plotly-plot")
    plot.locator(".main-svg").first.wait_for()
    assert (plot.evaluate(CLIPPED), plot.evaluate(COVERED)) == ([], [])
    assert re.match(r"L\d+(E\d+|S)?N\d+ ", result.hover())
    result.assert_quiet()


def test_a_report_with_pages_has_the_panel(opened: Callable[..., Any]) -> None:
    result = opened(page(ReportData("x", sections=[neuron_map.draw(**explored())])))
    ready(result, "light")
    result.page.locator(".hx").scroll_into_view_if_needed()
    result.page.locator(".hx-body h3").wait_for()
    assert_explores(result.page.main_frame, result.page.mouse)
    result.page.get_by_role("button", name="Switch to the dark theme").click()
    ready(result, "dark")
    assert result.page.locator(".hx-panel").count() == 1
    result.assert_quiet()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_circuitsvis_draws_offline_with_its_tokens_as_text(
    opened: Callable[..., Any], theme: str
) -> None:
    values = np.linspace(0, 1, 2 * len(HOSTILE)).reshape(len(HOSTILE), 1, 2)
    frame = figures.circuitsvis_text(HOSTILE, values, theme=theme)
    result = opened(f"<!doctype html><title>x</title><p>before</p>{frame}<p>after</p>")
    inner = result.page.frames[1]
    inner.locator("select").first.wait_for()
    shown = inner.locator("body").inner_text().replace("\u00a0", " ")  # it makes spaces hard
    for token in HOSTILE[:4]:
        assert token.strip() in shown
    assert result.page.get_by_text("after").is_visible()
    result.assert_quiet(known=("WebGL", "GL Driver"))  # it looks for a graphics card


CONTRAST = """() => {
  const channels = (c) => c.match(/[\\d.]+/g).map(Number);
  const bright = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = (e) => {
    for (; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const words = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const shown = (e) => e.checkVisibility() && e.getClientRects().length
    && !e.closest(".hl-t, .plot");
  return [...document.querySelectorAll("body *")].filter((e) => words(e) && shown(e)).map((e) => {
    const [one, other] = [bright(channels(getComputedStyle(e).color)), bright(paper(e))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    return [ratio, e.outerHTML.slice(0, 80)];
  }).filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_words_of_a_page_can_be_read(
    opened: Callable[..., Any], written: str, theme: str
) -> None:
    result = opened(written, theme=theme)
    ready(result, theme)
    assert result.page.evaluate(CONTRAST) == []


def test_the_keyboard_reaches_the_findings_first(opened: Callable[..., Any], written: str) -> None:
    result = opened(written)
    result.page.keyboard.press("Tab")
    skip = result.page.locator(":focus")
    assert skip.inner_text() == "Skip to the findings"
    assert skip.bounding_box()["x"] >= 0, "a focused skip link is seen"
    result.page.keyboard.press("Enter")
    assert result.page.evaluate("document.activeElement.id") == "main"
    for table in result.page.locator("table").all():
        assert table.locator("caption").inner_text()
        assert table.locator("th:not([scope])").count() == 0


@pytest.mark.parametrize("name", ["scores", "explorer", "tokens", "circuitsvis_text"])
def test_a_saved_figure_draws_under_its_policy(
    name: str, visit: Callable[..., Any], tmp_path: Path
) -> None:
    shown = visit(getattr(figures, name)(**example(name)).save(tmp_path / "page.html"))
    selector = {"tokens": ".hl-t"}.get(name, ".js-plotly-plot .main-svg")
    frame = shown.page.frames[:2][
        -1
    ]  # a page around a frame may hold another one until it is drawn
    if name == "circuitsvis_text":
        selector = "span"
    frame.locator(selector).first.wait_for()
    shown.assert_quiet()
