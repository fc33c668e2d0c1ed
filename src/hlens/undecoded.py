"""Text that was never decoded: pieces of a vocabulary, such as "ĠtheĠcapital" or "▁the▁capital".

Problem: whoever joins a tokenizer's pieces in place of decoding its ids writes "Ġ" or "▁" for every
space. Such text is judged wrong throughout, in silence.

Idea: one "Ġ" proves nothing, since Maltese words begin with it ("Ġgant", "Ġimgħa"); one within
a word, in place of a space, again and again, does. Signs are such places, and words that no
language writes so ("ĠParis": two capitals that are followed by a small letter).

>>> is_undecoded("TheĠcapitalĠofĠFrance"), is_undecoded("▁The▁capital"), is_undecoded("ĠParis")
(True, True, True)
>>> is_undecoded("Il-Ġgant u l-Ġimgħa"), is_undecoded("Ġgant"), is_undecoded("▁▂▃▅▇")
(False, False, False)
"""

import re
from collections.abc import Iterable

from hlens.errors import HlensError

_JOINED = re.compile(r"(?:[a-z]{2}|[.,;:!?\d])[ĠĊ](?=[A-Za-z\d])|[^\W_]{2}▁(?=[^\W_]{2})")
_PIECE = re.compile(r"(?<![^\W_])[ĠĊ](?:[A-Z][a-z]|\d)|^▁(?=[^\W_])")
_SPACED = re.compile(r"[ĠĊ▁][A-Za-z]")
_MALTESE = re.compile("[ġċżħ]")  # as small letters, none of which a piece holds beside a "Ġ"
SHARE = 0.1  # of texts: a model may well say "Ġ" now and then


def is_undecoded(text: str) -> bool:
    """Whether a text is pieces of a vocabulary that were joined, not decoded."""
    if not any(mark in text for mark in "ĠĊ▁"):
        return False
    if _PIECE.search(text):
        return True
    words = text.split()
    joints = len(_JOINED.findall(text))
    if joints >= (2 if len(words) > 1 else 1):
        return True
    spaced = sum(bool(_SPACED.match(word)) for word in words)
    return spaced >= 3 and 2 * spaced >= len(words) and not _MALTESE.search(text)


def check_decoded(texts: Iterable[str], what: str, *, share: float = SHARE) -> None:
    """Raise `HlensError` where more than a share of the texts (those with words) is undecoded."""
    texts = [text for text in texts if text.strip()]
    bad = [text for text in texts if is_undecoded(text)]
    if bad and len(bad) > share * len(texts):
        raise HlensError(
            f"{len(bad)} of {len(texts)} {what} were never decoded, such as {bad[0][:40]!r}: "
            "expected text, not the vocabulary's pieces; write tokenizer.decode(ids) in place of "
            "joining tokens"
        )
