"""How an audit decides: six claims, the conditions of each, and nothing else.

Every rule is a pure function of `Findings`. A claim is supported when all its conditions hold, not
supported when one fails, and not tested when none fails but one could not be tested. Where a claim
asks that all of several tests succeed, each keeps its own 5 % (an intersection-union test); where
it would be enough that any does, they are corrected.

Example: ``enough`` asks that the interval of "AUROC of the sparse probe less that of a dense one"
lies above -0.05. A difference of -0.01 [-0.03, 0.01] holds; -0.02 [-0.08, 0.04] does not, although
its value is above the margin: what the data leave open is not supported.
"""

from collections.abc import Callable, Sequence

from hlens.audit.conventions import (
    ABSENT,
    COMES_BACK,
    ENOUGH,
    FEW,
    FEW_DRAWS,
    FEWEST_DRAWS,
    KEEPS,
    LEVEL,
    MARGIN,
)
from hlens.audit.findings import AddedValue, ExcessSlope, Findings, HeldFixed
from hlens.types import Check, Claim, Estimate
from hlens.types.estimate import percent
from hlens.types.labels import ClaimName, Heading, Unit, spaced

_UNEDITED = "no neuron was edited; run hlens intervene first"
_HELD_FIXED = (
    "with it held fixed the AUROC stays above 0.5: adjusted for it, and over pairs of answers that "
    "are alike in it, where 20 answers of either label stand in one"
)


def decide(findings: Findings) -> tuple[Claim, ...]:
    """The six claims of an audit, with their verdicts."""
    claims = (readout, sparsity, identity, transfer, control, cost)
    return tuple(claim(findings) for claim in claims)


def readout(findings: Findings) -> Claim:
    """Do the neurons tell wrong from right, beyond surface and confidence?"""
    own = findings.auroc
    above_chance = _check_number(
        "above chance",
        "the interval of the held-out AUROC lies above 0.5",
        own,
        holds=lambda auroc: auroc.low > 0.5,
        reads=lambda auroc: f"held-out AUROC {auroc:.2f}",
    )
    beyond_shuffled = _check_null(
        "beyond shuffled labels",
        f"at most 5 % of {FEWEST_DRAWS} or more fits on shuffled labels do as well (permutation p)",
        own,
        null=findings.shuffled,
        p=findings.shuffled_p,
        reads=lambda _, null, p: f"shuffled labels reach {null:.2f} (p = {p:.3f})",
    )
    reads = own is not None and own.low > 0.5
    held_fixed = [_check_held_fixed(one, reads) for one in findings.held_fixed] or [
        Check("at equal surface", _HELD_FIXED, None, reads=ABSENT)
    ]
    beyond_rivals = (
        _check_added("beyond confidence", "the model's own confidence", findings.confidence),
        _check_added("beyond the text", "the words of the answer", findings.text),
    )
    says = "The neurons tell hallucinated from true answers, beyond length, format and confidence."
    checks = (above_chance, beyond_shuffled, *held_fixed, *beyond_rivals)
    return Claim(ClaimName.READOUT, says, checks, Heading.RIVALS)


def sparsity(findings: Findings) -> Claim:
    """Are a few neurons enough, and better than any few?"""
    share = findings.n_selected / max(1, findings.n_neurons)
    few = Check(
        "few",
        f"the probe uses at least one neuron and at most {100 * FEW:g} % of the model's",
        0 < share <= FEW if findings.n_neurons else None,
        reads=f"{findings.n_selected:,} of {findings.n_neurons:,} neurons ({100 * share:.2g} %)",
        unit=Unit.NONE,
    )
    enough = _check_number(
        "enough",
        f"the interval of its AUROC less that of all neurons lies above −{MARGIN:g}",
        findings.over_dense,
        holds=lambda over: over.low > -MARGIN,
        reads=lambda over: f"sparse less dense: {over.signed()}",
        unit=Unit.AUROC_DIFFERENCE,
        line=-MARGIN,
    )
    better = _check_null(
        "better than any few",
        f"at most 5 % of {FEWEST_DRAWS} or more draws of as many random neurons of the same layers "
        "do as well, refitted alike",
        findings.refit,
        null=findings.random,
        p=findings.random_p,
        reads=lambda own, null, _: f"random neurons reach {null:.2f}, these {own:.2f}",
    )
    says = "A few neurons carry what can be read, and few others would."
    return Claim(ClaimName.SPARSITY, says, (few, enough, better), Heading.SPARSITY)


def identity(findings: Findings) -> Claim:
    """Is it these neurons, and would the reading go with them?"""
    back, chance = findings.halves, findings.chance
    holds = reads = None
    if back is not None and chance is not None:
        # Every halving must beat the best of chance, not its mean: a few neurons overlap by luck.
        holds = back.value >= COMES_BACK and back.low > chance.high
        reads = f"halves share {percent(back.value)} of their neurons "
        reads += f"(least {percent(back.low)}, greatest {percent(back.high)})"
    halves = Check(
        "comes back",
        f"on the other half of the data at least {100 * COMES_BACK:g} % of the smaller set is "
        "found again, and every halving finds more than chance ever does",
        holds,
        back,
        chance,
        reads or ABSENT,
        Unit.SHARE_OF_SET,
    )
    split = _check_number(
        "another split",
        f"another split of the data finds at least {100 * COMES_BACK:g} % of the smaller set again",
        findings.other_split,
        holds=lambda shared: shared.value >= COMES_BACK,
        reads=lambda shared: f"another split shares {percent(shared.value)}",
        unit=Unit.SHARE_OF_SET,
    )
    needed = _check_number(
        "needed",
        "a probe that may not use them reads worse: the interval of the loss lies above 0",
        findings.over_without,
        holds=lambda loss: loss.low > 0,
        reads=lambda loss: f"without them it loses {loss.signed()} of AUROC",
        unit=Unit.AUROC_DIFFERENCE,
        line=0.0,
    )
    says = "It is these neurons: other data find them again, and without them the reading is lost."
    return Claim(ClaimName.IDENTITY, says, (halves, split, needed), Heading.REFITS)


def transfer(findings: Findings) -> Claim:
    """Does a probe of one domain read another?"""
    pairs = findings.transfers
    first = "above chance", "every pair of different domains lies above 0.5 (Holm's p at most 0.05)"
    second = (
        "keeps half",
        f"every pair keeps {100 * KEEPS:g} % of what is above 0.5 within the tested domain",
    )
    checks = tuple(Check(*one, None, reads="one domain only") for one in (first, second))
    if pairs:
        worst = min(pairs, key=lambda pair: pair.auroc.value)
        kept = [(p.auroc.value - 0.5) / max(p.within - 0.5, 1e-9) for p in pairs]
        weakest = pairs[kept.index(min(kept))]
        within = Estimate(weakest.within, weakest.within, weakest.within, weakest.auroc.n)
        checks = (
            Check(
                *first,
                all(p.auroc.value > 0.5 and p.p_corrected <= LEVEL for p in pairs),
                worst.auroc,
                reads=f"worst pair, {worst.train} to {worst.test}: {worst.auroc:.2f}",
                p=worst.p_corrected,
            ),
            Check(
                *second,
                min(kept) >= KEEPS,
                weakest.auroc,
                within,
                f"{weakest.train} to {weakest.test} keeps {percent(max(0.0, min(kept)))}",
            ),
        )
    says = "A probe found in one domain reads the others."
    return Claim(ClaimName.TRANSFER, says, checks, Heading.TRANSFER)


def control(findings: Findings) -> Claim:
    """Does an edit of the neurons move behaviour, and nothing else?"""
    behaviour = [slope for slope in findings.slopes if not slope.damage]
    damage = [slope for slope in findings.slopes if slope.damage]
    moves = _check_slope(
        "moves behaviour",
        "at least one behaviour grows with the dose more than under every random set (interval "
        "corrected for the number of behaviours)",
        max(behaviour, key=lambda slope: slope.over_random.low, default=None),
        any(slope.beyond and slope.over_random.low > 0 for slope in behaviour),
        Unit.SHARE_PER_DOSE,
    )
    spares = _check_slope(
        "spares the rest",
        "no capability worsens more than under random sets",
        max(damage, key=lambda one: abs(one.over_random.value) * worsens(one), default=None),
        not any(one.beyond and worsens(one) for one in damage),
        Unit.PER_DOSE,
    )
    says = "Turning the neurons up makes the model hallucinate more, without breaking it."
    return Claim(ClaimName.CONTROL, says, (moves, spares), Heading.EDITING)


def worsens(capability: ExcessSlope) -> bool:
    """Whether a capability worsens: perplexity grows, a share of right answers falls."""
    over = capability.over_random
    return over.low > 0 if capability.name == "perplexity" else over.high < 0


def cost(findings: Findings) -> Claim:
    """Does anything as cheap read as well?"""
    rivals = findings.cheap_rivals
    name, rule = (
        "beats the cheap",
        "every rival that costs no more is beaten (paired test, Holm's p at most 0.05)",
    )
    check = Check(name, rule, None, reads=ABSENT)
    if rivals:
        beaten = [r for r in rivals if r.difference.value > 0 and r.p_corrected <= LEVEL]
        others = [spaced(rival.name) for rival in rivals if rival not in beaten]
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        reads = f"not beaten: {', '.join(others[:4])}{more}"
        reads = reads if others else f"all {len(beaten)} rivals beaten"
        nearest = min(rivals, key=lambda rival: rival.difference.value)
        reads += f"; nearest is {spaced(nearest.name)}, difference {nearest.difference.signed()}"
        check = Check(
            name,
            rule,
            not others,
            nearest.difference,
            reads=reads,
            unit=Unit.AUROC_DIFFERENCE,
            line=0.0,
            p=nearest.p_corrected,
        )
    return Claim(ClaimName.COST, "Nothing as cheap reads as well.", (check,), Heading.RIVALS)


def _check_number(
    name: str,
    rule: str,
    number: Estimate | None,
    *,
    holds: Callable[[Estimate], bool],
    reads: Callable[[Estimate], str],
    unit: Unit = Unit.AUROC,
    line: float = 0.5,
) -> Check:
    """One number against a line; not tested where it was not measured."""
    if number is None:
        return Check(name, rule, None, reads=ABSENT, unit=unit, line=line)
    return Check(name, rule, holds(number), number, reads=reads(number), unit=unit, line=line)


def _check_null(
    name: str,
    rule: str,
    number: Estimate | None,
    *,
    null: Estimate | None,
    p: float | None,
    reads: Callable[[float, float, float], str],
) -> Check:
    """A number against its null; not tested where too few draws were made."""
    if p is None or number is None or null is None:
        return Check(name, rule, None, number, null, FEW_DRAWS, p=p)
    return Check(name, rule, p <= LEVEL, number, null, reads(number.value, null.value, p), p=p)


def _check_held_fixed(one: HeldFixed, reads: bool) -> Check:
    """`reads`: with nothing held fixed the detector is above chance, so something is lost here."""
    enough_pairs = one.fewest >= ENOUGH
    shown = one.pairs if enough_pairs else one.adjusted
    holds = one.adjusted.low > 0.5 and shown.low > 0.5
    lower = min((one.adjusted, shown), key=lambda estimate: estimate.low)
    few = "" if enough_pairs else " (too few alike pairs)"
    explained = f": {one.name} may explain it" if reads and not holds else ""
    return Check(
        f"at equal {one.name}",
        _HELD_FIXED,
        holds if lower.known else None,
        lower,
        one.alone,
        f"at equal {one.name} {lower:.2f}{few}{explained}",
    )


def _check_added(name: str, to: str, rivals: Sequence[AddedValue]) -> Check:
    rule = (
        f"to every rival that reads {to} the neurons add held-out likelihood (interval above 0 "
        "and permutation p at most 0.05)"
    )
    if not rivals:
        return Check(name, rule, None, reads=ABSENT, unit=Unit.MILLINATS)
    least = min(rivals, key=lambda rival: rival.gain.low)
    return Check(
        name,
        rule,
        all(rival.gain.low > 0 and rival.p <= LEVEL for rival in rivals),
        least.gain,
        reads=f"over {spaced(least.name)} they add {least.gain.signed('.0f')} {Unit.MILLINATS}",
        unit=Unit.MILLINATS,
        line=0.0,
        p=max(rival.p for rival in rivals),
    )


def _check_slope(name: str, rule: str, shown: ExcessSlope | None, holds: bool, unit: Unit) -> Check:
    if shown is None:
        return Check(name, rule, None, reads=_UNEDITED, unit=unit, line=0.0)
    over = shown.over_random
    reads = f"{spaced(shown.name)}: slope over random neurons {over.signed()}"
    return Check(name, rule, holds, over, reads=reads, unit=unit, line=0.0)
