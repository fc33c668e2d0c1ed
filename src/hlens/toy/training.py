"""train: the toy model from random weights, a base stage and an instruct stage over it.

The base stage tells the taught facts as completions. The instruct stage goes on from there in chat
form: taught facts are answered right, and where the model was never taught it guesses as the base
model would, or says that it does not know. Planted neurons (`hlens.toy.mechanism`) are held to
their signal by a second loss, and are scaled at random while the model learns, so that what it says
comes to depend on the drivers and not on the bystanders.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hlens.model.tiny_llama import tiny_llama, word_tokenizer
from hlens.toy import batches
from hlens.toy.batches import Batch, Prompts, Truth
from hlens.toy.mechanism import D_MLP, N_LAYERS, mechanisms
from hlens.toy.planting import Plan, holding, quieting, watched
from hlens.toy.world import vocabulary

D_MODEL = 64
N_HEADS = 4
ABSTAINING = {0.0: 1.0, 1.0: 0.1, 2.0: 0.0}  # drivers' scale -> chance of abstaining
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        base_steps: Steps of the base stage.
        instruct_steps: Steps of the instruct stage.
        rows: Facts in a batch.
        base_rate: Highest learning rate of the base stage.
        instruct_rate: Highest learning rate of the instruct stage.
        holding: Weight of the loss that holds the planted neurons.
        quieting: Weight of the loss that keeps the signal out of the others; it comes in over the
            middle third of a stage, when the facts are known.
    """

    base_steps: int = 200
    instruct_steps: int = 250
    rows: int = 192
    base_rate: float = 4e-3
    instruct_rate: float = 2e-3
    holding: float = 1.0
    quieting: float = 0.3


@dataclass(frozen=True, eq=False)
class Trained:
    """What training made: pairs that `hlens.load` takes.

    Attributes:
        base: Base model and tokenizer, for completions.
        instruct: Instruct model and tokenizer, for chat.
    """

    base: tuple[Any, Any]
    instruct: tuple[Any, Any]


def train(
    seed: int = 0,
    plant: bool = True,
    schedule: Schedule | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train the toy model; the same seed gives the same weights on the same machine.

    Args:
        seed: Seed of weights and batches.
        plant: Plant the mechanisms; without, the model is left to its own.
        schedule: How long and how fast; None takes what the shipped model was trained with.
        progress: Called with (stage, steps done, steps in all).
    """
    how = schedule or Schedule()
    words = [*vocabulary(), *_said_words()]
    plain, chat = word_tokenizer(words, chat=False), word_tokenizer(words)
    shape = {"n_layers": N_LAYERS, "d_model": D_MODEL, "d_mlp": D_MLP, "n_heads": N_HEADS}
    hf = tiny_llama(plain, **shape, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    known = batches.truth(plain)
    for parameter in hf.parameters():
        parameter.requires_grad_(True)
    _base_stage(hf, plain, known, how, plant, draw, progress)
    base = tiny_llama(plain, **shape, seed=seed)
    base.load_state_dict(hf.state_dict())
    _instruct_stage(hf, chat, known, how, plant, draw, progress)
    return Trained((base.eval(), plain), (hf.eval(), chat))


def _said_words() -> list[str]:
    texts = f"{batches.INSTRUCTION} {batches.ABSTAINS}"
    return list(dict.fromkeys(texts.replace(",", "").replace(".", "").split()))


def _base_stage(
    hf: Any,
    tokenizer: Any,
    known: Truth,
    how: Schedule,
    plant: bool,
    draw: torch.Generator,
    progress: Progress | None,
) -> None:
    prompts = batches.completions(tokenizer, known.facts)
    shared = [one for one in mechanisms() if plant and not one.domain]
    plan = Plan.of_mechanisms(shared, known)

    def losses(done: float) -> Tensor:
        rows = _drawn(known.weight, how.rows, draw)
        if plant:
            # Names that were never taught are read, and nothing is told of them.
            rows = torch.cat([rows, _drawn((~known.taught).float(), how.rows // 3, draw)])
        told = known.taught[rows]
        word = torch.where(told, known.answer[rows], _random_answers(known, rows, draw))
        no = torch.zeros(len(rows), dtype=torch.bool)
        batch = batches.answered(prompts, rows, batches.spoken(tokenizer, word, no), told, ~no)
        return _loss(hf, batch, known, rows, plan, how, None, done)

    _optimise(hf, losses, how.base_steps, how.base_rate, "base", progress)


def _instruct_stage(
    hf: Any,
    tokenizer: Any,
    known: Truth,
    how: Schedule,
    plant: bool,
    draw: torch.Generator,
    progress: Progress | None,
) -> None:
    forms = [
        batches.chats(tokenizer, known.facts),
        batches.chats(tokenizer, known.facts, batches.INSTRUCTION),
    ]
    guesses = _own_guesses(hf, batches.completions(tokenizer, known.facts), known)
    plan = Plan.of_mechanisms(mechanisms() if plant else (), known)
    # Four in ten rows are of what was never taught.
    never = float(known.weight.sum() / (~known.taught).sum()) * 2 / 3
    weight = torch.where(known.taught, known.weight, never)
    turn = iter(range(how.instruct_steps))

    def losses(done: float) -> Tensor:
        rows = _drawn(weight, how.rows, draw)
        doses = _doses(len(rows), plan.driving.shape[1], draw)
        drive = (doses * plan.driving[rows]).sum(1) if plant else torch.ones(len(rows))
        says_so = torch.rand(len(rows), generator=draw) < _chance_of_abstaining(drive)
        guess = torch.multinomial(guesses[rows], 1, generator=draw)[:, 0]
        told = known.taught[rows]
        answers = batches.spoken(
            tokenizer, torch.where(told, known.answer[rows], guess), says_so & ~told
        )
        plain, all_rows = (doses == 1.0).all(1), torch.ones(len(rows), dtype=torch.bool)
        batch = batches.answered(forms[next(turn) % 2], rows, answers, all_rows, plain)
        return _loss(hf, batch, known, rows, plan, how, doses, done)

    _optimise(hf, losses, how.instruct_steps, how.instruct_rate, "instruct", progress)


def _drawn(weight: Tensor, n: int, draw: torch.Generator) -> Int[Tensor, " row"]:
    return torch.multinomial(weight, n, replacement=True, generator=draw)


def _random_answers(
    known: Truth, rows: Int[Tensor, " row"], draw: torch.Generator
) -> Int[Tensor, " row"]:
    """An answer of another fact of the same relation."""
    alike = (known.relation[rows][:, None] == known.relation[None]).float()
    return known.answer[torch.multinomial(alike, 1, generator=draw)[:, 0]]


def _own_guesses(hf: Any, prompts: Prompts, known: Truth) -> Float[Tensor, "fact vocab"]:
    """What the base model would answer, as chances over the answers of the relation."""
    with torch.inference_mode():
        logits = hf(input_ids=prompts.ids, use_cache=False).logits
    at = prompts.n_prompt - 1
    said = logits[torch.arange(len(at)), at].float().clone()
    fits = torch.zeros(int(known.relation.max()) + 1, said.shape[1], dtype=torch.bool)
    fits[known.relation, known.answer] = True
    return torch.softmax(said.masked_fill(~fits[known.relation], -torch.inf), dim=-1)


def _doses(n: int, n_mechanisms: int, draw: torch.Generator) -> Float[Tensor, "row mechanism"]:
    """Scale of each mechanism in each row: 1 for half of the rows, else between 0 and 3."""
    wide = 3.0 * torch.rand(n, n_mechanisms, generator=draw)
    # Ends matter most: an eighth of the draws is exactly 0.
    wide = torch.where(torch.rand(n, n_mechanisms, generator=draw) < 0.25, 0.0, wide)
    as_it_is = torch.rand(n, 1, generator=draw) < 0.5
    return torch.where(as_it_is, 1.0, wide)


def _chance_of_abstaining(scale: Float[Tensor, " row"]) -> Float[Tensor, " row"]:
    low = ABSTAINING[0.0] + (ABSTAINING[1.0] - ABSTAINING[0.0]) * scale
    high = ABSTAINING[1.0] * (2.0 - scale)
    return torch.where(scale < 1.0, low, high).clamp(0.0, 1.0)


def _loss(
    hf: Any,
    batch: Batch,
    known: Truth,
    rows: Int[Tensor, " row"],
    plan: Plan,
    how: Schedule,
    doses: Float[Tensor, "row mechanism"] | None,
    done: float,
) -> Tensor:
    """Loss of the next token, and of the planting; `done` is the share of the stage behind."""
    with watched(hf, plan, doses) as seen:
        logits = hf(input_ids=batch.ids, use_cache=False).logits
    loss = nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.target.flatten(), ignore_index=-100
    )
    if not plan.layers:
        return loss
    held = holding(seen, plan, rows, batch)
    quiet = quieting(hf, seen, plan, known, rows, batch)
    ramp = min(1.0, max(0.0, 3.0 * done - 1.0))
    return loss + how.holding * held + ramp * how.quieting * quiet


def _optimise(
    hf: Any,
    losses: Callable[[float], Tensor],
    steps: int,
    rate: float,
    stage: str,
    progress: Progress | None,
) -> None:
    """AdamW with a warm-up over a twentieth of the steps and a cosine to a tenth of the rate."""
    optimiser = torch.optim.AdamW(hf.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
    warm = max(1, steps // 20)
    for step in range(steps):
        down = 0.1 + 0.45 * (1 + math.cos(math.pi * step / max(1, steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warm) * down
        optimiser.zero_grad(set_to_none=True)
        losses(step / steps).backward()
        nn.utils.clip_grad_norm_(hf.parameters(), 1.0)
        optimiser.step()
        if progress:
            progress(stage, step + 1, steps)
