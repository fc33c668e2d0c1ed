"""The card as Markdown, for a pull request, an appendix or an answer to a reviewer."""

import re

from hlens.claims import describe_gain
from hlens.types import AuditCard, Check, Estimate, Support

SIGNS = {Support.SUPPORTED: "●", Support.NOT_SUPPORTED: "○", Support.NOT_TESTED: "–"}
_HOLDS = {True: "yes", False: "**no**", None: "not tested"}


def markdown(card: AuditCard) -> str:
    """One page: the verdicts in a table, then each claim with its rules and numbers."""
    lines = [f"# Audit of {_plain(card.model)}", ""]
    gain = describe_gain(card.claims)
    lines += [f"**{_plain(gain)}**", ""] if gain else []
    lines += [_plain(card.about), ""]
    lines += ["| claim | verdict | because |", "|---|---|---|"]
    lines += [
        f"| {claim.name} | {SIGNS[claim.verdict]} {claim.verdict} | {_plain(claim.because)} |"
        for claim in card.claims
    ]
    for claim in card.claims:
        lines += ["", f"## {claim.name}: {claim.verdict}", "", _plain(claim.says), ""]
        lines += [_plain(f"Under {claim.under}."), ""] if claim.under else []
        lines += ["| check | rule | number | control | holds |", "|---|---|---|---|---|"]
        lines += map(_check_row, claim.checks)
    return "\n".join(lines) + "\n"


def _check_row(check: Check) -> str:
    number = _number(check.number) + (f" {check.unit}" if check.number and check.unit else "")
    cells = [check.name, check.rule, number or check.reads, _number(check.beside)]
    return "| " + " | ".join([*map(_plain, cells), _HOLDS[check.holds]]) + " |"


def _number(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    text = f"{estimate:.2f}" if estimate.low < estimate.high else f"{estimate.value:.2f}"
    return text.replace("-", "−")


def _plain(text: str) -> str:
    r"""Names from a recipe or a model as text: no markup, no cell or line ends.

    >>> _plain("a|b\n<i>")
    'a\\|b &lt;i&gt;'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|*_`\[\]\\])", r"\\\1", re.sub(r"\s+", " ", text))
