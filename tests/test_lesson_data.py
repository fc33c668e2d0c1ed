"""The lessons' data are what their README says: whole, small, and no pickles."""

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hlens import domains

DATA = Path(__file__).parents[1] / "notebooks" / "data"
N_NEURONS = 46_080  # of SmolLM2-135M: 30 layers of 1,536


@pytest.fixture(scope="module")
def replies() -> pd.DataFrame:
    return pd.read_csv(DATA / "smollm2_replies.csv", keep_default_na=False, na_values=[""])


@pytest.fixture(scope="module")
def neurons() -> pd.DataFrame:
    return pd.read_csv(DATA / "smollm2_neurons.csv")


def test_the_files_are_small_and_of_plain_kinds() -> None:
    files = [path for path in DATA.iterdir() if path.is_file()]
    assert {path.suffix for path in files} <= {".md", ".py", ".csv", ".jsonl", ".npz"}
    assert sum(path.stat().st_size for path in files) <= 550_000
    said = (DATA / "README.md").read_text(encoding="utf-8")
    for path in files:
        if path.suffix in (".csv", ".jsonl", ".npz"):
            told = path.name in said or (path.name.startswith("smollm2_") and "`smollm2_*`" in said)
            assert told, f"the README says nothing of {path.name}"


@pytest.mark.parametrize("name", ["smollm2_values.npz", "smollm2_halves.npz"])
def test_no_array_holds_objects(name: str) -> None:
    with zipfile.ZipFile(DATA / name) as archive:
        assert all(member.endswith(".npy") for member in archive.namelist())
    with np.load(DATA / name, allow_pickle=False) as arrays:
        assert all(array.dtype.kind in "iuf" for array in arrays.values())


def test_replies_read_by_hand_are_those_of_the_tests() -> None:
    own = (DATA / "read_replies.jsonl").read_text(encoding="utf-8").splitlines()
    read = (DATA.parents[1] / "tests" / "read_replies.jsonl").read_text(encoding="utf-8")
    all_rows = [json.loads(line) for line in read.splitlines()]
    rows = [json.loads(line) for line in own]
    assert len(rows) == 137
    for row in rows:
        assert any(row.items() <= whole.items() for whole in all_rows), row["id"]


def test_every_question_is_one_of_the_banks(replies: pd.DataFrame) -> None:
    known = {(q.domain, q.id): q for name in ("general", "science") for q in domains.load(name)}
    for domain, question, group in zip(
        replies.domain, replies.question, replies.group, strict=True
    ):
        assert known[domain, question].group == f"{domain}/{group}"
    rows = map(json.loads, (DATA / "read_replies.jsonl").read_text("utf-8").splitlines())
    assert all((row["domain"], row["id"]) in known for row in rows)


def test_the_replies_are_the_demonstration(replies: pd.DataFrame) -> None:
    assert len(replies) == 1500
    assert set(replies.groupby(["domain", "question"]).size()) == {3}
    scored = replies.verdict.isin(["correct", "hallucinated"])
    for column in ("kept", "tokens", "logprob", "least_logprob", "row"):
        assert (replies[column].notna() == scored).all(), column
    kept = replies[replies.kept == 1]
    assert len(kept) == 689  # as docs/results/demo.md says
    assert (kept.part == "test").sum() == 206
    assert (replies.groupby(["domain", "group"]).part.nunique() == 1).all()
    assert (replies.logprob[scored] <= replies.least_logprob[scored]).all()


def test_a_row_of_values_is_one_reply_to_one_question(replies: pd.DataFrame) -> None:
    steps = np.load(DATA / "smollm2_values.npz")["steps"]
    scored = replies.dropna(subset="row")
    assert sorted(set(scored.row)) == list(range(len(steps)))
    assert len(steps) == 1239
    same = scored.fillna({"reply": ""}).groupby("row")[["domain", "question", "reply", "verdict"]]
    assert set(same.nunique().to_numpy().ravel()) == {1}


def test_values_are_steps_of_each_neuron(neurons: pd.DataFrame) -> None:
    values = np.load(DATA / "smollm2_values.npz")
    assert values["steps"].dtype == np.int8
    assert values["step"].dtype == np.float32
    assert values["steps"].shape[1] == len(values["step"]) == len(neurons) == 243
    assert (values["step"] > 0).all()
    # Large values are cut off, so a spread is sixteen steps or somewhat less.
    spread = values["steps"].astype(float).std(axis=0)
    assert ((spread > 12) & (spread < 16.1)).all()


def test_neurons_are_the_probe_the_best_and_random_ones(neurons: pd.DataFrame) -> None:
    assert len(set(zip(neurons.layer, neurons.neuron, strict=True))) == len(neurons)
    assert neurons.layer.between(0, 29).all()
    assert neurons.neuron.between(0, 1535).all()
    probe, best, random = neurons.weight != 0, neurons.best == 1, neurons.random == 1
    assert (probe.sum(), best.sum(), random.sum()) == (65, 65, 130)
    assert not (random & (probe | best)).any()
    assert (random | probe | best).all()
    separation = (neurons.train_auroc - 0.5).abs()
    assert separation[best].min() >= separation[~best].max() - 1e-4


def test_halves_hold_every_neuron() -> None:
    halves = np.load(DATA / "smollm2_halves.npz")
    for half in ("first", "second"):
        auroc = halves[f"auroc_{half}"]
        assert auroc.shape == (N_NEURONS,)
        assert auroc.dtype == np.uint16
        assert auroc.min() > 0
        assert auroc.max() < 1000
        assert abs(auroc.mean() - 500) < 50
        named = halves[f"probe_{half}"]
        assert len(set(named.tolist())) == len(named)
        assert named.max() < N_NEURONS


def test_what_is_read_can_be_made_again(tmp_path: Path) -> None:
    script = tmp_path / "notebooks" / "data" / "make.py"
    script.parent.mkdir(parents=True)
    script.write_text((DATA / "make.py").read_text("utf-8"), encoding="utf-8")
    (tmp_path / "tests").mkdir()
    read = DATA.parents[1] / "tests" / "read_replies.jsonl"
    (tmp_path / "tests" / read.name).write_bytes(read.read_bytes())
    subprocess.run([sys.executable, str(script), "read"], check=True)
    made = script.parent / "read_replies.jsonl"
    assert made.read_bytes() == (DATA / "read_replies.jsonl").read_bytes()


def test_no_reply_breaks_a_line_of_the_table() -> None:
    with (DATA / "smollm2_replies.csv").open(encoding="utf-8", newline="") as file:
        widths = {len(row) for row in csv.reader(file)}
    assert widths == {12}
