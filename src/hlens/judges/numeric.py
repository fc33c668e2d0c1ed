"""For numbers: the first number of the response, within a tolerance of the gold.

Numbers that the question names (a year, say) are skipped where the response has others. Thousands
separators ("1,200,000", "1.200.000", "1'200'000"), currencies, number words ("twelve hundred
thousand", "nineteen ninety-nine"), "million" and the like, powers of ten ("1.2e6", "1.2 x 10^6",
"10⁶"), fractions ("3/4", "1½"), accountants' "(5)" for -5, and percent are read: "5%" is 5 and also
0.05, in response and gold alike. A scale that the question asks for ("in millions") may be written
or left out.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hlens.checks import check_real
from hlens.errors import HlensError
from hlens.judges import _number_words
from hlens.judges._attempt import judge_false, judge_unread
from hlens.judges._number_words import read_number_words
from hlens.judges._refusal import judge_refusal
from hlens.types import Judgement, Question, Response, Verdict

DISPLAY = "number"

SCALES = {"k": 1e3, "m": 1e6, "mn": 1e6, "bn": 1e9, "b": 1e9, "hundred": 1e2}
SCALES |= _number_words.SCALES
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SCALE = re.compile(r"\b(?:thousand|million|billion)s?\b|\b[mb]n\b", re.IGNORECASE)
_SEPARATORS = "[,'’ \u00a0\u2009\u202f]"
_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"


def _power(name: str, raised: str) -> str:
    """A pattern of what makes ten a power of ten: ^6, **6, ^{-6}, ⁻⁶."""
    signs = rf"(?:\^|\*\*)\s?[{{(]?(?P<{name}>[-−+]?\d{{1,3}})[)}}]?"
    return rf"(?:{signs}|(?P<{raised}>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,3}}))"


_TIMES = rf"\s?(?:[x×*·⋅]|\\times|\\cdot)\s?10{_power('times', 'over_ten')}"
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
    rf"|(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d{{1,2}}(?:,\d\d)+,\d{{3}}(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    rf"(?:e(?P<e>[-−+]?\d{{1,3}})(?!\w)"
    rf"|{_TIMES})?"
    rf"|(?P<words>{_number_words.BEGINNING}))",
    re.IGNORECASE,
)
_WORDS_OF_SCALES = "|".join(("hundred", *_number_words.SCALES))
_TIMES_TEN = re.compile(_TIMES)
# What may stand behind a number.
_BEHIND = re.compile(
    rf"\s?(?P<close>\))?\s?(?P<percent>%|percent\b|per cent\b)?"
    rf"\s?(?P<scale>(?:{'|'.join(SCALES)})\b(?:\s(?:{_WORDS_OF_SCALES})\b)*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Number:
    """A number in a text.

    Attributes:
        start: Its first character, that of its sign or currency.
        stop: One past its last.
        bare: The number without its sign, percent and scale.
        values: What it may mean.
        values_in_scale: The same where the question asks for millions or the like, which the
            number then need not name.
    """

    start: int
    stop: int
    bare: float
    values: tuple[float, ...]
    values_in_scale: tuple[float, ...]


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
    firsts = (next(_numbers(answer), None) for answer in question.answers)
    golds = [value for gold in firsts if gold for value in _values(gold, asks_scale)]
    if not golds:
        raise HlensError(f"question {question.id!r} has no number among its answers")
    if unread := judge_unread(response):
        return unread
    said = _find_number(text, question)
    if said is None:
        return judge_refusal(response) or Judgement(response, Verdict.UNSCORED, "no number")
    is_right = any(
        math.isclose(value, gold, rel_tol=tolerance)
        for value in _values(said, asks_scale)
        for gold in golds
    )
    start, stop = said.start, said.stop
    reason = f"says {text[start:stop]!r}"
    if response.finish_reason == "length" and stop == len(text):
        return Judgement(response, Verdict.UNSCORED, "cut off")  # its digits may go on
    if not is_right:
        return judge_false(response, reason, (start, stop))
    return Judgement(response, Verdict.CORRECT, reason, (start, stop))


def _find_number(text: str, question: Question) -> _Number | None:
    """The first number that the question does not name, else the first."""
    numbers = list(_numbers(text))
    asked = {number.bare for number in _numbers(question.text)}
    new = [number for number in numbers if number.bare not in asked]
    return next(iter(new or numbers), None)


def _numbers(text: str) -> Iterator[_Number]:
    """The numbers of a text, in their order."""
    at = 0
    while match := _NUMBER.search(text, at):
        if match["words"]:
            words, stop = read_number_words(text, match.start("words"))
            value, bare = words.value, words.bare
            if times := _TIMES_TEN.match(text, stop):
                power, stop = _exponent(times["times"] or times["over_ten"]), times.end()
                value, bare = (one * float(f"1e{power}") for one in (value, bare))
        else:
            value, stop = _to_float(match), match.end()
            bare = value
        behind = _BEHIND.match(text, stop)
        assert behind is not None  # it may be empty
        at = behind.end()
        end = at - (len(text[stop:at]) - len(text[stop:at].rstrip()))
        yield _with_meaning(match, behind, value, bare, end)


def _with_meaning(
    match: re.Match[str], behind: re.Match[str], value: float, bare: float, stop: int
) -> _Number:
    """A number with all that it may mean: with percent also its hundredth."""
    is_negative = match["sign"] and (match["sign"] != "(" or behind["close"])
    sign = -1.0 if is_negative else 1.0
    names = behind["scale"].casefold().split() if behind["scale"] else []
    scaled = [sign * value * math.prod(SCALES[name] for name in names)]
    if names and names[0] in ("m", "b", "k"):
        scaled.append(sign * value)  # "828 m" may be metres, and "64 b" bits
    hundredth = [sign * value / 100] if behind["percent"] else []
    values, in_scale = (
        tuple(one for one in (*scaled, *more, *hundredth) if math.isfinite(one))
        for more in ((), (sign * bare,))
    )
    return _Number(match.start(), stop, bare, values, in_scale)


def _values(number: _Number, asks_scale: bool) -> tuple[float, ...]:
    return number.values_in_scale if asks_scale else number.values


def _to_float(match: re.Match[str]) -> float:
    """The number that is written in digits, without its sign, percent and scale."""
    if match["over"]:
        return _divide(match["over"], match["under"]) + int(match["whole"] or 0)
    if match["above"]:
        return _divide(match["above"], match["below"])
    if match["vulgar"]:
        return unicodedata.numeric(match["vulgar"]) + int(match["mixed"] or 0)
    power = next(filter(None, map(match.group, ("e", "times", "over_ten", "ten", "raised"))), "0")
    digits = match["digits"] or "1"
    if re.match(r"\d+\.\d+\.", digits):
        digits = digits.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d+,\d{1,2}", digits):
        digits = digits.replace(",", ".")
    # As one literal: 1.2 * 10**6 would be rounded twice.
    return float(f"{re.sub(_SEPARATORS, '', digits)}e{_exponent(power)}")


def _exponent(power: str) -> int:
    return int(power.translate(_SUPERSCRIPTS).replace("−", "-"))


def _divide(a: str, b: str) -> float:
    return int(a) / int(b) if int(b) else math.nan
