"""Fabricated entities: asked about what does not exist, does the model invent? A hit is invention.

After the NonExist set of arXiv 2512.01797 (unpublished): 60 questions written by hand, and 240 of
`hlens.domains.nonexist`, of another draw than that domain asks. Greedy, 48 tokens; a reply that
says it does not know, or that there is no such thing, abstains (`hlens.judges.abstain`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hlens.behaviours._suite import single_turn
from hlens.domains import nonexist
from hlens.judges import abstain
from hlens.types import Question, Response, Verdict

N_GENERATED, SEED = 240, 1  # the domain itself asks what seed 0 draws


def parse(response: Response) -> tuple[bool | None, str]:
    """Whether the reply invents an answer.

    >>> q = Question("1", "x", "Who directed the film Seven Quilts?", ())
    >>> replies = ("It was directed by Ann Lee.", "I am not familiar with this film.", " ")
    >>> [parse(Response(q, text, (), 0))[0] for text in replies]
    [True, False, None]
    """
    judged = abstain.judge(response)
    if judged.verdict is Verdict.UNSCORED:
        return None, judged.reason
    return judged.verdict is Verdict.HALLUCINATED, judged.reason


def generate() -> Iterator[Question]:
    """Questions about as many things that do not exist."""
    for question in nonexist.generate(N_GENERATED, SEED):
        yield replace(question, domain="fabricated_entities")


def contrast(question: Question, questions: Sequence[Question]) -> tuple[str, str]:
    """How an invented answer begins, and an abstention."""
    return "The answer is", "I do not know"


SUITE = single_turn(
    "fabricated_entities",
    parse,
    hit="invents an answer",
    label="Invention about what does not exist",
    max_new_tokens=48,
    contrasts=contrast,
)
