"""hlens score: a saved detector on a file of answers, labelled or not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import architectures
import hlens
from command_line import call
from hlens.cli import app
from hlens.cli.columns import COLUMNS
from hlens.errors import HlensError
from hlens.labelled import content_of
from hlens.labelled import rows as labelled_rows
from hlens.monitor import check_scores_file, risks, save_scores, score, tabulate_scores
from hlens.store import load_table, save_detector
from hlens.types import Calibration, Detector, MarkedSpan, ScoredAnswer
from hlens.types.labels import Level
from tiny_study import saved_model
from tiny_tokenizer import VOCAB, byte_tokenizer

HOSTILE = "=cmd()\x1b[31m"  # a formula, and a sequence that colours a terminal
ROWS = [
    {"id": "a", "question": "Who?", "response": "It was Ann, in May.",
     "spans": [[7, 10, "hallucinated"], [15, 18, "correct"]]},
    {"id": "b", "question": "Where?", "response": HOSTILE, "correct": True},
    {"id": "c", "question": "Where?", "response": "In Rome", "correct": False},
    {"id": "d", "question": "When?", "response": "In May, they say."},
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a detector of it and a file of answers."""
    folder = tmp_path_factory.mktemp("score")
    model = hlens.load(str(saved_model(folder / "model")))
    weights = torch.zeros(model.n_layers, model.d_mlp)
    weights[0, 3], weights[2, 7] = 20.0, -30.0
    knots = Calibration((-5.0, 5.0), (0.2, 0.8), "platt", 0.01)
    detector = Detector(weights, 0.1, calibration=knots, provenance=model.provenance)
    save_detector(detector, folder / "found")
    lines = (json.dumps(row) + "\n" for row in ROWS)
    (folder / "answers.jsonl").write_text("".join(lines))
    return folder


def run(home: Path, *words: str) -> str:
    own = () if "--model" in words else ("--model", str(home / "model"))
    done = CliRunner().invoke(app, ["score", str(home / "found.safetensors"), *words, *own])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_the_file_is_scored_as_one_answer_at_a_time(home: Path) -> None:
    told = json.loads(run(home, str(home / "answers.jsonl"), "--json"))
    assert (told["n"], told["calibrated"], told["to"]) == (4, True, None)
    model = hlens.load(str(home / "model"))
    detector = hlens.load_detector(home / "found.safetensors")
    read = hlens.labelled(ROWS[:3], model)
    for row, judged in zip(told["answers"], read.judgements, strict=False):
        response = judged.response
        alone = risks(model, detector, response.token_ids, response.n_prompt)[-1]
        assert row["score"] == pytest.approx(alone.score, abs=1e-4)
        assert row["risk"] == pytest.approx(alone.probability, abs=1e-4)
        assert row["risk"] == pytest.approx(0.5 + 0.06 * row["score"], abs=1e-4)  # calibrated
    assert [row["question_id"] for row in told["answers"]] == ["a", "b", "c", "d"]
    assert [row["hallucinated"] for row in told["answers"]] == [True, False, True, None]
    by_level = {(row["level"], row["score"]): row for row in told["levels"]}
    assert by_level["response", "detector, mean"]["n"] == 3
    assert by_level["span", "detector"]["n"] == 4
    # Its AUROC by hand: what of the wrong answers scores above the one that is right.
    scores = [row["score"] for row in told["answers"]]
    by_hand = np.mean([scores[0] > scores[1], scores[2] > scores[1]])
    assert by_level["response", "detector, mean"]["auroc"] == pytest.approx(by_hand)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_answer_span_and_token_is_written(home: Path, suffix: str, tmp_path: Path) -> None:
    to = tmp_path / f"scores{suffix}"
    for _ in range(2):  # the second run replaces what the first wrote
        assert str(to) in run(home, str(home / "answers.jsonl"), "--to", str(to)).replace("\n", "")
    table = pd.read_json(to, lines=True) if suffix == ".jsonl" else load_table(to)
    found = dict(iter(table.groupby("level")))
    assert len(found[Level.RESPONSE]) == 4
    assert list(found[Level.SPAN].hallucinated.astype(bool))[:2] == [True, False]
    spans = list(found[Level.SPAN].text)
    assert "Ann" in spans[0]
    token = found[Level.TOKEN]
    own = token.loc[token.question_id == "a"]
    whole = found[Level.RESPONSE].set_index("question_id")
    assert own.score.mean() == pytest.approx(whole.score["a"], abs=1e-6)
    assert "".join(own.text) == whole.text["a"] == "It was Ann, in May."
    assert own.hallucinated.isna().sum() == len(own) - len("AnnMay")
    assert whole.text["b"] == HOSTILE


def test_a_text_is_no_formula_and_steers_no_terminal(home: Path, tmp_path: Path) -> None:
    shown = run(home, str(home / "answers.jsonl"), "--to", str(tmp_path / "scores.csv"))
    assert "\x1b[31m" not in shown
    assert "\\u001b[31m" in shown
    written = (tmp_path / "scores.csv").read_text()
    assert "\"'=cmd()" in written
    assert '"=cmd()' not in written
    assert "\x1b[31m" not in run(home, str(home / "answers.jsonl"), "--json")


def test_answers_without_labels_are_scored_and_nothing_is_evaluated(
    home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "bare.csv"
    file.write_text("frage,antwort\nWho?,Ann\nWhere?,Rome\n")
    mapped = ["--question", "frage", "--response", "antwort"]
    told = json.loads(run(home, str(file), *mapped, "--json"))
    assert told["levels"] == []
    assert [row["hallucinated"] for row in told["answers"]] == [None, None]
    assert "nothing is evaluated" in run(home, str(file), *mapped)
    with pytest.raises(HlensError, match="no column 'reply'"):
        run(home, str(file), "--question", "frage", "--response", "reply")


def test_a_mistake_is_one_line(home: Path, tmp_path: Path) -> None:
    answers = str(home / "answers.jsonl")
    with pytest.raises(HlensError, match=r"cannot write scores as 'x\.txt'"):
        run(home, answers, "--to", "x.txt")
    mine = tmp_path / "mine.csv"
    mine.write_text("of my own")
    with pytest.raises(HlensError, match="hlens did not write it"):
        run(home, answers, "--to", str(mine))
    assert mine.read_text() == "of my own"
    with pytest.raises(HlensError, match="expected WORD=VERDICT"):
        run(home, answers, "--label", "wrong")
    other = saved_other(tmp_path / "other")
    with pytest.raises(HlensError, match="measured on"):
        run(home, answers, "--model", str(other))
    done = CliRunner().invoke(app, ["score", str(home / "found.safetensors"), answers])
    assert isinstance(done.exception, HlensError)
    assert str(done.exception).endswith("; name it: --model")
    nameless = Detector(torch.eye(3, 56), 0.0)
    save_detector(nameless, tmp_path / "nameless")
    command = ["score", str(tmp_path / "nameless.safetensors"), answers]
    called = call(*command)
    assert called.code == 2
    assert called.err.count("\n") == 1
    assert "nothing says which model" in called.err


def saved_other(folder: Path) -> Path:
    hf: Any = architectures.llama(seed=1, vocab_size=VOCAB, max_position_embeddings=512)
    hf.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def test_a_study_gives_detector_model_and_how_it_asked(home: Path, tmp_path: Path) -> None:
    recipe = {"model": str(home / "model"), "domains": ["general"]}
    asked: dict[str, Any] = {"instruction": "Be brief.", "style": "completion"}
    (tmp_path / "recipe.toml").write_text(
        hlens.Recipe.from_dict({**recipe, "sampling": asked}).to_toml()
    )
    for name in ("found.safetensors", "found.json"):
        (tmp_path / name.replace("found", "detector")).write_bytes((home / name).read_bytes())
    done = CliRunner().invoke(app, ["score", str(tmp_path), str(home / "answers.jsonl"), "--json"])
    told = json.loads(done.stdout)["answers"]
    model = hlens.load(str(home / "model"))
    read = hlens.labelled(ROWS[:3], model, **asked)
    expected = score(model, hlens.load_detector(tmp_path), read.judgements)
    assert [row["score"] for row in told][:3] == pytest.approx(
        [one.score for one in expected], abs=1e-4
    )


def test_answers_that_the_detector_was_found_on_are_named(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = home / "answers.jsonl"
    own = {"file": str(file), "content": content_of(file)}
    recipe = {"model": str(home / "model"), "domains": ["answers"], "labelled": own}
    (tmp_path / "recipe.toml").write_text(hlens.Recipe.from_dict(recipe).to_toml())
    (tmp_path / "detector.safetensors").write_bytes((home / "found.safetensors").read_bytes())
    CliRunner().invoke(app, ["score", str(tmp_path), str(file), "--json"])
    assert "answers.jsonl is what this detector was found on" in caplog.text
    caplog.clear()
    run(home, str(file))
    assert "found on" not in caplog.text


def test_many_answers_are_cut_on_a_terminal_and_said(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    rows = [{"question": f"Q{i}?", "response": "Rome " * (1 + i)} for i in range(23)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "3 further answers not shown" in run(home, str(file))


def test_the_columns_are_those_of_labelled_answers() -> None:
    assert sorted(COLUMNS) == sorted(labelled_rows.COLUMNS)


def test_a_table_by_hand() -> None:
    spans = (MarkedSpan(0, 1, True),)
    one = ScoredAnswer("q", "d", "g", ("a", " b"), np.array([1.0, -1.0]), spans, True)
    empty = ScoredAnswer("e", "d", "g", (), np.zeros(0))
    calibrated = Calibration((-10.0, 10.0), (0.0, 1.0), "platt", 0.0)
    table = tabulate_scores([one, empty], Detector(torch.eye(2), 0.0, calibration=calibrated))
    assert table.level.tolist() == ["response", "span", "token", "token", "response"]
    assert table.text.tolist() == ["a b", "a", "a", " b", ""]
    assert table.score.tolist()[:4] == [0.0, 1.0, 1.0, -1.0]
    assert table.risk.tolist()[:4] == pytest.approx([0.5, 0.55, 0.55, 0.45])
    assert np.isnan(table.risk.iloc[4])
    assert table.hallucinated.tolist()[:3] == [True, True, True]
    assert table.hallucinated.isna().tolist() == [False, False, False, True, True]
    assert table.span.tolist()[1] == 0


def test_scores_are_written_whole(tmp_path: Path) -> None:
    one = ScoredAnswer("q", "d", "g", ("a",), np.zeros(1))
    table = tabulate_scores([one], Detector(torch.eye(2), 0.0))
    path = save_scores(table, tmp_path / "s.jsonl")
    assert json.loads(path.read_text().splitlines()[1])["risk"] == 0.5
    assert check_scores_file(path) == path
