"""What an edit costs: perplexity, distance from the unedited model, multiple-choice accuracy.

Length and refusals are counted on every reply of the behaviours and need no measure of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from jaxtyping import Float
from torch import Tensor

from hlens import behaviours
from hlens.domains import draw_groups
from hlens.model import (
    Continuations,
    Model,
    continuation_logprobs,
    reading_as,
    stepwise_logprobs,
)
from hlens.types import Question

LABELS = {
    "perplexity": "Perplexity on plain text (lower is better)",
    "kl": "KL to the unedited model (nats a token)",
    "multiple_choice": "Multiple-choice accuracy",
}
CAPABILITY_MEASURES = tuple(LABELS)


def labels() -> dict[str, str]:
    """What figures call the rate of every behaviour and capability.

    >>> labels()["kl"]
    'KL to the unedited model (nats a token)'
    """
    return behaviours.labels() | LABELS


@dataclass(frozen=True)
class CapabilityScore:
    """One number of one text or question, a mean over `n_tokens` tokens.

    ``perplexity`` and ``kl`` are in nats a token; ``multiple_choice`` is 1 where the right option
    is the likeliest.
    """

    measure: str
    question_id: str
    group: str
    value: float
    n_tokens: int


class CapabilityTest:
    """Measures a model against what it was when this test was made.

    The predictions of the unedited model on `n_texts` plain texts are kept for comparison. Beside
    them `n_choice` multiple-choice questions are asked. Both are from the shipped banks; 0 is none.
    With `stepwise`, texts and options are read a token at a time, as the model writes: an edit
    behind a gate needs that. The first token of a text is then its prompt.
    """

    def __init__(
        self,
        model: Model,
        *,
        n_choice: int = 60,
        n_texts: int = 12,
        seed: int = 0,
        stepwise: bool = False,
    ) -> None:
        model.need_modules("capability (intervene.capability = false leaves it out)")
        self.model, self.stepwise = model, stepwise
        self.texts = _sample_bank("plain_text", n_texts, seed)
        self.questions = _sample_bank("multiple_choice", n_choice, seed)
        self.ids = [model.encode(text.text, chat=False) for text in self.texts]
        self.unedited = self._text_logprobs()

    def __call__(self) -> list[CapabilityScore]:
        """All scores of the model as it is now, edits included."""
        return [*self._text_scores(), *self._choice_scores()]

    def _text_logprobs(self) -> list[Float[Tensor, "pos vocab"]]:
        """Log-probabilities of the next token at every place of every text."""
        if self.stepwise:
            return stepwise_logprobs(self.model, self.ids) if self.ids else []
        logprobs = []
        for ids in self.ids:
            with reading_as(self.model, len(ids) - 1):
                logits = self.model.hf(torch.tensor([ids], device=self.model.device)).logits[0]
            logprobs.append(torch.log_softmax(logits[:-1].float(), dim=-1))
        return logprobs

    def _text_scores(self) -> list[CapabilityScore]:
        scores = []
        read = zip(self.texts, self.ids, self.unedited, self._text_logprobs(), strict=True)
        for text, ids, before, after in read:
            target = torch.tensor(ids[1:], device=after.device)[:, None]
            nll = -float(after.gather(1, target).mean())
            # KL(unedited || edited), averaged over places; rounding may leave it just below zero.
            kl = max(0.0, float((before.exp() * (before - after)).sum(-1).mean()))
            n = len(ids) - 1
            scores.append(CapabilityScore("perplexity", text.id, text.group, nll, n))
            scores.append(CapabilityScore("kl", text.id, text.group, kl, n))
        return scores

    def _choice_scores(self) -> list[CapabilityScore]:
        picked = likeliest_options(self.model, self.questions, stepwise=self.stepwise)
        return [
            CapabilityScore("multiple_choice", q.id, q.group, float(i == q.meta["answer_index"]), 1)
            for q, i in zip(self.questions, picked, strict=True)
        ]


def likeliest_options(
    model: Model, questions: Sequence[Question], *, stepwise: bool = False
) -> list[int]:
    """Index of the option that the model finds likeliest as a plain continuation, a question each.

    The log-probability of the option's tokens is summed; options are not normalised by length.
    With `stepwise` they are read a token at a time.
    """
    tokens = [_tokenise_options(model, question) for question in questions]
    read = continuation_logprobs(model, tokens, stepwise=stepwise)
    return [int(row.argmax()) for row in read]


def _tokenise_options(model: Model, question: Question) -> Continuations:
    head = f"Question: {question.text}\nAnswer:"
    start = len(model.encode(head, chat=False))
    rows = [model.encode(f"{head} {text}", chat=False) for text in question.choices]
    alike = (len(set(column)) == 1 for column in zip(*(row[:start] for row in rows), strict=True))
    return Continuations(rows, sum(1 for _ in takewhile(bool, alike)), start)


def _sample_bank(name: str, n: int, seed: int) -> list[Question]:
    return draw_groups(behaviours.load_bank(name), n, seed=seed) if n else []
