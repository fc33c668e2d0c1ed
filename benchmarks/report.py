"""What a report, a map and an explorer of an 80 x 28,672 model weigh, and how fast they open.

Chromium opens each page from disk, in turn with a floor: a report with one small figure, which only
unpacks plotly and draws a few marks. Times run from the start of navigation to the first words, and
to the drawn figures of the first screen; the whole is what it takes to draw every figure besides.
"""

import argparse
import html
import json
import os
import re
import shutil
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from playwright.sync_api import Browser, CDPSession, sync_playwright
from scipy.stats import false_discovery_control, norm

import hlens.figures as figures
from hlens import lookup
from hlens.figures.explorer import NeuronPage, Strip
from hlens.report import ReportData, Section, page
from hlens.report.sections import neuron_map, neurons, scores, strips
from hlens.types import Detector, NeuronSet, Provenance

LAYERS, NEURONS, SELECTED, PAGES = 80, 28_672, 2_300, 24
DRAWN = ("transfer", "overlap", "upset", "path", "k_sweep", "dose_response", "losses")

# When the page says that its first screen is drawn, the clock of that page is read.
WATCH = """new MutationObserver(() => {
  const root = document.documentElement;
  if (root && root.dataset.ready && window.opened === undefined) window.opened = performance.now();
}).observe(document, {attributes: true, subtree: true, childList: true,
                      attributeFilter: ["data-ready"]});"""

FIRST_WORDS = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
DRAW_ALL = """async () => {
  const began = performance.now();
  dispatchEvent(new Event("beforeprint"));
  while (document.querySelector(".plot.wait")) await new Promise((r) => setTimeout(r, 5));
  return performance.now() - began;
}"""


def large() -> dict[str, Any]:
    """A detector of 2,300 neurons and all that is measured beside it."""
    seed = torch.Generator().manual_seed(0)
    size = LAYERS * NEURONS
    weights = torch.zeros(size)
    at = torch.randperm(size, generator=seed)[:SELECTED]
    weights[at] = torch.randn(SELECTED, generator=seed)
    auroc = 0.5 + torch.randn(LAYERS, NEURONS, generator=seed) / 25
    found = Detector(weights.view(LAYERS, -1), 0.0, provenance=Provenance(model="80 x 28,672"))
    names = ("general", "science", "legal", "financial")
    part = lambda: torch.rand(LAYERS, NEURONS, generator=seed) < 0.4  # noqa: E731
    shared = {name: NeuronSet.from_mask((found.weights != 0) & part()) for name in names}
    frequency = torch.rand(LAYERS, NEURONS, generator=seed)
    return {"detector": found, "auroc": auroc, "frequency": frequency, "shared": shared}


def pages(detector: Detector) -> dict[tuple[int, int], NeuronPage]:
    """Answers and words of the heaviest neurons."""
    weights = detector.selected.weights or {}
    heavy = sorted(weights, key=lambda neuron: -abs(weights[neuron]))[:PAGES]
    tokens = tuple(f" token{i}" for i in range(60))
    strip = Strip(tokens, tuple(float(abs(np.sin(i))) for i in range(60)), "hallucinated · general")
    words = tuple((f" word{i}", 1.0 - i / 10) for i in range(8))
    return {neuron: NeuronPage((strip, strip), (strip,), words, words) for neuron in heavy}


def alone(auroc: torch.Tensor) -> pd.DataFrame:
    """Every neuron tested alone."""
    flat = auroc.flatten().numpy().astype(float)
    p = 2 * norm.sf(np.abs(flat - 0.5) * 25 * np.random.default_rng(0).uniform(1, 1.2, len(flat)))
    table = pd.DataFrame({"layer": np.arange(len(flat)) // NEURONS, "auroc": flat, "p": p})
    table["neuron"], table["p_bh"] = np.arange(len(flat)) % NEURONS, false_discovery_control(p)
    return table


def example(name: str) -> Any:
    module = lookup.member("figures", name)
    return partial(module.draw, **module.example())


def report_data(made: dict[str, Any]) -> ReportData:
    volcano = partial(
        figures.volcano.draw, alone(made["auroc"]), selected=made["detector"].selected
    )
    strip = figures.tokens(**lookup.member("figures", "tokens").example())
    return ReportData(
        title="A report of a large model",
        sections=[
            scores.draw(lookup.member("figures", "scores").example()["table"]),
            strips.draw([strip] * 4) or Section("no strips"),
            neuron_map.draw(pages=pages(made["detector"]), **made),
            *(Section(name, content=[example(name)]) for name in DRAWN),
            Section("volcano", content=[volcano]),
            neurons.draw(**made),
        ],
        recipe="model = 'large'",
        versions={"hlens": "0"},
    )


def written(folder: Path) -> dict[str, Path]:
    """The pages that are opened, by name."""
    made = large()
    began = time.perf_counter()
    texts = {"report": page(report_data(made))}
    print(f"report written in {time.perf_counter() - began:.1f} s")
    drawn = figures.neuron_map(**made)
    texts["map"] = page(ReportData("map", sections=[Section("map", content=[drawn])]))
    frame = str(figures.explorer(pages=pages(made["detector"]), **made))
    # Its frame's own page: a sandboxed frame may run in another process than the clock reads.
    texts["explorer"] = html.unescape(re.findall(r'srcdoc="([^"]*)"', frame)[0])
    texts["floor"] = page(ReportData("floor", sections=[Section("x", content=[example("scores")])]))
    one = json.dumps(drawn.without_words())
    print(f"map as data: {len(one) / 1e6:.3f} MB (a full float32 heatmap: 12.8 MB)")
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
        print(f"{name}: {len(text.encode()) / 1e6:.2f} MB")
    return {name: folder / f"{name}.html" for name in texts}


def opened(browser: Browser, path: Path) -> dict[str, float]:
    """Seconds until the first screen is drawn, and for all other figures after it."""
    context = browser.new_context(viewport={"width": 1240, "height": 900}, offline=True)
    context.add_init_script(WATCH)
    tab = context.new_page()
    clock = context.new_cdp_session(tab)
    clock.send("Performance.enable", {"timeDomain": "threadTicks"})
    tab.goto(path.as_uri())
    tab.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
    found = {
        "first words": float(tab.evaluate(FIRST_WORDS)) / 1e3,
        "first screen": float(tab.evaluate("window.opened")) / 1e3,
        "first screen, CPU": busy(clock),
    }
    if path.stem == "report":
        before = busy(clock)
        found["all other figures"] = float(tab.evaluate(DRAW_ALL)) / 1e3
        found["all other figures, CPU"] = busy(clock) - before
    context.close()
    return found


def busy(clock: CDPSession) -> float:
    """CPU seconds that the page's main thread has worked; other programs do not stretch them."""
    metrics = clock.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")


def main() -> None:
    """Write, weigh and open the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    chromium = os.environ.get("HLENS_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as engine:
        paths = written(Path(folder))
        browser = engine.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        times: dict[str, list[float]] = {}
        for _ in range(given.repeats):
            for name, path in paths.items():
                for what, seconds in opened(browser, path).items():
                    times.setdefault(f"{name}, {what}", []).append(seconds)
        browser.close()
    for name, seconds in times.items():
        middle, clock = statistics.median(seconds), ", CPU" if name.endswith("CPU") else ""
        floor = statistics.median(times[f"floor, first screen{clock}"])
        print(
            f"{name}: {middle:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
            f"{middle / floor:.2f} of the floor"
        )


if __name__ == "__main__":
    main()
