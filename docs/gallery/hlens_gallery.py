"""The gallery, generated from the folder ``src/hlens/figures``.

``python docs/gallery/hlens_gallery.py`` draws every figure from its own example, light and dark,
where it has changed since the last time, and keeps the pictures in ``images/``; it needs Chromium
and playwright. The docs build needs neither: as a Sphinx extension this file only writes the
gallery's page, from the figures' docstrings and the pictures already there.
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
from itertools import product
from pathlib import Path
from typing import Any

from hlens import lookup
from hlens.drawing.figure import Figure, escape
from hlens.drawing.theme import palette

HERE = Path(__file__).parent
THEMES = ("light", "dark")
WIDTH = 1_000
DIGESTS = "made.json"  # of what each picture shows, so that unchanged figures keep their pictures
ORDER = ("scores", "audit_card", "leaderboard", "confounds", "refits", "selectors", "tokens",
         "neuron_map", "explorer", "k_sweep", "path", "volcano", "transfer", "overlap", "upset",
         "overlap_explorer", "reliability", "sibling", "dose_response", "by_layer", "flips",
         "pareto", "patching", "losses")  # fmt: skip

GALLERY = """\
# Gallery

<!-- Written by docs/gallery/hlens_gallery.py from the docstring of each figure's file. -->

Every figure of `hlens.figures`, drawn from made data: the question that it answers, how to read it,
and how it misleads. Titles are computed from the data. Each figure is a function of plain tables or
of the nouns of hlens, takes `theme="light"` or `"dark"`, and is saved with
`figure.save("name.html")`, or as `.png`, `.svg` or `.pdf` with the extra `hlens[export]`.
"""


@dataclass(frozen=True)
class Entry:
    """What the gallery says of one figure, from the figure's own file."""

    name: str
    title: str
    question: str
    reading: str
    misleads: str
    call: str
    alt: str
    further: dict[str, str]  # what another picture shows, and its text


def entries() -> list[Entry]:
    """An entry for each figure: in the order of a report, any other after these by name."""
    names = lookup.names("figures")
    rank = {name: place for place, name in enumerate(ORDER)}
    return [entry(name) for name in sorted(names, key=lambda one: (rank.get(one, len(rank)), one))]


def entry(name: str) -> Entry:
    """The entry of one figure, from the docstring of its file."""
    module = lookup.member("figures", name)
    title, _, rest = inspect.getdoc(module).partition("\n\n")  # type: ignore[union-attr]
    title, rest = (" ".join(part.split()) for part in (title, rest))
    question = re.search(r"Question: (.+?\?)", rest)
    parameters = inspect.signature(module.draw).parameters.values()
    required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    drawn = {what: module.draw(**example) for what, example in _examples(module).items()}
    return Entry(
        name=name,
        title=title,
        question=_sentence(question[1] if question else title[: title.find("?") + 1]),
        reading=_sentence(_part(rest, "To read it: ")),
        misleads="It misleads " + _part(rest, "It misleads "),
        call=f"hlens.figures.{name}({', '.join(required)})",
        alt=_alt(drawn.pop("")),
        further={what: _alt(one) for what, one in drawn.items()},
    )


def _examples(module: Any) -> dict[str, dict[str, Any]]:
    """A figure's example, under an empty name, and further ones by what they show."""
    further = getattr(module, "further_examples", dict)()
    return {"": module.example(), **further}


def _alt(drawn: Any) -> str:
    return drawn.meta["alt"] if isinstance(drawn, Figure) else drawn.alt


def _stem(name: str, what: str, theme: str) -> str:
    """Name of a picture, without its suffix."""
    return "-".join(filter(None, [name, what.replace(" ", "_"), theme]))


def _part(text: str, start: str) -> str:
    """The part of a docstring that begins with `start`, up to the next part."""
    part = re.search(rf"{start}(.+?)(?= (?:Question: |To read it: |It misleads )|$)", text)
    return part[1] if part else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def write_gallery(folder: Path = HERE) -> Path:
    """Write ``index.md`` into the folder of the gallery."""
    return _write(
        folder / "index.md",
        GALLERY + "".join(_section(one, folder / "images") for one in entries()),
    )


def _write(path: Path, text: str) -> Path:
    # An unchanged page is not rewritten, so that Sphinx need not read it again.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


def _section(one: Entry, images: Path) -> str:
    pictures = _pictures(one.name, "", one.alt, images)
    for what, alt in one.further.items():
        if more := _pictures(one.name, what, alt, images):
            pictures += f"\nThe same of {what}:\n\n{more}"
    reading = f"**To read it.** {one.reading}\n\n" if one.reading else ""
    return (
        f"\n## {one.name}\n\n{_plain(one.title)}\n\n{pictures}\n"
        f"**The question.** {_plain(one.question)}\n\n{_plain(reading)}"
        f"**Beware.** {_plain(one.misleads)}\n\nCall it: `{one.call}`\n"
    )


def _pictures(name: str, what: str, alt: str, images: Path) -> str:
    stems = {theme: _stem(name, what, theme) for theme in THEMES}
    return "".join(
        f"```{{image}} images/{stem}.png\n"
        f":alt: {' '.join(alt.split())}\n:class: only-{theme}\n:loading: lazy\n```\n"
        for theme, stem in stems.items()
        if (images / f"{stem}.png").is_file()
    )


def _plain(text: str) -> str:
    """Text in which MyST finds no mathematics and no tags."""
    return text.replace("$", r"\$").replace("<", r"\<")


def shoot(folder: Path = HERE / "images", again: bool = False) -> Iterator[Path]:
    """Draw the figures that have changed in a browser, and keep the pictures.

    Args:
        folder: Folder of the pictures.
        again: Also draw what has not changed.

    Yields:
        The path of each new picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / DIGESTS
    before = json.loads(record.read_text()) if record.exists() and not again else {}
    digests: dict[str, str] = {}
    changed: list[tuple[str, str, Any]] = []
    for name in lookup.names("figures"):
        module = lookup.member("figures", name)
        for (what, example), theme in product(_examples(module).items(), THEMES):
            drawn = module.draw(**example, theme=theme)
            key = _stem(name, what, theme)
            digests[key] = _digest(drawn)
            if before.get(key) != digests[key] or not (folder / f"{key}.png").is_file():
                changed.append((key, theme, drawn))
    yield from _photograph(changed, folder)
    for path in folder.glob("*.png"):
        if path.stem not in digests:
            path.unlink()
    record.write_text(json.dumps(digests, indent=1) + "\n")


def _digest(drawn: Any) -> str:
    text = drawn.to_json() if isinstance(drawn, Figure) else str(drawn)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _photograph(changed: list[tuple[str, str, Any]], folder: Path) -> Iterator[Path]:
    if not changed:
        return
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("HLENS_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        )
        for key, theme, drawn in changed:
            context = browser.new_context(
                viewport={"width": WIDTH, "height": 900}, color_scheme=theme, offline=True
            )
            path = folder / f"{key}.png"
            _screenshot(context.new_page(), drawn, theme=theme, path=path)
            context.close()
            yield path
        browser.close()


def _screenshot(page: Any, drawn: Any, *, theme: str, path: Path) -> None:
    """Write the picture of one figure, cut to what is drawn."""
    html = path.with_suffix(".html")
    if isinstance(drawn, Figure):
        bare = {"displayModeBar": False}
        markup = drawn.to_html(full_html=False, include_plotlyjs=True, config=bare)
    else:
        markup = f'<div style="padding:12px">{drawn}</div>'
    html.write_text(
        f"<!doctype html><meta charset='utf-8'><title>{escape(path.stem)}</title>"
        f"<body style='margin:0;background:{palette(theme).page}'><div id='all'>{markup}</div>",
        encoding="utf-8",
    )
    try:
        page.goto(html.as_uri())
        if isinstance(drawn, Figure):
            page.wait_for_selector(".main-svg")
        for frame in page.frames[1:]:  # the explorer marks when it is ready, CircuitsVis has menus
            frame.wait_for_selector("html[data-ready], select", state="attached")
            frame.wait_for_timeout(500)
        page.locator("#all").screenshot(path=str(path))
    finally:
        html.unlink()


def setup(app: Any) -> dict[str, bool]:
    """As a Sphinx extension: write the page before the sources are read."""
    app.connect("builder-inited", lambda app: write_gallery(Path(app.srcdir) / "gallery"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main() -> None:
    """Draw what has changed, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="also what has not changed")
    options = parser.parse_args()
    for path in shoot(again=options.again):
        sys.stdout.write(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB\n")
    sys.stdout.write(f"{write_gallery()}\n")


if __name__ == "__main__":
    main()
