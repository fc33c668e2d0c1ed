"""A claim in a sentence: its verdict, and the numbers that decided it beside their controls."""

from collections.abc import Mapping, Sequence
from typing import Any

from hlens.claims.rules import EARNS
from hlens.types import Check, Claim, Estimate, Support
from hlens.types.estimate import p_words
from hlens.types.labels import name_models


def describe_claim(claim: Claim) -> str:
    """One sentence or two, whatever the verdict.

    >>> few = Check("few", "", True, reads="80 of 46,080 neurons")
    >>> better = Check("better", "", False, reads="random neurons reach 0.84, these 0.84")
    >>> enough = Check("enough", "", None, reads="not measured")
    >>> print(describe_claim(Claim("Sparsity", "A few do.", (few, better, enough))))
    Sparsity: not supported. Random neurons reach 0.84, these 0.84.
    >>> print(describe_claim(Claim("Sparsity", "A few do.", (few, enough))))
    Sparsity: not tested. So far: 80 of 46,080 neurons. Still open: enough (not measured).
    """
    start = f"{claim.name}: {claim.verdict}."
    if claim.verdict is Support.SUPPORTED:
        return f"{start} {claim.says} {_capitalised(_join(claim.checks))}."
    if claim.verdict is Support.NOT_SUPPORTED:
        failed = [check for check in claim.checks if check.holds is False]
        return f"{start} {_capitalised(_join(failed))}."
    tested = [check for check in claim.checks if check.holds]
    so_far = f" So far: {_join(tested)}." if tested else ""
    return f"{start}{so_far} Still open: {_untested(claim)}."


def describe_gain(claims: Sequence[Claim]) -> str:
    """What the neurons add to the model's own output, in a sentence; empty where it is not known.

    >>> check = Check(EARNS, "", False, reads="the neurons raise it by 0.01")
    >>> print(describe_gain([Claim("Cost", "", (check,))]))
    The neurons are not shown to be worth their pass: the neurons raise it by 0.01.
    """
    found = (check for claim in claims for check in claim.checks if check.name == EARNS)
    check = next(found, None)
    if check is None or check.holds is None:
        return ""
    shown = "are" if check.holds else "are not shown to be"
    return f"The neurons {shown} worth their pass: {check.reads}."


def describe_drop(row: Mapping[str, Any]) -> str:
    """What is lost between domains, of one row of `hlens.evaluation.drops`.

    >>> row = {"model": "", "n_models": 1, "n_studies": 1, "within": 0.78, "across": 0.71, "n": 900}
    >>> row |= {"drop": 0.07, "low": 0.03, "high": 0.11, "p": 0.002, "spread_p": float("nan")}
    >>> print(describe_drop(row))
    Within domains the mean AUROC is 0.780, across 0.710: a drop of +0.070 [+0.030, +0.110] \
(p = 0.002, over samples of questions).
    """
    of = f" of {row['model']}" if row["model"] else ""
    if row["n_studies"] > 1:
        of = f" of {name_models(row['n_models'], row['n_studies'])}"
    drop = Estimate.from_row(row, "drop").signed(".3f")
    said = (
        f"Within domains the mean AUROC{of} is {row['within']:.3f}, across {row['across']:.3f}: a "
        f"drop of {drop} ({p_words(row['p'])}, over samples of questions)"
    )
    if row["spread_p"] == row["spread_p"]:
        spread = Estimate(row["drop"], row["spread_low"], row["spread_high"], int(row["n"]))
        said += f"; over models like these {spread.signed('.3f')} ({p_words(row['spread_p'])})"
    return f"{said}."


def _join(checks: Sequence[Check]) -> str:
    return "; ".join(dict.fromkeys(check.reads for check in checks))


def _untested(claim: Claim) -> str:
    """The conditions that were not tested, by the reason why."""
    names: dict[str, list[str]] = {}
    for check in claim.checks:
        if check.holds is None:
            names.setdefault(check.reads, []).append(check.name)
    return "; ".join(f"{', '.join(own)} ({reason})" for reason, own in names.items())


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
