"""For sets that mix answerable and unanswerable questions: `alias` or `abstain`."""

from hlens.judges import abstain, alias
from hlens.types import Judgement, Response


def judge(response: Response) -> Judgement:
    """Judge by aliases where the question has any; otherwise the response should abstain."""
    return (alias if response.question.answers else abstain).judge(response)
