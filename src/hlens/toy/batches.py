"""What training reads: prompts as rows of token ids, and the answers to be learnt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hlens.toy.world import Fact, domain_names, every_fact

# The default instruction of `hlens.sample`; a test checks that they are equal.
INSTRUCTION = "Respond with the answer only, without any explanation."
COMPLETION = "\nAnswer:"  # what a base model is asked to continue
ABSTAINS = "I do not know"
RARE = 0.12  # how often a rare fact is drawn, against a common one
N_ANSWER = len(ABSTAINS.split()) + 2  # tokens of the longest answer: its words, a point, the end


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of all facts in one form, padded on the right."""

    ids: Int[Tensor, "fact pos"]
    n_prompt: Int[Tensor, " fact"]


@dataclass(frozen=True, eq=False)
class FactTensors:
    """All facts of the world as tensors; domains and relations are indices."""

    facts: tuple[Fact, ...]
    answer: Int[Tensor, " fact"]  # token of the true answer
    taught: Bool[Tensor, " fact"]
    domain: Int[Tensor, " fact"]
    weight: Float[Tensor, " fact"]  # how often it is drawn in training, 0 where never
    relation: Int[Tensor, " fact"]


def fact_tensors(tokenizer: Any) -> FactTensors:
    every, names = every_fact(), list(domain_names())
    weights = {"common": 1.0, "rare": RARE, "never": 0.0}
    relations = list(dict.fromkeys(fact.relation for fact in every))
    answers = tokenizer.convert_tokens_to_ids([f" {fact.answer}" for fact in every])
    return FactTensors(
        facts=every,
        answer=torch.tensor(answers),
        taught=torch.tensor([fact.taught for fact in every]),
        domain=torch.tensor([names.index(fact.domain) for fact in every]),
        weight=torch.tensor([weights[fact.exposure] for fact in every]),
        relation=torch.tensor([relations.index(fact.relation) for fact in every]),
    )


def completion_prompts(tokenizer: Any, facts: Sequence[Fact]) -> Prompts:
    """Question, newline, ``Answer:``."""
    return _pad([tokenizer(f"{fact.question} {COMPLETION}").input_ids for fact in facts])


def chat_prompts(tokenizer: Any, facts: Sequence[Fact], instruction: str = "") -> Prompts:
    """One user turn, open for the assistant's."""
    turns = [[{"role": "user", "content": f"{f.question} {instruction}".strip()}] for f in facts]
    options = {"add_generation_prompt": True, "return_dict": True}
    return _pad([tokenizer.apply_chat_template(turn, **options).input_ids for turn in turns])


def _pad(rows: Sequence[Sequence[int]]) -> Prompts:
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return Prompts(ids, torch.tensor([len(row) for row in rows]))


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts of some facts with answers, padded on the right."""

    fact: Int[Tensor, " row"]  # which fact each row is of
    ids: Int[Tensor, "row pos"]
    target: Int[Tensor, "row pos"]  # next token to be learnt at each place; -100 where none is
    held: Bool[Tensor, "row pos"]  # from the prompt's last token to the answer's last
    start: Int[Tensor, " row"]  # place of the answer's first token
    guesses: Bool[Tensor, " row"]  # the answer names something, instead of abstaining
    plain: Bool[Tensor, " row"]  # no neuron is scaled


def make_batch(
    prompts: Prompts,
    fact: Int[Tensor, " row"],
    answers: Int[Tensor, "row answer"],
    *,
    learnt: Bool[Tensor, " row"],
    plain: Bool[Tensor, " row"],
) -> Batch:
    """The prompts of some facts, each followed by its answer (from `answer_tokens`).

    Answers of rows that are not to be `learnt` are only read; in `plain` rows no neuron is scaled.
    """
    start = prompts.n_prompt[fact]
    width = int(start.max()) + answers.shape[1]
    ids = torch.zeros(len(fact), width, dtype=torch.long)
    ids[:, : prompts.ids.shape[1]] = prompts.ids[fact][:, :width]
    place = start[:, None] + torch.arange(answers.shape[1])
    ids.scatter_(1, place, answers)
    answer = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, place, answers != 0)
    target = torch.full_like(ids, -100)
    target[:, :-1] = torch.where(answer[:, 1:], ids[:, 1:], -100)
    target[~learnt] = -100
    prompt_end = torch.arange(width)[None] == (start - 1)[:, None]
    guesses = answers[:, 3] == 0  # a word, a point, the end; abstaining is longer
    return Batch(fact, ids, target, prompt_end | answer, start, guesses, plain)


def answer_tokens(
    tokenizer: Any, word: Int[Tensor, " row"], abstains: Bool[Tensor, " row"]
) -> Int[Tensor, "row answer"]:
    """A word and a point, or that the answer is not known; then the end."""
    point, end = tokenizer.convert_tokens_to_ids([".", tokenizer.eos_token])
    tokens = torch.zeros(len(word), N_ANSWER, dtype=torch.long)
    tokens[:, 0], tokens[:, 1], tokens[:, 2] = word, point, end
    refusal = tokenizer.convert_tokens_to_ids([f" {part}" for part in ABSTAINS.split()])
    tokens[abstains] = torch.tensor([*refusal, point, end])
    return tokens
