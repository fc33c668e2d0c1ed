"""For numbers: the first number of the response, within a tolerance of the gold.

Numbers that the question names (a year, say) are skipped where the response has others. Thousands
separators ("1,200,000", "1.200.000", "1'200'000"), currencies, number words up to ninety-nine,
"million" and the like, powers of ten ("1.2e6", "1.2 x 10^6", "10⁶"), fractions ("3/4", "1½"),
accountants' "(5)" for -5, and percent are read: "5%" is 5 and also 0.05, in response and gold
alike. A scale that the question asks for ("in millions") may be written or left out.
"""

import math
import re
import unicodedata
from collections.abc import Callable

from hlens.checks import check_real
from hlens.errors import HlensError
from hlens.judges._attempt import judge_false, judge_unread
from hlens.judges._normal_words import LISTS, NUMBERS, TENS
from hlens.judges._refusal import judge_refusal
from hlens.types import Judgement, Question, Response, Verdict

SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "millions": 1e6}
SCALES |= {"bn": 1e9, "b": 1e9, "billion": 1e9, "billions": 1e9, "trillion": 1e12, "hundred": 1e2}
_TENS, _UNITS = "|".join(TENS), "|".join(word for word in LISTS["units"] if len(NUMBERS[word]) == 1)
_WORDS = "|".join(word for word, n in NUMBERS.items() if n.isdigit())
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SCALE = re.compile(r"\b(?:thousand|million|billion)s?\b|\b[mb]n\b", re.IGNORECASE)
_SEPARATORS = "[,'’ \u00a0\u2009\u202f]"
_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"


def _power(name: str, raised: str) -> str:
    """A pattern of what makes ten a power of ten: ^6, **6, ^{-6}, ⁻⁶."""
    signs = rf"(?:\^|\*\*)\s?[{{(]?(?P<{name}>[-−+]?\d{{1,3}})[)}}]?"
    return rf"(?:{signs}|(?P<{raised}>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,3}}))"


_NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>[-−–]|\(|(?:minus|negative)\s)?\s?[$£€¥]?\s?"
    rf"(?:(?P<whole>\d{{1,3}}\s)?(?P<over>\d{{1,3}})\s?[/⁄]\s?(?P<under>\d{{1,4}})(?![\d./⁄,])"
    rf"|\\[dt]?frac\{{(?P<above>\d{{1,9}})\}}\{{(?P<below>\d{{1,9}})\}}"
    rf"|(?P<mixed>\d{{0,3}})\s?(?P<vulgar>[{_VULGAR}])"
    rf"|10{_power('ten', 'raised')}"
    rf"|(?P<digits>"
    # Groups of thousands: by commas, by another sign, by blanks, by full stops (twice, or it is
    # decimal), and in the Indian way. A comma before a scale (1,2 million) is decimal.
    rf"\d{{1,3}}(?:\.\d{{3}}){{2,}}(?:,\d+)?(?![\d.])"
    rf"|\d{{1,3}}(?:['’ \u00a0\u2009\u202f]\d{{3}})+(?!\d)(?:\.\d+)?"
    rf"|\d{{1,3}},\d{{1,2}}(?=\s(?:thousand|million|billion)s?\b)"
    rf"|(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d{{1,2}}(?:,\d\d)+,\d{{3}}(?!\d)|\d+)(?:\.\d+)?|\.\d+"
    rf"|(?:{_TENS})[-\s](?:{_UNITS})\b|(?:{_WORDS})\b)"
    rf"(?:e(?P<e>[-−+]?\d{{1,3}})(?!\w)"
    rf"|\s?(?:[x×*·⋅]|\\times|\\cdot)\s?10{_power('times', 'over_ten')})?)"
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
    question = response.question
    tolerance = question.meta.get("tolerance", 0.01)
    check_real(f"question {question.id!r}: tolerance", tolerance, most=1)
    return _judged(response, float(tolerance))


def within(tolerance: float) -> Callable[[Response], Judgement]:
    """A judge with its own relative tolerance.

    >>> q = Question("1", "finance", "How much?", ("100",))
    >>> within(0.1)(Response(q, "about 95", (), 0)).verdict.value
    'correct'
    """
    tolerance = check_real("tolerance", tolerance, most=1)
    return lambda response: _judged(response, tolerance)


def _judged(response: Response, tolerance: float) -> Judgement:
    question, text = response.question, response.text
    asks_scale = _SCALE.search(question.text) is not None
    matches = filter(None, map(_NUMBER.search, question.answers))
    golds = [value for match in matches for value in _values(match, ignore_scale=asks_scale)]
    if not golds:
        raise HlensError(f"question {question.id!r} has no number among its answers")
    if unread := judge_unread(response):
        return unread
    match = _find_number(text, question)
    if match is None:
        return judge_refusal(response) or Judgement(response, Verdict.UNSCORED, "no number")
    values = _values(match, ignore_scale=asks_scale)
    is_right = any(
        math.isclose(value, gold, rel_tol=tolerance) for value in values for gold in golds
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
    values += [value / 100] if match["percent"] else []
    return [value for value in values if math.isfinite(value)]


def _to_float(match: re.Match[str]) -> float:
    """The number without its sign, percent and scale."""
    if match["over"]:
        return _divide(match["over"], match["under"]) + int(match["whole"] or 0)
    if match["above"]:
        return _divide(match["above"], match["below"])
    if match["vulgar"]:
        return unicodedata.numeric(match["vulgar"]) + int(match["mixed"] or 0)
    power = next(filter(None, map(match.group, ("e", "times", "over_ten", "ten", "raised"))), "0")
    digits = (match["digits"] or "1").casefold()
    if words := [NUMBERS[word] for word in re.split(r"[-\s]", digits) if word in NUMBERS]:
        digits = str(sum(map(int, words)))
    if re.match(r"\d+\.\d+\.", digits):
        digits = digits.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d+,\d{1,2}", digits):
        digits = digits.replace(",", ".")
    # As one literal: 1.2 * 10**6 would be rounded twice.
    exponent = power.translate(_SUPERSCRIPTS).replace("−", "-")
    return float(f"{re.sub(_SEPARATORS, '', digits)}e{exponent}")


def _divide(a: str, b: str) -> float:
    return int(a) / int(b) if int(b) else math.nan
