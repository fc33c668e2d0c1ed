"""gather: the evidence of all rivals, in one sampling pass and one forward pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from hlens.baselines._reading import in_one_pass, read
from hlens.baselines._sae import Sae
from hlens.baselines._samples import distinct_sequences, evidence_fields, other_samples
from hlens.baselines.p_true import probability_true
from hlens.contributions import Ask, measure
from hlens.contributions.checks import check_not_empty
from hlens.errors import HlensError
from hlens.model import Model, Settings
from hlens.prompts import Style, prompt_text
from hlens.types import Contributions, Evidence, Example, Response

Progress = Callable[[str, int, int], None]


def gather(
    model: Model,
    examples: Sequence[Example],
    responses: Sequence[Response],
    contributions: Contributions,
    *,
    samples: int = 4,
    seed: int = 0,
    settings: Settings | None = None,
    style: Style = "chat",
    ask: bool = True,
    lens: bool = True,
    sae: Sae | None = None,
    also: Mapping[str, Ask] | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """Read everything that the rivals look at.

    One sampling pass at most: a question's other samples in the study are used first, and only
    missing ones are drawn. One forward pass over the examples, in which samples go as far as the
    middle layer and a shared prompt is run once. And one short prompt an example for P(True),
    unless `ask` is off.

    Args:
        model: The model of the study.
        examples: The examples, in the order of the contributions.
        responses: All responses of the study.
        contributions: What was measured on the examples.
        samples: Other answers to each example's question; 0 leaves out the rivals that need them.
        seed: The study's seed; further samples continue where it ended.
        settings: The study's sampling settings, with its stop rule. At temperature 0 all samples
            are the same, so further ones are drawn at temperature 1.
        style: How the study put its questions (`hlens.sample`).
        ask: Whether the model is asked about its own answers.
        lens: Whether layers are read through the unembedding, which with a large vocabulary can
            take as long as the pass itself.
        sae: A sparse autoencoder of the model (`load_sae`), whose features are read.
        also: What else to measure on the examples, by a name: in the same pass unless it reads
            tokens before the answer or its metric depends on logits, else in a pass of its own.
        progress: Called with (step, done, in all).

    Raises:
        HlensError: Contributions of other examples, an example without its response, a region
            without tokens, or a sparse autoencoder of another shape than the model.
    """
    model.need_modules("what rivals read of a model's inside (hlens audit --quick asks for none)")
    if sae is not None:
        sae.check(model)
    own = _own_responses(examples, responses, contributions)
    also = dict(also or {})
    check_not_empty(list(also.values()), list(examples), drop_empty=False)
    report = progress or (lambda step, done, total: None)
    others = other_samples(
        model,
        own,
        responses,
        n=samples,
        seed=seed,
        settings=settings or Settings(),
        progress=partial(report, "sample"),
    )
    # One pass over examples and samples, and passes of their own for what that cannot measure.
    sequences, index = distinct_sequences(others)
    lookback = any(response.question.context for response in own)
    within = {name: extra for name, extra in also.items() if in_one_pass(extra, examples)}
    readings = read(
        model,
        examples,
        sequences,
        lookback=lookback,
        lens=lens,
        sae=sae,
        also=list(within.values()),
        progress=partial(report, "read"),
    )
    measured = dict(zip(within, readings.measured, strict=True))
    for name, extra in also.items():
        if name not in within:
            measured[name] = measure(
                model,
                examples,
                metric=extra.metric,
                region=extra.region,
                reduce=extra.reduce,
                position=extra.position,
                progress=partial(report, "measure"),
            )
    # What is read of texts: P(True), and the samples' answers.
    spans = [example.token_ids[example.start : example.stop].tolist() for example in examples]
    texts: dict[str, Any] = {
        "questions": tuple(prompt_text(replace(r.question, context=""), "") for r in own),
        "contexts": tuple(response.question.context for response in own),
        "answers": tuple(model.decode(span).strip() for span in spans),
        "responses": tuple(response.text for response in own),
    }
    why_not = _why_not(lookback=lookback, ask=ask, lens=lens, sae=sae, samples=samples)
    features = readings.sae_features
    if sae is not None and sae.explained(readings.residual_last[:, sae.layer]) <= 0:
        features = None
        why_not["sae_features"] = "the SAE gives back nothing of what varies in this model's layer"
    if ask:
        try:
            texts["p_true"] = probability_true(
                model,
                texts["questions"],
                texts["contexts"],
                texts["answers"],
                style=style,
                progress=partial(report, "ask"),
            )
        except HlensError as error:  # a tokenizer that begins "True" and "False" alike
            why_not["p_true"] = str(error)
    if samples:
        texts |= evidence_fields(others, readings.sample_states[index])
    return Evidence(
        contributions=contributions,
        n_prompt=torch.tensor([example.n_prompt for example in examples]),
        n_response=torch.tensor([len(r.token_ids) - r.n_prompt for r in own]),
        starts=torch.tensor([example.start for example in examples]),
        logprobs=readings.logprobs,
        entropies=readings.entropies,
        activations=readings.activations,
        residual=readings.residual,
        residual_last=readings.residual_last,
        lookback=readings.lookback,
        lens=readings.lens,
        sae_features=features,
        measured={name: measured[name] for name in also},
        why_not=why_not,
        **texts,
    )


def _own_responses(
    examples: Sequence[Example], responses: Sequence[Response], contributions: Contributions
) -> list[Response]:
    """The response of each example."""
    if [e.question_id for e in examples] != list(contributions.question_ids):
        raise HlensError(
            f"contributions of {len(contributions)} examples, and {len(examples)} examples that "
            "differ or come in another order; give the examples that were measured"
        )
    known = {(r.question.domain, r.question.id, r.sample): r for r in responses}
    own = []
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
        own.append(known[key])
    return own


def _why_not(
    *, lookback: bool, ask: bool, lens: bool, sae: Sae | None, samples: int
) -> dict[str, str]:
    unread = "the architecture returns no attention weights"
    why = {"lookback": unread if lookback else "no question has a context to look back on"}
    if not ask:
        why["p_true"] = "the model was not asked about its answers"
    if not lens:
        why["lens"] = "layers were not read through the unembedding"
    if sae is None:
        why["sae_features"] = "no SAE was named ([audit] sae in the recipe)"
    if samples == 0:
        none = "no further samples were drawn"
        why |= dict.fromkeys(("samples", "sample_logprobs", "sample_states"), none)
    return why
