"""Explorers as widgets: choices go both ways, and an exported notebook keeps the explorer."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import hlens.figures as figures
from hlens import lookup
from hlens.errors import HlensError
from hlens.figures.explorer import NeuronPage, Strip
from hlens.figures.explorer._widget import widget_class
from hlens.types import Detector

pytest.importorskip("anywidget", reason="the extra hlens[widget] is not installed")

# What the widget's script sees of a notebook: a model of traits, and a view's element.
HARNESS = """<script type="module">
const traits = {frame: FRAME, chosen: CHOSEN, learned: {}};
const heard = {};
window.model = {
  get: (name) => traits[name],
  set(name, value) { traits[name] = value; (heard["change:" + name] || []).forEach((f) => f()); },
  save_changes() { window.saved = traits.chosen; },
  on(name, f) { (heard[name] ||= []).push(f); },
  off(name, f) { heard[name] = heard[name].filter((g) => g !== f); },
};
ESM
view.render({model, el: document.createElement("div")});
</script>"""


def detector() -> Detector:
    weights = torch.zeros(6, 64)
    weights[4, 10], weights[5, 3], weights[2, 40] = 1.2, -0.8, 0.3
    return Detector(weights, 0.0)


def page(neuron: tuple[int, int]) -> NeuronPage:
    strip = Strip(("</script>", f" of {neuron}"), (0.1, 0.9), "hallucinated")
    return NeuronPage((strip,), (), ((" up", 1.0),), ())


def test_a_choice_is_known_and_its_page_is_made_once() -> None:
    made: list[tuple[int, int]] = []

    def page_of(neuron: tuple[int, int]) -> NeuronPage:
        made.append(neuron)
        return page(neuron)

    live = figures.explorer.live(detector(), {(5, 3): page((5, 3))}, page_of=page_of)
    assert (live.chosen, live.neuron) == ("L4N10", (4, 10))
    heard: list[str] = []
    live.observe(lambda change: heard.append(change["new"]), names="chosen")
    live.chosen = "L2N40"
    assert live.learned["key"] == "L2N40"
    assert live.learned["told"]["strongest"][0]["tokens"][1] == " of (2, 40)"
    live.neuron = (5, 3)
    live.chosen = "L2N40"
    assert heard == ["L2N40", "L5N3", "L2N40"]
    assert made == [(4, 10), (2, 40)], "pages that are there already are not made again"
    with pytest.raises(HlensError, match="'L0N0' is none of the 3 neurons"):
        live.chosen = "L0N0"


def test_a_neuron_of_a_mixture_is_chosen_by_its_expert() -> None:
    experts = ((0, 0, 64), *((4, 10, 24),) * 5)
    found = detector()
    found = replace(found, provenance=replace(found.provenance, experts=experts))
    live = figures.explorer.live(found)
    assert (live.chosen, live.neuron) == ("L4E1N0", (4, 10))
    live.neuron = (2, 40)
    assert live.chosen == "L2SN0"


def test_without_the_extra_or_a_neuron_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HlensError, match="selects no neuron"):
        figures.explorer.live(Detector(torch.zeros(2, 8), 0.0))
    widget_class.cache_clear()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(HlensError, match=r"pip install 'hlens\[widget\]'"):
        figures.explorer.live(detector())


def test_choices_go_both_ways(opened: Callable[..., Any]) -> None:
    live = figures.explorer.live(detector())
    markup = live.outputs()[0]["text/html"]
    esm = live._esm.replace("export default", "const view =")
    harness = HARNESS.replace("FRAME", repr(live.frame)).replace("CHOSEN", "'L5N3'")
    result = opened(f"<!doctype html><title>x</title>{markup}{harness.replace('ESM', esm)}")
    frame = result.page.frames[1]
    frame.wait_for_selector("html[data-ready]", state="attached")
    head = frame.locator(".hx-body h3")
    head.filter(has_text="L5N3").wait_for()  # what was chosen before the frame was ready
    frame.get_by_role("button", name="Next neuron").click()
    result.page.wait_for_function("window.saved === 'L2N40'")
    result.page.evaluate("model.set('chosen', 'L4N10')")
    head.filter(has_text="L4N10").wait_for()
    told = figures.explorer._panel.page_data(page((4, 10)))
    result.page.evaluate(
        "told => model.set('learned', {key: 'L4N10', told})",
        told,
    )
    frame.locator(".hx-strip", has_text="</script>").wait_for()
    result.assert_quiet()


def test_the_selection_of_an_overlap_goes_both_ways(opened: Callable[..., Any]) -> None:
    sets = lookup.member("figures", "overlap_explorer").example()["sets"]
    live = figures.overlap_explorer.live(sets)
    with pytest.raises(HlensError, match="nothing is selected yet"):
        _ = live.neurons
    for wrong in (["law"], []):
        with pytest.raises(HlensError, match="none of the sets shown; choose of"):
            live.choose(wrong)
    live.choose(["general", "science"])
    assert live.neurons.members == sets[0].members & sets[1].members
    markup = live.outputs()[0]["text/html"]
    esm = live._esm.replace("export default", "const view =")
    harness = HARNESS.replace("FRAME", repr(live.frame)).replace("CHOSEN", json.dumps(live.chosen))
    result = opened(f"<!doctype html><title>x</title>{markup}{harness.replace('ESM', esm)}")
    frame = result.page.frames[1]
    title = frame.locator(".ox-title")
    title.filter(
        has_text="In both general knowledge and science"
    ).wait_for()  # chosen before it was shown
    frame.locator(".ox-column").nth(1).click()
    result.page.wait_for_function("window.saved?.exact")
    live.chosen = result.page.evaluate("window.saved")
    addresses = [f"L{layer}N{neuron}" for layer, neuron in live.neurons]
    assert sorted(frame.locator(".ox-neuron b").all_inner_texts()) == sorted(addresses)
    result.page.evaluate("model.set('chosen', {among: 63, bits: 48, exact: false})")
    title.filter(has_text="In both moral and code").wait_for()
    result.assert_quiet()


def test_an_exported_notebook_keeps_the_explorer(opened: Callable[..., Any]) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbconvert = pytest.importorskip("nbconvert")
    from ipywidgets import Widget

    live = figures.explorer.live(detector(), {(4, 10): page((4, 10))})
    shown = [nbformat.v4.new_output("display_data", bundle) for bundle in live.outputs()]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("explorer", outputs=shown)],
        metadata={
            "widgets": {
                "application/vnd.jupyter.widget-state+json": Widget.get_manager_state(
                    widgets=[live]
                )
            }
        },
    )
    html, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    result = opened(html)
    frame = next(f for f in result.page.frames[1:] if f.locator(".hx").count())
    frame.wait_for_selector("html[data-ready]", state="attached")
    frame.get_by_role("button", name="Next neuron").click()
    frame.locator(".hx-body h3").filter(has_text="L5N3").wait_for()
