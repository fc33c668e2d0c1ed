"""Split a text into words in a normal form, each with its position in the text.

The rule judges compare words and never substrings: "art" is a word of "the art" and not of
"Mozart". A word's normal form is NFKC, casefolded, without Latin accents, apostrophes and full
stops; articles are dropped; a number has one form ("1,000" and "1000", "eight" and "8.0" for 8).

>>> [word.key for word in split_words("The café's eight rooms")]
['cafes', '8', 'rooms']
"""

import re
import tomllib
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files


def read_file(name: str) -> str:
    """The text of a file beside the judges."""
    return (files("hlens") / "judges" / name).read_text(encoding="utf-8")


def _ordinal(number: int) -> str:
    suffix = "th" if 11 <= number <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


LISTS = {name: tuple(text.split()) for name, text in tomllib.loads(read_file("words.toml")).items()}
TENS = {word: 10 * i for i, word in enumerate(LISTS["tens"], 2)}
NUMBERS = {word: str(i) for i, word in enumerate(LISTS["units"])}
NUMBERS |= {word: str(i) for word, i in TENS.items()}
NUMBERS |= {word: _ordinal(i) for i, word in enumerate(LISTS["ordinals"], 1)}
# Only numerals that are not also words, as "vi" and "Xi" are.
ROMAN = {"ii": "2", "iii": "3", "vii": "7", "viii": "8", "xii": "12", "xiii": "13", "xiv": "14"}
ZEROS = {"hundred": "00", "thousand": "000"}
MONTHS = {form: name for name in LISTS["months"] for form in (name, name[:3])}
# Letters that no Unicode decomposition maps to their base letter.
LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ð": "d", "ı": "i"})
APOSTROPHES = "'’‘ʼʻ`´′"
SYMBOLS = {"&": "and", "%": "percent", "∞": "infinity"}

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # scripts without spaces
_WORD = re.compile(
    rf"""
    (?:(?<![^\s(\[=:$£€¥~≈])[-−–])?                    # a sign, not a hyphen or a range
    (?<!\w)(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?(?:[/:]\d+)*(?![^\W\d_])   # number
    | (?:[^\W\d_]\.){{2,}}(?:[^\W\d_](?!\w))?          # U.S.A.
    | [{_CJK}]                                         # one character
    | [^\W_](?:[\w{APOSTROPHES}]*[^\W_])?[+\#]*        # word; C++, C#
    | [&%∞]
    """,
    re.VERBOSE,
)
_JOINING = frozenset({"Mn", "Mc", "Me", "Cf"})
_PART = re.compile(rf"[{_CJK}]|[^{_CJK}]+")


@dataclass(frozen=True)
class Word:
    """A word: its normal form and its characters ``[start, stop)`` in the text."""

    key: str
    start: int
    stop: int


def split_words(text: str, *, case_sensitive: bool = False) -> list[Word]:
    """The words of a text, without articles unless the text has nothing else.

    With `case_sensitive` case, accents, number words and articles are kept (chemical symbols).

    >>> word_keys("The O’Sullivan & Sons, 1,000 cafés in the U.S.")
    ('osullivan', 'and', 'sons', '1000', 'cafes', 'in', 'us')
    >>> word_keys("twenty-one − Vitamin A"), word_keys("-5.0 or CO₂")
    (('21', 'vitamin', 'a'), ('-5', 'or', 'co2'))
    """
    return list(_split(text, case_sensitive))


# A judge asks for the words of a reply and of its question a dozen times over.
@lru_cache(maxsize=512)
def _split(text: str, case_sensitive: bool) -> tuple[Word, ...]:
    words: list[Word] = []
    # Combining marks and invisible characters become letters, so that they do not split words.
    plain = "".join("x" if unicodedata.category(c) in _JOINING else c for c in text)
    for match in _WORD.finditer(plain):
        for part in _PART.finditer(text, *match.span()):
            if key := _normalize(part.group(), case_sensitive):
                words.append(Word(key, *part.span()))
    if case_sensitive:
        return tuple(words)
    followers = [*words[1:], None]
    kept = [w for w, then in zip(words, followers, strict=False) if not _is_article(w, then, text)]
    return tuple(_join_compounds(kept or words, text))


def has_words(text: str) -> bool:
    """Whether a text has any word; most have one where they begin."""
    return bool(split_words(text[:200]) or split_words(text))


def word_keys(text: str, *, case_sensitive: bool = False) -> tuple[str, ...]:
    """The normal forms of the words of a text."""
    return tuple(word.key for word in split_words(text, case_sensitive=case_sensitive))


@lru_cache(maxsize=1 << 14)  # replies of one study say the same words again and again
def _normalize(raw: str, case_sensitive: bool) -> str:
    text = unicodedata.normalize("NFKC", raw)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    if any(c.isdecimal() for c in text) and not any(c.isalpha() for c in text):
        return _normalize_number(text)
    text = re.sub(rf"[{APOSTROPHES}]", "", text)
    if re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]?", text):
        text = text.replace(".", "")
    if case_sensitive:
        return text
    text = _without_accents(text.casefold()).translate(LETTERS)
    return SYMBOLS.get(text) or NUMBERS.get(text) or text


def _normalize_number(text: str) -> str:
    """No thousands separators, no trailing zeros after the decimal point."""
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    digits = digits.replace(",", "").replace("⁄", "/").replace("−", "-").replace("–", "-")
    return re.sub(r"\.0+$|(\.\d*?[1-9])0+$", r"\1", digits)


def _without_accents(text: str) -> str:
    """Latin letters without their accents; marks of other scripts are letters of their own."""
    kept: list[str] = []
    for c in unicodedata.normalize("NFD", text):
        after_latin = kept and "LATIN" in unicodedata.name(kept[-1], "")
        if not (unicodedata.combining(c) and after_latin):
            kept.append(c)
    return unicodedata.normalize("NFC", "".join(kept))


def _is_article(word: Word, then: Word | None, text: str) -> bool:
    # "a" is an article before a word; the A of "hepatitis A" and of "Vitamin A deficiency" is not.
    if word.key != "a" or then is None or text[word.stop : then.start].strip():
        return word.key in ("an", "the")
    if text[word.start] == "a":
        return True
    # Only so far back as there are blanks and quotes: the whole head, each time, takes for ever.
    place = word.start - 1
    while place >= 0 and text[place] in " \t\"'“‘(*_":
        place -= 1
    return place < 0 or text[place] in ".!?:;\n,"


def date_forms(alias: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Other ways to write an alias that is a date: with the month first or last, "4th" for 4.

    >>> ("4th", "of", "july", "1776") in date_forms(word_keys("July 4, 1776"))
    True
    """
    parts = [word for word in alias if word != "of"]
    first_two, years = parts[:2], tuple(parts[2:])
    months = [MONTHS[word] for word in first_two if word in MONTHS]
    days = [word for word in first_two if re.fullmatch(r"([1-9]|[12]\d|3[01])(st|nd|rd|th)?", word)]
    if len(months) != 1 or len(days) != 1 or not all(re.fullmatch(r"\d{3,4}", y) for y in years):
        return []
    number = int(re.sub(r"\D", "", days[0]))
    forms = [
        (*order, *years)
        for month in (months[0], months[0][:3])
        for day in (str(number), _ordinal(number))
        for order in ((month, day), (day, month), (day, "of", month))
    ]
    return [form for form in forms if form != alias]


def number_forms(alias: str) -> list[tuple[str, ...]]:
    """An alias that ends in a common noun in its other number: "isotope" for "isotopes".

    Names have none: Adams is not Adam.

    >>> number_forms("graphical user interface"), number_forms("Adam")
    ([('graphical', 'user', 'interfaces')], [])
    """
    *before, last = word_keys(alias) or ("",)
    if len(last) < 4 or not last.isalpha() or alias.split()[-1] != alias.split()[-1].casefold():
        return []
    if last.endswith("ss"):
        return []
    return [(*before, last.removesuffix("s") if last.endswith("s") else f"{last}s")]


def _join_compounds(words: list[Word], text: str) -> list[Word]:
    """Numbers of several words as one: twenty-one, one hundred, minus 5, World War II."""
    joined: list[Word] = []
    for word in words:
        before = joined[-1] if joined else None
        if before and (key := _joint_number(before, word, text)):
            joined[-1] = replace(before, key=key, stop=word.stop)
        elif before and _is_numeral(before, word, text):
            joined.append(replace(word, key=ROMAN[word.key]))
        else:
            joined.append(word)
    return joined


def _joint_number(before: Word, word: Word, text: str) -> str | None:
    """The number that two neighbours make, or None."""
    if text[before.stop : word.start] not in (" ", "-", "‑", ""):
        return None
    tens = text[before.start : before.stop].casefold() in TENS
    written_out = text[word.start].isalpha() and word.key in NUMBERS.values()
    if tens and written_out and len(word.key) == 1 and word.key != "0":
        return str(int(before.key) + int(word.key))
    if before.key in ("minus", "negative") and word.key[0].isdigit():
        return f"-{word.key}"
    if word.key in ZEROS and re.fullmatch(r"[1-9]\d{0,2}", before.key):
        return before.key + ZEROS[word.key]
    return None


def _is_numeral(before: Word, word: Word, text: str) -> bool:
    """World War II; the items "i and iii" are named by letters."""
    follows = before.key.isalpha() and len(before.key) > 2 and before.key != "and"
    return word.key in ROMAN and follows and text[before.stop : word.start] == " "
