"""What judgements already tell an audit, without another pass of the model."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.types import (
    READINGS,
    Contributions,
    Evidence,
    Example,
    Judgement,
    Question,
    Response,
    Verdict,
)

_NEEDS_A_PASS = "a quick audit runs the model no further"


def match_judgements(
    examples: Sequence[Example], judgements: Iterable[Judgement]
) -> list[Judgement]:
    """The judgement of each example; raises `HlensError` for one that is not among those given."""
    known = {_key(judged.response): judged for judged in judgements}
    matched: list[Judgement] = []
    for example in examples:
        judged = known.get((example.domain, example.question_id, example.sample))
        if judged is None:
            raise HlensError(
                f"no judgement of sample {example.sample} of question {example.question_id!r} "
                f"({example.domain}); give the judgements that the examples were located in"
            )
        matched.append(judged)
    return matched


def second_labels(
    examples: Sequence[Example], judgements: Sequence[Judgement]
) -> Int[Tensor, " example"]:
    """What another judge says of each example: 1 hallucinated, 0 true, -1 neither.

    The judgements are of the responses that the examples were located in.
    """
    code = {Verdict.HALLUCINATED: 1, Verdict.CORRECT: 0}
    given = {_key(judged.response): code.get(judged.verdict, -1) for judged in judgements}
    return torch.tensor([given.get((e.domain, e.question_id, e.sample), -1) for e in examples])


def known_evidence(
    examples: Sequence[Example], judgements: Sequence[Judgement], *, contributions: Contributions
) -> Evidence:
    """What rivals may look at without running the model again, for examples in measured order.

    Texts, log-probabilities and the other samples of each question, out of all judgements of the
    study; readings of the inside (entropies, residual stream, attention, ...) are absent.
    """
    own = match_judgements(examples, judgements)
    responses = [judged.response for judged in own]
    others = _other_samples(responses, judgements)
    spans = [slice(e.start - e.n_prompt, e.stop - e.n_prompt) for e in examples]
    known = {"logprobs", "samples", "sample_logprobs"}
    return Evidence(
        contributions=contributions,
        questions=tuple(response.question.text for response in responses),
        contexts=tuple(response.question.context for response in responses),
        answers=tuple(j.response.text[slice(*(j.answer or (0, None)))].strip() for j in own),
        responses=tuple(response.text for response in responses),
        n_prompt=torch.tensor([example.n_prompt for example in examples]),
        n_response=torch.tensor([len(r.token_ids) - r.n_prompt for r in responses]),
        starts=torch.tensor([example.start for example in examples]),
        logprobs=tuple(r.logprobs[span] for r, span in zip(responses, spans, strict=True)),
        samples=tuple(tuple(other.text for other in row) for row in others),
        sample_logprobs=tuple(tuple(sum(other.logprobs) for other in row) for row in others),
        why_not={name: _NEEDS_A_PASS for name in READINGS if name not in known},
    )


def question_key(question: Question) -> tuple[str, str]:
    """Domain and id: an id alone is unique only within its domain."""
    return question.domain, question.id


def _key(response: Response) -> tuple[str, str, int]:
    return (*question_key(response.question), response.sample)


def _other_samples(
    own: Sequence[Response], judgements: Sequence[Judgement]
) -> list[list[Response]]:
    """For each response, the other samples of its question."""
    sampled: dict[tuple[str, str], list[Response]] = {}
    for judged in judgements:
        sampled.setdefault(question_key(judged.response.question), []).append(judged.response)
    return [
        [other for other in sampled[question_key(mine.question)] if other.sample != mine.sample]
        for mine in own
    ]
