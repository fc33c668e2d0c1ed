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

from hlens.drawing.html import Html, escape, visible
from hlens.drawing.theme import FONT, Palette, css_variables, see_through
from hlens.types import AuditCard, Check, Claim, Estimate, Support

SIGNS = {
    Support.SUPPORTED: ("yes", "supported"),
    Support.NOT_SUPPORTED: ("no", "not supported"),
    Support.NOT_TESTED: ("open", "not tested"),
}
_HOLDS = {
    True: ("yes", "holds"),
    False: ("no", "does not hold"),
    None: ("open", "not tested"),
}
WIDTH, HEIGHT, PAD = 210, 26, 8  # of the drawing of one interval, in pixels

_STYLE = """
.hlens-audit{font:15px/1.5 %(font)s;color:var(--hl-ink);background:var(--hl-page);max-width:1100px}
.hlens-audit p,.hlens-audit ul,.hlens-audit h3{margin:0;padding:0}
.hlens-audit .ha-about{color:var(--hl-muted);font-size:14px;margin-bottom:14px;max-width:100ch}
.hlens-audit .ha-strip{list-style:none;display:grid;gap:10px;
grid-template-columns:repeat(auto-fit,minmax(136px,1fr));margin-bottom:18px}
.hlens-audit .ha-strip li{border:1px solid var(--hl-edge);border-radius:10px;padding:10px 14px;
display:grid;grid-template-columns:auto 1fr;column-gap:9px;align-items:center}
.hlens-audit .ha-strip b{font-size:15px;font-weight:650}
.hlens-audit .ha-strip span{grid-column:2;font-size:13px;color:var(--hl-muted)}
.hlens-audit .ha-yes-tile{background:var(--hl-yes-soft)}
.hlens-audit .ha-no-tile{background:var(--hl-no-soft)}
.hlens-audit .ha-claim{display:grid;grid-template-columns:150px minmax(0,1fr);gap:6px 24px;
margin:0;padding:18px 0 14px;border-top:1px solid var(--hl-edge)}
.hlens-audit h3{font-size:17px;line-height:1.35;font-weight:650;letter-spacing:-.01em}
.hlens-audit .ha-verdict{display:flex;gap:8px;align-items:center;font-size:14px;font-weight:600}
.hlens-audit .ha-says{font-size:15px;margin-bottom:10px;max-width:84ch}
.hlens-audit .ha-says a{color:var(--hl-muted);font-size:13px;white-space:nowrap}
.hlens-audit .ha-rule{margin-bottom:12px}
.hlens-audit .ha-check{display:grid;grid-template-columns:14px minmax(0,1fr) 210px;gap:2px 12px;
align-items:center;padding:3px 0}
.hlens-audit .ha-check b{font-weight:600;margin-right:6px}
.hlens-audit .ha-check p{font-size:14px}
.hlens-audit .ha-check p span{color:var(--hl-muted)}
.hlens-audit .ha-words{color:var(--hl-muted);font-size:12.5px;line-height:1.45;margin-left:26px;
max-width:92ch}
.hlens-audit .ha-mark{display:inline-block;width:11px;height:11px;border-radius:50%%;flex:none;
box-sizing:border-box;border:2.5px solid var(--hl-open)}
.hlens-audit .ha-mark.ha-yes{background:var(--hl-yes);border-color:var(--hl-yes)}
.hlens-audit .ha-mark.ha-no{border-color:var(--hl-no)}
.hlens-audit .ha-mark.ha-open{border:0;border-radius:0;height:3px;background:var(--hl-open)}
.hlens-audit .ha-yes-ink{color:var(--hl-yes-ink)}
.hlens-audit .ha-no-ink{color:var(--hl-no-ink)}
.hlens-audit .ha-open-ink{color:var(--hl-muted)}
.hlens-audit .ha-line{display:block;max-width:100%%}
.hlens-audit line.ha-axis{stroke:var(--hl-edge);stroke-width:1}
.hlens-audit line.ha-null{stroke:var(--hl-muted);stroke-width:1;stroke-dasharray:3 2}
.hlens-audit line.ha-own{stroke:var(--hl-ink);stroke-width:2.5}
.hlens-audit circle.ha-own{fill:var(--hl-ink)}
.hlens-audit line.ha-control{stroke:var(--hl-open);stroke-width:2}
.hlens-audit rect.ha-control{fill:var(--hl-open)}
.hlens-audit .ha-key{border-top:1px solid var(--hl-edge);padding-top:12px;font-size:12.5px;
color:var(--hl-muted);display:flex;flex-wrap:wrap;gap:4px 20px}
.hlens-audit .ha-key i{display:inline-block;margin-right:6px;vertical-align:-1px}
.hlens-audit .ha-dot{width:9px;height:9px;border-radius:50%%;background:var(--hl-ink)}
.hlens-audit .ha-square{width:8px;height:8px;background:var(--hl-open)}
.hlens-audit .ha-tick{width:0;height:12px;border-left:1.5px dashed var(--hl-muted)}
@media (max-width:720px){.hlens-audit .ha-claim{grid-template-columns:minmax(0,1fr)}
.hlens-audit .ha-check{grid-template-columns:14px minmax(0,1fr)}
.hlens-audit .ha-check svg,.hlens-audit .ha-none{grid-column:2}}
"""


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
    style = _STYLE % {"font": FONT} + css_variables(".hlens-audit", theme, _variables)
    return Html(
        f'<style>{style}</style><div class="hlens-audit" data-hl-theme="{theme}" '
        f'role="group" aria-label="{escape(visible(alt))}"><p class="ha-about">'
        f"{escape(visible(card.about))}</p>"
        f'<ul class="ha-strip">{strip}</ul>{claims}{_KEY}</div>',
        alt,
    )


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
    link = links.get(claim.figure)
    figure = (
        f'<a href="#{escape(link)}">figure: {escape(claim.figure)}</a>' if link is not None else ""
    )
    rows = "".join(
        _rule(rule, list(checks))
        for rule, checks in groupby(claim.checks, key=lambda check: check.rule)
    )
    return (
        f'<section class="ha-claim"><div class="ha-head"><h3>{escape(claim.name)}</h3>'
        f'<p class="ha-verdict ha-{kind}-ink">{_mark(kind, "")}{label}</p></div>'
        f'<div class="ha-body"><p class="ha-says">{escape(visible(claim.says))} {figure}</p>'
        f"{rows}</div></section>"
    )


def _rule(rule: str, checks: list[Check]) -> str:
    """The checks of one rule, with its text once below them."""
    return (
        f'<div class="ha-rule">{"".join(map(_check, checks))}'
        f'<p class="ha-words">Rule: {escape(rule)}.</p></div>'
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
