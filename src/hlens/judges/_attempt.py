"""Find out whether a response attempts and finishes an answer."""

import re

from hlens.types import Response

_OFFERS = re.compile(
    r"\bhow (?:can|may) i (?:help|assist)\b|\bwhat would you like\b|\bready to (?:help|assist)\b"
    r"|\bhappy to (?:help|assist)\b",
    re.IGNORECASE,
)


def non_answer(response: Response) -> str:
    """Why a response is no answer: cut off, or without an attempt; empty where it is one.

    >>> from hlens.types import Question
    >>> question = Question("1", "general", "Capital of France?", ("Paris",))
    >>> non_answer(Response(question, "Lyon.", (), 0))
    ''
    >>> non_answer(Response(question, "What would you like to know?", (), 0))
    'no attempt: offers help'
    """
    if not response.text.strip():
        return "no attempt: empty"
    if _OFFERS.search(response.text):
        return "no attempt: offers help"
    return "cut off" if response.finish_reason == "length" else ""
