"""For numbers: the first number of the response, within a tolerance of the gold.

Numbers that the question names (a year, say) are skipped where the response has others. Thousands
separators, currencies, number words up to ninety, "million" and the like, accountants' "(5)" for
-5, and percent are read: "5%" is 5 and also 0.05, in response and gold alike. A scale that the
question asks for ("in millions") may be written in the response or left out.
"""

import math
import re
from collections.abc import Callable

from hlens.errors import HlensError
from hlens.judges._attempt import judge_false
from hlens.judges._normal_words import NUMBERS
from hlens.judges._refusal import judge_refusal
from hlens.types import Judgement, Question, Response, Verdict

SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "millions": 1e6}
SCALES |= {"bn": 1e9, "b": 1e9, "billion": 1e9, "billions": 1e9, "trillion": 1e12, "hundred": 1e2}
_WORDS = "|".join(word for word, n in NUMBERS.items() if n.isdigit())
_NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>[-−–]|\()?\s?[$£€¥]?\s?"
    rf"(?P<digits>(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?|\.\d+|(?:{_WORDS})\b)"
    rf"\s?(?P<close>\))?\s?(?P<percent>%|percent\b|per cent\b)?"
    rf"\s?(?P<scale>(?:{'|'.join(SCALES)})\b)?",
    re.IGNORECASE,
)


def judge(response: Response) -> Judgement:
    """Judge the first number, within 1 % of the gold or ``meta.tolerance`` (relative).

    >>> q = Question("1", "finance", "What was the cost in 2018, in millions?", ("$1,577.00",))
    >>> for text in ("1577", "In 2018 it was $1,580", "1,577 million", "157.7"):
    ...     print(text, judge(Response(q, text, (), 0)).verdict.value)
    1577 correct
    In 2018 it was $1,580 correct
    1,577 million correct
    157.7 hallucinated

    Raises:
        HlensError: No answer of the question holds a number.
    """
    return _judged(response, float(response.question.meta.get("tolerance", 0.01)))


def within(tolerance: float) -> Callable[[Response], Judgement]:
    """A judge with its own relative tolerance.

    >>> q = Question("1", "finance", "How much?", ("100",))
    >>> within(0.1)(Response(q, "about 95", (), 0)).verdict.value
    'correct'
    """
    if not 0 <= tolerance < 1:
        raise HlensError(f"tolerance={tolerance}; expected a share from 0 to below 1")
    return lambda response: _judged(response, tolerance)


def _judged(response: Response, tolerance: float) -> Judgement:
    question, text = response.question, response.text
    matches = filter(None, map(_NUMBER.search, question.answers))
    golds = [value for match in matches for value in _values(match)]
    if not golds:
        raise HlensError(f"question {question.id!r} has no number among its answers")
    if not text.strip():
        return Judgement(response, Verdict.UNSCORED, "empty")
    match = _find_number(text, question)
    if match is None:
        return judge_refusal(response) or Judgement(response, Verdict.UNSCORED, "no number")
    asks_scale = re.search(
        r"\b(?:thousand|million|billion)s?\b|\b[mb]n\b", question.text.casefold()
    )
    values = _values(match, ignore_scale=bool(asks_scale))
    is_right = any(
        math.isclose(value, gold, rel_tol=tolerance, abs_tol=1e-12)
        for value in values
        for gold in golds
    )
    start, stop = match.span()
    stop -= len(text[start:stop]) - len(text[start:stop].rstrip())
    reason = f"says {text[start:stop]!r}"
    if response.finish_reason == "length" and stop == len(text):
        return Judgement(response, Verdict.UNSCORED, "cut off")  # its digits may go on
    if not is_right:
        return judge_false(response, reason, (start, stop))
    return Judgement(response, Verdict.CORRECT, reason, (start, stop))


def _find_number(text: str, question: Question) -> re.Match[str] | None:
    """The first number that the question does not name, else the first."""
    matches = list(_NUMBER.finditer(text))
    asked = {_to_float(match) for match in _NUMBER.finditer(question.text)}
    new = [match for match in matches if _to_float(match) not in asked]
    return next(iter(new or matches), None)


def _values(match: re.Match[str], *, ignore_scale: bool = False) -> list[float]:
    """What a number may mean: itself; with percent also its hundredth."""
    value = _to_float(match)
    if match["sign"] and (match["sign"] != "(" or match["close"]):
        value = -value
    scale = SCALES[match["scale"].casefold()] if match["scale"] else 1.0
    # "828 m" may be metres, and "64 b" bits.
    is_unit = match["scale"] in ("m", "b", "k")
    values = [value * scale] + ([value] if scale != 1 and (ignore_scale or is_unit) else [])
    return values + ([value / 100] if match["percent"] else [])


def _to_float(match: re.Match[str]) -> float:
    digits = match["digits"].casefold()
    return float(NUMBERS.get(digits, digits).replace(",", ""))
