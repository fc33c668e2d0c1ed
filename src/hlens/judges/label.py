"""For a closed set of labels (yes/no, wrong/not wrong): the first label that is named decides.

Labels are the question's choices. Of labels that begin at the same word the longest counts ("not
wrong" before "wrong"). A negated label does not count, unless its negation is a label itself
("isn't wrong" is "not wrong"). A response without any label, or one that only repeats the choice
("yes or no"), is unscored: that is a failure to parse and no hallucination.
"""

from hlens.errors import HlensError
from hlens.judges import _refusal
from hlens.judges._match import examined, runs
from hlens.judges._words import Word, keys, words
from hlens.types import Judgement, Question, Response, Verdict


def judge(response: Response) -> Judgement:
    """Judge a response by the label that it names first.

    >>> q = Question("1", "moral", "Is it wrong?", ("not wrong",), choices=("wrong", "not wrong"))
    >>> for text in ("Not wrong.", "It is wrong.", "It isn't wrong", "wrong or not wrong?", "Hm."):
    ...     print(text, judge(Response(q, text, (), 0)).verdict.value)
    Not wrong. correct
    It is wrong. hallucinated
    It isn't wrong correct
    wrong or not wrong? unscored
    Hm. unscored

    Raises:
        HlensError: The question has no choices or no answer among them.
    """
    question, text = response.question, response.text
    gold = _gold(question)
    if not text.strip():
        return Judgement(response, Verdict.UNSCORED, "empty")
    named = first_label(text, question.choices)
    if named is None:
        found = _refusal.refusal(text)
        if found:
            return Judgement(response, Verdict.REFUSED, f'"{text[slice(*found)].strip()}"')
        return Judgement(response, Verdict.UNSCORED, "no label")
    label, span = named
    verdict = Verdict.CORRECT if keys(label) == keys(gold) else Verdict.HALLUCINATED
    return Judgement(response, verdict, f"says {label!r}", span)


def first_label(text: str, labels: tuple[str, ...]) -> tuple[str, tuple[int, int]] | None:
    """The label that a text names first, with its characters, or None."""
    found = words(text)
    places = [
        (first, -(last - first), last, label)
        for label in labels
        for first, last in runs(keys(label), found)
    ]
    for first, _, last, label in sorted(places):
        span = found[first].start, found[last - 1].stop
        against = examined((first, last), text, found, set(range(first, last))).against
        if against == "negated" or found[max(0, first - 1)].key == "nothing":
            other = _negation(label, labels)
            if other is not None:
                return other, (_negator(first, found), span[1])
        elif against != "hedged" or not _offers_all(text, labels):
            return label, span
        else:
            return None
    return None


def _gold(question: Question) -> str:
    if not question.choices or not question.answers:
        raise HlensError(
            f"question {question.id!r} has no labels to judge by; give choices and an answer"
        )
    known = {keys(choice): choice for choice in question.choices}
    if keys(question.answers[0]) not in known:
        raise HlensError(
            f"question {question.id!r}: answer {question.answers[0]!r} is none of its choices "
            f"({', '.join(question.choices)})"
        )
    return known[keys(question.answers[0])]


def _negation(label: str, labels: tuple[str, ...]) -> str | None:
    """The label that says the contrary in so many words."""
    return next((other for other in labels if keys(other) == ("not", *keys(label))), None)


def _negator(first: int, found: list[Word]) -> int:
    """Where the negation before a label begins."""
    return found[max(0, first - 1)].start


def _offers_all(text: str, labels: tuple[str, ...]) -> bool:
    found = words(text)
    return all(runs(keys(label), found) for label in labels)
