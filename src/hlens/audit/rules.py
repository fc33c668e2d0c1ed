"""How an audit decides: six claims, the conditions of each, and nothing else.

Every rule is a pure function of `Findings`. A claim is supported when all its conditions hold, not
supported when one fails, and not tested when none fails but one could not be tested. Where a claim
asks that all of several tests succeed, each keeps its own 5 % (an intersection-union test); where
it would be enough that any does, they are corrected.
"""

from collections.abc import Sequence

from hlens.audit.findings import FEWEST_DRAWS, Added, Findings, Fixed
from hlens.audit.words import percent, signed, spaced, written
from hlens.types import Check, Claim, Estimate

LEVEL = 0.05
MARGIN = 0.05  # AUROC that a sparse set may lose against all neurons
FEW = 0.01  # share of the model's neurons that is still few
COMES_BACK = 0.5  # share of a set that must be found again
KEEPS = 0.5  # share of what is above chance that must carry over
HELD_FIXED = (
    "with it held fixed the AUROC stays above 0.5: adjusted for it, and over pairs of answers that "
    "are alike in it, where 20 answers of either label stand in one"
)
ENOUGH = 20  # answers of either label in alike pairs, below which only the adjustment is asked


def decide(found: Findings) -> tuple[Claim, ...]:
    """The six claims of an audit, with their verdicts."""
    return (
        readout(found), sparsity(found), identity(found), transfer(found), control(found),
        cost(found),
    )  # fmt: skip


def readout(found: Findings) -> Claim:
    """Do the neurons tell wrong from right, beyond surface and confidence?"""
    checks = [_above_chance(found), _above_shuffled(found)]
    reads = found.auroc is not None and found.auroc.low > 0.5
    checks += [_held_fixed(fixed, reads) for fixed in found.fixed] or [
        Check("at equal surface", HELD_FIXED, None, reads=_ABSENT)
    ]
    checks.append(_adds("beyond confidence", "the model's own confidence", found.confidence))
    checks.append(_adds("beyond the text", "the words of the answer", found.text))
    says = "The neurons tell hallucinated from true answers, beyond length, format and confidence."
    return Claim("Readout", says, tuple(checks), "Who else can tell?")


def sparsity(found: Findings) -> Claim:
    """Are a few neurons enough, and better than any few?"""
    share = found.n_selected / max(1, found.n_neurons)
    few = Check(
        "few",
        f"the probe uses at least one neuron and at most {100 * FEW:g} % of the model's",
        0 < share <= FEW if found.n_neurons else None,
        reads=f"{found.n_selected:,} of {found.n_neurons:,} neurons ({100 * share:.2g} %)",
        unit="",
    )
    over = found.over_dense
    enough = Check(
        "enough",
        f"the interval of its AUROC less that of all neurons lies above −{MARGIN:g}",
        None if over is None else over.low > -MARGIN,
        over,
        reads=_ABSENT if over is None else f"sparse less dense: {signed(over)}",
        unit="AUROC difference",
        line=-MARGIN,
    )
    says = "A few neurons carry what can be read, and few others would."
    return Claim(
        "Sparsity", says, (few, enough, _above_random(found)), "How many neurons are needed?"
    )


def identity(found: Findings) -> Claim:
    """Is it these neurons, and would the reading go with them?"""
    back, chance = found.halves, found.chance
    halves = Check(
        "comes back",
        f"on the other half of the data at least {100 * COMES_BACK:g} % of the smaller set is "
        "found again, and every halving finds more than chance ever does",
        None if back is None or chance is None
        else back.value >= COMES_BACK and back.low > chance.high,
        back,
        chance,
        _ABSENT if back is None
        else f"halves share {percent(back.value)} of their neurons "
        f"(least {percent(back.low)}, greatest {percent(back.high)})",
        "share of the smaller set",
    )  # fmt: skip
    seed = found.other_split
    split = Check(
        "another split",
        f"another split of the data finds at least {100 * COMES_BACK:g} % of the smaller set again",
        None if seed is None else seed.value >= COMES_BACK,
        seed,
        reads=_ABSENT if seed is None else f"another split shares {percent(seed.value)}",
        unit="share of the smaller set",
    )
    over = found.over_without
    needed = Check(
        "needed",
        "a probe that may not use them reads worse: the interval of the loss lies above 0",
        None if over is None else over.low > 0,
        over,
        reads=_ABSENT if over is None else f"without them it loses {signed(over)} of AUROC",
        unit="AUROC difference",
        line=0.0,
    )
    says = "It is these neurons: other data find them again, and without them the reading is lost."
    return Claim("Identity", says, (halves, split, needed), "Is it these neurons?")


def transfer(found: Findings) -> Claim:
    """Does a probe of one domain read another?"""
    says = "A probe found in one domain reads the others."
    rule = "every pair of different domains lies above 0.5 (Holm's p at most 0.05)"
    keeps = f"every pair keeps {100 * KEEPS:g} % of what is above 0.5 within the tested domain"
    figure = "Does a probe carry over?"
    if not found.carried:
        absent = [Check(name, words, None, reads="one domain only")
                  for name, words in (("above chance", rule), ("keeps half", keeps))]  # fmt: skip
        return Claim("Transfer", says, (absent[0], absent[1]), figure)
    worst = min(found.carried, key=lambda pair: pair.auroc.value)
    above = all(p.auroc.value > 0.5 and p.p_corrected <= LEVEL for p in found.carried)
    kept = [(p.auroc.value - 0.5) / max(p.within - 0.5, 1e-9) for p in found.carried]
    weakest = found.carried[kept.index(min(kept))]
    first = Check(
        "above chance", rule, above, worst.auroc,
        reads=f"worst pair, {worst.train} to {worst.test}: {written(worst.auroc)}",
        p=worst.p_corrected,
    )  # fmt: skip
    second = Check(
        "keeps half", keeps, min(kept) >= KEEPS, weakest.auroc,
        Estimate(weakest.within, weakest.within, weakest.within, weakest.auroc.n),
        f"{weakest.train} to {weakest.test} keeps {percent(max(0.0, min(kept)))}",
    )  # fmt: skip
    return Claim("Transfer", says, (first, second), figure)


def control(found: Findings) -> Claim:
    """Does an edit of the neurons move behaviour, and nothing else?"""
    says = "Turning the neurons up makes the model hallucinate more, without breaking it."
    moves = "at least one behaviour grows with the dose more than under every random set (interval "
    moves += "corrected for the number of behaviours)"
    spares = "no capability worsens more than under random sets"
    behaviour = [moved for moved in found.moved if not moved.damage]
    damage = [moved for moved in found.moved if moved.damage]
    best = max(behaviour, key=lambda moved: moved.over_random.low, default=None)
    first = Check(
        "moves behaviour", moves,
        None if best is None
        else any(m.beyond and m.over_random.low > 0 for m in behaviour),
        None if best is None else best.over_random,
        reads=_UNEDITED if best is None
        else f"{spaced(best.name)}: slope over random neurons {signed(best.over_random)}",
        unit="share for each unit of dose",
        line=0.0,
    )  # fmt: skip
    worst = max(damage, key=lambda m: abs(m.over_random.value) * harmed(m.name, m.over_random),
                default=None)  # fmt: skip
    second = Check(
        "spares the rest", spares,
        None if worst is None
        else not any(m.beyond and harmed(m.name, m.over_random) for m in damage),
        None if worst is None else worst.over_random,
        reads=_UNEDITED if worst is None
        else f"{spaced(worst.name)}: slope over random neurons {signed(worst.over_random)}",
        unit="for each unit of dose",
        line=0.0,
    )  # fmt: skip
    return Claim("Control", says, (first, second), "Does editing them change behaviour?")


def harmed(capability: str, over_random: Estimate) -> bool:
    """Whether a capability worsens: perplexity grows, a share of right answers falls."""
    return over_random.low > 0 if capability == "perplexity" else over_random.high < 0


def cost(found: Findings) -> Claim:
    """Does anything as cheap read as well?"""
    rule = "every rival that costs no more is beaten (paired test, Holm's p at most 0.05)"
    says = "Nothing as cheap reads as well."
    if not found.cheaper:
        return Claim(
            "Cost",
            says,
            (Check("beats the cheap", rule, None, reads=_ABSENT),),
            "Who else can tell?",
        )
    beaten = [r for r in found.cheaper if r.difference.value > 0 and r.p_corrected <= LEVEL]
    standing = [rival for rival in found.cheaper if rival not in beaten]
    nearest = min(found.cheaper, key=lambda rival: rival.difference.value)
    names = ", ".join(spaced(rival.name) for rival in standing[:4])
    more = f" and {len(standing) - 4} more" if len(standing) > 4 else ""
    reads = f"not beaten: {names}{more}" if standing else f"all {len(beaten)} rivals beaten"
    reads += f"; nearest is {spaced(nearest.name)}, difference {signed(nearest.difference)}"
    check = Check(
        "beats the cheap", rule, not standing, nearest.difference, reads=reads,
        unit="AUROC difference", line=0.0, p=nearest.p_corrected,
    )  # fmt: skip
    return Claim("Cost", says, (check,), "Who else can tell?")


_ABSENT = "not measured"
_FEW_DRAWS = f"fewer than {FEWEST_DRAWS} draws of the null"
_UNEDITED = "no neuron was edited; run hlens intervene first"


def _above_chance(found: Findings) -> Check:
    own = found.auroc
    return Check(
        "above chance",
        "the interval of the held-out AUROC lies above 0.5",
        None if own is None else own.low > 0.5,
        own,
        reads=_ABSENT if own is None else f"held-out AUROC {written(own)}",
    )


def _above_shuffled(found: Findings) -> Check:
    p, null = found.shuffled_p, found.shuffled
    return Check(
        "beyond shuffled labels",
        f"at most 5 % of {FEWEST_DRAWS} or more fits on shuffled labels do as well (permutation p)",
        None if p is None else p <= LEVEL,
        found.auroc,
        null,
        _FEW_DRAWS if p is None or null is None
        else f"shuffled labels reach {null.value:.2f} (p = {p:.3f})",
        p=p,
    )  # fmt: skip


def _above_random(found: Findings) -> Check:
    own, drawn, p = found.refit, found.random, found.random_p
    return Check(
        "better than any few",
        f"at most 5 % of {FEWEST_DRAWS} or more draws of as many random neurons of the same layers "
        "do as well, refitted alike",
        None if p is None or own is None or drawn is None else p <= LEVEL,
        own,
        drawn,
        _FEW_DRAWS if p is None or own is None or drawn is None
        else f"random neurons reach {drawn.value:.2f}, these {own.value:.2f}",
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
        return Check(name, rule, None, reads=_ABSENT, unit="millinats an answer")
    least = min(rivals, key=lambda rival: rival.gain.low)
    holds = all(rival.gain.low > 0 and rival.p <= LEVEL for rival in rivals)
    reads = f"over {spaced(least.name)} they add {signed(least.gain, '.0f')} millinats an answer"
    return Check(
        name, rule, holds, least.gain, reads=reads,
        unit="millinats an answer", line=0.0, p=max(rival.p for rival in rivals),
    )  # fmt: skip
