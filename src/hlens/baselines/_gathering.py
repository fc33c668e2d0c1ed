"""gather: the evidence of all rivals, in one sampling pass and one forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hlens.baselines._asking import asked_true
from hlens.baselines._pass import read
from hlens.errors import HlensError
from hlens.judges._answer import answer_span
from hlens.model import Model, Settings
from hlens.sampling import more
from hlens.types import Contributions, Evidence, Example, Response

Progress = Callable[[str, int, int], None]
Key = tuple[str, str]
N_SAMPLES = 4


def gather(
    model: Model,
    examples: Sequence[Example],
    responses: Sequence[Response],
    contributions: Contributions,
    *,
    samples: int = N_SAMPLES,
    seed: int = 0,
    settings: Settings | None = None,
    ask: bool = True,
    progress: Progress | None = None,
) -> Evidence:
    """Read everything that the rivals look at.

    One sampling pass at most: a question's other samples in the study serve first, and only what
    lacks is drawn. One forward pass over examples and samples, the prompt that they share run once.
    And one short prompt an example for P(True), unless it is not asked.

    Args:
        model: The model of the study.
        examples: The examples, in the order of the contributions.
        responses: All responses of the study.
        contributions: What was measured on the examples.
        samples: Other answers to each example's question; 0 leaves out the rivals that need them.
        seed: The study's seed; further samples continue where it ended.
        settings: The study's sampling settings. At temperature 0 all samples are one, so that
            further ones are drawn at temperature 1.
        ask: Whether the model is asked about its own answers.
        progress: Called with (step, done, in all).

    Raises:
        HlensError: Contributions of other examples, or an example without its response.
    """
    own = _own(examples, responses, contributions)
    tell = _told(progress)
    others = _others(model, own, responses, samples, seed, settings or Settings(), tell)
    sequences, place = _distinct(others)
    lookback = any(response.question.context for response in own)
    found = read(model, examples, sequences, lookback, lambda *at: tell("read", *at))
    answers = tuple(model.decode(e.token_ids[e.start : e.stop].tolist()).strip() for e in examples)
    questions = tuple(response.question.text for response in own)
    contexts = tuple(response.question.context for response in own)
    p_true = None
    if ask:
        p_true = asked_true(model, questions, contexts, answers, lambda *at: tell("ask", *at))
    return Evidence(
        contributions=contributions,
        questions=questions,
        contexts=contexts,
        answers=answers,
        responses=tuple(response.text for response in own),
        n_prompt=torch.tensor([example.n_prompt for example in examples]),
        n_response=torch.tensor([len(r.token_ids) - r.n_prompt for r in own]),
        starts=torch.tensor([example.start for example in examples]),
        logprobs=found.logprobs,
        entropies=found.entropies,
        activations=found.activations,
        residual=found.residual,
        residual_last=found.residual_last,
        lookback=found.lookback,
        p_true=p_true,
        why_not=_why_not(lookback, ask, samples),
        **(_sample_fields(others, found.sample_states[place]) if samples else {}),
    )


def _own(
    examples: Sequence[Example], responses: Sequence[Response], contributions: Contributions
) -> list[Response]:
    """The response of each example."""
    if [e.question_id for e in examples] != list(contributions.question_ids):
        raise HlensError(
            f"{len(examples)} examples and contributions of {len(contributions)}, or in another "
            "order; give the examples that the contributions were measured on"
        )
    known = {(r.question.domain, r.question.id, r.sample): r for r in responses}
    found = []
    for example in examples:
        key = (example.domain, example.question_id, example.sample)
        if key not in known:
            raise HlensError(
                f"no response to question {example.question_id!r}, sample {example.sample}; give "
                "all responses that the examples were located in"
            )
        if example.start < 1:
            raise HlensError(
                f"example {example.question_id!r} begins at the first token, which nothing "
                "predicts; give examples with a prompt"
            )
        found.append(known[key])
    return found


def _others(
    model: Model,
    own: Sequence[Response],
    responses: Sequence[Response],
    n: int,
    seed: int,
    settings: Settings,
    tell: Progress,
) -> list[list[Response]]:
    """For each example, n other samples of its question."""
    asked = {_key(response) for response in own}
    pool = [response for response in responses if _key(response) in asked]
    if n == 0:
        return [[] for _ in own]
    if settings.temperature == 0:
        settings = replace(settings, temperature=1.0)
        pool = [response for response in pool if response.sample == 0]
    drawn = more(
        model, pool, n + 1, seed=seed, settings=settings, progress=lambda *at: tell("sample", *at)
    )
    by_question: dict[Key, list[Response]] = {}
    for response in sorted([*pool, *drawn], key=lambda response: response.sample):
        by_question.setdefault(_key(response), []).append(response)
    return [[r for r in by_question[_key(mine)] if r.sample != mine.sample][:n] for mine in own]


def _key(response: Response) -> Key:
    return response.question.domain, response.question.id


def _distinct(others: Sequence[Sequence[Response]]) -> tuple[list[Example], Tensor]:
    """Each different sample once, as a sequence to run; and where each stands among them."""
    number: dict[tuple[int, ...], int] = {}
    sequences: list[Example] = []
    for response in (response for row in others for response in row):
        if response.token_ids not in number:
            number[response.token_ids] = len(sequences)
            sequences.append(_sequence(response))
    place = [[number[response.token_ids] for response in row] for row in others]
    return sequences, torch.tensor(place, dtype=torch.long)


def _sequence(response: Response) -> Example:
    """A sample as a sequence whose last token is read: that of the prompt where it is empty."""
    tokens = torch.tensor(response.token_ids)
    start = min(response.n_prompt, len(tokens) - 1)
    question = response.question
    return Example(
        tokens, response.n_prompt, start, len(tokens), False, question.id, question.group,
        question.domain, response.sample,
    )  # fmt: skip


def _sample_fields(others: Sequence[Sequence[Response]], states: Tensor) -> dict[str, Any]:
    return {
        "samples": tuple(tuple(_answer(response) for response in row) for row in others),
        "sample_logprobs": tuple(tuple(sum(r.logprobs) for r in row) for row in others),
        "sample_states": states,
    }


def _answer(response: Response) -> str:
    """The answer within a sample, by the rule that found it in the examples."""
    span = answer_span(response.text, response.question.text)
    return response.text[slice(*span)] if span else response.text.strip()


def _why_not(lookback: bool, ask: bool, samples: int) -> dict[str, str]:
    unheard = "the architecture hands out no attention weights"
    why = {"lookback": unheard if lookback else "no question has a context to look back on"}
    if not ask:
        why["p_true"] = "the model was not asked about its answers"
    if samples == 0:
        none = "no further samples were drawn"
        why |= dict.fromkeys(("samples", "sample_logprobs", "sample_states"), none)
    return why


def _told(progress: Progress | None) -> Progress:
    return progress or (lambda step, done, total: None)
