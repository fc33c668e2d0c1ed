"""The loose rule judge: right where any alias stands anywhere in the response, inside words too.

The rule of the official code of arXiv 2512.01797, kept to see what it changes: "art" is in
"Mozart", and "not Paris" holds "Paris". An audit takes it as its second judge. Where a replication
looked, 96 of 1,435 "all correct" questions were such loose matches. Labels should come from
`hlens.judges.alias`.
"""

from hlens.judges import alias
from hlens.types import Judgement, Response, Verdict


def judge(response: Response) -> Judgement:
    """Judge a response by whether it holds the gold answer or an alias as a substring.

    Refusals, empty responses and questions without answers are left to the alias judge, and so is
    the answer's span.

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
