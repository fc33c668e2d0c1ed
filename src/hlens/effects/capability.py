"""What an edit costs: perplexity, distance from the unedited model, multiple-choice accuracy.

Length and refusals are counted on every reply of the behaviours and need no measure of their own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from itertools import groupby, takewhile
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hlens import behaviours
from hlens.domains import draw_groups
from hlens.model import Model
from hlens.types import Question

BATCH = 64  # sequences at a time
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
    """

    def __init__(
        self, model: Model, *, n_choice: int = 60, n_texts: int = 12, seed: int = 0
    ) -> None:
        self.model = model
        self.texts = _sample_bank("plain_text", n_texts, seed)
        self.questions = _sample_bank("multiple_choice", n_choice, seed)
        self.ids = [model.encode(text.text, chat=False) for text in self.texts]
        self.unedited = self._text_logprobs()

    def __call__(self) -> list[CapabilityScore]:
        """All scores of the model as it is now, edits included."""
        return [*self._text_scores(), *self._choice_scores()]

    def _text_logprobs(self) -> list[Float[Tensor, "pos vocab"]]:
        """Log-probabilities of the next token at every place of every text."""
        logprobs = []
        for ids in self.ids:
            with _reading(self.model, len(ids) - 1):
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
        picked = likeliest_options(self.model, self.questions)
        return [
            CapabilityScore("multiple_choice", q.id, q.group, float(i == q.meta["answer_index"]), 1)
            for q, i in zip(self.questions, picked, strict=True)
        ]


def likeliest_options(model: Model, questions: Sequence[Question]) -> list[int]:
    """Index of the option that the model finds likeliest as a plain continuation, a question each.

    The log-probability of the option's tokens is summed; options are not normalised by length.
    """
    tokens = [_tokenise_options(model, question) for question in questions]
    # A batch holds questions of as many options and of like length.
    order = sorted(range(len(tokens)), key=lambda i: (len(tokens[i].rows), tokens[i].shared))
    picked: dict[int, int] = {}
    for _, same in groupby(order, key=lambda i: len(tokens[i].rows)):
        members = list(same)
        for begin in range(0, len(members), BATCH // 4):
            batch = members[begin : begin + BATCH // 4]
            logprobs = _option_logprobs(model, [tokens[i] for i in batch])
            picked |= {i: int(row.argmax()) for i, row in zip(batch, logprobs, strict=True)}
    return [picked[i] for i in range(len(questions))]


@dataclass(frozen=True)
class _Options:
    """The options of a question as token ids."""

    rows: list[list[int]]  # the question with each of its options
    shared: int  # tokens that all rows begin with, up to where the options begin
    start: int  # where the options begin


def _tokenise_options(model: Model, question: Question) -> _Options:
    head = f"Question: {question.text}\nAnswer:"
    start = len(model.encode(head, chat=False))
    rows = [model.encode(f"{head} {text}", chat=False) for text in question.choices]
    alike = (len(set(column)) == 1 for column in zip(*(row[:start] for row in rows), strict=True))
    return _Options(rows, sum(1 for _ in takewhile(bool, alike)), start)


def _option_logprobs(
    model: Model, questions: Sequence[_Options]
) -> Float[Tensor, "question option"]:
    """Log-probability of every option; each question is read once for all of its options."""
    n = len(questions[0].rows)
    # First the shared beginnings, whose cache is then repeated for each option.
    heads, seen = _pad(model, [q.rows[0][: q.shared] for q in questions], side="left")
    rests, real = _pad(model, [row[q.shared :] for q in questions for row in q.rows], side="right")
    with _reading(model, -1):
        out = _forward(model, heads, mask=seen, last=True)
    first = out.logits[:, -1:].float().log_softmax(-1).repeat_interleave(n, 0)
    out.past_key_values.batch_repeat_interleave(n)
    mask = torch.cat([seen.repeat_interleave(n, 0), real], dim=1)
    with _reading(model, rests.shape[1] - 1):
        out = _forward(model, rests, mask=mask, past=out.past_key_values)
    logprobs = torch.cat([first, out.logits[:, :-1].float().log_softmax(-1)], dim=1)
    own = logprobs.gather(2, rests[..., None])[..., 0]
    skipped = torch.tensor([q.start - q.shared for q in questions]).repeat_interleave(n)
    counted = (torch.arange(rests.shape[1]) >= skipped[:, None]).to(own.device) & real.bool()
    return (own * counted).sum(dim=1).reshape(len(questions), n)


def _forward(
    model: Model, ids: Tensor, *, mask: Tensor, past: Any = None, last: bool = False
) -> Any:
    """A pass of the model; with `last`, only the last column needs logits."""
    takes_last = "logits_to_keep" in signature(model.hf.forward).parameters
    positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, -ids.shape[1] :]
    return model.hf(
        input_ids=ids,
        attention_mask=mask,
        past_key_values=past,
        use_cache=True,
        **model.position_kwargs(positions),
        **({"logits_to_keep": 1} if last and takes_last else {}),
    )


def _pad(
    model: Model, rows: Sequence[list[int]], *, side: str
) -> tuple[Int[Tensor, "row pos"], Int[Tensor, "row pos"]]:
    """Token ids padded on one side, and a mask that is 1 at tokens."""
    ids = [torch.tensor(row, dtype=torch.long, device=model.device) for row in rows]
    mask = pad_sequence([torch.ones_like(row) for row in ids], True, padding_side=side)
    return pad_sequence(ids, True, model.pad_id, padding_side=side), mask


@contextmanager
def _reading(model: Model, last: int) -> Iterator[None]:
    """Read the last column as token `last` of a reply, -1 as prompt: some edits act on one only."""
    model.clock.generated = last
    try:
        with torch.inference_mode():
            yield
    finally:
        model.clock.generated = None


def _sample_bank(name: str, n: int, seed: int) -> list[Question]:
    return draw_groups(behaviours.load_bank(name), n, seed=seed) if n else []
