"""Find the part of a response that is its answer, without knowing whether it is right.

One rule serves correct and hallucinated answers. A span cut around the gold answer where it occurs,
and around the whole sentence where it does not, would reveal the label to a probe by its length.
"""

import re
import unicodedata

from hlens.judges._normal_words import LISTS, has_words, split_words, word_keys

_LEAD = re.compile(
    r"""
    (?:sure|certainly|of\ course|okay|ok)\b[,.!:]*\s+
  | (?:(?:that|this)(?:'s|\ is)\ )?(?:an?\ )?(?:great|good|interesting|excellent)\ question
    [,.!:]*\s+
  | \d{1,2}[.)]\s+(?=[^\W\d])
  | a(?:nswer)?\s*:\s*
  | (?:(?:the|my|your)\s+)?(?:(?:correct|right|final|best|short|likely|most\ likely)\s+)*
    answer(?:\ to\ (?:the|this|your|that)\ question)?\s*(?:(?:is|was|would\ be)\b\s*:?|[:=])\s*
  | (?:here\ is|here's)\ (?:the|my)\ answer\s*[:.]?\s*
  | i(?:'d|\ would)?\ (?:think|believe|guess|say|suspect)(?:\ that)?,?\s+
  | (?:it|that|this|he|she|they|there)(?:'s|'re|\ is|\ was|\ are|\ were|\ would\ be|\ might\ be)\s+
  | (?:maybe|perhaps|probably|possibly|likely)\b,?\s+
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MARKUP = re.compile(r"[\s*_#>\"“”‘'`\-–•]+")
_END = re.compile(r"(?<![.!?。！？])[.!?。！？]+[\"'”’)\]*_]*(?=\s|$)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|mt|jr|sr|prof|vs|v|inc|ltd|co|corp|gen|lt|col|capt|rev|hon|etc|no)"
    r"|\b[^\W\d_]|\b(?:[^\W\d_]\.)+[^\W\d_])$",
    re.IGNORECASE,
)
_FILLER = frozenset(LISTS["filler"])
_ASKED = re.compile(r"(?:you(?:'ve| have)? asked|the question (?:is|was|asks))\b:?", re.IGNORECASE)


def answer_span(text: str, question: str = "") -> tuple[int, int] | None:
    """Characters ``[start, stop)`` of the answer within a response, or None for the whole of it.

    The first line with words, up to the end of its first sentence, without lead-ins ("The answer
    is"), markup, closing punctuation, and words at either end that only repeat the question.

    >>> text = "The answer is **J. R. R. Tolkien**. He wrote much."
    >>> start, stop = answer_span(text)
    >>> text[start:stop]
    'J. R. R. Tolkien'
    >>> text = "The capital city of France is Paris."
    >>> text[slice(*answer_span(text, "What is the capital city of France?"))]
    'Paris'
    """
    if (sentence := first_sentence(text, question)) is None:
        return None
    start, stop = sentence
    start, stop = _without_echo(text, start, stop, question)
    start, stop = _without_ends(text, start, stop)
    return (start, stop) if has_words(text[start:stop]) else None


def first_sentence(text: str, question: str = "") -> tuple[int, int] | None:
    """Characters of the first sentence with words, without lead-ins and markup before it.

    One that only asks the question again is passed over where another follows.

    >>> text = "Which river flows through Paris? The Seine."
    >>> text[slice(*first_sentence(text, "Which river flows through Paris?"))]
    'The Seine.'
    """
    if (sentence := _sentence_after(text, 0)) is None or not _asks_again(
        text[slice(*sentence)], question
    ):
        return sentence
    return _sentence_after(text, sentence[1]) or sentence


def _asks_again(sentence: str, question: str) -> bool:
    """Whether a sentence is the question in its own words, with or without "You asked" before."""
    plain = sentence.replace("’", "'")
    told = _ASKED.match(plain)
    if not told and not plain.rstrip(" \"'*_").endswith("?"):
        return False
    words = word_keys(plain[told.end() :] if told else plain)
    return bool(words) and {*words} <= {*word_keys(question), *_FILLER}


def _sentence_after(text: str, begin: int) -> tuple[int, int] | None:
    if (line := _first_line(text, begin)) is None:
        return None
    start = _after_lead(text, *line)
    return start, _sentence_end(text, start, line[1])


def _first_line(text: str, begin: int) -> tuple[int, int] | None:
    """The first line from a character on that has more than a lead-in."""
    for match in re.compile(r"[^\n]+").finditer(text, begin):
        start, stop = match.span()
        begin = _after_lead(text, start, stop)
        is_heading = text[start:stop].rstrip().endswith(":") and start != 0
        is_heading |= bool(re.search(r"\banswer\b.{0,30}:\s*\W*$", text[begin:stop], re.IGNORECASE))
        if has_words(text[begin:stop]) and not is_heading:
            return start, stop
    return None


def _after_lead(text: str, start: int, stop: int) -> int:
    plain = text.replace("’", "'")
    while match := _MARKUP.match(plain, start, stop) or _LEAD.match(plain, start, stop):
        end = match.end()
        is_minus = match.group() in "-–" and text[end : end + 1].isdigit()
        if is_minus or not has_words(text[end:stop]):
            break
        start = end
    return start


def _sentence_end(text: str, start: int, stop: int) -> int:
    for match in _END.finditer(text, start, stop):
        is_dot = match.group()[0] == "." and not match.group().startswith("..")
        rest = text[match.end() : stop].strip()
        if not rest:
            return stop
        if is_dot and _ABBREVIATION.search(
            text[max(start, match.start() - 20) : match.start()]  # no abbreviation is longer
        ):
            continue
        return match.end()
    return stop


def _without_echo(text: str, start: int, stop: int, question: str) -> tuple[int, int]:
    """Drop words at either end that repeat the question, where enough of it is repeated."""
    asked = {key for key in word_keys(question) if key not in _FILLER}
    words = split_words(text[start:stop])
    shared = {word.key for word in words} & asked
    if len(shared) < 2 or len(words) < 4:
        return start, stop
    echo = asked | _FILLER
    kept = [word for word in words if word.key not in echo]
    return (start + kept[0].start, start + kept[-1].stop) if kept else (start, stop)


def _without_ends(text: str, start: int, stop: int) -> tuple[int, int]:
    """Drop closing punctuation and quotes; keep what belongs to the answer ("C++", "5%", ")")."""
    while stop > start and _is_loose(text, start, stop):
        stop -= 1
    while start < stop and (text[start].isspace() or text[start] in "\"“”‘'`*_"):
        start += 1
    return start, stop


def _is_loose(text: str, start: int, stop: int) -> bool:
    last = text[stop - 1]
    if last in "+#%°!" and stop - 1 > start and not text[stop - 2].isspace():
        return last == "!"
    if last in ")]" and text.count("(", start, stop) + text.count("[", start, stop) > 0:
        return False
    return last.isspace() or unicodedata.category(last)[0] == "P" or last in "`*_~"
