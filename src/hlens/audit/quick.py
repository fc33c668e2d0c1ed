"""The evidence that a study holds already: texts, log-probabilities, samples. No forward pass."""

from collections.abc import Sequence

import torch

from hlens.audit.covariates import judged_of
from hlens.types import READINGS, Contributions, Evidence, Example, Judgement, Response

_WHY = "a quick audit runs the model no further"


def known_evidence(
    examples: Sequence[Example], judgements: Sequence[Judgement], contributions: Contributions
) -> Evidence:
    """What rivals may look at without running the model again.

    Args:
        examples: The examples, in the order of the contributions.
        judgements: All judgements of the study; their responses hold the samples.
        contributions: What was measured on the examples.

    Returns:
        Evidence with texts, log-probabilities and the questions' other samples; readings of the
        inside (entropies, residual stream, attention, activations, P(True)) are absent.

    Raises:
        HlensError: An example whose judgement is not among those given.
    """
    own = judged_of(examples, judgements)
    responses = [judged.response for judged in own]
    others = _others(responses, judgements)
    spans = [(e.start - e.n_prompt, e.stop - e.n_prompt) for e in examples]
    fields = {"logprobs", "samples", "sample_logprobs"}
    return Evidence(
        contributions=contributions,
        questions=tuple(response.question.text for response in responses),
        contexts=tuple(response.question.context for response in responses),
        answers=tuple(_answer(judged) for judged in own),
        responses=tuple(response.text for response in responses),
        n_prompt=torch.tensor([example.n_prompt for example in examples]),
        n_response=torch.tensor([len(r.token_ids) - r.n_prompt for r in responses]),
        starts=torch.tensor([example.start for example in examples]),
        logprobs=tuple(
            response.logprobs[slice(*span)] for response, span in zip(responses, spans, strict=True)
        ),
        samples=tuple(tuple(other.text for other in row) for row in others),
        sample_logprobs=tuple(tuple(sum(other.logprobs) for other in row) for row in others),
        why_not={name: _WHY for name in READINGS if name not in fields},
    )


def _answer(judged: Judgement) -> str:
    return judged.response.text[slice(*(judged.answer or (0, None)))].strip()


def _others(own: Sequence[Response], judgements: Sequence[Judgement]) -> list[list[Response]]:
    """For each response, the other samples of its question."""
    of: dict[tuple[str, str], list[Response]] = {}
    for judged in judgements:
        of.setdefault(_question(judged.response), []).append(judged.response)
    return [[other for other in of[_question(mine)] if other.sample != mine.sample] for mine in own]


def _question(response: Response) -> tuple[str, str]:
    return response.question.domain, response.question.id
