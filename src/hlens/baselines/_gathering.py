"""gather: the evidence of all rivals, in one sampling pass and one forward pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from hlens.baselines._asking import asked_true
from hlens.baselines._pass import in_one_pass, read
from hlens.baselines._samples import Sampling, distinct, fields
from hlens.contributions import Ask, measure
from hlens.contributions.regions import check_not_empty
from hlens.errors import HlensError
from hlens.model import Model, Settings
from hlens.prompts import prompt_text
from hlens.types import Contributions, Evidence, Example, Response

Progress = Callable[[str, int, int], None]
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
    completion: bool = False,
    ask: bool = True,
    also: Mapping[str, Ask] | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """Read everything that the rivals look at.

    One sampling pass at most: a question's other samples in the study serve first, and only what
    lacks is drawn. One forward pass over the examples, in which samples go as far as the middle
    layer and a shared prompt is run once. And one short prompt an example for P(True), unless it is
    not asked.

    Args:
        model: The model of the study.
        examples: The examples, in the order of the contributions.
        responses: All responses of the study.
        contributions: What was measured on the examples.
        samples: Other answers to each example's question; 0 leaves out the rivals that need them.
        seed: The study's seed; further samples continue where it ended.
        settings: The study's sampling settings. At temperature 0 all samples are one, so that
            further ones are drawn at temperature 1.
        completion: Whether the study put its questions as text to be continued.
        ask: Whether the model is asked about its own answers.
        also: What else to measure on the examples, by a name: in the same pass where no token
            before the answer is asked and the metric does not look at logits, else in a pass of
            its own.
        progress: Called with (step, done, in all).

    Raises:
        HlensError: Contributions of other examples, an example without its response, or a region
            without tokens.
    """
    own = _own(examples, responses, contributions)
    also = dict(also or {})
    check_not_empty(list(also.values()), list(examples), drop_empty=False)
    tell = progress or (lambda step, done, total: None)
    sampling = Sampling(samples, seed, settings or Settings(), completion)
    others = sampling.others(model, own, responses, partial(tell, "sample"))
    sequences, place = distinct(others)
    lookback = any(response.question.context for response in own)
    beside = {name: asked for name, asked in also.items() if in_one_pass(asked, examples)}
    asks = list(beside.values())
    found = read(model, examples, sequences, lookback, asks, partial(tell, "read"))
    measured = dict(zip(beside, found.measured, strict=True))
    rest = {name: asked for name, asked in also.items() if name not in beside}
    measured |= _apart(model, examples, rest, partial(tell, "measure"))
    texts = _texts(model, examples, own)
    if ask:
        asked = (texts["questions"], texts["contexts"], texts["answers"], completion)
        texts["p_true"] = asked_true(model, *asked, partial(tell, "ask"))
    if samples:
        texts |= fields(others, found.sample_states[place])
    return Evidence(
        contributions=contributions,
        n_prompt=torch.tensor([example.n_prompt for example in examples]),
        n_response=torch.tensor([len(r.token_ids) - r.n_prompt for r in own]),
        starts=torch.tensor([example.start for example in examples]),
        logprobs=found.logprobs,
        entropies=found.entropies,
        activations=found.activations,
        residual=found.residual,
        residual_last=found.residual_last,
        lookback=found.lookback,
        measured={name: measured[name] for name in also},
        why_not=_why_not(lookback, ask, samples),
        **texts,
    )


def _texts(model: Model, examples: Sequence[Example], own: Sequence[Response]) -> dict[str, Any]:
    """What was asked and said, as `Evidence` names it."""
    spans = [example.token_ids[example.start : example.stop].tolist() for example in examples]
    return {
        "questions": tuple(prompt_text(replace(r.question, context=""), "") for r in own),
        "contexts": tuple(response.question.context for response in own),
        "answers": tuple(model.decode(span).strip() for span in spans),
        "responses": tuple(response.text for response in own),
    }


def _apart(
    model: Model,
    examples: Sequence[Example],
    asks: Mapping[str, Ask],
    progress: Callable[[int, int], None],
) -> dict[str, Contributions]:
    """What the shared pass cannot serve, each in a pass of its own."""
    hows = {name: (a.metric, a.region, a.reduce, a.position) for name, a in asks.items()}
    return {name: measure(model, examples, *how, progress=progress) for name, how in hows.items()}


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


def _why_not(lookback: bool, ask: bool, samples: int) -> dict[str, str]:
    unheard = "the architecture hands out no attention weights"
    why = {"lookback": unheard if lookback else "no question has a context to look back on"}
    if not ask:
        why["p_true"] = "the model was not asked about its answers"
    if samples == 0:
        none = "no further samples were drawn"
        why |= dict.fromkeys(("samples", "sample_logprobs", "sample_states"), none)
    return why
