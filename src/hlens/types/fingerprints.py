"""When two fingerprints, which `hlens.model.fingerprints` makes, are of the same model."""

import logging
from functools import cache

log = logging.getLogger("hlens")

OLDER = 32  # characters that older versions stored: of a sample of the weights, of a vocabulary


def same_fingerprint(one: str, other: str) -> bool:
    """Whether two fingerprints are of the same weights or tokenizer, as far as both tell.

    A fingerprint begins with that of older versions, so that what they stored is read; with a
    warning, since weights may differ where none was sampled, tokenizers where no word does.

    >>> same_fingerprint("a" * 72, "a" * 72), same_fingerprint("a" * 72, "a" * 71 + "b")
    (True, False)
    """
    if one == other:
        return True
    short, long = sorted((one, other), key=len)
    if len(short) != OLDER or not long.startswith(short):
        return False
    log.warning(
        "a fingerprint of an older version (%s) covers a part of the model alone; make its file "
        "again to bind it to the whole",
        short[:12],
    )
    return True


@cache  # once is enough: an intervention asks of every set at every dose
def warn_unbound(what: str, model: str) -> None:
    """Say in the log, once, that `what` has no fingerprint and is taken by its shape alone."""
    log.warning(
        "%s: no fingerprint says of which model; taken for %s, whose shape fits, unchecked",
        what,
        model,
    )
