"""What training reads: prompts as rows of token ids, and the answers that they call for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hlens.toy.world import Fact, domain_names, facts

# The default instruction of `hlens.sample`; tests hold the two together.
INSTRUCTION = "Respond with the answer only, without any explanation."
COMPLETION = "\nAnswer:"  # what a base model is asked to continue
ABSTAINS = "I do not know"
RARE = 0.12  # how often a rare fact is told, against a common one
MOST = max(
    3, len(ABSTAINS.split()) + 2
)  # tokens of the longest answer: its words, a point, the end


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of all facts in one form, padded on the right.

    Attributes:
        ids: Token ids.
        n_prompt: Length of each prompt.
    """

    ids: Int[Tensor, "fact pos"]
    n_prompt: Int[Tensor, " fact"]


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of each fact.

    Attributes:
        facts: The facts.
        answer: Token of the true answer.
        taught: Whether training tells it.
        domain: Index of its domain.
        weight: How often training tells it (0 where never).
        relation: Index of its relation.
    """

    facts: tuple[Fact, ...]
    answer: Int[Tensor, " fact"]
    taught: Bool[Tensor, " fact"]
    domain: Int[Tensor, " fact"]
    weight: Float[Tensor, " fact"]
    relation: Int[Tensor, " fact"]


def truth(tokenizer: Any) -> Truth:
    """All facts of the world as tensors."""
    every = tuple(fact for name in domain_names() for fact in facts(name))
    weights = {"common": 1.0, "rare": RARE, "never": 0.0}
    names, relations = list(domain_names()), list(dict.fromkeys(fact.relation for fact in every))
    answers = tokenizer.convert_tokens_to_ids([f" {fact.answer}" for fact in every])
    return Truth(
        every,
        torch.tensor(answers),
        torch.tensor([fact.taught for fact in every]),
        torch.tensor([names.index(fact.domain) for fact in every]),
        torch.tensor([weights[fact.exposure] for fact in every]),
        torch.tensor([relations.index(fact.relation) for fact in every]),
    )


def completions(tokenizer: Any, every: Sequence[Fact]) -> Prompts:
    """Question, newline, ``Answer:``."""
    return _padded([tokenizer(f"{fact.question} {COMPLETION}").input_ids for fact in every])


def chats(tokenizer: Any, every: Sequence[Fact], instruction: str = "") -> Prompts:
    """One user turn, open for the assistant's."""
    turns = [[{"role": "user", "content": f"{f.question} {instruction}".strip()}] for f in every]
    how = {"add_generation_prompt": True, "return_dict": True}
    return _padded([tokenizer.apply_chat_template(turn, **how).input_ids for turn in turns])


def _padded(rows: Sequence[Sequence[int]]) -> Prompts:
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
    return Prompts(ids, torch.tensor([len(row) for row in rows]))


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts with answers.

    Attributes:
        ids: Prompt, answer, padding.
        target: Next token to be learnt at each place; -100 where nothing is.
        heard: Places where planted neurons are held: from the prompt's last token to the
            answer's last.
        word: Place of the answer's first token.
        told: Rows that name an answer, instead of abstaining.
        plain: Rows in which no neuron is scaled.
    """

    ids: Int[Tensor, "row pos"]
    target: Int[Tensor, "row pos"]
    heard: Bool[Tensor, "row pos"]
    word: Int[Tensor, " row"]
    told: Bool[Tensor, " row"]
    plain: Bool[Tensor, " row"]


def answered(
    prompts: Prompts,
    rows: Int[Tensor, " row"],
    answers: Int[Tensor, "row most"],
    learnt: Bool[Tensor, " row"],
    plain: Bool[Tensor, " row"],
) -> Batch:
    """The prompts of some facts, each with an answer behind it.

    Args:
        prompts: Prompts of all facts.
        rows: Which facts.
        answers: Their answers, from `spoken`.
        learnt: Rows whose answers are to be learnt; the others are only read.
        plain: Rows in which no neuron is scaled.
    """
    start = prompts.n_prompt[rows]
    width = int(start.max()) + answers.shape[1]
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    ids[:, : prompts.ids.shape[1]] = prompts.ids[rows][:, :width]
    place = start[:, None] + torch.arange(answers.shape[1])
    ids.scatter_(1, place, answers)
    said = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, place, answers != 0)
    target = torch.full_like(ids, -100)
    target[:, :-1] = torch.where(said[:, 1:], ids[:, 1:], -100)
    target[~learnt] = -100
    last = torch.arange(width)[None] == (start - 1)[:, None]
    told = answers[:, 3] == 0  # a word, a point, the end
    return Batch(ids, target, last | said, start, told, plain)


def spoken(
    tokenizer: Any, word: Int[Tensor, " row"], abstains: Bool[Tensor, " row"]
) -> Int[Tensor, "row most"]:
    """What is said: a word and a point, or that the answer is not known; then the end."""
    point, end = tokenizer.convert_tokens_to_ids([".", tokenizer.eos_token])
    out = torch.zeros(len(word), MOST, dtype=torch.long)
    out[:, 0], out[:, 1], out[:, 2] = word, point, end
    refusal = tokenizer.convert_tokens_to_ids([f" {part}" for part in ABSTAINS.split()])
    out[abstains] = torch.tensor([*refusal, point, end])
    return out
