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

from hlens import behaviours
from hlens.domains import draw_groups
from hlens.model import Model
from hlens.types import Question

ROWS = 64  # sequences at a time
LABELS = {
    "perplexity": "Perplexity on plain text (lower is better)",
    "kl": "KL to the unedited model (nats a token)",
    "multiple_choice": "Multiple-choice accuracy",
}


def labels() -> dict[str, str]:
    """Every behaviour and capability in words, for figures.

    >>> labels()["kl"]
    'KL to the unedited model (nats a token)'
    """
    return behaviours.labels() | LABELS


@dataclass(frozen=True)
class Score:
    """One number of one text or question.

    Attributes:
        measure: ``"perplexity"`` (its value is nats a token), ``"kl"`` (nats a token) or
            ``"multiple_choice"`` (1 where the right option is the likeliest).
        question_id: Id of the text or question.
        group: Its group.
        value: The number.
        n_tokens: Tokens that it is a mean over.
    """

    measure: str
    question_id: str
    group: str
    value: float
    n_tokens: int


class Capability:
    """Measures a model beside what it was when it was first measured.

    Args:
        model: The model, unedited: its predictions on the texts are kept for comparison.
        n_choice: Multiple-choice questions to ask, out of the shipped bank; 0 leaves them out.
        n_texts: Plain texts to read, out of the shipped ones.
        seed: Seed of the draw.
    """

    def __init__(self, model: Model, n_choice: int = 60, n_texts: int = 12, seed: int = 0) -> None:
        self.model = model
        self.texts = _drawn("plain_text", n_texts, seed)
        self.questions = _drawn("multiple_choice", n_choice, seed)
        self.ids = [model.encode(text.text, chat=False) for text in self.texts]
        self.unedited = self._read()

    def __call__(self) -> list[Score]:
        """All scores of the model as it is now, edits included."""
        return [*self._text_scores(), *self._choice_scores()]

    def _read(self) -> list[Float[Tensor, "pos vocab"]]:
        """Log-probabilities of the next token at every place of every text."""
        found = []
        for ids in self.ids:
            with torch.inference_mode(), _reading_at(self.model, len(ids) - 1):
                logits = self.model.hf(torch.tensor([ids], device=self.model.device)).logits[0]
            found.append(torch.log_softmax(logits[:-1].float(), dim=-1))
        return found

    def _text_scores(self) -> list[Score]:
        found = []
        now = self._read()
        for text, ids, before, after in zip(self.texts, self.ids, self.unedited, now, strict=True):
            target = torch.tensor(ids[1:], device=after.device)[:, None]
            nll = -float(after.gather(1, target).mean())
            # KL(unedited || edited), averaged over places; rounding may leave it just below zero.
            kl = max(0.0, float((before.exp() * (before - after)).sum(-1).mean()))
            n = len(ids) - 1
            found.append(Score("perplexity", text.id, text.group, nll, n))
            found.append(Score("kl", text.id, text.group, kl, n))
        return found

    def _choice_scores(self) -> list[Score]:
        picked = pick(self.model, self.questions)
        return [
            Score("multiple_choice", q.id, q.group, float(at == q.meta["answer_index"]), 1)
            for q, at in zip(self.questions, picked, strict=True)
        ]


def pick(model: Model, questions: Sequence[Question]) -> list[int]:
    """The option of each question that the model finds likeliest, as a plain continuation.

    The log-probability of the option's tokens is summed; options are not normalised by length.
    """
    asked = [_options(model, question) for question in questions]
    # Questions of as many options, of like length, are read together.
    order = sorted(range(len(asked)), key=lambda i: (len(asked[i].rows), asked[i].shared))
    found: dict[int, int] = {}
    for _, same in groupby(order, key=lambda i: len(asked[i].rows)):
        members = list(same)
        for begin in range(0, len(members), ROWS // 4):
            batch = members[begin : begin + ROWS // 4]
            scores = _continuations(model, [asked[i] for i in batch])
            found |= {i: int(row.argmax()) for i, row in zip(batch, scores, strict=True)}
    return [found[i] for i in range(len(questions))]


@dataclass(frozen=True)
class _Options:
    """The options of a question as token ids: the first `shared` are alike in all.

    Attributes:
        rows: The question with each of its options.
        shared: How many tokens all begin with, up to where the options stand.
        start: Where the options stand.
    """

    rows: list[list[int]]
    shared: int
    start: int


def _options(model: Model, question: Question) -> _Options:
    head = f"Question: {question.text}\nAnswer:"
    start = len(model.encode(head, chat=False))
    rows = [model.encode(f"{head} {text}", chat=False) for text in question.choices]
    alike = (len(set(column)) == 1 for column in zip(*(row[:start] for row in rows), strict=True))
    return _Options(rows, sum(1 for _ in takewhile(bool, alike)), start)


def _continuations(model: Model, asked: Sequence[_Options]) -> Float[Tensor, "question option"]:
    """Log-probability of every option; each question is read once for all of its options."""
    n = len(asked[0].rows)
    heads, seen = _padded([one.rows[0][: one.shared] for one in asked], model, left=True)
    rests, real = _padded([row[one.shared :] for one in asked for row in one.rows], model)
    with torch.inference_mode(), _reading_at(model, -1):
        out = _forward(model, heads, seen, None, last=True)
    first = torch.log_softmax(out.logits[:, -1:].float(), dim=-1).repeat_interleave(n, 0)
    out.past_key_values.batch_repeat_interleave(n)
    mask = torch.cat([seen.repeat_interleave(n, 0), real], dim=1)
    with torch.inference_mode(), _reading_at(model, rests.shape[1] - 1):
        out = _forward(model, rests, mask, out.past_key_values)
    logprobs = torch.cat([first, torch.log_softmax(out.logits[:, :-1].float(), dim=-1)], dim=1)
    own = logprobs.gather(2, rests[..., None])[..., 0]
    skipped = torch.tensor([one.start - one.shared for one in asked]).repeat_interleave(n)
    counted = (torch.arange(rests.shape[1]) >= skipped[:, None]).to(own.device) & real.bool()
    return (own * counted).sum(dim=1).reshape(len(asked), n)


def _forward(model: Model, ids: Tensor, mask: Tensor, past: Any, last: bool = False) -> Any:
    """A pass of the model; with `last`, only the last column need be unembedded."""
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


def _padded(
    rows: Sequence[list[int]], model: Model, left: bool = False
) -> tuple[Int[Tensor, "row pos"], Int[Tensor, "row pos"]]:
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), model.pad_id)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for row, tokens in enumerate(rows):
        at = slice(width - len(tokens), width) if left else slice(0, len(tokens))
        ids[row, at] = torch.tensor(tokens)
        mask[row, at] = 1
    return ids.to(model.device), mask.to(model.device)


@contextmanager
def _reading_at(model: Model, generated: int) -> Iterator[None]:
    """Texts and options count as generated, questions as prompt, for edits that tell them apart."""
    model.clock.generated = generated
    try:
        yield
    finally:
        model.clock.generated = None


def _drawn(name: str, n: int, seed: int) -> list[Question]:
    return draw_groups(behaviours.bank(name), n, seed=seed) if n else []
