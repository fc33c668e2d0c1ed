"""Other answers to the same questions: those that the study has, then further ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.judges import answer_span
from hlens.model import Model, Settings
from hlens.sampling import sample_more
from hlens.types import Example, Response


def other_samples(
    model: Model,
    own: Sequence[Response],
    responses: Sequence[Response],
    *,
    n: int,
    seed: int,
    settings: Settings,
    progress: Callable[[int, int], None],
) -> list[list[Response]]:
    """For each example's own response, other samples of its question: as many for each, n at most.

    They are taken from all responses of the study first; the other arguments are the study's.
    """
    if n == 0:
        return [[] for _ in own]
    asked = {_question_key(response) for response in own}
    pool = [response for response in responses if _question_key(response) in asked]
    if settings.temperature == 0:  # all samples are the same, and count as one
        settings = replace(settings, temperature=1.0)
        pool = [response for response in pool if response.sample == 0]
    drawn = sample_more(model, pool, n=n + 1, seed=seed, settings=settings, progress=progress)
    by_question: dict[tuple[str, str], list[Response]] = {}
    for response in sorted([*pool, *drawn], key=lambda response: response.sample):
        by_question.setdefault(_question_key(response), []).append(response)
    others = [
        [other for other in by_question[_question_key(mine)] if other.sample != mine.sample]
        for mine in own
    ]
    least = min(n, *map(len, others))  # a study whose samples were thinned out has fewer
    if least == 0:
        name = own[[len(samples) for samples in others].index(0)].question.id
        raise HlensError(
            f"no other sample of question {name!r}; give all responses of the study, or "
            "samples=0 to do without"
        )
    return [samples[:least] for samples in others]


def distinct_sequences(
    others: Sequence[Sequence[Response]],
) -> tuple[list[Example], Int[Tensor, "example sample"]]:
    """Each different sample once, as a sequence to run; and the index of each sample's sequence."""
    number: dict[tuple[int, ...], int] = {}
    sequences: list[Example] = []
    for response in (response for samples in others for response in samples):
        if response.token_ids not in number:
            number[response.token_ids] = len(sequences)
            sequences.append(_sequence(response))
    index = [[number[response.token_ids] for response in samples] for samples in others]
    return sequences, torch.tensor(index, dtype=torch.long).reshape(len(others), -1)


def evidence_fields(
    others: Sequence[Sequence[Response]], states: Float[Tensor, "example sample d_model"]
) -> dict[str, Any]:
    """What `Evidence` keeps of the samples."""
    logprobs = tuple(tuple(sum(r.logprobs[r.n_thought :]) for r in row) for row in others)
    return {
        "samples": tuple(tuple(map(_answer, row)) for row in others),
        "sample_logprobs": logprobs,
        "sample_states": states,
    }


def _question_key(response: Response) -> tuple[str, str]:
    return response.question.domain, response.question.id


def _sequence(response: Response) -> Example:
    """A sample as a sequence whose last token is read; of an empty one, the prompt's last token."""
    tokens, question = torch.tensor(response.token_ids), response.question
    start = min(response.n_prompt, len(tokens) - 1)
    about = question.id, question.group, question.domain, response.sample
    return Example(tokens, response.n_prompt, start, len(tokens), False, *about)


def _answer(response: Response) -> str:
    """The answer within a sample, by the rule that found it in the examples."""
    span = answer_span(response.text, response.question.text)
    return response.text[slice(*span)] if span else response.text.strip()
