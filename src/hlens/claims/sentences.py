"""A claim in a sentence: its verdict, and the numbers that decided it beside their controls."""

from collections.abc import Sequence

from hlens.types import Check, Claim, Support


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
