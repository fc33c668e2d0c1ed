"""Plain question answering: what an edit should not break. A hit is a right answer.

Easy questions, greedy, 16 tokens, judged by strict alias matching (`hlens.judges.alias`). A refusal
is not a right answer.
"""

from collections.abc import Sequence

from hlens.behaviours._suite import ANSWER_ONLY, single_turn
from hlens.judges import alias
from hlens.types import Question, Response, Verdict


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


def contrast(question: Question, questions: Sequence[Question]) -> tuple[str, str]:
    """The right answer, and that of the next question that has another one."""
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
