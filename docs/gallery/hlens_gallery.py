"""The gallery: every figure of `hlens.figures`, drawn from its own example, light and dark.

``python docs/gallery/hlens_gallery.py`` draws what has changed since the last time and keeps the
pictures in ``images/``; it needs Chromium and playwright. The docs build needs neither: as a Sphinx
extension this file only writes the page, from the figures' own words and the pictures that stand.
"""

import argparse
import hashlib
import inspect
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlens import lookup
from hlens.figures._figure import Figure, escape
from hlens.figures._theme import palette

HERE = Path(__file__).parent
THEMES = ("light", "dark")
WIDTH = 1_000
MADE = "made.json"  # what each picture was drawn from, so that equal figures keep their pictures
FIRST = ("scores", "audit_card", "leaderboard", "confounds", "refits", "tokens", "neuron_map",
         "explorer", "k_sweep", "path", "volcano", "transfer", "overlap", "upset", "reliability",
         "dose_response", "flips", "pareto", "patching", "losses")  # fmt: skip

HEAD = """\
# Gallery

<!-- Written by docs/gallery/hlens_gallery.py; what it says stands in each figure's own file. -->

Every figure of `hlens.figures`, drawn from made data: the question that it answers, how to read it,
and how it misleads. Titles are computed from the data. Each figure is a function of plain tables or
of the nouns of hlens, takes `theme="light"` or `"dark"`, and is kept with
`figure.save("name.html")`, or as `.png`, `.svg` or `.pdf` with the extra `hlens[export]`.
"""


@dataclass(frozen=True)
class Entry:
    """What the page says of one figure, in the figure's own words."""

    name: str
    title: str
    question: str
    reading: str
    misleads: str
    call: str
    alt: str


def entries() -> list[Entry]:
    """An entry for each figure of the family: in the order of a report, then by name."""
    names = lookup.names("figures")
    rank = {name: at for at, name in enumerate(FIRST)}
    return [entry(name) for name in sorted(names, key=lambda one: (rank.get(one, len(rank)), one))]


def entry(name: str) -> Entry:
    """The words of one figure, from the docstring of its file."""
    module = lookup.member("figures", name)
    title, _, rest = inspect.getdoc(module).partition("\n\n")  # type: ignore[union-attr]
    title, rest = (" ".join(part.split()) for part in (title, rest))
    asked = re.search(r"Question: (.+?\?)", rest)
    question = asked[1] if asked else title[: title.find("?") + 1]
    needed = [
        p.name
        for p in inspect.signature(module.draw).parameters.values()
        if p.default is inspect.Parameter.empty
    ]
    drawn = module.draw(**module.example())
    return Entry(
        name=name,
        title=title,
        question=_sentence(question),
        reading=_sentence(_part(rest, "To read it: ")),
        misleads="It misleads " + _part(rest, "It misleads "),
        call=f"hlens.figures.{name}({', '.join(needed)})",
        alt=drawn.meta["alt"] if isinstance(drawn, Figure) else drawn.alt,
    )


def _part(text: str, start: str) -> str:
    """What follows a word of the docstring, up to the next such word."""
    found = re.search(rf"{start}(.+?)(?= (?:Question: |To read it: |It misleads )|$)", text)
    return found[1] if found else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def write_page(folder: Path = HERE) -> Path:
    """Write ``index.md``; a page that would be the same is left alone, so that Sphinx skips it."""
    text = HEAD + "".join(_section(one, folder / "images") for one in entries())
    path = folder / "index.md"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


def _section(one: Entry, images: Path) -> str:
    pictures = "".join(
        f"```{{image}} images/{one.name}-{theme}.png\n"
        f":alt: {' '.join(one.alt.split())}\n:class: only-{theme}\n```\n"
        for theme in THEMES
        if (images / f"{one.name}-{theme}.png").is_file()
    )
    reading = f"**To read it.** {one.reading}\n\n" if one.reading else ""
    return (
        f"\n## {one.name}\n\n{_plain(one.title)}\n\n{pictures}\n"
        f"**The question.** {_plain(one.question)}\n\n{_plain(reading)}"
        f"**Beware.** {_plain(one.misleads)}\n\nCall it: `{one.call}`\n"
    )


def _plain(text: str) -> str:
    """Words in which MyST finds no mathematics and no tags."""
    return text.replace("$", r"\$").replace("<", r"\<")


def shoot(folder: Path = HERE / "images", again: bool = False) -> Iterator[Path]:
    """Draw in a browser what has changed, and keep the pictures.

    Args:
        folder: Where the pictures lie.
        again: Also draw what has not changed.

    Yields:
        The path of each new picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / MADE
    before = json.loads(record.read_text()) if record.exists() and not again else {}
    made: dict[str, str] = {}
    wanted: list[tuple[str, str, Any]] = []
    for name in lookup.names("figures"):
        module = lookup.member("figures", name)
        for theme in THEMES:
            drawn = module.draw(**module.example(), theme=theme)
            key = f"{name}-{theme}"
            made[key] = _digest(drawn)
            if before.get(key) != made[key] or not (folder / f"{key}.png").is_file():
                wanted.append((key, theme, drawn))
    yield from _photograph(wanted, folder)
    for path in folder.glob("*.png"):
        if path.stem not in made:
            path.unlink()
    record.write_text(json.dumps(made, indent=1) + "\n")


def _digest(drawn: Any) -> str:
    text = drawn.to_json() if isinstance(drawn, Figure) else str(drawn)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _photograph(wanted: list[tuple[str, str, Any]], folder: Path) -> Iterator[Path]:
    if not wanted:
        return
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("HLENS_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        )
        for key, theme, drawn in wanted:
            context = browser.new_context(
                viewport={"width": WIDTH, "height": 900}, color_scheme=theme, offline=True
            )
            path = folder / f"{key}.png"
            _one(context.new_page(), drawn, theme, path)
            context.close()
            yield path
        browser.close()


def _one(page: Any, drawn: Any, theme: str, path: Path) -> None:
    """One picture, cut to what is drawn."""
    aside = path.with_suffix(".html")
    if isinstance(drawn, Figure):
        bare = {"displayModeBar": False}
        markup = drawn.to_html(full_html=False, include_plotlyjs=True, config=bare)
    else:
        markup = f'<div style="padding:12px">{drawn}</div>'
    aside.write_text(
        f"<!doctype html><meta charset='utf-8'><title>{escape(path.stem)}</title>"
        f"<body style='margin:0;background:{palette(theme).page}'><div id='all'>{markup}</div>",
        encoding="utf-8",
    )
    try:
        page.goto(aside.as_uri())
        if isinstance(drawn, Figure):
            page.wait_for_selector(".main-svg")
        for frame in page.frames[1:]:  # the explorer says when it is ready, CircuitsVis has menus
            frame.wait_for_selector("html[data-ready], select", state="attached")
            frame.wait_for_timeout(500)
        page.locator("#all").screenshot(path=str(path))
    finally:
        aside.unlink()


def setup(app: Any) -> dict[str, bool]:
    """As a Sphinx extension: write the page before the sources are read."""
    app.connect("builder-inited", lambda app: write_page(Path(app.srcdir) / "gallery"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main() -> None:
    """Draw what has changed, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="also what has not changed")
    given = parser.parse_args()
    for path in shoot(again=given.again):
        sys.stdout.write(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB\n")
    sys.stdout.write(f"{write_page()}\n")


if __name__ == "__main__":
    main()
