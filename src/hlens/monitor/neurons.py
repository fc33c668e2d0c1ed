"""measure_answers: what each neuron of a detector contributed to answers that are there already.

Problem: a score is one number. That it moved says nothing about which neurons moved it.

Idea: the score of an answer is the bias plus weight times mean contribution, neuron by neuron. So
the detector's own neurons are measured over the very tokens that `score` reads, and the parts add
up to the score.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from hlens.contributions import measure
from hlens.errors import HlensError
from hlens.metrics import Metric
from hlens.model import Model
from hlens.monitor.watching import readable_metric
from hlens.thoughts import count_tokens
from hlens.types import Detector, Example, Judgement, Response

BLOCK = 64  # answers whose neurons, all of the model's, are in memory at once


def measure_answers(
    model: Model,
    detector: Detector,
    answers: Sequence[Response | Judgement],
    *,
    metric: Metric | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "answer neuron"]:
    """Mean contribution of each of a detector's neurons over all tokens of each answer.

    Args:
        model: The model that the detector was found on.
        detector: The detector; it must read a mean over the answer or the response.
        answers: Responses, or their judgements, as `score` takes them.
        metric: The detector's formula, where it is not one of `hlens.metrics`.
        batch_size: Answers at a time; None fits them to the memory.
        progress: Called with the number of answers done and of all.

    Returns:
        One row an answer, one column a neuron of nonzero weight, by (layer, neuron). A row is NaN
        where the answer has no token after its thought, or is longer than the model can read.

    Raises:
        HlensError: No answers, or a detector that cannot be read token by token.
    """
    if not answers:
        raise HlensError("no answers to measure; give responses, or their judgements")
    metric = readable_metric(model, detector, metric)
    chosen = detector.weights.flatten().nonzero().flatten()
    responses = [one.response if isinstance(one, Judgement) else one for one in answers]
    values = np.full((len(responses), len(chosen)), np.nan, dtype=np.float32)
    examples = {
        i: example
        for i, one in enumerate(responses)
        if (example := _example(one, model)) is not None
    }
    readable = list(examples)
    for start in range(0, len(readable), BLOCK):
        block = readable[start : start + BLOCK]
        data = measure(
            model,
            [examples[i] for i in block],
            metric=metric,
            region="response",
            batch_size=batch_size,
        )
        values[block] = data.rows(chosen).float().T.numpy()
        if progress is not None:
            progress(start + len(block), len(readable))
    return values


def _example(response: Response, model: Model) -> Example | None:
    """The answer behind its thought as an example, whose label nobody reads; None of no answer."""
    if model.n_positions is not None and len(response.token_ids) > model.n_positions:
        return None
    n_thought = count_tokens(response, model.tokenizer)
    first, last = response.n_prompt + n_thought, len(response.token_ids)
    if first >= last:
        return None
    question = response.question
    return Example(
        torch.tensor(response.token_ids),
        response.n_prompt,
        first,
        last,
        hallucinated=False,
        question_id=question.id,
        group=question.group,
        domain=question.domain,
        sample=response.sample,
        n_thought=n_thought,
    )
