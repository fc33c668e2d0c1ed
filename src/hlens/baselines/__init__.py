"""Rival detectors: what else separates hallucinations from true answers, on the same examples?

One rival a file, each a `Rival` by the name ``rival``: a value that reads `Evidence` and scores the
rows of a test part. `gather` reads the evidence of them all in one forward pass.

    evidence = baselines.gather(model, examples, responses, contributions)
    train, test = evidence.select(in_train), evidence.select(in_test)
    scores = {rival.name: rival(train, test) for rival in baselines.rivals()}
"""

from hlens import lookup
from hlens.baselines._gathering import gather as gather
from hlens.baselines._meaning import Alike as Alike
from hlens.baselines._meaning import by_entailment as by_entailment
from hlens.baselines._meaning import by_words as by_words
from hlens.baselines._rival import Cost as Cost
from hlens.baselines._rival import NotAvailableError as NotAvailableError
from hlens.baselines._rival import Rival as Rival
from hlens.baselines._rival import Score as Score
from hlens.baselines._sae import Sae as Sae
from hlens.baselines._sae import load_sae as load_sae
from hlens.kinds import explain_public


def names() -> list[str]:
    """Names of the rivals, sorted."""
    return lookup.names("baselines")


def named(name: str) -> Rival:
    """The rival of that name.

    >>> named("perplexity").learns
    False

    Raises:
        HlensError: There is none; the nearest are named.
    """
    return lookup.member("baselines", name).rival


def rivals() -> list[Rival]:
    """All rivals, in the order of their names."""
    return [named(name) for name in names()]


explain_public(globals())
