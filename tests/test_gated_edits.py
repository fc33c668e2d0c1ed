"""Edits behind gates as a study runs them: the same answers, counts that match, tables by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import architectures
import hlens
from hlens import effects, judges
from hlens import interventions as iv
from hlens.effects import CapabilityTest, describe_gates, gate_table, shown_gates, try_gates
from hlens.errors import HlensError
from hlens.model import Model, Settings, load
from hlens.monitor import monitor, risk_above
from hlens.recipe import GatesRecipe, Recipe
from hlens.report.sections import gates as gates_section
from hlens.report.tables import Tables
from hlens.steps.gates import fresh_questions
from hlens.types import NeuronSet, Question
from hlens.types.labels import GateKind, Result
from tiny_detector import MEMBERS, detector_of
from tiny_study import question_file, tiny_model, tiny_recipe
from tiny_tokenizer import VOCAB, byte_tokenizer

HOW = Settings(max_new_tokens=6, temperature=0.0)
DRAWS = 2


@pytest.fixture(scope="module")
def model() -> Model:
    return load((architectures.llama(vocab_size=VOCAB), byte_tokenizer()), name="tiny")


@pytest.fixture(scope="module")
def asked(model: Model) -> list[tuple[Question, list[int]]]:
    questions = [
        Question(str(i), "ab"[i % 2], f"Number {i}?", tuple("abcdefghijklm"), group=f"g{i // 2}")
        for i in range(10)
    ]
    return [(one, model.encode(one.text)) for one in questions]


@pytest.fixture(scope="module")
def outcomes(
    model: Model, asked: list[tuple[Question, list[int]]], tmp_path_factory
) -> pd.DataFrame:
    return run(model, asked, tmp_path_factory.mktemp("parts"))


def run(model: Model, asked: list[tuple[Question, list[int]]], folder: Path) -> pd.DataFrame:
    detector = detector_of(model)
    found = monitor(model, detector, [prompt for _, prompt in asked], settings=HOW)
    limit = float(np.median([risk.score for one in found for risk in one.risks]))
    judge = judges.named("substring")
    return try_gates(
        model,
        NeuronSet(frozenset(MEMBERS), model.n_layers, model.d_mlp),
        asked,
        judge=lambda responses: judges.judge(responses, judge),
        settings=HOW,
        gates={GateKind.RISK: risk_above(detector, limit)},
        alphas=(4.0,),
        draws=DRAWS,
        capability=CapabilityTest(model, n_choice=2, n_texts=1, stepwise=True),
        folder=folder,
    )


def answers_of(outcomes: pd.DataFrame, gate: GateKind, draw: int = 0) -> pd.DataFrame:
    own = outcomes.loc[(outcomes.measure == "answer") & (outcomes.gate == gate)]
    return own.loc[own.draw == draw].set_index("question_id")


def test_every_gate_answers_every_question(model, asked, outcomes: pd.DataFrame) -> None:
    plain = answers_of(outcomes, GateKind.UNEDITED)
    alone = {q.id: model.generate_many([prompt], HOW)[0].text for q, prompt in asked}
    assert plain.text.to_dict() == alone
    assert (plain.n_edited == 0).all()
    always, risk = (answers_of(outcomes, kind) for kind in (GateKind.ALWAYS, GateKind.RISK))
    assert (always.n_edited == always.n_read).all()
    assert 0 < risk.n_edited.sum() < risk.n_read.sum()
    untouched = risk.index[risk.n_edited == 0]
    assert (risk.text[untouched] == plain.text[untouched]).all()
    assert (always.text != plain.text).any()


def test_random_gates_edit_as_many_tokens_of_each_answer(outcomes: pd.DataFrame) -> None:
    risk = answers_of(outcomes, GateKind.RISK)
    for draw in range(DRAWS):
        own = answers_of(outcomes, GateKind.RANDOM, draw).loc[risk.index]
        as_long = own.n_read >= risk.n_read
        assert (own.n_edited == risk.n_edited)[as_long].all()
        assert (own.n_edited <= risk.n_edited).all()
    costs = outcomes.loc[outcomes.measure == "kl"].groupby(["gate", "draw"]).first()
    assert costs.loc[GateKind.RANDOM].n_edited.nunique() == 1
    assert (costs.loc[GateKind.RANDOM].n_edited == costs.loc[GateKind.RISK, 0].n_edited).all()


def test_an_interrupted_run_resumes(model, asked, tmp_path: Path, outcomes: pd.DataFrame) -> None:
    run(model, asked, tmp_path)
    parts = sorted(tmp_path.glob("part-*.json"))
    assert len(parts) == 3 + DRAWS
    kept = parts[0].read_bytes()
    parts[1].unlink()
    again = run(model, asked, tmp_path)
    pd.testing.assert_frame_equal(again, outcomes)
    assert parts[0].read_bytes() == kept


def by_hand() -> pd.DataFrame:
    """Four questions; the risk gate rights one that no random gate rights."""
    results = {
        (GateKind.UNEDITED, 0): "cwwa",
        (GateKind.ALWAYS, 0): "wwwu",
        (GateKind.RISK, 0): "ccwa",
        **{(GateKind.RANDOM, draw): "cwwa" if draw else "wwca" for draw in range(2)},
    }
    names = {one.value[0]: one for one in Result}
    return pd.DataFrame(
        {
            "gate": gate,
            "alpha": 1.0 if gate == GateKind.UNEDITED else 0.0,
            "draw": draw,
            "measure": "answer",
            "question_id": str(i),
            "group": str(i),
            "result": names[letter],
            "value": float(letter == "c"),
            "n_tokens": 3,
            "n_read": 4,
            "n_edited": 0 if gate == GateKind.UNEDITED else 2,
            "switches": 1,
        }
        for (gate, draw), letters in results.items()
        for i, letter in enumerate(letters)
    )


def test_the_table_by_hand() -> None:
    table = gate_table(by_hand(), n_boot=200).set_index("gate")
    risk, always = table.loc[GateKind.RISK], table.loc[GateKind.ALWAYS]
    assert (risk.correct, risk.wrong, risk.abstained, risk.unread) == (0.5, 0.25, 0.25, 0.0)
    assert risk.accuracy == pytest.approx(2 / 3)
    assert (always.accuracy, always.unread) == (0.0, 0.25)
    assert risk.over_unedited == risk.over_random == pytest.approx(1 / 3)
    assert (risk.as_high, always.as_high) == (0, 2)
    assert (risk.edited, risk.switches) == (0.5, 1)
    assert table.loc[GateKind.RANDOM, "n_draws"] == 2
    assert risk.accuracy_low <= risk.accuracy <= risk.accuracy_high
    (sentence,) = describe_gates(table.reset_index())
    assert "not told from random gates" in sentence  # four questions tell nothing
    shown = shown_gates(table.reset_index())
    assert shown["edit"].tolist()[-1] == "at random, as many tokens (2 gates)"


def test_a_gate_is_said_to_do_more_only_beyond_all_random_ones() -> None:
    table = gate_table(by_hand(), n_boot=200)
    row = table.gate == GateKind.RISK
    table.loc[row, ["over_random_low", "as_high"]] = 0.1, 0
    assert describe_gates(table)[0].endswith("more than random gates do.")
    table.loc[row, "as_high"] = 1
    assert describe_gates(table)[0].endswith("not told from random gates.")
    table.loc[row, "edited"] = 0.0
    assert describe_gates(table)[0].endswith("the gate never opened.")


def test_a_study_tries_gates_on_questions_that_it_did_not_ask(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        question_file(tmp_path / "questions.jsonl", 180),
        probe={"C": 3.0},
        evaluation={"test": 0.6, "shuffles": 1, "n_boot": 20},
        intervene={"capability": False, "neurons": "both"},
        gates={"alphas": [3.0], "questions": 8},
    )
    recipe = replace(recipe, questions=120)
    study = hlens.Study(tmp_path / "study", recipe, tiny_model())
    outcomes = study.gated()
    asked = {one.id for one in study.questions()}
    assert len({*outcomes.question_id}) == 8
    assert not {*outcomes.question_id} & asked
    kinds = [GateKind.UNEDITED, GateKind.ALWAYS, GateKind.RISK, GateKind.RANDOM]
    assert {*kinds} <= {*outcomes.gate} <= {*GateKind}
    assert outcomes.loc[outcomes.gate == GateKind.RANDOM, "draw"].nunique() == 8
    # The report reads it, and a study whose recipe asks for no gates says nothing of them.
    tables = Tables(study.runner, gates_section.NEEDS)
    shown = gates_section.section(tables)
    assert shown is not None
    assert "8 questions that the study did not ask" in shown.question
    study.revise(replace(study.recipe, gates=GatesRecipe()))
    assert gates_section.section(Tables(study.runner, gates_section.NEEDS)) is None
    whole = replace(study.recipe, questions=0, gates=GatesRecipe(alphas=(3.0,)))
    with pytest.raises(HlensError, match="asked all questions"):
        hlens.Study(tmp_path / "whole", whole, study.model).runner.value(fresh_questions)


def test_wrong_arguments_are_refused(model: Model, asked) -> None:
    some = NeuronSet(frozenset(MEMBERS), model.n_layers, model.d_mlp)
    how = {"judge": judges.judge, "settings": HOW, "gates": {}, "alphas": (0.0,)}
    with pytest.raises(HlensError, match="0 questions and 1 doses"):
        try_gates(model, some, [], **how)
    whole = CapabilityTest(model, n_choice=1, n_texts=1)
    with pytest.raises(HlensError, match="stepwise=True"):
        try_gates(model, some, asked, capability=whole, **how)
    with pytest.raises(HlensError, match=r"gates\.alphas"):
        Recipe.from_dict({"gates": {"alphas": [1.0]}})
    assert effects.try_gates is try_gates
    assert iv.ALWAYS.name == "always"
