"""Plain question answering: what an edit should not break. A hit is a right answer.

Easy questions in open generation: 60 written by hand, and those of the question banks' easier facts
(`banks/facts.toml`). Greedy, 16 tokens, judged by strict alias matching (`hlens.judges.alias`). A
refusal is not a right answer. `plain_choice` asks the same questions as a choice among answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hlens.behaviours._facts import plain_questions
from hlens.behaviours._suite import ANSWER_ONLY, single_turn
from hlens.errors import HlensError
from hlens.judges import alias
from hlens.types import Question, Response, Verdict

DISPLAY = "plain questions"


def check(question: Question) -> None:
    """Raise `HlensError` unless the question has a gold answer."""
    if not question.answers:
        raise HlensError(f"question {question.id!r} of plain_qa has no answers; add the gold one")


def parse(response: Response) -> tuple[bool | None, str]:
    """Whether the reply gives the gold answer.

    >>> q = Question("1", "plain_qa", "What is the capital of Spain?", ("Madrid",))
    >>> [parse(Response(q, text, (), 0))[0] for text in ("Madrid.", "Lisbon", "")]
    [True, False, None]
    """
    judged = alias.judge(response)
    if judged.verdict is Verdict.UNSCORED:
        return None, judged.reason
    return judged.verdict is Verdict.CORRECT, judged.reason


def generate() -> Iterator[Question]:
    """Easy questions of the banks, each with options of its kind, which are not shown."""
    for question in plain_questions():
        name = f"plain_qa-{question.group.replace('/', '-')}"
        yield replace(question, id=name, domain="plain_qa")


def contrast(question: Question, questions: Sequence[Question]) -> tuple[str, str]:
    """The right answer, and a wrong option, or else what answers the next question."""
    wrong = [choice for choice in question.choices if choice not in question.answers]
    if question.answers and wrong:
        return question.answers[0], wrong[0]
    place = list(questions).index(question)
    following = [*questions[place + 1 :], *questions[:place]]
    answers = (one.answers[0] for one in following if one.answers)
    other = next((answer for answer in answers if answer not in question.answers), "I do not know.")
    return (question.answers[0], other) if question.answers else ("", "")


SUITE = single_turn(
    "plain_qa",
    parse,
    hit="answers right",
    label="Right answers to plain questions",
    max_new_tokens=16,
    instruction=ANSWER_ONLY,
    contrasts=contrast,
)
