"""How claims are decided: six claims, the conditions of each, and nothing else.

Every rule is a pure function of `Findings`. A card, a sentence and a figure's title that say
whether something holds all ask here, so that no two of them can disagree. A claim is
supported when all its conditions hold, not supported when one fails, and not tested when none
fails but one could not be tested. Where a claim asks that all of several tests succeed, each keeps
its own 5 % (an intersection-union test); where it would be enough that any does, they are
corrected.

Example: ``enough`` asks that the interval of "AUROC of the sparse probe less that of a dense one"
lies above -0.05. A difference of -0.01 [-0.03, 0.01] holds; -0.02 [-0.08, 0.04] does not, although
its value is above the margin: what the data leave open is not supported.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hlens.claims import conventions
from hlens.claims.conventions import ABSENT, FEW_DRAWS, FEWEST_DRAWS, LEVEL
from hlens.claims.findings import (
    AtToken,
    BySelector,
    ExcessSlope,
    Findings,
    HeldFixed,
    OverOutput,
    RivalGap,
    TransferPair,
)
from hlens.counting import count
from hlens.display import display_name
from hlens.types import Check, Claim, Estimate
from hlens.types.estimate import percent
from hlens.types.labels import ClaimName, Heading, Place, Unit

ABOVE_CHANCE = "above chance"
EARNS = "earns its pass"
_UNEDITED = "the H-neurons were not edited; run hlens intervene first"
_HELD_FIXED = (
    "with it held fixed the AUROC stays above 0.5: adjusted for it, and over pairs of answers that "
    "are alike in it; where fewer than 20 answers of a label stand in one, the adjustment decides, "
    "and must leave more than it reads alone; where no two are alike it cannot be held fixed"
)


def decide(findings: Findings) -> tuple[Claim, ...]:
    """The six claims, with their verdicts."""
    claims = (readout, sparsity, identity, transfer, control, cost)
    return tuple(_say_under_whom(claim(findings), findings) for claim in claims)


def _say_under_whom(claim: Claim, findings: Findings) -> Claim:
    """The claim with the judges or graders that its numbers rest on; a second one only if asked."""
    if claim.name == ClaimName.CONTROL:
        graders = dict.fromkeys(one.grader for one in findings.slopes if one.grader)
        return replace(
            claim, under=f"replies graded by {' and by '.join(graders)}" if graders else ""
        )
    asked = [findings.judge, findings.second_judge if claim.name == ClaimName.READOUT else ""]
    judges = [judge for judge in asked if judge]
    parts = [f"labels by {' and by '.join(judges)}" if judges else "", _say_whose(claim, findings)]
    return replace(claim, under="; ".join(filter(None, parts)))


def _say_whose(claim: Claim, findings: Findings) -> str:
    """Whose neurons a claim is about, and what it says of the sets of other selectors."""
    own = f"neurons by {findings.selected_by}" if findings.selected_by else ""
    asked: dict[str, tuple[str, Callable[[BySelector], bool]]] = {
        ClaimName.SPARSITY: ("reads more than random ones", reads_more),
        ClaimName.IDENTITY: ("comes back on halves", comes_back),
    }
    if not own or claim.name not in asked or not findings.selectors:
        return own
    what, holds = asked[claim.name]
    said = [
        f"{display_name('selectors', one.name)} {'yes' if holds(one) else 'no'}"
        for one in findings.selectors
    ]
    return f"{own}; of other selectors' sets, {what}: {', '.join(said)}"


def reads_more(one: BySelector) -> bool:
    """Whether a selector's neurons read more than 97.5 % of the draws of random ones."""
    return one.random is not None and one.auroc.value > one.random.high


def comes_back(one: BySelector) -> bool:
    """Whether halves name enough of a selector's neurons again: the asked share, in the mean."""
    return one.shared is not None and one.shared.value >= conventions.COMES_BACK


def readout(findings: Findings) -> Claim:
    """Do the neurons tell wrong from right, beyond surface and confidence?"""
    own = findings.auroc
    rule = (
        "the interval of the held-out AUROC lies above 0.5, and fits on shuffled labels, where "
        f"{FEWEST_DRAWS} or more were made, do not do as well"
    )
    above_chance = _check_interval(
        ABOVE_CHANCE, rule, own, reads=lambda auroc: f"held-out AUROC {auroc:.2f} (chance 0.5)"
    )
    if own is not None:
        above_chance = replace(above_chance, holds=is_above_chance(own, findings.shuffled_p))
    rule = (
        f"at most 5 % of {FEWEST_DRAWS} or more fits on shuffled labels do as well (permutation p)"
    )
    null, p = findings.shuffled, findings.shuffled_p
    reads = "shuffled labels reach {null:.2f} (p = {p:.3f})"
    beyond_shuffled = _check_null("beyond shuffled labels", rule, own, null=null, p=p, reads=reads)
    reads_at_all = bool(above_chance.holds)
    held_fixed = [check_held_fixed(one, reads_at_all) for one in findings.held_fixed]
    none_fixed = Check("at equal surface", _HELD_FIXED, None, reads=ABSENT)
    beyond_rivals = (
        _check_added("beyond confidence", "the model's own confidence", findings.confidence),
        _check_added("beyond the text", "the words of the answer", findings.text),
    )
    says = "The neurons tell hallucinated from true answers, beyond length, format and confidence."
    checks = (above_chance, beyond_shuffled, *(held_fixed or [none_fixed]), *beyond_rivals)
    if findings.second_judge:
        checks += (_check_second_judge(findings),)
    return Claim(ClaimName.READOUT, says, checks, Heading.RIVALS)


def _check_second_judge(findings: Findings) -> Check:
    """Both must hold, so the one that is lower decides."""
    rule = (
        "by the second judge's labels the held-out AUROC lies above 0.5 (interval), as found and "
        "fitted to these labels"
    )
    found, refit = findings.second_labels, findings.second_refit
    name, by = "under the second judge", findings.second_judge
    if found is None or refit is None:
        return Check(name, rule, None, reads=f"{by} leaves too few labels of both kinds")
    lower = min((found, refit), key=lambda auroc: auroc.low)
    reads = f"by {by}: AUROC {found.value:.2f}, fitted to its labels {refit.value:.2f}"
    return Check(name, rule, lower.low > 0.5, lower, findings.auroc, reads)


def sparsity(findings: Findings) -> Claim:
    """Are a few neurons enough, and better than any few?"""
    n, of = findings.n_selected, findings.n_neurons
    share = n / max(1, of)
    rule = (
        f"the probe uses at least one neuron and at most {100 * conventions.FEW:g} % of the model's"
    )
    holds = 0 < share <= conventions.FEW if of else None
    reads = f"{n:,} of {count(of, 'neuron')} ({100 * share:.2g} %)"
    few = Check("few", rule, holds, reads=reads, unit=Unit.NONE)
    margin = conventions.MARGIN
    enough = _check_interval(
        "enough",
        f"the interval of its AUROC less that of all neurons lies above −{margin:g}",
        findings.over_dense,
        reads=lambda over: f"sparse less dense: {over.signed()} (margin −{margin:g})",
        unit=Unit.AUROC_DIFFERENCE,
        line=-margin,
    )
    rule = (
        f"at most 5 % of {FEWEST_DRAWS} or more draws of as many random neurons of the same layers "
        "do as well, refitted alike"
    )
    null, p = findings.random, findings.random_p
    reads = "random neurons reach {null:.2f}, these {own:.2f} (p = {p:.3f})"
    better = _check_null("better than any few", rule, findings.refit, null=null, p=p, reads=reads)
    says = "A few neurons carry what can be read, and few others would."
    return Claim(ClaimName.SPARSITY, says, (few, enough, better), Heading.SPARSITY)


def identity(findings: Findings) -> Claim:
    """Is it these neurons, and would the reading go with them?"""
    back, chance, unit = findings.halves, findings.chance, Unit.SHARE_OF_SET
    least = f"{100 * conventions.COMES_BACK:g} %"
    rule = (
        f"on the other half of the data at least {least} of the smaller set is found again, and "
        "every halving finds more than chance ever does"
    )
    holds, reads = None, ABSENT
    if back is not None and chance is not None:
        # Every halving must beat the best of chance, not its mean: a few neurons overlap by luck.
        holds = back.value >= conventions.COMES_BACK and back.low > chance.high
        reads = f"halves share {percent(back.value)} of their neurons "
        reads += f"(least {percent(back.low)}, greatest {percent(back.high)}); "
        reads += f"chance {percent(chance.value)} (greatest {percent(chance.high)})"
    halves = Check("comes back", rule, holds, back, chance, reads, unit)
    shared = findings.other_split
    rule = f"another split of the data finds at least {least} of the smaller set again"
    holds = None if shared is None else shared.value >= conventions.COMES_BACK
    reads = (
        ABSENT
        if shared is None
        else f"another split shares {percent(shared.value)} ({least} asked)"
    )
    split = Check("another split", rule, holds, shared, reads=reads, unit=unit)
    needed = _check_interval(
        "needed",
        "a probe that may not use them reads worse: the interval of the loss lies above 0",
        findings.over_without,
        reads=lambda loss: f"without them the AUROC {loss.change('falls by', 'rises by')}",
        unit=Unit.AUROC_DIFFERENCE,
        line=0.0,
    )
    says = "It is these neurons: other data find them again, and without them the reading is lost."
    return Claim(ClaimName.IDENTITY, says, (halves, split, needed), Heading.REFITS)


def transfer(findings: Findings) -> Claim:
    """Does a probe of one domain read another?"""
    pairs = findings.transfers
    share = f"{100 * conventions.KEEPS:g} %"
    above = "above chance", "every pair of different domains lies above 0.5 (Holm's p at most 0.05)"
    half = "keeps half", f"every pair keeps {share} of what is above 0.5 within the tested domain"
    checks = tuple(Check(*one, None, reads="one domain only") for one in (above, half))
    if pairs:
        worst = min(pairs, key=lambda pair: pair.auroc.value)
        holds = all(map(carries, pairs))
        reads = f"worst pair, {_pair(worst)}: {worst.auroc:.2f} (chance 0.5)"
        first = Check(*above, holds, worst.auroc, reads=reads, p=worst.p_corrected)
        known = [pair for pair in pairs if pair.within == pair.within] or pairs
        kept = [(p.auroc.value - 0.5) / max(p.within - 0.5, 1e-9) for p in known]
        least = min(kept)
        pair = known[kept.index(least)]
        within = Estimate(pair.within, pair.within, pair.within, pair.auroc.n)
        own = display_name("domains", pair.test)
        reads = f"{_pair(pair)} keeps {percent(max(0.0, least))} "
        reads += f"of what is read within {own} ({pair.within:.2f})"
        second = Check(*half, least >= conventions.KEEPS, pair.auroc, within, reads)
        unread = next((pair for pair in pairs if not pair.within > 0.5), None)
        if unread:
            within = f"{unread.within:.2f}" if unread.within == unread.within else "not known"
            own = display_name("domains", unread.test)
            reads = f"nothing is read within {own} ({within}), to be kept"
            second = Check(*half, None, reads=reads)
        checks = first, second
    says = "A probe found in one domain reads the others."
    return Claim(ClaimName.TRANSFER, says, checks, Heading.TRANSFER)


def _pair(pair: TransferPair) -> str:
    """A pair of domains, as it is read."""
    train, test = (display_name("domains", one) for one in (pair.train, pair.test))
    return f"{train} to {test}"


def control(findings: Findings) -> Claim:
    """Does an edit of the neurons move behaviour, and nothing else?"""
    behaviour = [slope for slope in findings.slopes if not slope.damage]
    damage = [slope for slope in findings.slopes if slope.damage]
    # Each grader of a behaviour must see it, so the one that sees least speaks for the behaviour.
    graded = [[one for one in behaviour if one.name == name] for name in _names(behaviour)]
    graded = [ones for ones in graded if all(one.over_random.known for one in ones)]
    weakest = [min(ones, key=lambda one: (grows(one), one.over_random.low)) for ones in graded]
    unread = [one for one in behaviour if not one.over_random.known]
    strongest = max(weakest, key=lambda one: (grows(one), one.over_random.low), default=None)
    moves = _check_slope(
        "moves behaviour",
        "at least one behaviour grows with the dose more than under every random set, to each of "
        "its graders (interval corrected for the number of behaviours)",
        strongest,
        strongest is not None and grows(strongest),
        Unit.SHARE_PER_DOSE,
    )
    if unread and not moves.holds:
        name = display_name("behaviours", unread[0].name)
        reads = f"{name}: not one reply could be graded by {unread[0].grader}"
        moves = replace(moves, holds=None, reads=reads)
    spares = _check_slope(
        "spares the rest",
        "no capability worsens more than under random sets, to any grader",
        max(damage, key=lambda one: abs(one.over_random.value) * worsens(one), default=None),
        not any(map(worsens, damage)),
        Unit.PER_DOSE,
    )
    lost = next((one for one in damage if not one.over_random.known), None)
    if lost and spares.holds:
        name = display_name("behaviours", lost.name)
        reads = f"{name}: not one reply could be graded by {lost.grader} at a dose"
        spares = replace(spares, holds=None, reads=reads)
    says = "Turning the neurons up makes the model hallucinate more, without breaking it."
    return Claim(ClaimName.CONTROL, says, (moves, spares), Heading.EDITING)


def lies_above(estimate: Estimate, line: float = 0.5) -> bool:
    """Whether the whole interval lies above a line, such as chance."""
    return estimate.low > line


def is_above_chance(auroc: Estimate, p: float | None) -> bool:
    """Whether a detector is shown to read: by its interval and, where it is known, permutation p.

    Either is wrong by luck once in a while; who says that it reads asks both.
    """
    return lies_above(auroc) and (p is None or p <= LEVEL)


def is_beaten(rival: RivalGap) -> bool:
    """Whether the H-neurons are shown to read better than a rival."""
    return rival.gap.value > 0 and rival.p <= LEVEL


def is_better(rival: RivalGap) -> bool:
    """Whether a rival is shown to read better than the H-neurons."""
    return rival.gap.value < 0 and rival.p <= LEVEL


def carries(pair: TransferPair) -> bool:
    """Whether a probe of one domain is shown to read another."""
    return pair.auroc.value > 0.5 and pair.p_corrected <= LEVEL


def grows(slope: ExcessSlope) -> bool:
    """Whether a behaviour grows with the dose more than under every random set."""
    return slope.beyond and slope.over_random.low > 0


def falls(slope: ExcessSlope) -> bool:
    """Whether a behaviour falls with the dose more than under every random set."""
    return slope.beyond and slope.over_random.high < 0


def _names(slopes: Sequence[ExcessSlope]) -> list[str]:
    return list(dict.fromkeys(slope.name for slope in slopes))


def worsens(capability: ExcessSlope) -> bool:
    """Whether a capability worsens: perplexity grows, a share of right answers falls."""
    return grows(capability) if capability.name == "perplexity" else falls(capability)


def cost(findings: Findings) -> Claim:
    """Does anything as cheap read as well?"""
    rivals = findings.cheap_rivals
    name = "beats the cheap"
    rule = "every rival that costs no more is beaten (paired test, Holm's p at most 0.05)"
    check = Check(name, rule, None, reads=ABSENT)
    if rivals:
        others = [display_name("baselines", r.name) for r in rivals if not is_beaten(r)]
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        reads = f"not beaten: {', '.join(others[:4])}{more}"
        beaten = "the one rival" if len(rivals) == 1 else f"all {len(rivals)} rivals"
        reads = reads if others else f"{beaten} beaten"
        nearest = min(rivals, key=lambda rival: rival.gap.value)
        name_of = display_name("baselines", nearest.name)
        reads += f"; nearest is {name_of}, difference {nearest.gap.signed()}"
        unit, p = Unit.AUROC_DIFFERENCE, nearest.p
        check = Check(name, rule, not others, nearest.gap, reads=reads, unit=unit, line=0.0, p=p)
    says = "Nothing as cheap reads as well, and the neurons add to what the model's output says."
    checks = (_check_over_output(findings), check)
    if any(at.difference for at in findings.tokens):
        checks += (_check_tokens(findings),)
    return Claim(ClaimName.COST, says, checks, Heading.RIVALS)


def _check_over_output(findings: Findings) -> Check:
    """What a user pays for: the reading above that of the model's own output."""
    name = EARNS
    rule = (
        "joined to the output numbers (log-probabilities, entropies, length) the neurons raise the "
        "held-out AUROC (interval above 0) to above 0.5 (interval) and the likelihood (permutation "
        "p at most 0.05)"
    )
    unit, found = Unit.AUROC_DIFFERENCE, findings.over_output
    if found is None or found.p != found.p:
        return Check(name, rule, None, reads=ABSENT, unit=unit, line=0.0)
    change = found.difference.change("raise it by", "lower it by", ".3f")
    reads = f"the model's own output reads {found.output.value:.3f}; the neurons {change}"
    reads += f" (p of the likelihood {found.p:.3g})"
    holds = is_gain(found)
    return Check(name, rule, holds, found.difference, reads=reads, unit=unit, line=0.0, p=found.p)


def is_gain(found: OverOutput) -> bool:
    """Whether the neurons are shown to add to the model's own output."""
    reads = lies_above(found.difference, 0.0) and lies_above(found.both)
    return reads and found.gain.value > 0 and found.p <= LEVEL


def _check_tokens(findings: Findings) -> Check:
    """Whether the only distinct value lies before the first token (arXiv 2604.13068)."""
    rule = (
        "where a token of the answer is read, the neurons raise the AUROC of the output numbers so "
        "far (Holm's p over all places at most 0.05): their only value is not before the first"
    )
    name, unit = "past the first token", Unit.AUROC_DIFFERENCE
    known = [(at, at.difference) for at in findings.tokens if at.difference is not None]
    read = [(at, gap) for at, gap in known if at.place == Place.READ]
    before = next((gap for at, gap in known if at.place != Place.READ and at.token <= 0), None)
    reads = ""
    if before is not None:
        change = before.change(
            "raise the AUROC of the output by", "lower that of the output by", ".3f"
        )
        reads = f"before the first token they {change}; "
    if not read:
        return Check(name, rule, None, reads=f"{reads}no token was read", unit=unit, line=0.0)
    at, most = max(read, key=lambda one: (adds(one[0]), one[1].low))
    reads += f"where token {at.token + 1} is read they "
    reads += f"{most.change('raise it by', 'lower it by', '.3f')} (p = {at.p:.3g})"
    return Check(name, rule, adds(at), most, reads=reads, unit=unit, line=0.0, p=at.p)


def adds(at: AtToken) -> bool:
    """Whether the neurons at a token are shown to add to the output numbers so far."""
    return at.difference is not None and at.difference.value > 0 and at.p <= LEVEL


def _check_interval(
    name: str,
    rule: str,
    number: Estimate | None,
    *,
    reads: Callable[[Estimate], str],
    unit: Unit = Unit.AUROC,
    line: float = 0.5,
) -> Check:
    """The interval lies above the line; not tested where the number was not measured."""
    if number is None:
        return Check(name, rule, None, reads=ABSENT, unit=unit, line=line)
    holds = lies_above(number, line)
    return Check(name, rule, holds, number, reads=reads(number), unit=unit, line=line)


def _check_null(
    name: str,
    rule: str,
    number: Estimate | None,
    *,
    null: Estimate | None,
    p: float | None,
    reads: str,
) -> Check:
    """A number against its null; not tested where too few draws were made."""
    if p is None or number is None or null is None:
        return Check(name, rule, None, number, null, FEW_DRAWS, p=p)
    reads = reads.format(own=number.value, null=null.value, p=p)
    return Check(name, rule, p <= LEVEL, number, null, reads, p=p)


def check_held_fixed(one: HeldFixed, reads_at_all: bool) -> Check:
    """The AUROC with one covariate held fixed.

    `reads_at_all`: it is above chance with nothing held fixed, so that something is lost here.
    """
    name, enough_pairs = f"at equal {one.name}", one.fewest >= conventions.ENOUGH
    alone = f" ({one.name} alone {one.alone.value:.2f})" if one.alone.known else ""
    explained = f": {one.name} may explain it" if reads_at_all else ""
    if one.fewest == 0:  # it separates the labels: an adjustment rests on its model alone
        reads = f"{name}: no two answers are alike in it{alone}{explained}"
        return Check(name, _HELD_FIXED, False, one.adjusted, one.alone, reads)
    shown = one.pairs if enough_pairs else one.adjusted
    if not (one.adjusted.known and shown.known):
        return Check(name, _HELD_FIXED, None, one.adjusted, one.alone, f"{name}: {ABSENT}")
    holds = lies_above(one.adjusted) and lies_above(shown)
    if not enough_pairs and one.alone.value > one.adjusted.value:
        holds = False  # what reads better by itself may leave a trace that no adjustment takes off
    lower = min((one.adjusted, shown), key=lambda estimate: estimate.low)
    few = "" if enough_pairs else " (too few alike pairs)"
    reads = f"{name} {lower:.2f}{alone}{few}{'' if holds else explained}"
    return Check(name, _HELD_FIXED, holds, lower, one.alone, reads)


def _check_added(name: str, to: str, rivals: Sequence[RivalGap]) -> Check:
    rule = (
        f"to every rival that reads {to} the neurons add held-out likelihood (interval above 0 "
        "and permutation p at most 0.05)"
    )
    unit = Unit.MILLINATS
    if not rivals:
        return Check(name, rule, None, reads=ABSENT, unit=unit)
    least, p = min(rivals, key=lambda rival: rival.gap.low), max(rival.p for rival in rivals)
    holds = all(rival.gap.low > 0 and rival.p <= LEVEL for rival in rivals)
    change = least.gap.change("they add", "they take away", ".0f")
    reads = f"over {display_name('baselines', least.name)} {change} {unit}"
    return Check(name, rule, holds, least.gap, reads=reads, unit=unit, line=0.0, p=p)


def _check_slope(name: str, rule: str, shown: ExcessSlope | None, holds: bool, unit: Unit) -> Check:
    if shown is None:
        return Check(name, rule, None, reads=_UNEDITED, unit=unit, line=0.0)
    over = shown.over_random
    by = f" by {shown.grader}" if shown.grader else ""
    reads = (
        f"{display_name('behaviours', shown.name)}{by}: slope over random neurons {over.signed()}"
    )
    if shown.n_random:
        # So few sets bound what their rank alone can say: the reader is told, not left to count.
        beside = "beyond all" if shown.beyond else "not beyond all"
        reads += f", {beside} {count(shown.n_random, 'set')} (chance 1 in {shown.n_random + 1})"
    return Check(name, rule, holds, over, reads=reads, unit=unit, line=0.0)
