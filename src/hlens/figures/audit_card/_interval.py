"""One number with its interval beside its control: a line of the card, in SVG."""

import math

from hlens.figures._html import escape
from hlens.types import Check, Estimate

WIDTH, HEIGHT, PAD = 210, 26, 8


def interval(check: Check) -> str:
    """The drawing of a check's number; empty where it has none."""
    found = check.number
    if found is None or math.isnan(found.value):
        return '<span class="ha-none"></span>'
    low, high = _axis(check)
    null = _x(check.line, low, high)
    marks = [f'<line class="ha-null" x1="{null}" x2="{null}" y1="3" y2="{HEIGHT - 3}"/>']
    if check.beside is not None and not math.isnan(check.beside.value):
        marks.append(_drawn(check.beside, low, high, "control", 18))
    marks.append(_drawn(found, low, high, "own", 9))
    words = f"{check.unit} {found}" + (f"; control {check.beside}" if check.beside else "")
    return (
        f'<svg class="ha-line" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(words)}"><title>{escape(words)}</title>'
        f'<line class="ha-axis" x1="0" x2="{WIDTH}" y1="{HEIGHT / 2:g}" y2="{HEIGHT / 2:g}"/>'
        f"{''.join(marks)}</svg>"
    )


def _axis(check: Check) -> tuple[float, float]:
    """Both ends: the same for all AUROC and all shares, else around the line."""
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


def _drawn(found: Estimate, low: float, high: float, kind: str, y: int) -> str:
    ends = [value if math.isfinite(value) else found.value for value in (found.low, found.high)]
    at, left, right = (float(_x(value, low, high)) for value in (found.value, *ends))
    bar = f'<line class="ha-{kind}" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
    if kind == "own":
        return f'{bar}<circle class="ha-{kind}" cx="{at}" cy="{y}" r="4.5"/>'
    return f'{bar}<rect class="ha-{kind}" x="{at - 3.5:.1f}" y="{y - 3.5}" width="7" height="7"/>'
