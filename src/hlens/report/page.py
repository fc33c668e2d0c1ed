"""The page: head, cards, sections, and everything that draws it, in one file."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hlens.drawing.figure import Figure, plotly_js
from hlens.drawing.html import MARK, Html, check_page, escape, head, policy, visible
from hlens.drawing.page import PAGE_CONFIG, asset, packed, themed
from hlens.figures import audit_card, explorer
from hlens.report.data import Card, Explored, Picture, ReportData, Section
from hlens.report.html_table import number, table
from hlens.report.summary import draw_cautions, draw_provenance
from hlens.store import write_text
from hlens.types import AuditCard, Estimate


def report(data: ReportData, path: str | Path) -> Path:
    """Write one self-contained HTML file; it appears whole or not at all.

    Args:
        data: What to show.
        path: Where; an older page of hlens is replaced.

    Returns:
        The path written.

    Raises:
        HlensError: The path is no .html file, or one that hlens did not write, or the data holds
            what no report can show.
    """
    path = Path(path)
    text = page(data)
    write_text(check_page(path), text, MARK)
    return path


def page(data: ReportData) -> str:
    """The report as text of one self-contained HTML page."""
    builder = _Page()
    audited = builder.heading("The audit") if data.audit else ""
    last = (draw_cautions(data.cautions), draw_provenance(data.recipe, data.versions))
    sections = [builder.section(each) for each in (*data.sections, *last) if each is not None]
    audit = _audit(data.audit, audited, builder.contents) if data.audit else ""
    script, style = (
        explorer.scripts() + asset("hlens.report", "page.js") + "".join(builder.scripts),
        asset("hlens.report", "page.css"),
    )
    library = plotly_js() if builder.pictures else ""
    return "".join(
        [
            f'<!doctype html><html lang="en"><head>{head(policy(script, library))}',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(data.title)}</title><style>{style}</style></head><body>",
            '<a class="skip" href="#main">Skip to the findings</a><div class="wrap">',
            _header(data, builder.contents),
            f'<main id="main" tabindex="-1">{_cards(data)}{audit}{"".join(sections)}</main>',
            _footer(data),
            "</div>",
            builder.packed(library),
            f"<script>{script}</script></body></html>",
        ]
    )


class _Page:
    """Collects headings and figures while the sections are written."""

    def __init__(self) -> None:
        self.contents: list[tuple[str, str]] = []
        self.pictures: dict[str, dict[str, Any]] = {}
        self.neurons: Mapping[str, Any] = {}
        self.scripts: dict[str, None] = {}  # of pieces of markup, each once, in order

    def heading(self, heading: str) -> str:
        """The id of a section, which joins the contents."""
        name = f"s{len(self.contents)}-{_slug(heading)}"
        self.contents.append((name, heading))
        return name

    def section(self, section: Section) -> str:
        name = self.heading(section.heading)
        question = f'<p class="question">{escape(section.question)}</p>' if section.question else ""
        caution = f'<p class="caution">{escape(section.caution)}</p>' if section.caution else ""
        content = "".join(self._piece(piece, section) for piece in section.content)
        return (
            f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(section.heading)}</h2>'
            f"{question}{content}{caution}</section>"
        )

    def _piece(self, piece: Any, section: Section) -> str:
        if isinstance(piece, Html):
            if piece.script:
                self.scripts[piece.script] = None
            return _framed(piece)
        if isinstance(piece, pd.DataFrame):
            return _framed(table(piece, f"{section.heading}: the numbers."))
        if isinstance(piece, str):
            return f"<p>{escape(visible(piece))}</p>"
        if isinstance(piece, Explored):
            self.neurons = piece.neurons
            return self._picture(piece.picture, panel=True)
        return self._picture(piece)

    def _picture(self, picture: Picture | Figure, panel: bool = False) -> str:
        if isinstance(picture, Figure):
            drawn = {"light": picture}
        else:
            drawn = {theme: picture(theme=theme) for theme in ("light", "dark")}
        name = f"plot-{len(self.pictures)}"
        self.pictures[name] = themed(drawn)
        meta = drawn["light"].meta
        title, subtitle = meta.get("title", ""), meta.get("subtitle", "")
        height = self.pictures[name]["light"]["layout"]["height"]
        plot = (
            f'<div class="plot wait" id="{name}" role="img" '
            f'aria-label="{escape(meta.get("alt", title))}" style="height:{height}px">'
            "<noscript><p>This figure needs JavaScript; the tables do not.</p></noscript></div>"
        )
        held = explorer.panel(plot) if panel else f'<div class="scroll">{plot}</div>'
        return (
            f'<figure><figcaption><h3>{escape(title)}</h3><p class="sub">{escape(subtitle)}</p>'
            f'</figcaption><div data-for="{name}">{held}</div></figure>'
        )

    def packed(self, library: str) -> str:
        """plotly.js and all figures, gzip and base64: a tenth of their size, and inert as text."""
        if not self.pictures:
            return ""
        more = {"config": PAGE_CONFIG, "neurons": self.neurons}
        figures = json.dumps({**self.pictures, **more})
        return packed("figures-json", figures) + packed("plotly-js", library)


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _framed(piece: Html) -> str:
    is_table = piece.markup.startswith('<div class="scroll')
    return f'<div class="rows">{piece.markup}</div>' if is_table else piece.markup


def _header(data: ReportData, contents: list[tuple[str, str]]) -> str:
    links = "".join(f'<li><a href="#{name}">{escape(head)}</a></li>' for name, head in contents)
    finding = f'<p class="finding">{escape(visible(data.finding))}</p>' if data.finding else ""
    return (
        f"<header><div><h1>{escape(visible(data.title))}</h1>"
        f'<p class="lead">{escape(visible(data.summary))}</p>{finding}</div>'
        '<button id="theme" type="button" hidden>Dark</button></header>'
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>'
    )


def _cards(data: ReportData) -> str:
    if not data.cards:
        return ""
    return f'<dl class="cards">{"".join(_card(card) for card in data.cards)}</dl>'


def _audit(card: AuditCard, name: str, contents: list[tuple[str, str]]) -> str:
    drawn = audit_card.draw(card, links={heading: anchor for anchor, heading in contents})
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">The audit</h2><p class="question">'
        "Which claims survive their controls? Every verdict follows from the rule beside it.</p>"
        f"{drawn.markup}</section>"
    )


def _card(card: Card) -> str:
    lines = list(_card_lines(card))
    notes = "".join(f'<dd class="note">{escape(line)}</dd>' for line in lines)
    value = card.value
    if isinstance(value, Estimate):
        big = f"{value.value:.3f}"
    elif isinstance(value, str):
        big = escape(visible(value))
    else:
        big = number(value)
    return f'<div class="card"><dt>{escape(card.label)}</dt><dd class="big">{big}</dd>{notes}</div>'


def _card_lines(card: Card) -> Iterator[str]:
    if isinstance(card.value, Estimate):
        yield f"95 % CI {card.value.low:.3f}–{card.value.high:.3f}, n\u00a0=\u00a0{card.value.n:,}"
    if card.note:
        yield visible(card.note)


def _footer(data: ReportData) -> str:
    name = f"Model: {escape(visible(data.model))}. " if data.model else ""
    return (
        f"<footer><p>{name}Made by hlens. An H-neuron is a hypothesis: “associated with” is "
        "not “causes”. This file is self-contained.</p></footer>"
    )
