"""The report card of an audit: six claims, the verdict of each, and the rule beside every number.

Question: which claims about these neurons survive their controls?
To read it: each row is a claim, its verdict, and the numbers beside the rule that they had to
meet. The verdicts hold for this model, these data and this probe.
It misleads when "not supported" is read as "refuted": an interval that is too wide fails a rule
as well as a number that is too low, and "not tested" says nothing at all.
"""

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from hlens.claims import describe_gain
from hlens.drawing.html import Html, escape, visible
from hlens.drawing.page import asset, styled
from hlens.drawing.theme import Palette, see_through
from hlens.types import AuditCard, Check, Claim, Estimate, Support

SIGNS = {
    Support.SUPPORTED: ("yes", "supported"),
    Support.NOT_SUPPORTED: ("no", "not supported"),
    Support.NOT_TESTED: ("open", "not tested"),
}
_HOLDS = {True: ("yes", "holds"), False: ("no", "does not hold"), None: ("open", "not tested")}
WIDTH, HEIGHT, PAD = 210, 26, 8  # of the drawing of one interval, in pixels


def draw(card: AuditCard, *, links: Mapping[str, str] | None = None, theme: str = "auto") -> Html:
    """Draw the card: HTML and CSS alone.

    Args:
        card: The card.
        links: For headings of a report's sections, the ids to link to.
        theme: ``"light"``, ``"dark"``, or ``"auto"``: as the reader's system, or as the page
            says with ``data-theme`` on its root.
    """
    alt = "; ".join(f"{claim.name}: {claim.verdict}" for claim in card.claims)
    strip = "".join(map(_tile, card.claims))
    claims = "".join(_claim(claim, links or {}) for claim in card.claims)
    gain = describe_gain(card.claims)
    headline = f'<p class="ha-headline">{escape(gain)}</p>' if gain else ""
    markup = (
        f'{headline}<p class="ha-about">{escape(visible(card.about))}</p>'
        f'<ul class="ha-strip">{strip}</ul>{claims}{_KEY}'
    )
    style = asset("hlens.figures", "audit_card.css")
    return styled("audit", style, markup, alt=alt, theme=theme, variables=_variables)


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: readable, not these neurons, control not tested."""
    auroc, length = Estimate(0.84, 0.80, 0.88, 420), Estimate(0.58, 0.52, 0.63, 420)
    readout = Claim(
        "Readout",
        "The neurons tell hallucinated from true answers, beyond length.",
        (
            Check("above chance", "the interval of the held-out AUROC lies above 0.5", True, auroc,
                  reads="held-out AUROC 0.84 [0.80, 0.88]"),
            Check("at equal length", "with it held fixed the AUROC stays above 0.5", True,
                  Estimate(0.81, 0.76, 0.86, 410), length, "at equal length 0.81 [0.76, 0.86]"),
        ),
    )  # fmt: skip
    identity = Claim(
        "Identity",
        "It is these neurons: other data find them again.",
        (
            Check("comes back", "on the other half at least 50 % is found again", False,
                  Estimate(0.3, 0.22, 0.4, 420), Estimate(0.02, 0.0, 0.05, 420),
                  "halves share 30 % of their neurons", "share of the smaller set"),
        ),
    )  # fmt: skip
    control = Claim(
        "Control",
        "Turning the neurons up makes the model hallucinate more.",
        (Check("moves behaviour", "a behaviour grows with the dose", None,
               reads="no neuron was edited"),),
    )  # fmt: skip
    about = "cett of the answer tokens, 86 neurons; tested on 420 answers."
    return {"card": AuditCard("made model", about, (readout, identity, control))}


_KEY = (
    '<p class="ha-key"><span><i class="ha-dot"></i>the number that decides, with its 95 % '
    'interval</span><span><i class="ha-square"></i>its control</span><span><i class="ha-tick"></i>'
    "chance, no difference, or the margin</span><span>A claim is supported when every rule holds, "
    "not supported when one fails, and not tested when none fails but one could not be tried."
    "</span></p>"
)


def _mark(kind: str, label: str) -> str:
    return f'<i class="ha-mark ha-{kind}" role="img" aria-label="{label}"></i>'


def _tile(claim: Claim) -> str:
    kind, label = SIGNS[claim.verdict]
    return (
        f'<li class="ha-{kind}-tile">{_mark(kind, label)}<b>{escape(claim.name)}</b>'
        f"<span>{label}</span></li>"
    )


def _claim(claim: Claim, links: Mapping[str, str]) -> str:
    kind, label = SIGNS[claim.verdict]
    link, figure = links.get(claim.figure), ""
    if link is not None:
        figure = f'<a href="#{escape(link)}">figure: {escape(claim.figure)}</a>'
    # The text of a rule is shown once, below all checks of it.
    rows = "".join(
        f'<div class="ha-rule">{"".join(map(_check, checks))}'
        f'<p class="ha-words">Rule: {escape(rule)}.</p></div>'
        for rule, checks in groupby(claim.checks, key=lambda check: check.rule)
    )
    says = f"{claim.says} Under {claim.under}." if claim.under else claim.says
    return (
        f'<section class="ha-claim"><div class="ha-head"><h3>{escape(claim.name)}</h3>'
        f'<p class="ha-verdict ha-{kind}-ink">{_mark(kind, "")}{label}</p></div>'
        f'<div class="ha-body"><p class="ha-says">{escape(visible(says))} {figure}</p>'
        f"{rows}</div></section>"
    )


def _check(check: Check) -> str:
    kind, label = _HOLDS[check.holds]
    reads = check.reads.removeprefix(check.name).strip()  # the name is shown before it
    return (
        f'<div class="ha-check">{_mark(kind, label)}<p><b>{escape(check.name)}</b> '
        f"<span>{escape(visible(reads))}</span></p>{_interval(check)}</div>"
    )


def _interval(check: Check) -> str:
    """The drawing of a check's number; empty where it has none."""
    number = check.number
    if number is None or math.isnan(number.value):
        return '<span class="ha-none"></span>'
    low, high = _axis(check)
    null = _x(check.line, low, high)
    marks = [f'<line class="ha-null" x1="{null}" x2="{null}" y1="3" y2="{HEIGHT - 3}"/>']
    if check.beside is not None and not math.isnan(check.beside.value):
        marks.append(_bar(check.beside, low, high, kind="control", y=18))
    marks.append(_bar(number, low, high, kind="own", y=9))
    label = f"{check.unit} {number}" + (f"; control {check.beside}" if check.beside else "")
    return (
        f'<svg class="ha-line" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(label)}"><title>{escape(label)}</title>'
        f'<line class="ha-axis" x1="0" x2="{WIDTH}" y1="{HEIGHT / 2:g}" y2="{HEIGHT / 2:g}"/>'
        f"{''.join(marks)}</svg>"
    )


def _axis(check: Check) -> tuple[float, float]:
    """Ends of the axis: fixed for AUROC and shares, so that rows compare; else around the line."""
    if check.unit == "AUROC":
        return 0.25, 1.0
    if check.unit.startswith("share of the"):
        return 0.0, 1.0
    ends = [abs(v) for one in (check.number, check.beside) if one for v in (one.low, one.high)]
    reach = 1.15 * max([value for value in ends if math.isfinite(value)], default=1.0) or 1.0
    return -reach, reach


def _x(value: float, low: float, high: float) -> str:
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return f"{PAD + share * (WIDTH - 2 * PAD):.1f}"


def _bar(number: Estimate, low: float, high: float, *, kind: str, y: int) -> str:
    ends = [value if math.isfinite(value) else number.value for value in (number.low, number.high)]
    middle, left, right = (float(_x(value, low, high)) for value in (number.value, *ends))
    bar = f'<line class="ha-{kind}" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
    if kind == "own":
        return f'{bar}<circle class="ha-{kind}" cx="{middle}" cy="{y}" r="4.5"/>'
    return (
        f'{bar}<rect class="ha-{kind}" x="{middle - 3.5:.1f}" y="{y - 3.5}" width="7" height="7"/>'
    )


def _variables(colours: Palette) -> str:
    return (
        f"--hl-ink:{colours.ink};--hl-muted:{colours.muted};--hl-page:{colours.page};"
        f"--hl-edge:{colours.grid};--hl-open:{colours.control};--hl-yes:{colours.negative};"
        f"--hl-yes-ink:{colours.negative_ink};--hl-yes-soft:{see_through(colours.negative, 0.07)};"
        f"--hl-no:{colours.positive};--hl-no-ink:{colours.positive_ink};"
        f"--hl-no-soft:{see_through(colours.positive, 0.07)}"
    )
