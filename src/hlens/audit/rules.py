"""How an audit decides: six claims, the conditions of each, and nothing else.

Every rule is a pure function of `Findings`. A claim is supported when all its conditions hold, not
supported when one fails, and not tested when none fails but one could not be tested. Where a claim
asks that all of several tests succeed, each keeps its own 5 % (an intersection-union test); where
it would be enough that any does, they are corrected.
"""

from hlens.audit.conventions import (
    ABSENT,
    COMES_BACK,
    FEW,
    FEW_DRAWS,
    FEWEST_DRAWS,
    KEEPS,
    LEVEL,
    MARGIN,
)
from hlens.audit.findings import Findings
from hlens.audit.readout import readout
from hlens.audit.words import percent, signed, spaced, written
from hlens.types import Check, Claim, Estimate

_UNEDITED = "no neuron was edited; run hlens intervene first"


def decide(found: Findings) -> tuple[Claim, ...]:
    """The six claims of an audit, with their verdicts."""
    return (
        readout(found), sparsity(found), identity(found), transfer(found), control(found),
        cost(found),
    )  # fmt: skip


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
        reads=ABSENT if over is None else f"sparse less dense: {signed(over)}",
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
        ABSENT if back is None
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
        reads=ABSENT if seed is None else f"another split shares {percent(seed.value)}",
        unit="share of the smaller set",
    )
    over = found.over_without
    needed = Check(
        "needed",
        "a probe that may not use them reads worse: the interval of the loss lies above 0",
        None if over is None else over.low > 0,
        over,
        reads=ABSENT if over is None else f"without them it loses {signed(over)} of AUROC",
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
            (Check("beats the cheap", rule, None, reads=ABSENT),),
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


def _above_random(found: Findings) -> Check:
    own, drawn, p = found.refit, found.random, found.random_p
    return Check(
        "better than any few",
        f"at most 5 % of {FEWEST_DRAWS} or more draws of as many random neurons of the same layers "
        "do as well, refitted alike",
        None if p is None or own is None or drawn is None else p <= LEVEL,
        own,
        drawn,
        FEW_DRAWS if p is None or own is None or drawn is None
        else f"random neurons reach {drawn.value:.2f}, these {own.value:.2f}",
        p=p,
    )  # fmt: skip
