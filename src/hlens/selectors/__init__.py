"""Selectors: ways to name k neurons. The folder is the list, and the L1 probe is one of them.

Problem: "these are the neurons" is a claim about a set, and the set depends on who chose it.

Idea: a selector is a value that ranks neurons on labelled contributions;
`hlens.audit.compare_selectors` has each name as many, and refits them alike, beside random ones.

    neurons = selectors.named("cna")(train, 50)
"""

from hlens import lookup
from hlens.checks import check_whole
from hlens.kinds import explain_public
from hlens.selectors._selector import SelectedProbe as SelectedProbe
from hlens.selectors._selector import Selector as Selector


def names() -> list[str]:
    """Names of the selectors, sorted.

    >>> "l1" in names()
    True
    """
    return lookup.names("selectors")


def named(name: str) -> Selector:
    """The selector of that name.

    Raises:
        HlensError: There is none; the nearest are named.
    """
    return lookup.member("selectors", name).selector


def probe(name: str, k: int, *, seed: int = 0) -> SelectedProbe:
    """A selector in the place of a probe: its k neurons, refitted by L2.

    ``hlens.evaluation.transfer(data, hlens.selectors.probe("cna", 40))``

    Raises:
        HlensError: There is no such selector.
    """
    return SelectedProbe(named(name), check_whole("k", k, least=1), seed=seed)


explain_public(globals())
