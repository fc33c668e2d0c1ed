"""What the audit says of a study whose truth is planted: the whole card, from the nouns onwards.

Only what a model would have said and shown is made up. Split, probe, controls, rivals, tables and
verdicts are those of any study; the page that `Study.audit` draws around the card is left out.
"""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hlens import audit as audit_of
from hlens import baselines
from hlens.probe import SparseProbe
from hlens.recipe import Recipe
from hlens.steps import Given, Runner, Step, answers, audit, detection, step
from hlens.types import (
    AuditCard,
    Claim,
    Contributions,
    Example,
    Judgement,
    Question,
    Response,
    Support,
    Verdict,
)
from hlens.types.labels import Covariate, View

N, N_PROMPT = 480, 4
RIVALS = ("output_numbers", "length", "perplexity", "sequence_probability", "text")
RECIPE = Recipe.from_dict(
    {
        "model": "planted",
        "domains": ["general"],
        "evaluation": {"test": 0.4, "n_boot": 200, "random_sets": 40},
        "probe": {"calibration": "none"},
    }
)


class Planted:
    """Answers in which neuron (1, 3) and the label follow what `kind` names.

    ``length``: both follow the number of tokens; ``confidence``: both follow the log-probability;
    ``neuron``: the neuron follows the label; ``noise``: nothing follows anything. ``attempt`` and
    ``falsehood``: half of what is labelled hallucinated attempts no answer; the neuron follows that
    in the one, and the label in the other. ``no attempt``: all of it attempts none.
    """

    def __init__(self, kind: str, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        length, surprise = draw.integers(1, 9, N), draw.gamma(2.0, 1.0, N)
        odds = {"length": length - 4.5, "confidence": 2 * (surprise - 1.7)}.get(kind, np.zeros(N))
        wrong = draw.random(N) < 1 / (1 + np.exp(-odds))
        values = draw.gamma(2.0, 1.0, (2, 48, N)).astype(np.float32)
        share = {"attempt": 0.5, "falsehood": 0.5, "no attempt": 1.0}.get(kind, 0.0)
        self.silent = wrong & (draw.random(N) < share)
        shift = {"length": 0.6 * length, "confidence": 1.5 * surprise, "neuron": 6.0 * wrong}
        shift |= {"attempt": 6.0 * self.silent, "falsehood": 6.0 * wrong}
        shift |= {"no attempt": 6.0 * self.silent}
        values[1, 3] += shift.get(kind, np.zeros(N))
        self.values, self.wrong = torch.from_numpy(values).permute(2, 0, 1), wrong
        self.length, self.surprise = length.tolist(), surprise.tolist()
        self.asked = draw.choice(["tree", "plant", "wood", "leaf"], N).tolist()
        self.answers = draw.choice(["alder", "birch", "cedar", "dogwood", "elm"], N).tolist()

    def judgements(self) -> list[Judgement]:
        return [self._judged(i) for i in range(N)]

    def _judged(self, i: int) -> Judgement:
        asked = f"Which {self.asked[i]} is it?"
        question = Question(f"q{i}", "general", asked, ("yew",), group=f"g{i // 2}")
        answer = "What would you like to know?" if self.silent[i] else self.answers[i]
        logprobs = (-self.surprise[i],) * self.length[i]
        tokens = (1,) * (N_PROMPT + self.length[i])
        verdict = Verdict.HALLUCINATED if self.wrong[i] else Verdict.CORRECT
        return Judgement(Response(question, answer, tokens, N_PROMPT, logprobs), verdict)

    def responses(self) -> list[Response]:
        return [judged.response for judged in self.judgements()]

    def examples(self) -> list[Example]:
        return [
            Example(
                torch.tensor(r.token_ids), N_PROMPT, N_PROMPT, len(r.token_ids), bool(wrong),
                r.question.id, r.question.group, "general",
            )
            for r, wrong in zip(self.responses(), self.wrong, strict=True)
        ]  # fmt: skip

    def contributions(self) -> Contributions:
        examples = self.examples()
        return Contributions(
            values=self.values,
            labels=torch.from_numpy(self.wrong),
            groups=tuple(example.group for example in examples),
            domains=("general",) * N,
            question_ids=tuple(example.question_id for example in examples),
            n_tokens=torch.tensor(self.length),
        )

    def steps(self) -> dict[Step, Step]:
        """The answers in the place of what a model would have said and shown."""
        taken = {
            answers.judgements: self.judgements,
            answers.responses: self.responses,
            answers.examples: self.examples,
            detection.contributions: self.contributions,
        }
        fewer = step(
            name="planted probe", options=detection.probe.options, later=detection.probe.later
        )(_probe)
        planted = {one: step(name=f"planted {one.name}")(make) for one, make in taken.items()}
        return {**planted, detection.probe: fewer}


def _probe(**options: Any) -> SparseProbe:
    """The recipe's, over fewer folds and penalties."""
    return detection.probe.make(**options).set_params(cv=3, n_points=8)


@pytest.fixture
def card(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AuditCard:
    monkeypatch.setattr(baselines, "rivals", lambda: [baselines.named(name) for name in RIVALS])
    given = Given(instead=Planted(request.param).steps())
    return Runner(tmp_path / "study", RECIPE, given).value(audit.quick_audit).card


def planted(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("card", [kind], indirect=True)


def claim(card: AuditCard, name: str) -> Claim:
    return next(claim for claim in card.claims if claim.name == name)


def failing(claim: Claim) -> set[str]:
    return {check.name for check in claim.checks if check.holds is False}


@planted("neuron")
def test_a_real_neuron_passes(card: AuditCard) -> None:
    for name in ("Readout", "Identity", "Cost"):
        assert claim(card, name).verdict is Support.SUPPORTED, claim(card, name).because


@planted("length")
def test_length_alone_is_named_as_the_explanation(card: AuditCard) -> None:
    readout, cost = claim(card, "Readout"), claim(card, "Cost")
    assert readout.verdict is Support.NOT_SUPPORTED
    assert {"at equal length", f"at equal {Covariate.ALL_OF_SURFACE}"} <= failing(readout)
    assert "above chance" not in failing(readout)
    assert "length may explain it" in readout.because
    assert cost.verdict is Support.NOT_SUPPORTED
    assert "not beaten: answer length" in cost.because


@planted("confidence")
def test_confidence_alone_adds_nothing_to_confidence(card: AuditCard) -> None:
    readout = claim(card, "Readout")
    assert readout.verdict is Support.NOT_SUPPORTED
    assert {"beyond confidence", "at equal log-probability"} <= failing(readout)
    assert not {"above chance", "at equal length"} & failing(readout)


@planted("attempt")
def test_a_neuron_that_reads_no_attempt_does_not_pass_for_one_that_reads_falsehood(
    card: AuditCard,
) -> None:
    readout = claim(card, "Readout")
    assert readout.verdict is Support.NOT_SUPPORTED
    assert {"at equal attempted", f"at equal {Covariate.ALL_OF_SURFACE}"} <= failing(readout)
    assert not {"above chance", "beyond shuffled labels", "at equal length"} & failing(readout)
    assert "attempted may explain it" in readout.because


@planted("falsehood")
def test_a_neuron_that_reads_falsehood_passes_where_as_many_attempt_nothing(
    card: AuditCard,
) -> None:
    assert claim(card, "Readout").verdict is Support.SUPPORTED, claim(card, "Readout").because


def test_at_equal_attempt_only_what_reads_falsehood_is_left() -> None:
    """The neuron itself as the detector, in many worlds."""
    lows = {"attempt": [], "falsehood": []}
    for kind, seed in product(lows, range(12)):
        world = Planted(kind, seed)
        score = world.values[:, 1, 3].double().numpy()
        groups = [example.group for example in world.examples()]
        table = audit_of.covariates(world.examples(), world.judgements())
        parts = audit_of.Scored(score, world.wrong, groups, table[[Covariate.ATTEMPTED]])
        found = audit_of.confounds(parts, parts).set_index(["covariate", "view"])
        row = found.loc[Covariate.ATTEMPTED]
        assert row.auroc[View.ALONE] > 0.7
        assert row.auroc[View.ADJUSTED] == pytest.approx(row.auroc[View.ALIKE_PAIRS])
        lows[kind].append(row.low[View.ALIKE_PAIRS])
    assert min(lows["falsehood"]) > 0.9
    assert np.mean(np.array(lows["attempt"]) > 0.5) <= 0.1


@planted("no attempt")
def test_where_no_hallucination_attempts_an_answer_nothing_is_supported(card: AuditCard) -> None:
    readout = claim(card, "Readout")
    assert readout.verdict is Support.NOT_SUPPORTED
    assert "at equal attempted" in failing(readout)  # no true answer is like any of them


@planted("noise")
def test_noise_is_not_praised(card: AuditCard) -> None:
    readout = claim(card, "Readout")
    assert readout.verdict is Support.NOT_SUPPORTED
    assert "above chance" in failing(readout)
    assert "may explain" not in readout.because
    assert claim(card, "Identity").verdict is not Support.SUPPORTED
