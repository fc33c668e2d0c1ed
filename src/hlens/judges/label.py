"""For a closed set of labels (yes/no, wrong/not wrong): the first label that is named decides.

Labels are the question's choices. Of labels that begin at the same word the longest counts ("not
wrong" before "wrong"). A negated label does not count, unless its negation is a label too ("isn't
wrong" is "not wrong"). A response without any label, or one that only repeats the choice ("yes or
no"), is unscored: that is a failure to parse, not a hallucination.
"""

from hlens.errors import HlensError
from hlens.judges._alias_matching import Reading, find_objection, find_runs
from hlens.judges._attempt import judge_unread
from hlens.judges._normal_words import split_words, word_keys
from hlens.judges._refusal import judge_refusal
from hlens.types import Judgement, Question, Response, Verdict

DISPLAY = "first label named"


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
    if unread := judge_unread(response):
        return unread
    named = first_label(text, question.choices)
    if named is None:
        return judge_refusal(response) or Judgement(response, Verdict.UNSCORED, "no label")
    label, span = named
    # A label that is named is an answer, whatever follows it.
    verdict = Verdict.CORRECT if word_keys(label) == gold else Verdict.HALLUCINATED
    return Judgement(response, verdict, f"says {label!r}", span)


def first_label(text: str, labels: tuple[str, ...]) -> tuple[str, tuple[int, int]] | None:
    """The label that a text names first, with its characters, or None."""
    words = split_words(text)
    places = [
        (first, -(last - first), last, label)
        for label in labels
        for first, last in find_runs(word_keys(label), words)
    ]
    reading = Reading(text, words, frozenset())
    for first, _, last, label in sorted(places):
        start, stop = words[first].start, words[last - 1].stop
        before = words[max(0, first - 1)]
        objection = find_objection((first, last), reading.having({*range(first, last)}))
        if objection == "negated" or before.key == "nothing":
            negation = ("not", *word_keys(label))
            other = next((other for other in labels if word_keys(other) == negation), None)
            if other is not None:
                return other, (before.start, stop)
        elif objection == "hedged" and all(find_runs(word_keys(one), words) for one in labels):
            return None  # the response repeats the choice
        else:
            return label, (start, stop)
    return None


def _gold(question: Question) -> tuple[str, ...]:
    if not question.choices or not question.answers:
        raise HlensError(
            f"question {question.id!r} has no labels to judge by; give choices and an answer"
        )
    gold = word_keys(question.answers[0])
    if gold not in map(word_keys, question.choices):
        raise HlensError(
            f"question {question.id!r}: answer {question.answers[0]!r} is none of its choices "
            f"({', '.join(question.choices)})"
        )
    return gold
