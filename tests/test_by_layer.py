"""Edits layer by layer: what is edited, what the sentences say, in a study and by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hlens import behaviours, effects, figures
from hlens.claims.slopes import SlopeVerdict, judge_slope
from hlens.cli import app
from hlens.effects.conditions import ControlSets, compared_sets
from hlens.store import export_neurons
from hlens.study import Study
from hlens.types import NeuronSet, SetKind
from tiny_study import question_file, saved_model, tiny_model, tiny_recipe

NEURONS = NeuronSet(frozenset({(0, 1), (2, 3), (2, 5), (3, 8)}), 5, 56, name="found")


def parts(which: str) -> dict[str, set[tuple[int, int]]]:
    sets = compared_sets(NEURONS, ControlSets(layers=which))  # type: ignore[arg-type]
    kinds = (SetKind.LAYER, SetKind.UP_TO_LAYER)
    return {name: set(members.members) for name, kind, members in sets if kind in kinds}


def test_only_layers_that_hold_neurons_are_edited_and_the_whole_is_the_target() -> None:
    single = {"layer 0": {(0, 1)}, "layer 2": {(2, 3), (2, 5)}, "layer 3": {(3, 8)}}
    together = {"layers to 0": {(0, 1)}, "layers to 2": {(0, 1), (2, 3), (2, 5)}}
    assert parts("single") == single
    assert parts("cumulative") == together
    assert parts("both") == single | together
    assert parts("none") == {}
    one = NeuronSet(frozenset({(2, 3), (2, 5)}), 5, 56, name="found")
    assert len(compared_sets(one, ControlSets(layers="both"))) == 1 + 8


def test_a_slope_of_each_part_beside_the_same_random_sets() -> None:
    neurons = NeuronSet(frozenset({(0, 1), (1, 3), (1, 5)}), 2, 64, name="found")
    model = tiny_model()
    neurons = NeuronSet(neurons.members, model.n_layers, model.d_mlp, name="found")
    outcomes = effects.intervene(
        model,
        neurons,
        [behaviours.load("plain_qa", 12, second="likelihood")],
        alphas=(0.0, 3.0),
        controls=ControlSets(layers="both", norm_matched=0),
    )
    table = effects.layer_slopes(outcomes, n_boot=200)
    by_set = table.loc[table["grader"] == "likelihood"].set_index("set")
    assert by_set.loc[["layer 0", "layer 1", "layers to 0"], "layer"].tolist() == [0, 1, 0]
    assert by_set.loc["found", "layer"] == -1
    assert by_set.loc["layer 0", "slope"] == by_set.loc["layers to 0", "slope"] != 0
    assert set(by_set.loc[by_set["kind"] != "random", "n_random"]) == {8}
    touched = outcomes.loc[outcomes["alpha"] == 3.0].groupby("set")["touched"].first()
    assert touched["layer 0"] + touched["layer 1"] == pytest.approx(touched["found"], rel=0.2)
    # The more parts, the wider the intervals: any of them could be the one that is seen.
    whole = effects.slopes(outcomes, n_boot=200).set_index(["grader", "set"])
    of_part, plain = by_set.loc["layer 1"], whole.loc[("likelihood", "layer 1")]
    assert of_part["high"] - of_part["low"] > plain["high"] - plain["low"]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Any table of slopes by the layer, as one grader gives it."""
    layers = sorted(draw(st.sets(st.integers(0, 40), min_size=2, max_size=6)))
    kinds = draw(st.sampled_from([("single",), ("cumulative",), ("single", "cumulative")]))
    named = [("H-neurons", SetKind.TARGET, -1)]
    if "single" in kinds:
        named += [(f"layer {n}", SetKind.LAYER, n) for n in layers]
    if "cumulative" in kinds:
        named += [(f"layers to {n}", SetKind.UP_TO_LAYER, n) for n in layers[:-1]]
    rows = []
    for name, kind, layer in draw(st.permutations(named)):
        slope = draw(st.sampled_from([-0.05, -0.01, 0.0, 0.01, 0.05]))
        half = draw(st.sampled_from([0.0, 0.005, 0.03, np.nan]))
        row = {"behaviour": "b", "grader": "rules", "unit": "share", "n": 40, "n_random": 8}
        row |= {"set": name, "kind": kind, "layer": layer, "slope": slope}
        row |= {"low": slope - half, "high": slope + half, "over_random": slope}
        row |= {"over_low": slope - half, "over_high": slope + half}
        rows.append(row | {"rank": draw(st.sampled_from([0, 0, 3]))})
    return pd.DataFrame(rows)


@given(tables())
@settings(max_examples=150, deadline=None)
def test_the_sentence_and_the_title_are_true_of_any_table(table: pd.DataFrame) -> None:
    rows = table.sort_values("layer").to_dict("records")
    seen = [row for row in rows if judge_slope(row) is SlopeVerdict.BEYOND]
    single = [row["layer"] for row in seen if row["kind"] == SetKind.LAYER]
    together = [row["layer"] for row in seen if row["kind"] == SetKind.UP_TO_LAYER]
    n_single = int((table["kind"] == SetKind.LAYER).sum())
    (said,) = effects.describe_layers(table)
    title = figures.by_layer.draw(table).layout.title.text.replace("<br>", " ")
    assert (f"no single layer of {n_single} is seen" in said) == (n_single > 0 and not single)
    assert (f"No single layer of {n_single} is seen" in title) == (n_single > 0 and not single)
    assert (f"first do up to layer {together[0]} " if together else "no part of them") in said or (
        not (table["kind"] == SetKind.UP_TO_LAYER).any()
    )
    assert ("first do up to layer" in said) == bool(together)
    shown = [f"up to {together[0]} they do", f"first up to layer {together[0]}"] if together else []
    assert any(words in title for words in shown) == bool(together)
    assert ("they do" in title or "first up to" in title) == bool(together)
    if single:
        assert f"{len(single)} of {n_single} layers move" in said
        assert title.split(">")[1].startswith(f"{len(single)} of {n_single} layers move")
        assert all(f"layer {layer} " in said for layer in single[:3])
        assert (f", {len(single) - 3} more" in said) == (len(single) > 3)
    is_whole = any(row["kind"] == SetKind.TARGET for row in seen)
    assert ("beyond all 8 random sets" in said) == is_whole
    if "all together" in title:
        assert ("all together do not" not in title) == is_whole


def test_a_study_edits_by_the_layer_and_runs_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doses = {"behaviours": ["plain_qa"], "items": 2, "alphas": [0, 2, 3], "capability": False}
    recipe = tiny_recipe(
        question_file(tmp_path / "a.jsonl"), str(saved_model(tmp_path / "model")), intervene=doses
    )
    study = Study(tmp_path / "study", recipe)
    layers = {layer for layer, _ in study.detector().neurons.members}
    assert len(layers) > 1
    study.outcomes()
    asked = []
    ask = behaviours.Behaviour.run
    monkeypatch.setattr(
        behaviours.Behaviour, "run", lambda self, model: asked.append(1) or ask(self, model)
    )
    done = CliRunner().invoke(app, ["intervene", str(study.folder), "--layers", "both"])
    assert done.exit_code == 0, done.output
    assert len(asked) == 2 * (2 * len(layers) - 1)  # the whole and its controls were there
    assert "Layer by layer, and all layers up to each" in done.stdout
    told = CliRunner().invoke(app, ["intervene", str(study.folder), "--json"])
    facts = json.loads(told.stdout)
    assert {row["kind"] for row in facts["layers"]} >= {"target", "layer", "up_to_layer", "truth"}
    assert any("single layer" in line or "it alone" in line for line in facts["in_words"])
    page = Study(study.folder).report().read_text()
    assert "Which layers change behaviour?" in page
    wrong = CliRunner().invoke(app, ["intervene", str(study.folder), "--layers", "some"])
    assert wrong.exit_code != 0
    assert "layers.edits" in str(wrong.exception)
    # Of one layer, there is nothing to take apart.
    shutil.copytree(study.folder, tmp_path / "one")
    one = NeuronSet(frozenset({(1, 3)}), study.model.n_layers, study.model.d_mlp)
    file = export_neurons(one, tmp_path / "one.csv")
    single = ["intervene", str(tmp_path / "one"), "--neurons", str(file), "--json"]
    done = CliRunner().invoke(app, single)
    assert done.exit_code == 0, done.output
    assert not any("single layer" in line for line in json.loads(done.stdout)["in_words"])
