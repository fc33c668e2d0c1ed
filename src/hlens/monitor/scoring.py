"""score: what a detector makes of answers that are written already, many at a time.

Problem: `risks` reads one answer at a time, and measuring reads every neuron for one number a span.

Idea: a detector is linear in a mean over tokens. Its score of each token, from its own neurons
alone, gives the score of every span and of the whole answer as a mean. So each answer is run once,
however many spans it holds, in a batch of answers of about its length.

Example: tokens of an answer score -2, -2, 4 and 2. The span of the last two scores 3, the answer
0.5. That two more spans are marked takes no further run.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from hlens.checks import check_whole
from hlens.errors import HlensError
from hlens.metrics import Metric
from hlens.model import Model
from hlens.monitor.reading import score_tokens
from hlens.spans import LABELS, token_texts
from hlens.thoughts import count_tokens
from hlens.types import Detector, Example, Judgement, MarkedSpan, Response, ScoredAnswer

log = logging.getLogger("hlens")
Key = tuple[str, str, int]  # domain, question and sample


def score(
    model: Model,
    detector: Detector,
    answers: Sequence[Response | Judgement],
    *,
    examples: Sequence[Example] = (),
    metric: Metric | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[ScoredAnswer]:
    """Score every token of answers that are written already; spans and answers are their means.

    Args:
        model: The model that the detector was found on.
        detector: The detector; it must read a mean over the answer or the response.
        answers: Responses, or their judgements, whose verdicts are then the labels.
        examples: Labelled spans of these answers, from `hlens.locate` or `hlens.labelled`; an
            answer without a verdict is hallucinated where one of its spans is. Without examples
            nothing is marked.
        metric: The detector's formula, where it is not one of `hlens.metrics`.
        batch_size: Answers at a time; None fits them to the memory.
        progress: Called with the number of answers done and of all.

    Returns:
        One `ScoredAnswer` for each answer, in order. It is empty, without tokens and scores, where
        the answer has no token after its thought, or is longer than the model can read, which the
        log counts.

    Raises:
        HlensError: No answers, or tokens that the model does not have; examples of other answers;
            or a detector that cannot be read token by token.
    """
    if not answers:
        raise HlensError("no answers to score; give responses, or their judgements")
    responses = [_response_of(answer) for answer in answers]
    spans = _spans_of(examples, responses)
    readable = _readable(model, responses)
    rows = [responses[i].token_ids for i in readable]
    model.check_prompts(rows)
    if batch_size is not None:
        batch_size = check_whole("batch_size", batch_size, least=1)
    token_scores = score_tokens(
        model, detector, rows, metric=metric, batch_size=batch_size, progress=progress
    )
    scores = dict(zip(readable, token_scores, strict=True))
    return [
        _scored(answer, scores.get(i), spans.get(_key(responses[i]), []), model)
        for i, answer in enumerate(answers)
    ]


def _response_of(answer: Response | Judgement) -> Response:
    return answer.response if isinstance(answer, Judgement) else answer


def _key(response: Response) -> Key:
    return response.question.domain, response.question.id, response.sample


def _spans_of(
    examples: Sequence[Example], responses: Sequence[Response]
) -> Mapping[Key, list[Example]]:
    """The examples of each answer; `HlensError` where one fits no answer, or other tokens."""
    by_key = {_key(response): response for response in responses}
    if len(by_key) < len(responses):
        raise HlensError(
            f"{len(responses) - len(by_key)} of {len(responses)} answers have the domain, question "
            "and sample of another; number the samples of each question"
        )
    own: defaultdict[Key, list[Example]] = defaultdict(list)
    for example in examples:
        key = example.domain, example.question_id, example.sample
        response = by_key.get(key)
        if response is None or tuple(example.token_ids.tolist()) != tuple(response.token_ids):
            raise HlensError(
                f"example of {example.question_id!r} (sample {example.sample}) is of no answer "
                "that was given, or of other tokens; give the answers that it was located in"
            )
        own[key].append(example)
    return own


def _readable(model: Model, responses: Sequence[Response]) -> list[int]:
    """Indices of the answers that the model has positions for; the log counts the others."""
    most = model.n_positions
    read = [i for i, one in enumerate(responses) if most is None or len(one.token_ids) <= most]
    if len(read) < len(responses):
        log.warning(
            "%d of %d answers are longer than the %d tokens that %s can read; they are not scored",
            len(responses) - len(read), len(responses), most, model.name,
        )  # fmt: skip
    return read


def _scored(
    answer: Response | Judgement,
    scores: Float[np.ndarray, " pos"] | None,
    examples: Sequence[Example],
    model: Model,
) -> ScoredAnswer:
    """An answer with its marks; `scores` is of its prompt, too, and None where it was not read."""
    response = _response_of(answer)
    question, first = response.question, len(response.token_ids)  # nothing follows: empty
    spans: list[MarkedSpan] = []
    if scores is not None:
        first = response.n_prompt + count_tokens(response, model.tokenizer)  # after its thought
        spans += [MarkedSpan(e.start - first, e.stop - first, e.hallucinated) for e in examples]
    ids = list(response.token_ids[first:])
    texts = [""] * len(ids) if model.tokenizer is None else token_texts(model.tokenizer, ids)
    return ScoredAnswer(
        question_id=question.id,
        domain=question.domain,
        group=question.group,
        tokens=tuple(texts),
        scores=np.zeros(0) if scores is None else scores[first:],
        spans=tuple(sorted(spans)),
        hallucinated=_label(answer, examples),
        sample=response.sample,
        question=question.text,
    )


def _label(answer: Response | Judgement, examples: Sequence[Example]) -> bool | None:
    """The judge's label; where there is none, whether a span is hallucinated."""
    if isinstance(answer, Judgement) and answer.verdict in LABELS:
        return LABELS[answer.verdict]
    return any(example.hallucinated for example in examples) if examples else None
