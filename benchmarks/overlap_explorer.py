"""How fast six domains of 32 x 14,336 neurons become an explorer, and how fast it answers.

Chromium opens the saved page from disk. The first interaction is a press on an UpSet column, timed
from the start of navigation until the list has the column's neurons and the next frame is painted;
later ones are timed from the press.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from playwright.sync_api import Browser, sync_playwright

import hlens.figures as figures
from hlens.evaluation import exclusive_overlap
from hlens.types import NeuronSet

LAYERS, WIDTH = 32, 14_336
NAMES = ("general", "science", "legal", "financial", "moral", "code")
FIRST = """() => new Promise((done) => {
  const press = () => {
    const column = [...document.querySelectorAll(".ox-column")].at(-1);
    if (!column) return setTimeout(press, 1);
    column.click();
    requestAnimationFrame(() => setTimeout(() => done(performance.now()), 0));
  };
  press();
})"""
LATER = """() => new Promise((done) => {
  const began = performance.now();
  document.querySelector(".ox-cell.count").click();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began), 0));
})"""


def made(size: int) -> tuple[list[NeuronSet], pd.DataFrame]:
    """Six weighted sets with a common tenth, and every member's AUROC in every domain."""
    draw = np.random.default_rng(0)
    core = draw.choice(LAYERS * WIDTH, size // 10, replace=False)
    sets = []
    for name in NAMES:
        flat = np.union1d(core, draw.choice(LAYERS * WIDTH, size - len(core), replace=False))
        members = list(zip((flat // WIDTH).tolist(), (flat % WIDTH).tolist(), strict=True))
        weights = dict(zip(members, draw.normal(size=len(members)).tolist(), strict=True))
        sets.append(NeuronSet(frozenset(members), LAYERS, WIDTH, weights=weights, name=name))
    every = np.array(sorted(set().union(*(one.members for one in sets))))
    n = len(every)
    auroc = draw.uniform(0.4, 0.8, n * len(NAMES))
    alone = pd.DataFrame(
        {
            "domain": np.repeat(NAMES, n), "layer": np.tile(every[:, 0], len(NAMES)),
            "neuron": np.tile(every[:, 1], len(NAMES)), "auroc": auroc, "low": auroc - 0.05,
            "high": auroc + 0.05, "p_corrected": draw.uniform(size=len(auroc)),
        }
    )  # fmt: skip
    return sets, alone


def opened(browser: Browser, path: Path) -> dict[str, float]:
    """Milliseconds to the first and to a later interaction, and memory in MB."""
    context = browser.new_context(viewport={"width": 1400, "height": 1200}, offline=True)
    page = context.new_page()
    page.goto(path.as_uri(), wait_until="commit")
    while len(page.frames) < 2:
        page.wait_for_timeout(1)
    frame = page.frames[1]
    times: dict[str, Any] = {"first ms": frame.evaluate(FIRST), "later ms": frame.evaluate(LATER)}
    memory = context.new_cdp_session(frame)  # a sandboxed frame has a process of its own
    memory.send("HeapProfiler.collectGarbage")
    held = memory.send("Runtime.getHeapUsage")
    stored = held.get("backingStorageSize", 0)  # typed arrays lie outside the heap
    times["memory MB"] = (held["usedSize"] + stored) / 1e6
    context.close()
    return times


def main() -> None:
    """Measure both sizes of sets and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    chromium = os.environ.get("HLENS_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as engine, tempfile.TemporaryDirectory() as folder:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for size in (460, 4_600):
            sets, alone = made(size)
            rows = []
            for _ in range(repeats):
                began = time.perf_counter()
                exclusive_overlap(sets, choices=True)
                chance = time.perf_counter()
                drawn = figures.overlap_explorer(sets, alone)
                done = time.perf_counter()
                path = drawn.save(Path(folder, f"{size}.html"))
                row = {"chance s": chance - began, "page s": done - chance}
                rows.append(row | {"MB": path.stat().st_size / 1e6} | opened(browser, path))
            medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
            told = ", ".join(f"{name} {value:.3g}" for name, value in medians.items())
            sys.stdout.write(f"{size:,} neurons a set: {told}\n")
        browser.close()


if __name__ == "__main__":
    main()
