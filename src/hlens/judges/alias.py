"""The strict rule judge: does the response give the gold answer or an alias of it?

An alias counts where the response has all its words in a row, as whole words in normal form
(`_normal_words`), unless `_alias_matching` objects: negated ("not Paris"), part of a longer name or
number ("New Mexico", "5 million"), taken back ("Paris. No, London"). One of several answers ("Paris
or London") is neither correct nor hallucinated and is left unscored. A response that says "I don't
know" is a refusal, whatever else it says, unless a guess follows. Aliases without any word (emoji)
count only as the whole answer. Where the gold is yes, no, true or false, the first such word of the
response decides.

A question without answers asks for abstaining: `hlens.judges.abstain` judges it.

`Judgement.answer` comes from one rule for correct and hallucinated responses (`_answer_span`), so
the length of the span reveals no label to a probe; only an alias outside of that span is taken as
the span itself.
"""

import re
import unicodedata
from dataclasses import dataclass

from hlens.judges import abstain
from hlens.judges._alias_matching import NEGATORS, Reading, Run, find_objection, find_runs, span_of
from hlens.judges._answer_span import answer_span
from hlens.judges._attempt import judge_false, judge_unread
from hlens.judges._normal_words import LISTS, Word, date_forms, number_forms, split_words, word_keys
from hlens.judges._refusal import refusal, refused
from hlens.types import Judgement, Response, Verdict

DISPLAY = "strict alias"

Span = tuple[int, int]
_CONTRAST = re.compile(r"\b(?:but|while|whereas|however|although|though)\b", re.IGNORECASE)
POLAR = frozenset({"yes", "no", "true", "false"})
CONTRARY = {"true": "false", "false": "true"}
PLAIN_WORDS = frozenset(LISTS["plain"])


@dataclass(frozen=True)
class _Match:
    """An alias, its characters in the response, and the objection to it or ""."""

    alias: str
    place: Span
    objection: str


def judge(response: Response) -> Judgement:
    """Judge a response by the aliases of its question.

    >>> from hlens.types import Question
    >>> q = Question("1", "general", "Capital of France?", ("Paris", "City of Light"))
    >>> for text in ("It is Paris.", "It is not Paris.", "Paris or Lyon", "I don't know", ""):
    ...     judged = judge(Response(q, text, (), 0))
    ...     print(f"{text!r}: {judged.verdict} ({judged.reason})")
    'It is Paris.': correct (holds 'Paris')
    'It is not Paris.': hallucinated (negated: 'Paris')
    'Paris or Lyon': unscored (hedged: 'Paris')
    "I don't know": refused ("I don't know")
    '': unscored (empty)
    """
    question, text = response.question, response.text
    if not question.answers:
        return abstain.judge(response)
    if unread := judge_unread(response):
        return unread
    words = split_words(text, case_sensitive=bool(question.meta.get("case_sensitive")))
    matches = _find_matches(response, words)
    span = answer_span(text, question.text)
    phrase = refusal(text)
    if phrase and _is_refusal(phrase, span, matches):
        return refused(response, phrase)
    for match in matches:
        if not match.objection and _is_left_open(response, match.place[1]):
            return Judgement(response, Verdict.UNSCORED, "cut off")
        if not match.objection:
            span, reason = _united(span, match.place), f"holds {match.alias!r}"
            return Judgement(response, Verdict.CORRECT, reason, span)
    if _is_bare_sign(text, question.answers):
        return Judgement(response, Verdict.CORRECT, "is the sign", span)
    verdict, reason = _explain(matches, words)
    if verdict is Verdict.HALLUCINATED:
        return judge_false(response, reason, span)
    return Judgement(response, verdict, reason)


def _is_left_open(response: Response, stop: int) -> bool:
    """Whether the token limit cut a contrast to an answer: "It is red, while a ripe one is"."""
    rest = re.split(r"[.!?\n]", response.text[stop:])
    return response.finish_reason == "length" and len(rest) == 1 and bool(_CONTRAST.search(rest[0]))


def _find_matches(response: Response, words: list[Word]) -> list[_Match]:
    """All matches of all aliases, longest alias first, each with the first objection to it."""
    question, text = response.question, response.text
    exact = bool(question.meta.get("case_sensitive"))
    aliases = {
        word_keys(alias, case_sensitive=exact): alias for alias in reversed(question.answers)
    }
    aliases.pop((), None)
    for alias in list(aliases):
        forms = date_forms(alias) + ([] if exact else number_forms(aliases[alias]))
        aliases |= {form: aliases[alias] for form in forms if form not in aliases}
    asked = split_words(question.text, case_sensitive=exact)
    ordered = sorted(aliases, key=lambda alias: -len(alias))
    places = [(run, alias) for alias in ordered for run in find_runs(alias, words)]
    golds = {i for (first, last), _ in places for i in range(first, last)}
    asked_keys = {word.key for word in asked}
    repeated = {i for i, word in enumerate(words) if word.key in asked_keys}
    offers = "or" in asked_keys
    reading = Reading(text, words, golds)
    leniently = reading.having(golds | repeated)
    others = {alias: _other_option(alias, asked) for alias in aliases}
    first_of = {word.key: i for i, word in reversed(list(enumerate(words)))}
    is_plain_word = _is_sentence_word if exact else _is_common_word
    matches: list[_Match] = []
    polar = _find_polar(text, words, asked_keys, golds={a for a, *_ in aliases})
    if polar is not None and (polar[1],) in aliases:
        position, says, objection = polar
        place = span_of((position, position + 1), words)
        matches.append(_Match(aliases[says,], place, objection))
    for run, alias in places:
        if set(alias) <= POLAR:
            objection = "not the first yes or no"
        elif is_plain_word(run, text, words):
            objection = "a word of a sentence"
        elif _comes_second(others[alias], run, first_of):
            objection = "after the other option"
        elif _is_pronoun(run, words):
            continue
        else:
            objection = find_objection(run, reading)
            if objection == "hedged" and not offers:
                # "Profit and loss", for "profit and ...?", is no second answer.
                objection = find_objection(run, leniently)
        matches.append(_Match(aliases[alias], span_of(run, words), objection))
    return matches


def _find_polar(
    text: str, words: list[Word], asked: set[str], *, golds: set[str]
) -> tuple[int, str, str] | None:
    """The first yes, no, true or false: its position, what it says, and the objection to it.

    Words that only repeat the question say nothing ("Is it true that ...?"), unless it offers them
    ("True or false?") or asks for them. "Not true" says false.
    """
    kept = POLAR - asked
    for pair in ({"yes", "no"}, {"true", "false"}):
        is_asked_for = pair <= asked or (pair & golds and pair == set(CONTRARY))
        kept |= pair if is_asked_for else set()
    if "no" in golds & kept and [word.key for word in words[:3]] == ["not", "at", "all"]:
        return 0, "no", ""
    position = next((i for i, word in enumerate(words) if word.key in kept), None)
    if position is None:
        return None
    says, after = words[position].key, [word.key for word in words[position + 1 : position + 3]]
    if after[:1] in (["and"], ["or"]) and after[1:] and after[1] in POLAR - {says}:
        return position, says, "hedged"
    if says in CONTRARY:
        objection = find_objection((position, position + 1), Reading(text, words, {position}))
        says = CONTRARY[says] if objection == "negated" else says
    return position, says, ""


def _is_common_word(run: Run, text: str, words: list[Word]) -> bool:
    """An alias that is also a common word, used as one: "Tell us more" does not name the US."""
    first, last = run
    word = words[first]
    if last - first != 1 or word.key not in PLAIN_WORDS or len(words) == 1:
        return False
    raw, before = text[word.start : word.stop], text[: word.start].rstrip()
    if raw.isupper() and len(raw) > 1:
        return False
    return not raw[0].isupper() or not before or before[-1] in ".!?\n"


def _comes_second(other: str | None, run: Run, first_of: dict[str, int]) -> bool:
    """Of two options that the question offers, the response names the `other` one first.

    `first_of` says where each word first stands.
    """
    if other is None or first_of.get(other, run[0]) >= run[0]:
        return False
    return all(first_of.get(negator, run[0]) >= run[0] for negator in NEGATORS)


def _other_option(alias: tuple[str, ...], asked: list[Word]) -> str | None:
    """The nearest word of the option beside the alias: mars, in "Is Jupiter or Mars larger?"."""
    keys = [word.key for word in asked]
    for first, last in find_runs(alias, asked):
        for beside in (keys[last : last + 2], keys[max(0, first - 2) : first][::-1]):
            if len(beside) == 2 and beside[0] == "or":
                return beside[1] if beside[1] not in alias else None
    return None


def _is_sentence_word(run: Run, text: str, words: list[Word]) -> bool:
    """A symbol that is a capitalised word: "As far as I know", "In short", "He is"."""
    first, last = run
    before = text[: words[first].start].rstrip()
    is_start = not before or before[-1] in ".!?\n"
    if not is_start or last >= len(words) or text[words[last - 1].stop : words[last].start].strip():
        return False
    follows = words[last].key
    return follows.islower() and follows not in ("is", "stands", "for", "was")


def _is_pronoun(run: Run, words: list[Word]) -> bool:
    """The "one" of "one of them" is not a number."""
    first, last = run
    is_one = last - first == 1 and words[first].key == "1"
    has_of = last < len(words) and words[last].key in ("of", "that", "who", "which")
    return is_one and has_of and words[first].stop - words[first].start == len("one")


def _is_refusal(phrase: Span, span: Span | None, matches: list[_Match]) -> bool:
    """Whether a refusal phrase is one: not part of an alias, nor said after the answer.

    "I Don't Know" may be a song, and "It is Khmer. I am not familiar with others" is an answer.
    """
    if span is not None and phrase[0] >= span[1]:
        return False
    return not any(m.place[0] <= phrase[0] and phrase[1] <= m.place[1] + 1 for m in matches)


def _united(span: Span | None, place: Span) -> Span:
    """The union of the answer's span and the alias where they overlap, else the alias."""
    if span is None or span[1] <= place[0] or place[1] <= span[0]:
        return place
    return min(span[0], place[0]), max(span[1], place[1])


def _is_bare_sign(text: str, answers: tuple[str, ...]) -> bool:
    """Whether the whole response is an answer without words, such as an emoji."""
    bare = {unicodedata.normalize("NFKC", a).strip() for a in answers if not word_keys(a)}
    return unicodedata.normalize("NFKC", text).strip().rstrip(".").strip() in bare - {""}


def _explain(matches: list[_Match], words: list[Word]) -> tuple[Verdict, str]:
    """The verdict on a response without an accepted match, and the reason."""
    if not words and not matches:
        return Verdict.UNSCORED, "no words"
    if not matches:
        return Verdict.HALLUCINATED, "no alias"
    aliases = {match.objection: match.alias for match in reversed(matches)}
    for objection in ("hedged", "taken back"):
        if objection in aliases:
            return Verdict.UNSCORED, f"{objection}: {aliases[objection]!r}"
    return Verdict.HALLUCINATED, f"{matches[0].objection}: {matches[0].alias!r}"
