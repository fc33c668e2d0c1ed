"""Each rival that learns agrees with another way to the same numbers (scikit-learn, SciPy)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import cosine, hamming
from scipy.special import entr
from scipy.stats import spearmanr
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import euclidean_distances, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from hlens.baselines import by_entailment, named, position, semantic_entropy
from hlens.baselines._learning import best_place, folds, places, states
from hlens.baselines.mass_mean import along_means
from hlens.model.k_sparse_probe import fit_k_sparse_probe
from hlens.probe import SparseProbe
from hlens.probe.stacking import CS, splits_of
from hlens.types import Evidence
from planted import evidence


@pytest.fixture(scope="module")
def parts() -> tuple[Evidence, Evidence]:
    found = evidence(160, signal="residual", shift=1.0)
    return halves(found)


def halves(found: Evidence) -> tuple[Evidence, Evidence]:
    """80 to train on, and the rest to test."""
    rows = torch.arange(len(found))
    return found.select(rows < 80), found.select(rows >= 80)


def chosen(train: Evidence, Cs: Sequence[float] = CS) -> LogisticRegressionCV:
    """Logistic regression with C by cross-validation, as scikit-learn itself chooses it."""
    return LogisticRegressionCV(
        Cs=list(Cs),
        cv=splits_of(folds(train.labels, train.groups, 0)),
        scoring="roc_auc",
        class_weight="balanced",
        max_iter=5000,
        tol=1e-6,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )


def sklearn_scores(
    X: np.ndarray, train: Evidence, other: np.ndarray, Cs: Sequence[float] = CS
) -> np.ndarray:
    """Its scores on standardised features."""
    model = make_pipeline(StandardScaler(), chosen(train, Cs)).fit(X, train.labels.numpy())
    return model.decision_function(other)


def test_logistic_regression(parts: tuple[Evidence, Evidence]) -> None:
    train, test = parts
    X, other = position.features(train), position.features(test)
    own = named("position")(train, test)
    np.testing.assert_allclose(own, sklearn_scores(X, train, other), atol=1e-4)
    X, other = (part.lookback.flatten(1).double().numpy() for part in parts)  # pyright: ignore
    own = named("lookback")(train, test)
    np.testing.assert_allclose(own, sklearn_scores(X, train, other), atol=1e-4)


def test_the_residual_probe_at_its_layer(parts: tuple[Evidence, Evidence]) -> None:
    train, test = parts
    own = named("residual_probe")(train, test).numpy()
    found = [
        np.allclose(own, sklearn_scores(states(train, at), train, states(test, at)), atol=1e-3)
        for at in places(train)
    ]
    assert sum(found) == 1


def test_the_mass_mean_orders_as_the_nearest_centroid(parts: tuple[Evidence, Evidence]) -> None:
    train, test = parts
    label = train.labels.numpy()
    place = best_place(train, folds(train.labels, train.groups, 0), along_means)
    X, other = states(train, place), states(test, place)
    centroids = np.stack([X[~label].mean(0), X[label].mean(0)])
    to_true, to_false = euclidean_distances(other, centroids, squared=True).T
    own = named("mass_mean")(train, test).numpy()
    assert spearmanr(own, to_true - to_false).statistic > 0.99999


def test_the_network_reads_what_no_direction_does() -> None:
    found = evidence(240, signal="")
    assert found.residual is not None
    moved = found.residual.clone()
    side = torch.from_numpy(np.random.default_rng(4).choice([-1.0, 1.0], len(found))).float()
    moved[:, :, 2] = 2 * side[:, None] + 0.3 * moved[:, :, 2]  # two signs that agree, or do not
    moved[:, :, 3] = 2 * (side * (1 - 2 * found.labels.float()))[:, None] + 0.3 * moved[:, :, 3]
    train, test = halves(replace(found, residual=moved, residual_last=moved))
    label = test.labels.numpy()
    assert roc_auc_score(label, named("saplma")(train, test).numpy()) > 0.9
    assert roc_auc_score(label, named("residual_probe")(train, test).numpy()) < 0.7


def test_drift_is_logistic_regression_on_scipys_distances() -> None:
    train, test = halves(evidence(160, signal="drift", shift=1.0))

    def features(part: Evidence) -> np.ndarray:
        rows = []
        for row in range(len(part)):
            numbers = []
            for found in (part.residual, part.residual_last):
                layers = found[row].double().numpy()  # pyright: ignore
                pairs = list(pairwise(layers))
                numbers += [1 - cosine(a, b) for a, b in pairs]
                numbers += [np.log(np.linalg.norm(b - a) / np.linalg.norm(a)) for a, b in pairs]
            rows.append(numbers)
        return np.array(rows)

    expected = sklearn_scores(features(train), train, features(test))
    np.testing.assert_allclose(named("drift")(train, test), expected, atol=1e-4)
    assert roc_auc_score(test.labels, expected) > 0.9


def test_the_layer_is_the_best_of_the_training_part() -> None:
    found = evidence(120, signal="residual", shift=2.0)
    moved = found.residual.clone()  # pyright: ignore
    moved[:, 2, 4] += 9.0 * found.labels  # far more in the last layer
    train = replace(found, residual=moved)
    fold = folds(train.labels, train.groups, 0)
    assert best_place(train, fold, along_means) == ("residual", 2)


def test_the_direction_of_length_is_that_of_a_stump() -> None:
    for turned in (False, True):
        part = evidence(120, signal="n_tokens")
        labels = part.labels ^ turned
        part = replace(part, contributions=replace(part.contributions, labels=labels))
        n = part.n_tokens[:, None].numpy()
        stump = DecisionTreeClassifier(max_depth=1).fit(n, labels.numpy())
        agree = roc_auc_score(stump.predict(n), named("length")(part, part).numpy())
        assert agree > 0.99


def test_the_dense_probe_is_logistic_regression_on_standardised_neurons() -> None:
    found = evidence(120, signal="contributions", shift=1.0)
    train, test = halves(found)
    scaled = StandardScaler().fit(train.contributions.neuron_major.T.double().numpy())
    X, other = (
        scaled.transform(part.contributions.neuron_major.T.double().numpy())
        for part in (train, test)
    )
    probe = SparseProbe(penalty="l2", class_weight="balanced")
    grid = probe.training_set(torch.from_numpy(X), train.labels.numpy()).grid(12, 0.01)[0]
    expected = sklearn_scores(X, train, other, Cs=grid)
    np.testing.assert_allclose(named("dense_probe")(train, test), expected, atol=5e-3)


def test_the_activation_probe_is_scaled_l1_logistic_regression_at_one_c_of_its_grid() -> None:
    found = evidence(120, signal="activations", shift=0.5)
    train, test = halves(found)
    X, other = (part.activations.neuron_major.T for part in (train, test))  # pyright: ignore
    own = named("activation_probe")(train, test).numpy()
    probe = SparseProbe(scale="feature", class_weight="balanced")
    grid = probe.training_set(X, train.labels.numpy()).grid(30, 0.01)[0]
    scaler = StandardScaler().fit(X.double().numpy())
    plain = LogisticRegression(
        solver="saga", l1_ratio=1, class_weight="balanced", tol=1e-7, max_iter=20_000
    )
    scaled, held_out = (scaler.transform(part.double().numpy()) for part in (X, other))
    scores = [
        plain.set_params(C=C).fit(scaled, train.labels.numpy()).decision_function(held_out)
        for C in grid
    ]
    assert sum(np.allclose(own, score, atol=5e-3) for score in scores) == 1


def test_text_and_question_are_a_pipeline_of_scikit_learn() -> None:
    found = evidence(120, signal="answers")
    train, test = halves(found)
    words = {"token_pattern": r"\S+", "ngram_range": (1, 2), "sublinear_tf": True}
    letters = {"analyzer": "char_wb", "ngram_range": (2, 4), "sublinear_tf": True}
    for name, parts_of in (("text", ["questions", "answers"]), ("question", ["questions"])):
        X, other = (
            pd.DataFrame({part: getattr(which, part) for part in parts_of})
            for which in (train, test)
        )
        vectors = make_column_transformer(
            *[(TfidfVectorizer(**how), part) for part in parts_of for how in (words, letters)]
        )
        model = make_pipeline(vectors, chosen(train)).fit(X, train.labels.numpy())
        own = named(name)(train, test)
        np.testing.assert_allclose(own, model.decision_function(other), atol=1e-3, err_msg=name)


def test_the_least_likely_token_and_the_share_of_samples_that_differ() -> None:
    found = evidence(60, signal="samples")
    tokens = pd.Series(found.logprobs).explode().astype(float)
    expected = -tokens.groupby(level=0).min().to_numpy()
    np.testing.assert_allclose(named("min_logprob")(found, found), expected, rtol=1e-6)
    assert found.samples is not None
    rows = zip(found.answers, found.samples, strict=True)
    differ = [hamming([answer] * len(samples), samples) for answer, samples in rows]
    np.testing.assert_allclose(named("self_consistency")(found, found), differ, rtol=1e-6)


def test_the_k_sparse_probe_scores_as_its_tool(parts: tuple[Evidence, Evidence]) -> None:
    from transformer_lens.tools.analysis.sparse_probing import fit_sparse_probe

    train, _ = parts
    X = train.contributions.neuron_major.T
    code = torch.from_numpy(np.unique(np.asarray(train.groups), return_inverse=True)[1])
    aurocs = {
        k: fit_sparse_probe(
            X, train.labels, k=k, groups=code, preprocess="standardize"
        ).metrics.roc_auc
        for k in (1, 4)
    }
    fitted = fit_k_sparse_probe(X, train.labels, train.groups, ks=(1, 4))
    assert len(fitted.features) == max(aurocs, key=lambda k: (aurocs[k], -k))
    again = fit_sparse_probe(
        X, train.labels, k=len(fitted.features), groups=code, preprocess="standardize",
        test_fraction=1e-9,
    )  # fmt: skip
    held_out = again.test_indices
    scores = fitted(X)[held_out]
    assert len(held_out) < 8  # nearly all of the training part is used
    assert roc_auc_score(train.labels[held_out], scores) == pytest.approx(again.metrics.roc_auc)


def test_semantic_entropy_is_the_entropy_of_the_shares() -> None:
    meanings = np.array([0, 1, 1, 2, 2, 2])
    expected = entr(np.array([1, 2, 3]) / 6).sum()
    assert semantic_entropy.counted_entropy(meanings) == pytest.approx(expected)
    equal = np.log(np.full(6, 1 / 6))  # equally likely samples that are all there is
    assert semantic_entropy.likely_entropy(meanings, equal) == pytest.approx(expected)


def test_meanings_by_entailment_need_both_directions() -> None:
    holds = {("a city in France", "Paris"): 0.0}  # Paris entails a city in France, not the reverse

    def entails(pairs: list[tuple[str, str]]) -> list[float]:
        return [holds.get((a.removeprefix("? "), b.removeprefix("? ")), 1.0) for a, b in pairs]

    alike = by_entailment(entails)
    assert alike("?", ["Paris", "a city in France", "Paris, France"]) == [0, 1, 0]
    rival = semantic_entropy.by(lambda question, answers: [0] * len(answers), likelihood=True)
    assert rival.needs == {"samples", "sample_logprobs"}
