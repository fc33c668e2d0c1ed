"""The first claim: the neurons tell wrong from right, beyond what is easier to read."""

from collections.abc import Sequence

from hlens.audit.conventions import ABSENT, ENOUGH, FEW_DRAWS, FEWEST_DRAWS, LEVEL
from hlens.audit.findings import Added, Findings, Fixed
from hlens.audit.words import signed, spaced, written
from hlens.types import Check, Claim

HELD_FIXED = (
    "with it held fixed the AUROC stays above 0.5: adjusted for it, and over pairs of answers that "
    "are alike in it, where 20 answers of either label stand in one"
)


def readout(found: Findings) -> Claim:
    """Do the neurons tell wrong from right, beyond surface and confidence?"""
    checks = [_above_chance(found), _above_shuffled(found)]
    reads = found.auroc is not None and found.auroc.low > 0.5
    checks += [_held_fixed(fixed, reads) for fixed in found.fixed] or [
        Check("at equal surface", HELD_FIXED, None, reads=ABSENT)
    ]
    checks.append(_adds("beyond confidence", "the model's own confidence", found.confidence))
    checks.append(_adds("beyond the text", "the words of the answer", found.text))
    says = "The neurons tell hallucinated from true answers, beyond length, format and confidence."
    return Claim("Readout", says, tuple(checks), "Who else can tell?")


def _above_chance(found: Findings) -> Check:
    own = found.auroc
    return Check(
        "above chance",
        "the interval of the held-out AUROC lies above 0.5",
        None if own is None else own.low > 0.5,
        own,
        reads=ABSENT if own is None else f"held-out AUROC {written(own)}",
    )


def _above_shuffled(found: Findings) -> Check:
    p, null = found.shuffled_p, found.shuffled
    return Check(
        "beyond shuffled labels",
        f"at most 5 % of {FEWEST_DRAWS} or more fits on shuffled labels do as well (permutation p)",
        None if p is None else p <= LEVEL,
        found.auroc,
        null,
        FEW_DRAWS if p is None or null is None
        else f"shuffled labels reach {null.value:.2f} (p = {p:.3f})",
        p=p,
    )  # fmt: skip


def _held_fixed(fixed: Fixed, reads: bool) -> Check:
    """`reads`: with nothing held fixed the detector is above chance, so something is lost here."""
    asks_pairs = fixed.fewest >= ENOUGH
    shown = fixed.pairs if asks_pairs else fixed.adjusted
    holds = fixed.adjusted.low > 0.5 and (not asks_pairs or fixed.pairs.low > 0.5)
    lower = min((fixed.adjusted, shown), key=lambda one: one.low)
    few = "" if asks_pairs else " (too few alike pairs)"
    explained = f": {fixed.name} may explain it" if reads and not holds else ""
    return Check(
        f"at equal {fixed.name}",
        HELD_FIXED,
        None if lower.value != lower.value else holds,
        lower,
        fixed.alone,
        f"at equal {fixed.name} {written(lower)}{few}{explained}",
    )


def _adds(name: str, to: str, rivals: Sequence[Added]) -> Check:
    rule = f"to every rival that reads {to} the neurons add held-out likelihood (interval above 0 "
    rule += "and permutation p at most 0.05)"
    if not rivals:
        return Check(name, rule, None, reads=ABSENT, unit="millinats an answer")
    least = min(rivals, key=lambda rival: rival.gain.low)
    holds = all(rival.gain.low > 0 and rival.p <= LEVEL for rival in rivals)
    reads = f"over {spaced(least.name)} they add {signed(least.gain, '.0f')} millinats an answer"
    return Check(
        name, rule, holds, least.gain, reads=reads,
        unit="millinats an answer", line=0.0, p=max(rival.p for rival in rivals),
    )  # fmt: skip
