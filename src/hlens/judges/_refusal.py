"""Find the phrase by which a response declines to answer; `refusal.toml` lists them."""

import re
import tomllib

from hlens.judges._normal_words import read_file
from hlens.types import Judgement, Response, Verdict

_GUESS = re.compile(
    r"\b(?:but|however|though|although)\b,? (?:if i had to guess|i(?:'d| would)? ?"
    r"(?:think|believe|guess|suspect|say)|it(?:'s| is| was| might be| may be| could be)"
    r"(?! not|n't)|(?:maybe|perhaps|probably|possibly)|my (?:best )?guess)"
    r"|\bmy best guess\b|\bif i had to guess"
)


def _patterns(*names: str) -> re.Pattern[str]:
    phrases = tomllib.loads(read_file("refusal.toml"))
    patterns = "\n".join(phrases[name] for name in names)
    for part in ("not", "about", "asked"):
        patterns = patterns.replace(f"<{part}>", phrases[part])
    return re.compile("|".join(f"(?:{p})" for p in patterns.split("\n")), re.IGNORECASE)


_DECLINES = _patterns("ignorance")
_ABSTAINS = _patterns("ignorance", "absence")


def refusal(text: str) -> tuple[int, int] | None:
    """Characters ``[start, stop)`` where a response says that it does not know or will not answer.

    A guess that follows ("I'm not sure, but I think it is Paris") makes it an answer again.

    >>> refusal("I don’t know."), refusal("Penguins, because they cannot fly.")
    ((0, 12), None)
    """
    return _search(_DECLINES, text)


def abstention(text: str) -> tuple[int, int] | None:
    """Like `refusal`; also where the response says that the thing in question does not exist.

    >>> refusal("There is no such town."), abstention("There is no such town.")
    (None, (0, 12))
    """
    return _search(_ABSTAINS, text)


def judge_refusal(response: Response) -> Judgement | None:
    """The judgement of a response that declines to answer, or None for any other."""
    place = refusal(response.text)
    return None if place is None else refused(response, place)


def refused(response: Response, place: tuple[int, int]) -> Judgement:
    """Refused, with the phrase at `place` as the reason."""
    return Judgement(response, Verdict.REFUSED, f'"{response.text[slice(*place)].strip()}"')


def _search(patterns: re.Pattern[str], text: str) -> tuple[int, int] | None:
    plain = text.replace("’", "'").replace("‘", "'").replace("\n", " ")
    match = patterns.search(plain)
    if match is None or _GUESS.search(plain.casefold(), match.end()):
        return None
    return match.span()
