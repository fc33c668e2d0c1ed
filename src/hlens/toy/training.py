"""train: the toy model from random weights, in a base stage and an instruct stage.

The base stage teaches facts as completions. The instruct stage continues in chat form: taught facts
are answered right, and where the model was never taught it guesses as the base model would, or says
that it does not know. Planted neurons (`hlens.toy.mechanism`) are held to their signal by a second
loss, and are scaled at random meanwhile, so that the choice between guessing and abstaining comes
to depend on the drivers and not on the bystanders.
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
from hlens.toy.batches import Batch, FactTensors, Prompts
from hlens.toy.mechanism import D_MLP, N_LAYERS, mechanisms
from hlens.toy.planting import Plan, holding_loss, quieting_loss, record_mlps
from hlens.toy.world import vocabulary

D_MODEL = 64
N_HEADS = 4
ABSTAINING = {0.0: 1.0, 1.0: 0.1, 2.0: 0.0}  # drivers' scale -> chance of abstaining
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    The rates are the highest of each stage. `holding` weighs the loss that holds the planted
    neurons, `quieting` the one that keeps the signal out of the others; it is ramped up over the
    middle third of a stage, when the facts are known.
    """

    base_steps: int = 200
    instruct_steps: int = 250
    rows: int = 192  # facts in a batch
    base_rate: float = 4e-3
    instruct_rate: float = 2e-3
    holding: float = 1.0
    quieting: float = 0.3


@dataclass(frozen=True, eq=False)
class Trained:
    """The trained models, as pairs of model and tokenizer that `hlens.load` takes."""

    base: tuple[Any, Any]  # for completions
    instruct: tuple[Any, Any]  # for chat


def train(
    seed: int = 0,
    *,
    plant: bool = True,
    schedule: Schedule | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train the toy model; the same seed gives the same weights on the same machine.

    Args:
        seed: Seed of weights and batches.
        plant: Plant the mechanisms; False trains on the facts alone.
        schedule: How long and how fast to train; None takes the shipped model's.
        progress: Called with (stage, steps done, steps in all).
    """
    texts = f"{batches.INSTRUCTION} {batches.ABSTAINS}"
    instructions = dict.fromkeys(texts.replace(",", "").replace(".", "").split())
    words = [*vocabulary(), *instructions]
    plain, chat = word_tokenizer(words, chat=False), word_tokenizer(words)
    shape = {"n_layers": N_LAYERS, "d_model": D_MODEL, "d_mlp": D_MLP, "n_heads": N_HEADS}
    hf = tiny_llama(plain, **shape, seed=seed)
    for parameter in hf.parameters():
        parameter.requires_grad_(True)
    draw = torch.Generator().manual_seed(seed)
    training = _Training(
        hf, batches.fact_tensors(plain), schedule or Schedule(), plant, draw, progress
    )
    training.run_base_stage(plain)
    base = tiny_llama(plain, **shape, seed=seed)
    base.load_state_dict(hf.state_dict())
    training.run_instruct_stage(chat)
    return Trained((base.eval(), plain), (hf.eval(), chat))


@dataclass(frozen=True, eq=False)
class _Training:
    """A model in training, and what its stages share; see `train`."""

    hf: Any  # trained in place, by one stage after the other
    facts: FactTensors
    schedule: Schedule
    plant: bool
    draw: torch.Generator  # of all random choices, so that their order is part of the result
    progress: Progress | None

    def run_base_stage(self, tokenizer: Any) -> None:
        """Taught facts as completions; only the shared mechanisms are planted."""
        facts, schedule = self.facts, self.schedule
        prompts = batches.completion_prompts(tokenizer, facts.facts)
        shared = [one for one in mechanisms() if self.plant and not one.domain]
        plan = Plan.of_mechanisms(shared, facts)

        def loss_at(done: float) -> Tensor:
            rows = self._draw_facts(facts.weight, schedule.rows)
            if self.plant:
                # Names that were never taught are read, but their answers are not learnt.
                untaught = self._draw_facts((~facts.taught).float(), schedule.rows // 3)
                rows = torch.cat([rows, untaught])
            taught = facts.taught[rows]
            word = torch.where(taught, facts.answer[rows], self._draw_answers(rows))
            no = torch.zeros(len(rows), dtype=torch.bool)
            answers = batches.answer_tokens(tokenizer, word, abstains=no)
            batch = batches.make_batch(prompts, rows, answers, learnt=taught, plain=~no)
            return self._loss(batch, plan, doses=None, done=done)

        self._optimise(loss_at, schedule.base_steps, schedule.base_rate, stage="base")

    def run_instruct_stage(self, tokenizer: Any) -> None:
        """Chat form, with and without the instruction: answer, guess or abstain."""
        facts, schedule = self.facts, self.schedule
        forms = [
            batches.chat_prompts(tokenizer, facts.facts),
            batches.chat_prompts(tokenizer, facts.facts, batches.INSTRUCTION),
        ]
        guesses = self._base_guesses(batches.completion_prompts(tokenizer, facts.facts))
        plan = Plan.of_mechanisms(mechanisms() if self.plant else (), facts)
        # Four in ten rows are of what was never taught.
        untaught_weight = float(facts.weight.sum() / (~facts.taught).sum()) * 2 / 3
        weight = torch.where(facts.taught, facts.weight, untaught_weight)
        step = iter(range(schedule.instruct_steps))

        def loss_at(done: float) -> Tensor:
            rows = self._draw_facts(weight, schedule.rows)
            doses = self._draw_doses(len(rows), plan.driving.shape[1])
            drive = (doses * plan.driving[rows]).sum(1) if self.plant else torch.ones(len(rows))
            abstains = torch.rand(len(rows), generator=self.draw) < _chance_of_abstaining(drive)
            guess = torch.multinomial(guesses[rows], 1, generator=self.draw)[:, 0]
            taught = facts.taught[rows]
            word = torch.where(taught, facts.answer[rows], guess)
            answers = batches.answer_tokens(tokenizer, word, abstains & ~taught)
            learnt, plain = torch.ones(len(rows), dtype=torch.bool), (doses == 1.0).all(1)
            form = forms[next(step) % 2]
            batch = batches.make_batch(form, rows, answers, learnt=learnt, plain=plain)
            return self._loss(batch, plan, doses=doses, done=done)

        steps = schedule.instruct_steps
        self._optimise(loss_at, steps, schedule.instruct_rate, stage="instruct")

    def _draw_facts(self, weight: Float[Tensor, " fact"], n: int) -> Int[Tensor, " row"]:
        return torch.multinomial(weight, n, replacement=True, generator=self.draw)

    def _draw_answers(self, rows: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """An answer of another fact of the same relation."""
        relation = self.facts.relation
        alike = (relation[rows][:, None] == relation[None]).float()
        return self.facts.answer[torch.multinomial(alike, 1, generator=self.draw)[:, 0]]

    def _base_guesses(self, prompts: Prompts) -> Float[Tensor, "fact vocab"]:
        """What the base model would answer, as chances over the answers of the relation."""
        facts = self.facts
        with torch.inference_mode():
            logits = self.hf(input_ids=prompts.ids, use_cache=False).logits
        last = logits[torch.arange(len(logits)), prompts.n_prompt - 1].float().clone()
        fits = torch.zeros(int(facts.relation.max()) + 1, last.shape[1], dtype=torch.bool)
        fits[facts.relation, facts.answer] = True
        return torch.softmax(last.masked_fill(~fits[facts.relation], -torch.inf), dim=-1)

    def _draw_doses(self, n: int, n_mechanisms: int) -> Float[Tensor, "row mechanism"]:
        """Scale of each mechanism in each row: 1 for half of the rows, else between 0 and 3."""
        doses = 3.0 * torch.rand(n, n_mechanisms, generator=self.draw)
        # Silencing matters most: an eighth of all draws is exactly 0.
        silent = torch.rand(n, n_mechanisms, generator=self.draw) < 0.25
        unscaled = torch.rand(n, 1, generator=self.draw) < 0.5
        return torch.where(unscaled, 1.0, torch.where(silent, 0.0, doses))

    def _loss(
        self, batch: Batch, plan: Plan, *, doses: Float[Tensor, "row mechanism"] | None, done: float
    ) -> Tensor:
        """Loss of the next token, and of the planting; `done` is the share of the stage behind."""
        with record_mlps(self.hf, plan, doses) as record:
            logits = self.hf(input_ids=batch.ids, use_cache=False).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch.target.flatten())
        if not plan.layers:
            return loss
        held = holding_loss(record, plan, batch)
        quiet = quieting_loss(self.hf, record, plan, facts=self.facts, batch=batch)
        ramp = min(1.0, max(0.0, 3.0 * done - 1.0))
        return loss + self.schedule.holding * held + ramp * self.schedule.quieting * quiet

    def _optimise(
        self, loss_at: Callable[[float], Tensor], steps: int, rate: float, *, stage: str
    ) -> None:
        """AdamW, a warm-up over a twentieth of the steps and a cosine to a tenth of the rate."""
        parameters = list(self.hf.parameters())
        optimiser = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
        warm_up = max(1, steps // 20)
        for step in range(steps):
            decay = 0.1 + 0.45 * (1 + math.cos(math.pi * step / max(1, steps)))
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / warm_up) * decay
            optimiser.zero_grad(set_to_none=True)
            loss_at(step / steps).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            if self.progress:
                self.progress(stage, step + 1, steps)


def _chance_of_abstaining(drive: Float[Tensor, " row"]) -> Float[Tensor, " row"]:
    """`ABSTAINING`, interpolated."""
    low = ABSTAINING[0.0] + (ABSTAINING[1.0] - ABSTAINING[0.0]) * drive
    high = ABSTAINING[1.0] * (2.0 - drive)
    return torch.where(drive < 1.0, low, high).clamp(0.0, 1.0)
