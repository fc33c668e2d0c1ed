"""The report card of an audit: six claims, the verdict of each, and the rule beside every number.

Question: which claims about these neurons survive their controls?
To read it: each row is a claim, its verdict, and the numbers beside the rule that they had to
meet. The verdicts hold for this model, these data and this probe.
It misleads when "not supported" is read as "refuted": an interval that is too wide fails a rule
as well as a number that is too low, and "not tested" says nothing at all.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from hlens.figures._html import Html, escape, visible
from hlens.figures.audit_card._interval import interval
from hlens.figures.audit_card._style import style
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


def draw(card: AuditCard, *, links: Mapping[str, str] | None = None, theme: str = "auto") -> Html:
    """Draw the card: HTML and CSS alone.

    Args:
        card: The card.
        links: For headings of a report's sections, the ids to link to.
        theme: ``"light"``, ``"dark"``, or ``"auto"``: as the reader's system, or as the page
            says with ``data-theme`` on its root.
    """
    alt = "; ".join(f"{claim.name}: {claim.verdict}" for claim in card.claims)
    strip = "".join(map(_short, card.claims))
    claims = "".join(_claim(claim, links or {}) for claim in card.claims)
    return Html(
        f'<style>{style(theme)}</style><div class="hlens-audit" data-hl-theme="{theme}" '
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


def _mark(kind: str, words: str) -> str:
    return f'<i class="ha-mark ha-{kind}" role="img" aria-label="{words}"></i>'


def _short(claim: Claim) -> str:
    kind, words = SIGNS[claim.verdict]
    return (
        f'<li class="ha-{kind}-tile">{_mark(kind, words)}<b>{escape(claim.name)}</b>'
        f"<span>{words}</span></li>"
    )


def _claim(claim: Claim, links: Mapping[str, str]) -> str:
    kind, words = SIGNS[claim.verdict]
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
        f'<p class="ha-verdict ha-{kind}-ink">{_mark(kind, "")}{words}</p></div>'
        f'<div class="ha-body"><p class="ha-says">{escape(visible(claim.says))} {figure}</p>'
        f"{rows}</div></section>"
    )


def _rule(rule: str, checks: list[Check]) -> str:
    """Checks of one rule, which is written out once below them."""
    return (
        f'<div class="ha-rule">{"".join(map(_check, checks))}'
        f'<p class="ha-words">Rule: {escape(rule)}.</p></div>'
    )


def _check(check: Check) -> str:
    kind, words = _HOLDS[check.holds]
    reads = check.reads.removeprefix(check.name).strip()  # the name stands before it
    return (
        f'<div class="ha-check">{_mark(kind, words)}<p><b>{escape(check.name)}</b> '
        f"<span>{escape(visible(reads))}</span></p>{interval(check)}</div>"
    )
