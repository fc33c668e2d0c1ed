"""Estimates and labels survive a table, and its trip to disk."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from hlens.evaluation import controls, split_by_group
from hlens.evaluation.significance import deal_by_group
from hlens.store.tables import load_table, save_table
from hlens.types import Estimate
from hlens.types.labels import Control
from synthetic import made


@pytest.mark.parametrize("columns", [("auroc", ""), ("difference", "difference_")])
def test_an_estimate_survives_a_row(columns: tuple[str, str]) -> None:
    value, ends = columns
    estimate = Estimate(0.8, 0.7, 0.9, 420)
    table = pd.DataFrame([estimate.to_row(value, ends=ends)])
    assert Estimate.from_row(table.to_dict("records")[0], value, ends=ends) == estimate


def test_what_a_row_lacks_is_missing() -> None:
    bare = Estimate.from_row({"auroc": None})
    assert not bare.known
    assert bare.low != bare.low
    assert bare.n == 0
    with pytest.raises(KeyError):
        Estimate.from_row({}, "gain")


def test_every_form_of_an_interval_comes_from_one_formatter() -> None:
    estimate = Estimate(-0.021, -0.067, 0.024, 295)
    assert f"{estimate:.2f}" == "-0.02 [-0.07, 0.02]"
    assert estimate.signed() == "−0.02 [−0.07, +0.02]"
    assert f"{estimate.scaled(100.0):.1f}" == "-2.1 [-6.7, 2.4]"
    assert estimate.interval(lambda end: f"<{end:+.1%}>") == "[<-6.7%>, <+2.4%>]"
    assert str(estimate) == "-0.021 [-0.067, 0.024] (n=295)"


def test_labels_find_their_rows_after_a_trip_to_disk(tmp_path: Path) -> None:
    data = made(160, planted={(0, 1): 2.0}, per_group=2, domains=("a", "b"))
    parts = split_by_group(data)
    said = [
        pd.DataFrame({"cut off": ["no"] * len(p), "attempted": ["yes"] * len(p)}) for p in parts
    ]
    replies = said[0], said[1]
    given = {"shuffles": 1, "draws": 1}
    table = controls(*parts, probe=LogisticRegression(), replies=replies, **given)
    save_table(table, tmp_path / "scores.parquet")
    rows = {
        row["control"]: row for row in load_table(tmp_path / "scores.parquet").to_dict("records")
    }
    assert set(rows) == set(Control)
    assert all(type(name) is str for name in rows)
    assert Estimate.from_row(rows[Control.PROBE]).n == len(parts[1])


def test_dealing_by_group_keeps_groups_of_one_size_whole() -> None:
    groups = [str(i // 3) for i in range(30)]
    source = deal_by_group(groups, np.random.default_rng(0))
    assert sorted(source) == list(range(30))
    assert all(len({groups[i] for i in source[k : k + 3]}) == 1 for k in range(0, 30, 3))
