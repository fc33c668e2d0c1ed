"""A real browser over the pages that hlens writes; skipped where there is none."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What a mouse can stand on, in any kind of figure that draws marks.
MARKS = ".js-plotly-plot :is(.points path, .trace.bars .point path, .boxlayer path)"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


@dataclass
class Opened:
    """A page with everything that it said and asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def assert_quiet(self, known: Sequence[str] = ()) -> None:
        """It complained of nothing but what is `known`, and asked no host."""
        assert [x for x in self.complaints if not any(word in x for word in known)] == []
        asked = [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))]
        assert asked == []

    def buttons(self) -> list[str]:
        """The buttons of all figures, of which none may offer to share them."""
        words = "all => all.map(b => `${b.dataset.title} ${b.dataset.attr} ${b.dataset.name}`)"
        found = [
            text.lower()
            for frame in self.page.frames
            for text in frame.locator(".modebar-btn").evaluate_all(words)
        ]
        assert not [x for x in found if any(w in x for w in ("share", "cloud", "upload", "send"))]
        return found

    def hover(self) -> str:
        """What the first figure, or strip of tokens, tells of what is under the mouse."""
        for mark in self.page.locator(MARKS).all()[:40]:
            mark.scroll_into_view_if_needed()
            box = mark.bounding_box()
            if box is None:
                continue
            self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=2)
            self.page.wait_for_timeout(120)  # plotly waits a moment, too
            told = self.page.locator(".hoverlayer .hovertext")
            if told.count():
                return told.first.text_content() or ""
        tokens = self.page.locator(".hl-t[tabindex]")
        if not tokens.count():
            return ""
        tokens.first.hover()
        tip = tokens.first.locator(".hl-tip")
        return tip.inner_text() if tip.is_visible() else ""

    def paper(self) -> str:
        """The colour behind the page's text."""
        return self.page.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.fixture(scope="session")
def chromium() -> list[str]:
    """The command that starts the browser."""
    named = os.environ.get("HLENS_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, CANDIDATES)), None)
    if found is None:
        pytest.skip("no Chromium or Chrome on this machine; set HLENS_CHROMIUM to its path")
    return [found, *ARGUMENTS]


@pytest.fixture(scope="session")
def browser(chromium: list[str]) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as engine:
        path, *arguments = chromium
        browser = engine.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file from disk: ``visit(path, theme="dark", width=1240)``."""
    contexts = []

    def open_file(path: Path, theme: str = "light", width: int = 1240) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, offline=True
        )
        contexts.append(context)
        result = Opened(context.new_page())
        result.page.set_default_timeout(60_000)
        result.page.on("console", lambda m: result.complaints.append(f"{m.type}: {m.text}"))
        result.page.on("pageerror", lambda error: result.complaints.append(str(error)))
        result.page.on("dialog", lambda d: (result.complaints.append("dialog"), d.dismiss()))
        result.page.on("request", lambda request: result.asked.append(request.url))
        result.page.goto(path.as_uri())
        return result

    yield open_file
    for context in contexts:
        context.close()


@pytest.fixture
def opened(visit: Callable[..., Opened], tmp_path: Path) -> Callable[..., Opened]:
    """Open markup as a file from disk: ``opened(html, theme="dark", width=1240)``."""
    numbers = count()

    def open_page(markup: str, theme: str = "light", width: int = 1240) -> Opened:
        path = tmp_path / f"page-{next(numbers)}.html"
        path.write_text(markup, encoding="utf-8")
        return visit(path, theme, width)

    return open_page
