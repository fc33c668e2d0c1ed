"""The overlap explorer in a real browser: one selection in every part, by mouse and by keyboard."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hlens.figures as figures
from hlens import lookup
from hlens.figures.explorer import NeuronPage, Strip
from hlens.report import ReportData, page
from hlens.report.sections import overlap_explorer as section
from hlens.types import NeuronSet
from hostile import TOKENS as HOSTILE

pytestmark = pytest.mark.slow

LAYERS, WIDTH = 32, 14_336  # 458,752 neurons
NAMES = ("general", "science", "legal", "financial", "moral", "code")


def example() -> dict[str, Any]:
    return lookup.member("figures", "overlap_explorer").example()


def explored(
    opened: Callable[..., Any], theme: str = "light", width: int = 1240, **more: Any
) -> Any:
    """The opened page, and the frame of its explorer once that is drawn."""
    shown = figures.overlap_explorer(**{**example(), **more})
    result = opened(f"<!doctype html><title>x</title>{shown}", theme=theme, width=width)
    frame = result.page.frames[1]
    frame.wait_for_selector(f'html[data-ready="{theme}"]', state="attached")
    return result, frame


def pressed(frame: Any, kind: str) -> list[str]:
    return frame.locator(f"{kind}[aria-pressed=true]").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label') || e.textContent)"
    )


def listed(frame: Any) -> list[str]:
    return frame.locator(".ox-neuron b").all_inner_texts()


def column(frame: Any, name: str) -> Any:
    return frame.locator(f'.ox-column[aria-label^="{name}"]')


def test_a_column_a_cell_and_a_chip_change_every_part(opened: Callable[..., Any]) -> None:
    result, frame = explored(opened)
    members = {one.name: set(one.members) for one in example()["sets"]}
    head = frame.locator(".ox-head")
    assert head.get_attribute("aria-live") == "polite"
    assert "In general knowledge, science, legal, financial and moral only" in head.inner_text()

    column(frame, "general knowledge and science only").click()
    rest = set().union(*(members[name] for name in NAMES[2:]))
    only = (members["general"] & members["science"]) - rest
    assert set(listed(frame)) == {f"L{layer}N{neuron}" for layer, neuron in only}
    assert f"{len(only)} neurons" in head.inner_text()
    assert "expected by chance" in head.inner_text()
    assert len(pressed(frame, ".ox-column")) == 1
    assert pressed(frame, ".ox-cell") == []
    assert frame.locator(".ox-cell.part").count() == 4  # two sets, and the pair on both sides

    frame.locator('.ox-cell.count[aria-label^="general knowledge and science share"]').click()
    both = members["general"] & members["science"]
    assert set(listed(frame)) == {f"L{layer}N{neuron}" for layer, neuron in both}
    assert head.locator(".ox-title").inner_text() == "In both general knowledge and science"
    assert len(pressed(frame, ".ox-cell")) == 2
    assert pressed(frame, ".ox-column") == []
    parts = frame.locator(".ox-column.part").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label').split(':')[0])"
    )
    assert parts
    assert all("general" in part and "science" in part for part in parts)

    # Without the others, what both have is what exactly these have.
    for name in NAMES[2:]:
        frame.get_by_role("button", name=name).first.click()
    assert frame.locator(".ox-column").count() == 3
    assert column(frame, "general knowledge and science:").locator(".ox-count").inner_text() == str(
        len(both)
    )
    assert pressed(frame, ".ox-chip") == ["general knowledge, 43 neurons", "science, 41 neurons"]
    frame.locator(".ox-chip").first.evaluate("chip => chip.click()")  # which is marked disabled
    assert len(pressed(frame, ".ox-chip")) == 2, "a comparison takes two sets"
    result.assert_quiet()


def test_a_mark_of_the_map_opens_its_neuron(opened: Callable[..., Any]) -> None:
    result, frame = explored(opened)
    place = frame.evaluate("""() => {
        const box = document.querySelector(".ox-map canvas").getBoundingClientRect();
        return [box.left, box.top, box.width, box.height];
    }""")
    # A neuron of code alone, where the map's axes say that it is.
    code = next(one for one in example()["sets"] if one.name == "code")
    others = set().union(*(one.members for one in example()["sets"] if one.name != "code"))
    layer, neuron = min(code.members - others)
    x = place[0] + 44 + (neuron + 0.5) / 1024 * (place[2] - 58)
    y = place[1] + 10 + (24 - layer - 0.5) * (place[3] - 50) / 24
    frame.locator(".ox-map").scroll_into_view_if_needed()
    outer = result.page.locator("iframe").bounding_box()
    result.page.mouse.move(outer["x"] + x, outer["y"] + y)
    frame.locator(".ox-tip", has_text=f"L{layer}N{neuron} · code").wait_for()
    result.page.mouse.click(outer["x"] + x, outer["y"] + y)
    opened_row = frame.locator(".ox-neuron[aria-expanded=true]")
    assert opened_row.locator("b").inner_text() == f"L{layer}N{neuron}"
    assert pressed(frame, ".ox-column")[0].startswith("code only")
    assert "selected here" in frame.locator(".ox-detail").inner_text()
    result.assert_quiet()


def test_every_part_is_reached_by_keyboard(opened: Callable[..., Any]) -> None:
    result, frame = explored(opened)
    keys = result.page.keyboard
    now = "document.activeElement.className"
    stops = []
    for _ in range(12):
        keys.press("Tab")
        stops.append(frame.evaluate(now))
    # Six chips, then one stop each for matrix, columns, map and list.
    assert [stop.split()[0] for stop in stops[:10]] == [
        *["ox-chip"] * 6, "ox-cell", "ox-column", "ox-map", "ox-neuron",
    ]  # fmt: skip

    frame.locator(".ox-cell").first.focus()
    keys.press("ArrowRight")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    keys.press("Enter")
    assert frame.locator(".ox-title").inner_text() == "In both science and legal"
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    assert frame.evaluate(ring) == "solid"

    frame.locator(".ox-column").first.focus()
    keys.press("End")
    keys.press("Space")
    assert pressed(frame, ".ox-column") == [
        frame.locator(".ox-column").last.get_attribute("aria-label")
    ]

    frame.locator(".ox-neuron").first.focus()
    keys.press("ArrowDown")
    second = listed(frame)[1]
    keys.press("Enter")
    assert frame.locator(".ox-neuron[aria-expanded=true] b").inner_text() == second
    assert second in frame.evaluate("document.activeElement.textContent")
    keys.press("Enter")
    assert frame.locator(".ox-neuron[aria-expanded=true]").count() == 0

    frame.locator(".ox-map").focus()
    told = frame.locator(".ox-map [aria-live]")
    said = []
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        keys.press(key)
        said.append(told.inner_text())
    assert len(set(said)) == 4
    keys.press("Enter")
    address = frame.locator(".ox-neuron[aria-expanded=true] b").inner_text()
    assert said[-1].startswith(f"{address} · ")
    result.assert_quiet()


def test_everything_pressed_has_a_name_and_its_chance(opened: Callable[..., Any]) -> None:
    _, frame = explored(opened)
    for kind in (".ox-column", ".ox-cell:not(.own)"):
        names = frame.locator(kind).evaluate_all(
            "all => all.map(e => e.getAttribute('aria-label'))"
        )
        assert len(names) > 10
        for name in names:
            assert "expected by chance" in name
            assert "-fold, corrected p" in name


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 700, 360])
def test_it_fits_and_follows_the_theme(opened: Callable[..., Any], theme: str, width: int) -> None:
    result, frame = explored(opened, theme=theme, width=width)
    assert frame.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    paint = """() => {
        const pen = document.querySelector(".ox-map canvas").getContext("2d");
        return [...pen.getImageData(60, 20, 1, 1).data];
    }"""
    before, other = frame.evaluate(paint), {"light": "dark", "dark": "light"}[theme]
    result.page.emulate_media(color_scheme=other)
    frame.wait_for_selector(f'.ox[data-ready="{other}"]')
    assert frame.evaluate(paint) != before
    assert (np.mean(before[:3]) > 128) == (theme == "light")
    result.assert_quiet(known=["willReadFrequently"])  # the test reads pixels, no reader does


def test_a_report_s_explorer_follows_its_theme_and_keeps_its_rules(
    opened: Callable[..., Any],
) -> None:
    drawn = section.draw(**example())
    result = opened(page(ReportData("x", sections=[drawn] if drawn else [])))
    root = result.page.locator(".ox")
    result.page.wait_for_selector(".ox[data-ready]")
    ground = "() => getComputedStyle(document.querySelector('.ox-cell.own b')).color"
    light = result.page.evaluate(ground)
    result.page.get_by_role("button", name="Switch to the dark theme").click()
    assert result.page.evaluate(ground) != light
    root.locator(".ox-column").nth(1).click()
    assert root.locator(".ox-column").nth(1).get_attribute("aria-pressed") == "true"
    root.locator(".ox-neuron").first.click()
    assert "Strongest in general knowledge" in root.locator(".ox-detail").inner_text()
    assert result.page.evaluate("document.documentElement.scrollWidth") <= 1240
    result.assert_quiet()


def test_hostile_names_and_answers_are_text(opened: Callable[..., Any]) -> None:
    one, two = example()["sets"][:2]
    sets = [one.renamed(HOSTILE[0]), two.renamed(HOSTILE[2] + "\u202e"), *example()["sets"][2:]]
    strip = Strip(tuple(HOSTILE), (None, 0.1, 0.9, 0.2, 0.3, 0.4), caption=HOSTILE[0])
    chosen = NeuronPage((strip,), (), ((HOSTILE[0], 1.0),), ((HOSTILE[1], -1.0),))
    pages = {one.name: dict.fromkeys(one.members, chosen) for one in sets}
    result, frame = explored(opened, sets=sets, alone=None, pages=pages)
    frame.locator(".ox-neuron").first.click()
    detail = frame.locator(".ox-detail").inner_text()
    for word in HOSTILE[:4]:
        assert word.strip() in detail
    assert HOSTILE[0] in frame.locator(".ox-chip").first.inner_text()
    assert "\\u202e" in frame.locator(".ox-chip").nth(1).inner_text()
    result.assert_quiet()


def large(size: int) -> tuple[list[NeuronSet], pd.DataFrame]:
    """Six sets of so many neurons with a common tenth, and AUROC of all in every domain."""
    draw = np.random.default_rng(0)
    core = draw.choice(LAYERS * WIDTH, size // 10, replace=False)
    sets = []
    for name in NAMES:
        flat = np.union1d(core, draw.choice(LAYERS * WIDTH, size - len(core), replace=False))
        members = zip((flat // WIDTH).tolist(), (flat % WIDTH).tolist(), strict=True)
        sets.append(NeuronSet(frozenset(members), LAYERS, WIDTH, name=name))
    every = np.array(sorted(set().union(*(one.members for one in sets))))
    auroc = draw.uniform(0.4, 0.8, (len(NAMES), len(every)))
    parts = [
        pd.DataFrame(
            {"domain": name, "layer": every[:, 0], "neuron": every[:, 1], "auroc": own,
             "low": own - 0.05, "high": own + 0.05, "p_corrected": 0.2}
        )
        for name, own in zip(NAMES, auroc, strict=True)
    ]  # fmt: skip
    return sets, pd.concat(parts, ignore_index=True)


def test_six_domains_of_a_large_model_answer_at_once(
    browser: Any, opened: Callable[..., Any]
) -> None:
    """Bounds are several times what one slow core takes; benchmarks/ has the measured times."""
    sets, alone = large(4_600)
    began = time.process_time()
    shown = figures.overlap_explorer(sets, alone)
    assert time.process_time() - began < 4
    result = opened(f"<!doctype html><title>x</title>{shown}", width=1400)
    frame = result.page.frames[1]
    frame.wait_for_selector("html[data-ready]", state="attached")
    assert frame.evaluate("performance.now()") < 10_000
    took = """() => new Promise((done) => {
        const began = performance.now();
        [...document.querySelectorAll(".ox-column")].at(-1).click();
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - began), 0));
    })"""
    assert frame.evaluate(took) < 2_000
    assert frame.locator(".ox-neuron").count() == 60
    frame.get_by_role("button", name="Show more").click()
    assert frame.locator(".ox-neuron").count() == 120
    memory = result.page.context.new_cdp_session(frame)
    memory.send("HeapProfiler.collectGarbage")
    held = memory.send("Runtime.getHeapUsage")
    assert held["usedSize"] + held.get("backingStorageSize", 0) < 60e6
    result.assert_quiet()
