"""The loose rule judge: correct if any alias occurs anywhere in the response, even inside a word.

The rule of the official code of arXiv 2512.01797, kept to measure what it changes: "art" is in
"Mozart", and "not Paris" contains "Paris". An audit uses it as its second judge. In one
replication, 96 of 1,435 "all correct" questions were such loose matches. Labels should come from
`hlens.judges.alias`.
"""

from hlens.judges import alias
from hlens.types import Judgement, Response, Verdict

DISPLAY = "loose substring"


def judge(response: Response) -> Judgement:
    """Judge a response by whether it contains the gold answer or an alias as a substring.

    Refusals, empty responses, questions without answers and the answer's span are left to the
    alias judge.

    >>> from hlens.types import Question
    >>> q = Question("1", "general", "What did Mozart make?", ("art",))
    >>> judge(Response(q, "He was Mozart.", (), 0)).verdict.value
    'correct'
    """
    strict = alias.judge(response)
    answers = [answer.casefold() for answer in response.question.answers if answer.strip()]
    if strict.verdict is Verdict.REFUSED or not answers or not response.text.strip():
        return strict
    text = response.text.casefold()
    held = next((answer for answer in answers if answer in text), None)
    if held is not None:
        return Judgement(response, Verdict.CORRECT, f"holds {held!r}", strict.answer)
    return Judgement(response, Verdict.HALLUCINATED, "no alias as a substring", strict.answer)
