"""What the audit says of a study whose truth is planted: the whole card, from the nouns onwards.

Only what a model would have said and shown is made up. Split, probe, controls, rivals, tables and
verdicts are those of any study; the page that `Study.audit` draws around the card is left out.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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
from hlens.types.labels import Covariate

N, N_PROMPT = 480, 4
RIVALS = ("length", "perplexity", "sequence_probability", "text")
RECIPE = Recipe.from_dict(
    {
        "model": "planted",
        "domains": ["general"],
        "evaluation": {"test": 0.4, "n_boot": 200},
        "probe": {"calibration": "none"},
    }
)


class Planted:
    """Answers in which neuron (1, 3) and the label follow what `kind` names.

    ``length``: both follow the number of tokens; ``confidence``: both follow the log-probability;
    ``neuron``: the neuron follows the label; ``noise``: nothing follows anything.
    """

    def __init__(self, kind: str) -> None:
        draw = np.random.default_rng(0)
        length, surprise = draw.integers(1, 9, N), draw.gamma(2.0, 1.0, N)
        odds = {"length": length - 4.5, "confidence": 2 * (surprise - 1.7)}.get(kind, np.zeros(N))
        wrong = draw.random(N) < 1 / (1 + np.exp(-odds))
        values = draw.gamma(2.0, 1.0, (2, 48, N)).astype(np.float32)
        shift = {"length": 0.6 * length, "confidence": 1.5 * surprise, "neuron": 6.0 * wrong}
        values[1, 3] += shift.get(kind, np.zeros(N))
        self.values, self.wrong = torch.from_numpy(values).permute(2, 0, 1), wrong
        self.length, self.surprise = length.tolist(), surprise.tolist()
        self.words = draw.choice(["alder", "birch", "cedar", "dogwood", "elm"], (2, N)).tolist()

    def judgements(self) -> list[Judgement]:
        return [self._judged(i) for i in range(N)]

    def _judged(self, i: int) -> Judgement:
        asked, answer = self.words[0][i], self.words[1][i]
        question = Question(f"q{i}", "general", f"Which {asked}?", ("yew",), group=f"g{i // 2}")
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
        fewer = step(name="planted probe", options=detection.probe.options)(_probe)
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
    assert "not beaten: length" in cost.because


@planted("confidence")
def test_confidence_alone_adds_nothing_to_confidence(card: AuditCard) -> None:
    readout = claim(card, "Readout")
    assert readout.verdict is Support.NOT_SUPPORTED
    assert {"beyond confidence", "at equal log-probability"} <= failing(readout)
    assert not {"above chance", "at equal length"} & failing(readout)


@planted("noise")
def test_noise_is_not_praised(card: AuditCard) -> None:
    readout = claim(card, "Readout")
    assert readout.verdict is Support.NOT_SUPPORTED
    assert "above chance" in failing(readout)
    assert "may explain" not in readout.because
    assert claim(card, "Identity").verdict is not Support.SUPPORTED
