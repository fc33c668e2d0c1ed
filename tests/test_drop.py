"""The drop from within a domain to across, in one model and over several."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp
from sklearn.linear_model import LogisticRegression

from hlens.evaluation import drops, score_across, transfer_by_format
from hlens.types.labels import ALL_MODELS, Pool
from test_transfer import A, domain, joined

B = (1, 7)


def made_scores(
    seed: int, *, drop: float = 0.0, shared: float = 0.0, n: int = 80, own: int = 0
) -> pd.DataFrame:
    """Scores of two domains' probes on each; `shared` is the part that is the question's own."""
    draw, of_question = np.random.default_rng([seed, own]), np.random.default_rng(seed)
    parts = []
    for test in ("a", "b"):
        label = np.arange(n) % 2 == 0
        both = {train: of_question.normal(size=n) for train in ("a", "b")}
        for train in ("a", "b"):
            noise = shared**0.5 * both[train] + (1 - shared) ** 0.5 * draw.normal(size=n)
            signal = 1.0 if train == test else 1.0 - drop
            parts.append(
                pd.DataFrame(
                    {
                        "train": train,
                        "test": test,
                        "question_id": [f"{test}{i}" for i in range(n)],
                        "group": [f"{test}{i}" for i in range(n)],
                        "hallucinated": label,
                        "fold": 0,
                        "score": signal * label + noise,
                        "n_train": n,
                        "note": "",
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def test_one_model_is_as_the_table_by_format_has_it() -> None:
    data = joined(domain("a", {A: 2.0}, seed=1), domain("b", {B: 2.0}, seed=2))
    probe = LogisticRegression(C=0.1)
    _, by_format = transfer_by_format(data, ["label"] * len(data), probe=probe, folds=3)
    expected = by_format.set_index("changed").loc["domain"]
    (row,) = drops({"m": score_across(data, probe, folds=3)}).to_dict("records")
    assert row["across"] == pytest.approx(expected["auroc"])
    assert row["drop"] == pytest.approx(expected["auroc_drop"])
    assert row["low"] == pytest.approx(expected["drop_low"], abs=0.004)
    assert (row["n_models"], row["n_domains"], row["n_pairs"]) == (1, 2, 2)
    assert np.isnan(row["spread_p"])


def test_what_is_lost_is_found_and_questions_of_several_models_count_once() -> None:
    one = made_scores(0, drop=1.0)
    alone, twin, both = drops({"x": one, "twin": one}).to_dict("records")
    assert alone["drop"] > 0.1
    assert alone["p"] < 0.01
    assert both["model"] == ALL_MODELS
    for column in ("within", "across", "drop", "low", "high", "p"):
        assert alone[column] == twin[column] == pytest.approx(both[column])
    assert np.isnan(both["spread_p"])


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_the_test_over_models_holds_its_error_rate(shared: float) -> None:
    """200 worlds without a drop, two models each that answer the same questions."""
    ps = np.array(
        [
            drops({f"m{own}": made_scores(seed, shared=shared, own=own) for own in (1, 2)})["p"]
            for seed in range(200)
        ]
    )
    assert (ps[:, 2] <= 0.05).mean() < 0.09
    assert (ps[:, 2] <= 0.5).mean() > 0.35


def test_three_models_say_something_of_others() -> None:
    scores = {f"m{own}": made_scores(own, drop=1.0, own=own) for own in range(3)}
    table = drops(scores).set_index("model")
    over_models, own = table.loc[ALL_MODELS], table["drop"].iloc[:3]
    assert over_models["drop"] == pytest.approx(own.mean())
    assert over_models["spread_low"] < own.mean() < over_models["spread_high"]
    assert over_models["n"] == 3 * 160


def test_a_model_that_was_asked_twice_counts_once() -> None:
    scores = {name: made_scores(seed) for seed, name in enumerate("abcd")}
    table = drops(scores, weights={"a": "m", "b": "m", "c": "n", "d": "n"}).set_index("model")
    own, mean = table.loc[list("abcd"), "drop"], table.loc[ALL_MODELS]
    assert (mean["n_models"], mean["n_studies"]) == (2, 4)
    assert np.isnan(mean["spread_p"])  # of two models, not of four
    three = drops(scores, weights={"a": "m", "b": "m", "c": "n", "d": "o"}).iloc[-1]
    by_model = [own[["a", "b"]].mean(), own["c"], own["d"]]
    assert three["drop"] == pytest.approx(np.mean(by_model))
    assert three["spread_p"] == pytest.approx(ttest_1samp(by_model, 0.0).pvalue)


def test_pooled_training_sets_are_no_other_domain() -> None:
    scores = made_scores(0)
    pooled = scores.loc[scores["train"] == "a"].assign(train=Pool.ALL.value)
    pd.testing.assert_frame_equal(
        drops({"m": scores}), drops({"m": pd.concat([scores, pooled], ignore_index=True)})
    )


def test_a_model_without_two_domains_has_no_drop() -> None:
    scores = made_scores(0)
    alone = scores.loc[(scores["train"] == "a") & (scores["test"] == "a")]
    pd.testing.assert_frame_equal(drops({"m": scores, "small": alone}), drops({"m": scores}))
    assert drops({"small": alone}).empty
    assert drops({}).empty
