"""Several models in one comparison: campaigns, what is read of studies, titles true of all."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hlens import figures
from hlens.cli import app
from hlens.comparison import Campaign, Comparison, compare
from hlens.comparison.page import describe_comparison
from hlens.errors import HlensError
from hlens.recipe import Recipe
from hlens.steps.domains import file_name
from hlens.study import Study
from hlens.types import AuditCard, Check, Claim, NeuronSet, Support
from hlens.types.labels import ALL_MODELS, SetKind
from report_pages import words_of
from test_comparing import question_file
from test_figures import member
from tiny_study import FEW, saved_model

CLAIMS = ("Readout", "Sparsity", "Identity", "Transfer", "Control", "Cost")


def campaign_table(home: Path) -> dict[str, Any]:
    """Two tiny models, of which one is the base of the other, and one that is not there."""
    questions = [
        question_file(home / "a.jsonl", "a", "short_answer"),
        question_file(home / "b.jsonl", "b", "short_answer"),
    ]
    base = saved_model(home / "base")
    tuned = saved_model(home / "tuned")
    return {
        "domains": questions,
        "steps": ["transfer", "overlap"],
        "sampling": {"n": 3, "max_new_tokens": 10},
        "labels": {"judge": "substring"},
        "probe": {"C": 3.0, "scale": "none"},
        "evaluation": FEW,
        "models": [
            {"model": str(base), "name": "base"},
            {"model": str(tuned), "name": "tuned", "base": str(base), "seed": 1},
            {"model": str(home / "nowhere"), "name": "lost"},
        ],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    home = tmp_path_factory.mktemp("campaign")
    (home / "three.toml").write_text(_toml(campaign_table(home)), encoding="utf-8")
    return home, Campaign.read(home / "three.toml").run(home / "runs")


def _toml(table: dict[str, Any]) -> str:
    """The campaign as people write it: plain options, then sections, then models."""
    lines = [f"{key} = {json.dumps(v)}" for key, v in table.items() if not _is_section(key, v)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"[{key}]", *(f"{name} = {json.dumps(v)}" for name, v in value.items())]
    for model in table["models"]:
        lines += ["[[models]]", *(f"{name} = {json.dumps(v)}" for name, v in model.items())]
    return "\n".join(lines) + "\n"


def _is_section(key: str, value: object) -> bool:
    return isinstance(value, dict) or key == "models"


def test_each_model_has_a_row_and_one_that_fails_its_reason(run: tuple[Path, Comparison]) -> None:
    _, compared = run
    assert list(compared.models["model"]) == ["base", "tuned"]
    assert list(compared.failed) == ["lost"]
    assert "nowhere" in compared.failed["lost"]
    assert list(compared.drops["model"]) == ["base", "tuned", ALL_MODELS]
    assert set(compared.transfers) == set(compared.overlaps) == {"base", "tuned"}
    assert compared.published["model"].tolist() == ["base", "tuned"]
    assert compared.not_made["what"].value_counts().to_dict() == {"edits": 2, "audit": 2}


def test_neurons_are_compared_by_number_with_the_base_alone(run: tuple[Path, Comparison]) -> None:
    home, compared = run
    (pair,) = compared.related.to_dict("records")
    assert (pair["a"], pair["b"]) == ("tuned", "base")
    one, two = (compared.detectors[name].neurons for name in ("tuned", "base"))
    assert pair["shared"] == len(one.members & two.members)
    stranger = compare(
        {name: Study(home / "runs/models/base") for name in ("a study", "the same study")}
    )
    assert stranger.related.empty


def test_a_row_is_what_the_study_says(run: tuple[Path, Comparison]) -> None:
    home, compared = run
    study = Study(home / "runs/models/tuned")
    row = compared.models.set_index("model").loc["tuned"]
    scores = study.scores().set_index("control")
    assert row["auroc"] == scores.loc["probe", "auroc"]
    assert row["random_high"] == scores.loc["random neurons", "high"]
    assert row["neurons"] == len(study.detector().selected)
    assert row["stable"] >= 0
    pd.testing.assert_frame_equal(compared.transfers["tuned"], study.transfer())


def test_a_damaged_study_is_a_row_with_its_reason(
    run: tuple[Path, Comparison], tmp_path: Path
) -> None:
    for name in ("whole", "damaged", "all models"):
        shutil.copytree(run[0] / "runs/models/base", tmp_path / name)
    (tmp_path / "damaged/scores.parquet").write_bytes(b"junk")
    compared = compare({name: Study(tmp_path / name) for name in ("whole", "damaged")})
    assert list(compared.models["model"]) == ["whole"]
    assert "scores.parquet" in compared.failed["damaged"]
    with pytest.raises(HlensError, match="called 'all models', as the mean over all is"):
        compare({"all models": Study(tmp_path / "all models")})


def test_what_fails_after_the_scores_leaves_the_row(run: tuple[Path, Comparison]) -> None:
    study = Study(run[0] / "runs/models/base")
    partly = compare({"base": study}, failed={"base": "no memory", "lost": "not there"})
    assert list(partly.models["model"]) == ["base"]
    said = describe_comparison(partly)
    assert "base was not done to its end: no memory." in said
    assert "lost is left out: not there." in said


def test_the_verdicts_of_each_audit_are_side_by_side(
    run: tuple[Path, Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = tuple(
        Claim(name, "", (Check("a", "", name == "Cost", reads=f"{name} it is"),)) for name in CLAIMS
    )
    card = AuditCard("tiny", "made", claims)
    monkeypatch.setattr("hlens.comparison.collecting.shown_card", lambda runner: card)
    compared = compare({name: Study(run[0] / "runs/models/base") for name in ("x", "y")})
    table = compared.claims.set_index(["model", "claim"])
    assert len(table) == 12
    assert table.loc[("y", "Cost"), "verdict"] == "supported"
    assert table.loc[("x", "Control"), "because"] == "Control it is"
    said = " ".join(describe_comparison(compared))
    assert "In 2 studies of 1 model the audit supports Cost in 2." in said
    assert "audit" not in set(compared.not_made["what"])


def test_a_second_run_makes_nothing_anew(run: tuple[Path, Comparison]) -> None:
    home, compared = run
    studies = [home / "runs/models" / name for name in ("base", "tuned")]
    before = [Study(folder).seconds() for folder in studies]
    again = Campaign.read(home / "three.toml").run(home / "runs")
    assert [Study(folder).seconds() for folder in studies] == before
    pd.testing.assert_frame_equal(again.models, compared.models)


def test_the_command_writes_one_report(run: tuple[Path, Comparison], tmp_path: Path) -> None:
    home, compared = run
    page = tmp_path / "all.html"
    words = ["compare", str(home / "three.toml"), "--out", str(home / "runs"), "--to", str(page)]
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    said = json.loads(done.stdout)
    assert said["in_words"] == describe_comparison(compared)
    assert said["failed"][0]["model"] == "lost"
    text = words_of(page.read_text(encoding="utf-8"))
    for heading in ("Do H-neurons read in each model?", "What is lost between domains?", "lost"):
        assert heading in text


def test_studies_are_read_by_their_folders(run: tuple[Path, Comparison], tmp_path: Path) -> None:
    home, compared = run
    folders = [str(home / "runs/models" / name) for name in ("base", "tuned")]
    page = tmp_path / "two.html"
    done = CliRunner().invoke(app, ["compare", *folders, "--to", str(page)], catch_exceptions=False)
    assert done.exit_code == 0
    assert page.exists()
    assert "AUROC" in done.stdout
    two = compare({name: Study(folder) for name, folder in zip("xy", folders, strict=True)})
    assert two.models["auroc"].tolist() == compared.models["auroc"].tolist()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["{home}/runs/models/base"], "only one study to compare"),
        (["{home}/three.toml", "{home}/runs/models/base"], "is no folder of a study"),
        (["{home}/runs/models/base", "{home}/runs/models/base"], "the same study twice"),
        (["{home}/no.toml"], "no campaign at"),
    ],
)
def test_what_cannot_be_compared_is_said(
    run: tuple[Path, Comparison], named: list[str], said: str
) -> None:
    words = [one.format(home=run[0]) for one in named]
    done = CliRunner().invoke(app, ["compare", *words])
    assert isinstance(done.exception, HlensError)
    assert said in str(done.exception)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "a campaign without models"),
        ({"models": "one"}, "models is 'one'; expected a list"),
        ({"models": [3]}, "3 among the models; expected a name"),
        ({"models": ["a", "x/a"]}, "two models are called 'a'"),
        ({"models": [{"model": "a", "name": "A"}, "a"]}, "would share a folder: 'A' and 'a'"),
        ({"models": ["a"], "steps": ["audt"]}, "did you mean 'audit'"),
        ({"models": ["a"], "steps": [["audit"]]}, "step of a campaign"),
        ({"models": ["a"], "model": "b"}, "model = 'b' beside models"),
        ({"models": [{"model": "a", "name": ""}]}, "name is ''; expected a text of one line"),
        ({"models": [{"model": "a", "name": "a\nb"}]}, "expected a text of one line"),
        ({"models": [{"model": "a", "name": "all models"}]}, "as the mean over all is"),
        ({"models": ["a"], "recipe": "demoo"}, "did you mean 'demo'"),
        ({"models": ["a"], "question": 3}, "did you mean 'questions'"),
        ({"models": [{"model": "a", "sampling": {"m": 2}}]}, "'m'"),
    ],
)
def test_a_campaign_that_says_something_else_is_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(HlensError, match=re.escape(said)):
        Campaign.from_dict(table)


@pytest.mark.parametrize("name", ["..", ".", "../../up", ".hidden", "long" * 100])
def test_no_name_leaves_the_folder_of_models(name: str) -> None:
    kept = file_name(name)
    assert kept not in ("", ".", "..")
    assert not kept.startswith(".")
    assert "/" not in kept
    assert len(kept) < 100


def test_options_of_a_model_stand_over_those_of_all_over_the_recipe() -> None:
    campaign = Campaign.from_dict(
        {
            "recipe": "demo",
            "questions": 10,
            "sampling": {"n": 2},
            "models": ["org/one", {"model": "two", "sampling": {"shots": 0}, "dtype": "bfloat16"}],
        }
    )
    one, two = campaign.recipes["one"], campaign.recipes["two bfloat16"]
    assert (one.model, one.questions, one.sampling.n, one.sampling.shots) == ("org/one", 10, 2, 4)
    assert (two.sampling.n, two.sampling.shots, two.sampling.style) == (2, 0, "completion")
    assert isinstance(one, Recipe)


def test_another_way_of_finding_reads_what_it_reads() -> None:
    ways = [{"model": "a", "probe": {"way": "paper"}}, "b"]
    campaign = Campaign.from_dict({"recipe": "demo", "models": ways})
    assert [one.measure.metric for one in campaign.recipes.values()] == ["cett", "signed_cett"]
    every = Campaign.from_dict({"recipe": "demo", "models": ["a"], "probe": {"way": "paper"}})
    assert every.recipes["a"].measure.metric == "cett"


def test_studies_without_scores_are_named(tmp_path: Path) -> None:
    study = Study(tmp_path / "empty", Recipe())
    with pytest.raises(HlensError, match=r"no study to compare: empty: no scores yet; run `hlens"):
        compare({"empty": study})


# --- Titles ----------------------------------------------------------------------------------

NAMES = ("one", "two", "three", "four")
AREA = st.floats(0.3, 1.0)


@st.composite
def models(draw: st.DrawFn) -> pd.DataFrame:
    n = draw(st.integers(1, 4))
    rows = []
    for name in NAMES[:n]:
        row: dict[str, Any] = {"model": name, "n": draw(st.integers(20, 500))}
        for column, low in (("auroc", ""), ("random", "random_"), ("output", "output_")):
            row[column] = draw(AREA)
            row |= {f"{low}low": row[column] - 0.1, f"{low}high": min(1.0, row[column] + 0.1)}
        rows.append(row)
    table = pd.DataFrame(rows)
    if draw(st.booleans()):
        table.loc[0, ["output", "output_low", "output_high"]] = np.nan
    return table


def _within(title: str, values: Any, span: str) -> None:
    """Every value lies in the range that stands in the title."""
    low, _, high = span.partition(" to ")
    assert values.between(float(low) - 0.0051, float(high or low) + 0.0051).all(), title


@given(table=models())
@settings(deadline=None, max_examples=40)
def test_the_ranges_in_a_title_hold_every_model(table: pd.DataFrame) -> None:
    title = figures.models(table).meta["title"]
    own, random = re.findall(r"s ([\d.]+(?: to [\d.]+)?)", title)
    _within(title, table["auroc"], own)
    _within(title, table["random"], random)


@given(data=st.data(), n=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_a_title_counts_the_models_of_each_claim(data: st.DataObject, n: int) -> None:
    verdicts = st.sampled_from(list(Support))
    table = pd.DataFrame(
        [
            {"model": name, "claim": claim, "verdict": data.draw(verdicts)}
            for name in NAMES[:n]
            for claim in CLAIMS
        ]
    )
    title = figures.claims(table).meta["title"]
    for claim in CLAIMS:
        own = table.loc[table["claim"] == claim, "verdict"]
        k = int((own == Support.SUPPORTED).sum())
        said = re.search(rf"{claim}(?: in (all|\d))?", title)
        assert bool(said) == (k > 0)
        if said and n > 1:
            assert said[1] == ("all" if k == n else str(k))


@st.composite
def drop_tables(draw: st.DrawFn) -> pd.DataFrame:
    n = draw(st.integers(1, 4))
    names = [*NAMES[:n], *([ALL_MODELS] if n > 1 and draw(st.booleans()) else [])]
    rows = []
    for name in names:
        drop, half = draw(st.floats(-0.3, 0.3)), draw(st.floats(0.001, 0.3))
        rows.append({"model": name, "within": 0.7 + drop, "across": 0.7, "drop": drop,
                     "low": drop - half, "high": drop + half, "p": draw(st.floats(0, 1)),
                     "n": 100})  # fmt: skip
    return pd.DataFrame(rows)


@given(table=drop_tables())
@settings(deadline=None, max_examples=60)
def test_a_drop_is_claimed_only_of_what_its_interval_shows(table: pd.DataFrame) -> None:
    title = figures.drops(table).meta["title"]
    several = table.loc[table["model"] == ALL_MODELS]
    rows = several if len(several) else table
    if len(rows) > 1:
        span = title.replace("\u2212", "-").rpartition(" by ")[2]
        falls = "drops by" in title
        assert falls == bool((rows["drop"] > 0).all())
        _within(title, rows["drop"] if falls else -rows["drop"], span)
        return
    row = rows.iloc[0]
    assert title.startswith("No drop") == (row["low"] <= 0 <= row["high"])
    if not title.startswith("No drop"):
        assert ("drops" in title) == (row["drop"] > 0)


@given(data=st.data(), n=st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_a_title_names_the_models_that_edits_move(data: st.DataObject, n: int) -> None:
    rows = []
    for place, name in enumerate(NAMES[:n]):
        slope, half = data.draw(st.floats(-0.1, 0.1)), data.draw(st.floats(0.001, 0.1))
        rows.append({"model": name, "neurons_of_model": 100 * (place + 1), "behaviour": "b",
                     "grader": "rules", "unit": "share", "kind": SetKind.TARGET, "slope": slope,
                     "low": slope - half, "high": slope + half, "n": 100, "over_random": slope,
                     "over_low": slope - half, "over_high": slope + half,
                     "rank": data.draw(st.integers(0, 2)), "n_random": 8})  # fmt: skip
    title = figures.slopes_by_size(pd.DataFrame(rows)).meta["title"]
    moved = [
        row["model"]
        for row in rows
        if (row["over_low"] > 0 or row["over_high"] < 0) and row["rank"] == 0
    ]
    assert f"in {len(moved) or 'none'} of {n} model" in title
    if 0 < len(moved) < n:
        assert f"({', '.join(moved)})" in title


def test_two_studies_of_one_model_are_no_two_models() -> None:
    weights = {"small": "one", "medium": "one", "large": "other"}
    for name in ("models", "claims", "slopes_by_size"):
        inputs = member(name).example()
        table = inputs.pop("table")
        twice = table.assign(weights=table["model"].map(weights))
        figure = member(name).draw(twice, **inputs)
        assert "3 studies of 2 models" in figure.meta["title"], name


def test_an_audit_that_was_quick_is_marked_among_whole_ones() -> None:
    table = member("claims").example()["table"]
    table["audit"] = table["model"].map({"small": "quick"}).fillna("whole")
    rows = figures.claims(table).layout.yaxis.ticktext
    assert ["quick" in row for row in rows] == [True, False, False]


def test_maps_of_models_share_their_scales() -> None:
    small = NeuronSet(frozenset({(0, 1), (1, 5)}), 2, 10)
    large = NeuronSet(frozenset({(9, 3)}), 10, 100)
    figure = figures.neuron_maps(
        {"small": small, "large": large, "none": NeuronSet(frozenset(), 3, 9)}
    )
    layout = figure.layout.to_plotly_json()
    assert layout["xaxis2"]["range"] == layout["xaxis4"]["range"] == layout["xaxis6"]["range"]
    assert figure.meta["title"].startswith("0.00 to 100.00 ‰ of the neurons in 3 models")
    with pytest.raises(HlensError, match="no models to draw"):
        figures.neuron_maps({})
