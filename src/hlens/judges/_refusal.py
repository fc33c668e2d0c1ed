"""Phrases by which a response declines to answer."""

import re

from hlens.types import Judgement, Response, Verdict

_NOT = r"(?:do not|don'?t|did not|didn'?t|could not|couldn'?t|cannot|can not|can'?t|won'?t)"
_ABOUT = r"(?:information|knowledge|data|details?|context|access|records?|evidence)"
_ASKED = (
    r"(?:answer|provide|determine|find|help|assist|verify|confirm|give|identify|recall|access|say|"
    r"tell|locate|comply|fulfill?|respond|recogni[sz]e|see|be (?:sure|certain|determined|answered|"
    r"verified|identified|found))"
)

# The speaker does not know, or will not say. An impersonal "cannot" alone is no refusal: penguins
# cannot fly.
_IGNORANCE = [
    rf"\b(?:i|we) (?:\w+ )?{_NOT} (?:\w+ )?(?:know|have|recall|remember|recogni[sz]e|understand)\b",
    rf"\b(?:i|we) (?:\w+ )?{_NOT} (?:\w+ )?{_ASKED}\b",
    rf"\bi (?:have|found|find|see|could find) no (?:\w+ )?(?:idea|clue|memory|{_ABOUT})\b",
    rf"\b(?:unable|not able|not possible|impossible) to {_ASKED}\b",
    r"\b(?:cannot|can not|can't) be (?:determined|answered|verified|known|established)\b",
    r"\bi(?:'m| am) (?:really |quite |afraid i(?:'m| am) )?not (?:\w+ )?"
    r"(?:aware|familiar|sure|certain|able)\b",
    r"\bi(?:'m| am) (?:un(?:sure|aware|certain|familiar|able)|sorry)\b",
    r"\bthere(?:'s| is| was)(?:n't| not| no) (?:\w+ )?(?:information|data|context) *"
    r"(?:available|about|on|given|provided|to|in|for|regarding)?\b",
    rf"\b(?:no|not enough|insufficient|lacks? (?:of )?) ?(?:\w+ )?{_ABOUT} "
    r"(?:available|provided|given|to (?:answer|determine|say))\b",
    r"\bas (?:an ai|a (?:large )?language model)\b",
    r"\bi(?:'d| would) rather not\b|\bi (?:must |have to )?(?:decline|refuse)\b",
    r"\bi apologi[sz]e\b|\bmy apologies\b",
    r"\b(?:need|require) more (?:information|context|details)\b",
    r"\b(?:could|can) you (?:please )?(?:provide|clarify|specify|give)\b",
    r"\bit(?:'s| is) (?:unclear|unknown|not (?:known|clear|specified))\b",
    r"^\W*(?:sorry,|(?:do not|don'?t|dunno|not) (?:really )?(?:know|sure|certain|aware)\b)",
    r"^\W*(?:the )?(?:answer is |it is |that is )?(?:unknown|unsure|not (?:known|available|"
    r"specified|mentioned)|n/a|no (?:answer|idea|clue|information)|idk|i dunno|dunno|unanswerable|"
    r"unclear|can'?t say)\W*$",
]
# The thing in question does not exist: counts as abstaining only where abstaining is right.
_ABSENCE = [
    r"\b(?:does|do|did) not (?:\w+ ){0,3}exist\b|\b(?:doesn't|don't|didn't) (?:\w+ ){0,3}exist\b",
    r"\b(?:never|non-?) ?exist(?:ed|ent)\b|\bno such\b",
    r"\bthere(?:'s| is| are| was| were) no (?!doubt|question)",
    r"\bthere (?:isn't|aren't|wasn't|weren't) an?y?\b",
    r"\bno (?:\w+ )?(?:record|evidence|mention|results?|information|knowledge|data)\b",
    r"\b(?:fictional|fictitious|imaginary|made[- ]up|hypothetical|fabricated)\b",
    r"\bnot (?:a |an )?(?:\w+ )?(?:real|actual|recogni[sz]ed|known|familiar|aware|listed|found|"
    r"documented|standard|valid|publicly|widely)\b",
    r"\b(?:could|can|did)(?:n't|not| not) (?:be )?f(?:ind|ound)\b|\bunable to find\b",
    r"\bnot (?:yet )?been (?:\w+ )?(?:assigned|published|disclosed|released|documented|decided)\b",
    r"\b(?:typo|misspell(?:ed|ing)|false premise|unfamiliar|unaware)\b",
    r"\bmay (?:be|have been) (?:a |an )?(?:mistake|error|confusion|mix-?up|mistaken|misremember)",
]
_GUESS = re.compile(
    r"\b(?:but|however|though|although)\b,? (?:if i had to guess|i(?:'d| would)? ?"
    r"(?:think|believe|guess|suspect|say)|it(?:'s| is| was| might be| may be| could be)"
    r"(?! not|n't)|(?:maybe|perhaps|probably|possibly)|my (?:best )?guess)"
    r"|\bmy best guess\b|\bif i had to guess"
)


def _compiled(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{p})" for p in patterns), re.IGNORECASE)


_DECLINES = _compiled(_IGNORANCE)
_ABSTAINS = _compiled(_IGNORANCE + _ABSENCE)


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
