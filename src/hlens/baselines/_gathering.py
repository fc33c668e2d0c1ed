"""gather: the evidence of all rivals, in one sampling pass and one forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from hlens.baselines._asking import asked_true
from hlens.baselines._pass import read
from hlens.baselines._samples import Sampling, distinct, fields
from hlens.errors import HlensError
from hlens.model import Model, Settings
from hlens.sampling import prompt_text
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
        completion: Whether the study put its questions as text to be continued.
        ask: Whether the model is asked about its own answers.
        progress: Called with (step, done, in all).

    Raises:
        HlensError: Contributions of other examples, or an example without its response.
    """
    own = _own(examples, responses, contributions)
    tell = progress or (lambda step, done, total: None)
    sampling = Sampling(samples, seed, settings or Settings(), completion)
    others = sampling.others(model, own, responses, lambda *at: tell("sample", *at))
    sequences, place = distinct(others)
    lookback = any(response.question.context for response in own)
    found = read(model, examples, sequences, lookback, lambda *at: tell("read", *at))
    answers = tuple(model.decode(e.token_ids[e.start : e.stop].tolist()).strip() for e in examples)
    questions = tuple(prompt_text(replace(r.question, context=""), "") for r in own)
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
        **(fields(others, found.sample_states[place]) if samples else {}),
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


def _why_not(lookback: bool, ask: bool, samples: int) -> dict[str, str]:
    unheard = "the architecture hands out no attention weights"
    why = {"lookback": unheard if lookback else "no question has a context to look back on"}
    if not ask:
        why["p_true"] = "the model was not asked about its answers"
    if samples == 0:
        none = "no further samples were drawn"
        why |= dict.fromkeys(("samples", "sample_logprobs", "sample_states"), none)
    return why
