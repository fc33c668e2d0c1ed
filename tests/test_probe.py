"""The probe solves what scikit-learn states, to a certificate that can fail."""

import os
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from hlens.errors import HlensError
from hlens.probe import ConvergenceError, SparseProbe, find, loss, newton, solver
from hlens.probe import design as design_module
from hlens.probe.centred_rows import CentredRows
from hlens.probe.crossval import assign_folds
from hlens.probe.design import Design
from hlens.probe.quadratic import Quadratic
from hlens.probe.training import at_C
from hlens.types import Contributions


def heavy_tailed(n: int, p: int, seed: int = 0, informative: int = 8):
    """Non-negative, correlated in pairs, of very different scales; some neurons informative."""
    draw = np.random.default_rng(seed)
    latent = np.repeat(draw.normal(size=(n, (p + 1) // 2)), 2, axis=1)[:, :p]
    X = np.abs(0.6 * latent + 0.8 * draw.normal(size=(n, p))) ** 1.5
    true = draw.choice(p, informative, replace=False)
    Z = (X[:, true] - X[:, true].mean(0)) / X[:, true].std(0)
    beta = np.where(np.arange(informative) % 2, -2.0, 2.0)
    y = draw.random(n) < 1 / (1 + np.exp(-Z @ beta))
    scale = np.exp(draw.normal(size=p))
    return (X * scale).astype(np.float32), y, true


def contributions(X: np.ndarray, y: np.ndarray, n_layers: int = 2, per_group: int = 2):
    n, p = X.shape
    values = torch.from_numpy(np.ascontiguousarray(X.T)).reshape(n_layers, p // n_layers, n)
    return Contributions(
        values.permute(2, 0, 1),
        torch.from_numpy(np.asarray(y, dtype=bool)),
        tuple(f"g{i // per_group}" for i in range(n)),
        ("general",) * n,
        tuple(f"q{i}" for i in range(n)),
        torch.ones(n, dtype=torch.long),
    )


def objective(X, y, w, b, C, l1_ratio, weight=None):
    z = X.astype(float) @ w + b
    loss = np.logaddexp(0.0, z) - y * z
    loss = loss.sum() if weight is None else weight @ loss
    return C * loss + l1_ratio * np.abs(w).sum() + 0.5 * (1 - l1_ratio) * w @ w


def agrees(probe, X, y, reference, C, l1_ratio):
    ours = objective(X, y, probe.coef_[0], probe.intercept_[0], C, l1_ratio)
    theirs = objective(X, y, reference.coef_[0], np.ravel(reference.intercept_)[0], C, l1_ratio)
    assert ours <= theirs * (1 + 1e-6)
    size = np.abs(reference.coef_).max()
    assert np.abs(probe.coef_ - reference.coef_).max() <= 1e-3 * size


@pytest.mark.parametrize(("C", "l1_ratio"), [(0.1, 1.0), (1.0, 1.0), (0.3, 0.5)])
def test_same_solution_as_scikit_learn(C, l1_ratio):
    X, y, _ = heavy_tailed(150, 40)
    X = StandardScaler().fit_transform(X)
    probe = SparseProbe(C=C, l1_ratio=l1_ratio, tol=1e-10).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        saga = LogisticRegression(C=C, l1_ratio=l1_ratio, solver="saga", tol=1e-9, max_iter=5000)
        saga.fit(X.astype(float), y)
    assert probe.n_selected_ > 0
    agrees(probe, X, y, saga, C, l1_ratio)


def test_same_solution_as_scikit_learn_without_an_intercept():
    X, y, _ = heavy_tailed(150, 400)
    probe = SparseProbe(C=1.0, fit_intercept=False, tol=1e-10).fit(X, y)
    exact = LogisticRegression(
        C=1.0,
        l1_ratio=1,
        solver="liblinear",
        tol=1e-10,
        max_iter=10000,
        fit_intercept=False,
        random_state=1,  # by the order it draws it takes 42 sweeps, or more than 10,000
    )
    agrees(probe, X, y, exact.fit(X.astype(float), y), 1.0, 1.0)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", [(120, 600), (300, 20)])
def test_l2_ceiling_is_scikit_learns(shape, fit_intercept):
    X, y, _ = heavy_tailed(*shape)
    probe = SparseProbe(C=0.01, penalty="l2", fit_intercept=fit_intercept, tol=1e-10).fit(X, y)
    exact = LogisticRegression(
        C=0.01, solver="newton-cholesky", tol=1e-12, max_iter=1000, fit_intercept=fit_intercept
    )
    agrees(probe, X, y, exact.fit(X.astype(float), y), 0.01, 0.0)


def test_liblinear_mode_is_the_papers_estimator():
    X, y, _ = heavy_tailed(100, 60)
    probe = SparseProbe(solver="liblinear", random_state=3).fit(X, y)
    paper = LogisticRegression(l1_ratio=1, solver="liblinear", max_iter=1000, random_state=3)
    paper.fit(X.astype(float), y)
    assert np.array_equal(probe.coef_, paper.coef_)
    assert np.isnan(probe.gap_)


def test_liblinear_without_a_seed_is_the_official_script_to_the_last_bit():
    X, y, _ = heavy_tailed(100, 60)
    official = LogisticRegression(
        l1_ratio=1, C=1.0, solver="liblinear", max_iter=1000, random_state=42
    ).fit(X, y)
    probe = SparseProbe(solver="liblinear").fit(X, y)
    assert np.array_equal(probe.coef_, official.coef_)
    assert np.array_equal(probe.intercept_, official.intercept_)
    other = SparseProbe(solver="liblinear", random_state=0).fit(X, y)
    assert not np.array_equal(other.coef_, official.coef_)
    weights = find(contributions(X, y), SparseProbe(solver="liblinear")).weights.flatten()
    assert np.array_equal(weights.numpy(), official.coef_[0].astype(np.float32))


@pytest.mark.parametrize(
    "probe",
    [SparseProbe(), SparseProbe(l1_ratio=0.5, scale="feature"), SparseProbe(penalty="l2")],
    ids=["l1", "elastic-net-scaled", "l2"],
)
def test_is_a_scikit_learn_estimator(probe):
    for estimator, check in estimator_checks_generator(probe):
        if "array_api" not in str(check):  # asks for SCIPY_ARRAY_API in the environment
            check(estimator)


def test_grid_search_clone_and_pipeline():
    X, y, _ = heavy_tailed(120, 30)
    pipe = make_pipeline(StandardScaler(), SparseProbe(class_weight="balanced"))
    search = GridSearchCV(pipe, {"sparseprobe__C": [0.01, 0.3]}, scoring="roc_auc", cv=3)
    search.fit(X, y)
    assert search.best_params_["sparseprobe__C"] == 0.3
    assert clone(pipe[-1]).get_params() == pipe[-1].get_params()


def test_cross_validation_in_lockstep_is_cross_validation_one_by_one():
    X, y, _ = heavy_tailed(120, 50)
    groups = np.arange(120) // 3
    probe = SparseProbe(C="cv", scale="feature", n_points=6, cv=3, tol=1e-9)
    validation = probe.fit(X, y, groups=groups).cv_
    fold = assign_folds(y.astype(float), groups, n_folds=3, seed=None)
    assert np.array_equal(validation.fold, fold)
    assert all(len(set(fold[groups == g])) == 1 for g in groups)
    k = 4
    one = SparseProbe(C=float(validation.C[k]), scale="feature", tol=1e-9)
    one.fit(X[fold != 1], y[fold != 1])
    expected = one.decision_function(X[fold == 1])
    assert np.allclose(validation.scores[k, fold == 1], expected, atol=1e-4)


def test_certificate_is_true_and_can_fail():
    X, y, _ = heavy_tailed(150, 3000)  # far more neurons than a working set holds
    for C in (0.3, 1.0, 3.0):
        probe = SparseProbe(C=C, tol=1e-8).fit(X, y)
        w, b, n = probe.coef_[0], probe.intercept_[0], len(y)
        assert probe.gap_ <= 1e-8
        assert gap_of(X, y, w, b, C) <= 2e-6  # the pass that certifies is float32
    probe = SparseProbe(C=1.0, tol=1e-8).fit(X, y)
    w, b, n = probe.coef_[0], probe.intercept_[0], len(y)
    worse = w.copy()
    worse[np.argmax(np.abs(w))] *= 1.05
    assert gap_of(X, y, worse, b, 1.0) > 1e-5
    other = objective(X, y, worse, b, 1.0, 1.0) - objective(X, y, w, b, 1.0, 1.0)
    assert gap_of(X, y, worse, b, 1.0) * n * loss.entropy(np.array([y.mean()]))[0] >= other


def gap_of(X, y, w, b, C):
    """The duality gap over the null objective, from the definition and with nothing shared."""
    X, y = X.astype(float), y.astype(float)
    z = X @ w + b
    p = 1 / (1 + np.exp(-z))
    r = p - y
    up, down = r[r > 0].sum(), -r[r < 0].sum()
    r = np.where(r > 0, r * min(1, down / up), r * min(1, up / down))
    r *= min(1.0, 1.0 / (C * np.abs(X.T @ r).max()))
    q = np.clip(y + r, 1e-300, 1 - 1e-16)
    dual = C * -(q * np.log(q) + (1 - q) * np.log(1 - q)).sum()
    share = y.mean()
    null = -C * len(y) * (share * np.log(share) + (1 - share) * np.log(1 - share))
    return (objective(X, y, w, b, C, 1.0) - dual) / null


def test_the_round_limit_is_loud():
    X, y, _ = heavy_tailed(100, 300)
    with pytest.raises(ConvergenceError, match=r"duality gap of 1e-06 after 1 rounds"):
        SparseProbe(C=10.0, max_iter=1).fit(X, y)
    with pytest.raises(ConvergenceError, match="L2 probe"):
        SparseProbe(C=10.0, penalty="l2", max_iter=1).fit(X, y)


@pytest.mark.parametrize("scale", ["feature", "layer"])
def test_scaling_is_by_penalty_and_weights_are_in_original_units(scale):
    X, y, _ = heavy_tailed(150, 40)
    deviation = X.astype(float).std(axis=0)
    if scale == "layer":
        deviation = np.repeat(np.sqrt((deviation**2).reshape(4, 10).mean(axis=1)), 10)
    probe = SparseProbe(C=0.2, scale=scale, n_layers=4, tol=1e-10).fit(X, y)
    plain = SparseProbe(C=0.2, tol=1e-10).fit(X / deviation, y)
    assert np.allclose(probe.coef_, plain.coef_ / deviation, rtol=1e-3, atol=1e-6)
    assert np.allclose(
        probe.decision_function(X), plain.decision_function(X / deviation), atol=1e-4
    )


@pytest.mark.parametrize("class_weight", [None, "balanced", {False: 1.0, True: 3.0}])
def test_sample_weight_is_repetition(class_weight):
    X, y, _ = heavy_tailed(60, 30)
    times = np.random.default_rng(1).integers(0, 4, size=60)
    probe = SparseProbe(C=0.3, scale="feature", class_weight=class_weight, tol=1e-10)
    weighted = clone(probe).fit(X, y, sample_weight=times)
    repeated = clone(probe).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    assert np.allclose(weighted.coef_, repeated.coef_, atol=1e-6)
    assert np.allclose(weighted.intercept_, repeated.intercept_, atol=1e-6)


def test_same_numbers_over_any_number_of_threads(monkeypatch):
    X, y, _ = heavy_tailed(100, 3000)
    monkeypatch.setitem(design_module.CHUNK_ELEMENTS, "cpu", 20000)

    def solve(threads: int):
        design = Design(torch.from_numpy(X).T.contiguous(), threads)
        weights = np.random.default_rng(0).random((3, 100)) < 0.8
        options = solver.Options()
        paths = solver.solve_many(
            design, y.astype(float), weights * 1.0, at_C(np.array([0.1, 0.5])), options=options
        )
        return [(s.features.tolist(), s.values.tolist(), s.bias, s.gap) for q in paths for s in q]

    once = solve(1)
    before = torch.get_num_threads()
    assert solve(2) == once == solve(2)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_memory_mapped_and_half_precision_input(tmp_path, dtype):
    X, y, _ = heavy_tailed(100, 200)
    X = X.astype(dtype)
    np.save(tmp_path / "X.npy", np.ascontiguousarray(X.T))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r").T
    expected = SparseProbe(C=0.5, tol=1e-9).fit(X.astype(np.float64), y)
    found = SparseProbe(C=0.5, tol=1e-9).fit(mapped, y)
    assert np.allclose(found.coef_, expected.coef_, atol=1e-5)
    assert np.allclose(found.predict_proba(mapped), expected.predict_proba(X), atol=1e-5)


def test_the_solution_does_not_depend_on_how_far_the_solver_looks_ahead():
    X, y, _ = heavy_tailed(100, 500)
    design = Design(torch.from_numpy(X).T)
    one = np.ones((1, 100))
    found = [
        solver.solve_many(
            design,
            y * 1.0,
            one,
            at_C(np.geomspace(0.05, 2, 9)),
            options=solver.Options(look_ahead=L),
        )[0]
        for L in (1, 3, 8)
    ]
    for path in found[1:]:
        for a, b in zip(found[0], path, strict=True):
            assert a.objective == pytest.approx(b.objective, rel=1e-5)


@pytest.mark.parametrize("Cs", [[0.3, 0.3, 0.3], [0.1, 0.1001, 0.1001, 4.0], [0.05, 0.051, 9.0]])
def test_a_penalty_is_solved_alike_after_any_others(Cs):
    X, y, _ = heavy_tailed(100, 500)
    design = Design(torch.from_numpy(X).T)

    def solve(Cs):
        options = solver.Options(tol=1e-9)
        schedule = at_C(np.array(Cs))
        return solver.solve_many(design, y * 1.0, np.ones((1, 100)), schedule, options=options)[0]

    for C, found in zip(Cs, solve(Cs), strict=True):
        (alone,) = solve([C])
        assert found.objective == pytest.approx(alone.objective, rel=1e-7)
        assert found.features.tolist() == alone.features.tolist()


def test_few_examples_that_are_all_but_separated_are_solved_on_the_whole_path():
    """More features than examples: curvature is singular, and pivoting alone goes in circles."""
    X, y, _ = heavy_tailed(60, 4000)
    design = Design(torch.from_numpy(X).T)
    none_left_out = np.ones((1, 60))

    def schedule(top, _):
        return top * np.geomspace(1, 1e-4, 30), np.ones(30, dtype=bool)

    options = solver.Options(explained=0.9999, max_rounds=15)
    path = solver.solve_many(design, y * 1.0, none_left_out, schedule, options=options)[0]
    assert max(s.gap for s in path) <= 1e-6
    assert path[-1].explained > 0.99
    last = path[-1]
    w = np.zeros(4000)
    w[last.features] = last.values
    assert gap_of(X, y, w, last.bias, 1 / (last.penalty * 60)) <= 1e-5


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_more_features_than_examples_are_selected(l1_ratio):
    """Each feature twice, so that more are selected than there are examples (350)."""
    random = np.random.default_rng(0)
    half = random.gamma(2.0, 1.0, (350, 450)).astype(np.float32)
    y = (random.random(350) < 0.5).astype(float)
    design = Design(torch.from_numpy(np.hstack([half, half])).T.contiguous())

    def schedule(top, _):
        return top * np.geomspace(1, 1e-3, 15), np.ones(15, dtype=bool)

    options = solver.Options(l1_ratio=l1_ratio, max_rounds=60)
    path = solver.solve_many(design, y, np.ones((1, 350)), schedule, options=options)[0]
    assert max(s.gap for s in path) <= 1e-6
    assert max(len(s.features) for s in path) > 350


def test_a_path_ends_where_the_deviance_is_explained_and_a_given_C_does_not():
    X, y, _ = heavy_tailed(60, 600)
    probe = SparseProbe(C="cv", cv=3, n_points=30, path_ratio=1e-5).fit(X, y)
    assert 5 < len(probe.cv_.C) < 30
    assert probe.cv_.auroc.shape == (len(probe.cv_.C), 3)
    assert "explains more than 99.9%" in probe.cv_.ended
    ceiling = SparseProbe(C="cv", cv=3, n_points=10, path_ratio=1e-9, penalty="l2").fit(X, y)
    assert len(ceiling.cv_.C) < 10
    beyond = SparseProbe(C=10 * float(probe.cv_.C[-1])).fit(X, y)
    assert beyond.gap_ <= 1e-6
    assert beyond.solution_.explained > 0.9995


def test_duplicated_and_constant_neurons_are_harmless():
    X, y, _ = heavy_tailed(100, 40)
    X = np.hstack([X, X, np.ones((100, 3), dtype=np.float32), np.zeros((100, 1), dtype=np.float32)])
    for scale in (None, "feature"):
        probe = SparseProbe(C=1.0, scale=scale).fit(X, y)
        assert not probe.coef_[0, 80:].any()
        assert probe.gap_ <= 1e-6


def test_a_target_number_of_neurons_is_met():
    X, y, _ = heavy_tailed(150, 300)
    for wanted in (1, 7, 25):
        assert SparseProbe(n_neurons=wanted).fit(X, y).n_selected_ == wanted
    with pytest.raises(HlensError, match="no penalty selects 41 neurons"):
        SparseProbe(n_neurons=41).fit(X[:, :40], y)


def test_find_sees_planted_neurons_and_their_sign():
    X, y, true = heavy_tailed(600, 400, informative=6)
    data = contributions(X, y)
    detector = find(data, SparseProbe(C="cv", scale="feature", rule="1se"))
    selected = {layer * 200 + neuron for layer, neuron in detector.selected}
    positive = {layer * 200 + neuron for layer, neuron in detector.neurons}
    assert set(true.tolist()) <= selected
    assert set(true[::2].tolist()) <= positive
    assert not set(true[1::2].tolist()) & positive
    assert detector.fit["gap"] <= 1e-6
    assert detector.fit["cv_auroc"] > 0.9
    assert detector.calibration is not None
    assert detector.calibration.ece < 0.1
    right = (detector.predict(data) == data.labels).float().mean()
    assert right > 0.85


def test_find_finds_nothing_in_shuffled_labels():
    X, y, _ = heavy_tailed(300, 200)
    shuffled = np.random.default_rng(0).permutation(y)
    detector = find(contributions(X, shuffled), SparseProbe(C=0.05))
    assert abs(detector.fit["cv_auroc"] - 0.5) < 0.12


def test_bad_input_is_named():
    X, y, _ = heavy_tailed(60, 20)
    for bad, word in ((np.nan, "NaN"), (np.inf, "inf")):
        broken = X.copy()
        broken[7, 13] = bad
        with pytest.raises(HlensError, match=rf"{word}.*example 7, neuron \(feature\) 13"):
            SparseProbe().fit(broken, y)
    with pytest.raises(HlensError, match=r"all 60 examples are true answers"):
        find(contributions(X, np.zeros(60)))
    with pytest.raises(HlensError, match=r"3 groups are fewer than the 5 folds"):
        find(contributions(X, y, per_group=20))
    with pytest.raises(HlensError, match=r"one class only"):
        find(contributions(X, np.arange(60) // 10 % 2, per_group=10))
    for constant in (SparseProbe(), SparseProbe(C="cv", cv=2), SparseProbe(scale="feature")):
        with pytest.raises(HlensError, match="every feature is constant"):
            constant.fit(np.full_like(X, 0.3), y)
    for option in (
        {"C": -1},
        {"scale": "row"},
        {"l1_ratio": 2},
        {"solver": "liblinear", "C": "cv"},
    ):
        with pytest.raises(HlensError):
            SparseProbe(**option).fit(X, y)
    with pytest.raises(HlensError, match="n_layers"):
        SparseProbe(scale="layer", n_layers=3).fit(X, y)


def test_what_is_read_is_checked_as_what_was_fitted():
    X, y, _ = heavy_tailed(60, 20)
    probe = SparseProbe(C=1.0).fit(X, y)
    chosen = int(np.flatnonzero(probe.coef_)[0])
    for bad, word in ((np.nan, "nan"), (np.inf, "inf")):
        broken = torch.from_numpy(X.copy())
        broken[7, chosen] = bad
        for read in (probe.predict, probe.predict_proba, probe.decision_function):
            with pytest.raises(HlensError, match=rf"{word} at example 7, .* {chosen};"):
                read(broken)
        with pytest.raises(HlensError, match="Input X contains"):
            probe.predict(broken.numpy())
    whole = torch.from_numpy(X)
    assert np.array_equal(probe.predict(whole), probe.predict(X))
    sparse = whole.to_sparse()
    for wrong in (sparse, whole[0], whole[None], whole.to(torch.complex64)):
        with pytest.raises(HlensError, match="expected a dense tensor"):
            probe.predict(wrong)
        with pytest.raises(HlensError, match="expected a dense tensor"):
            SparseProbe().fit(wrong, y)
    with pytest.raises(HlensError, match="19 features"):
        probe.predict(whole[:, 1:])


def test_class_weights_name_labels_that_there_are():
    X, y, _ = heavy_tailed(60, 20)
    y = y.astype(bool)
    for weights in ({2: 3}, {"1": 2}, {True: 1, "no": 2}):
        with pytest.raises(HlensError, match=r"is no label here; the labels are .*False.*True"):
            SparseProbe(class_weight=weights).fit(X, y)
    for weight in (-1, float("nan"), 0, "2", None):
        with pytest.raises(HlensError, match=r"class_weight of .*; expected a number above 0"):
            SparseProbe(class_weight={True: weight}).fit(X, y)
    by_bool, by_int = (
        SparseProbe(class_weight=weights).fit(X, y) for weights in ({True: 3}, {1: 3.0, 0: 1.0})
    )
    assert np.array_equal(by_bool.coef_, by_int.coef_)
    repeated = np.r_[np.arange(60), np.flatnonzero(y), np.flatnonzero(y)]
    heavier = SparseProbe().fit(X[repeated], y[repeated])
    assert np.allclose(by_bool.coef_, heavier.coef_, atol=1e-4)


def test_sample_weights_and_options_out_of_range_are_one_line():
    X, y, _ = heavy_tailed(60, 20)
    for weights in (-np.ones(60), np.full(60, np.nan), np.ones(59), np.zeros(60), y * 1.0):
        with pytest.raises(HlensError) as raised:
            SparseProbe().fit(X, y, sample_weight=weights)
        assert "\n" not in str(raised.value)
    for option in (
        {"C": float("nan")}, {"C": True}, {"C": 1e308}, {"C": "1"}, {"C": None}, {"tol": 0},
        {"max_iter": 0}, {"n_neurons": 0}, {"random_state": -1},
        {"l1_ratio": "1"}, {"class_weight": [1, 2]}, {"class_weight": "balance"},
    ):  # fmt: skip
        with pytest.raises(HlensError, match="expected"):
            SparseProbe(**option).fit(X, y)
    taken = SparseProbe(C=np.int64(1), l1_ratio=np.float32(1), max_iter=np.int64(200)).fit(X, y)
    assert np.array_equal(taken.coef_, SparseProbe(C=1.0).fit(X, y).coef_)
    for labels in (np.ones(60), ["a"] * 60):
        with pytest.raises(HlensError, match="only one class"):
            SparseProbe().fit(X, labels)


def test_small_problem_survives_a_start_far_away():
    X, y, _ = heavy_tailed(80, 10)
    Z = X.T.astype(float) - X.mean(axis=0, dtype=float)[:, None]
    problem = newton.Subproblem(
        X=CentredRows(Z, np.zeros(10)),
        y=y * 1.0,
        a=np.full(80, 1 / 80),
        l1=np.full(10, 1e-3),
        l2=np.zeros(10),
        intercept=True,
    )
    near = newton.solve(problem, np.zeros(10), 0.0, tolerance=1e-12)
    far = newton.solve(problem, np.full(10, 5.0) / X.std(axis=0), 3.0, tolerance=1e-12)
    assert np.allclose(near.w, far.w, atol=1e-5)


FINGERPRINT = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from test_probe import contributions, heavy_tailed
from hlens.probe import SparseProbe, find
from hlens.selection import stability
X, y, _ = heavy_tailed(160, 14000)
data = contributions(X, y)
told = find(data, SparseProbe(C=2.0, scale="feature"))
dense = SparseProbe(C=1e-4, penalty="l2").fit(X, y)
often = stability(data, n_pairs=3, n_points=4).frequency
parts = told.weights.numpy().tobytes(), repr((told.bias, told.threshold)).encode()
print(hashlib.sha256(b"".join(parts) + dense.coef_.tobytes() + often.numpy().tobytes()).hexdigest())
"""


def test_another_process_with_other_threads_finds_the_same_numbers():
    code = FINGERPRINT.format(tests=str(Path(__file__).parent))
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "3")
    ]
    assert len(found[0].strip()) == 64
    assert found[0] == found[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_finds_the_same_to_1e_4():
    X, y, _ = heavy_tailed(200, 2000)
    neuron_major = torch.from_numpy(np.ascontiguousarray(X.T))
    for probe in (SparseProbe(C=1.0, scale="feature"), SparseProbe(C=0.01, penalty="l2")):
        on_cpu = clone(probe).fit(neuron_major.T, y)
        on_gpu = clone(probe).fit(neuron_major.cuda().T, y)
        size = np.abs(on_cpu.coef_).max()
        assert np.abs(on_gpu.coef_ - on_cpu.coef_).max() <= 1e-4 * size


def test_what_float32_cannot_settle_is_settled_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on real contributions scaled by feature: a slope that float32 took for none kept the gap
    above its tolerance, round after round."""
    settled = newton.minimise

    def settle(model: Quadratic, gradient: np.ndarray, **parts: np.ndarray) -> np.ndarray:
        step = settled(model, gradient, **parts)
        coarse = model.H.dtype == np.float32
        return np.where(np.abs(step) > 1e-3 * np.abs(parts["w"]), step, 0.0) if coarse else step

    monkeypatch.setattr(newton, "minimise", settle)
    draw = np.random.default_rng(0)
    X = draw.gamma(1.0, size=(600, 2000)).astype(np.float32)
    y = (X[:, :40].sum(axis=1) + draw.normal(size=600) * 4 > 40).astype(float)
    fitted = SparseProbe(C=1.0, scale="feature").fit(X, y)
    assert fitted.n_selected_ > 150  # float64 up to 128
    assert fitted.gap_ <= 1e-6


# Beside the shape: examples, features, whether scales are heavy-tailed.
GRID = [(n, n * 20, heavy) for n in (100, 250, 500) for heavy in (False, True)]
RATIOS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


@pytest.mark.parametrize("scale", [None, "feature"])
@pytest.mark.parametrize(("n", "p", "heavy"), GRID)
def test_no_penalty_takes_the_search_far_longer_than_its_neighbours(
    n: int, p: int, heavy: bool, scale: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in linear systems, which no clock disturbs; near saturation it went on for ever."""
    from hlens.probe import minimum

    solved = 0
    direction = minimum._direction

    def count(*args, **options):
        nonlocal solved
        solved += 1
        assert solved < 3000, "the search goes on and on"
        return direction(*args, **options)

    monkeypatch.setattr(minimum, "_direction", count)
    random = np.random.default_rng(n)
    X = random.gamma(2.0, 1.0, (n, p)) * (np.exp(random.standard_normal(p)) if heavy else 1.0)
    X = X.astype(np.float32)
    z = (X[:, :20] - X[:, :20].mean(0)) / X[:, :20].std(0)
    y = (random.random(n) < 1 / (1 + np.exp(-z @ random.uniform(-0.7, 0.7, 20)))).astype(int)
    sizes = X.std(0) if scale else np.ones(p)
    top = float(np.max(np.abs(X.T @ ((y.mean() - y) / n)) / sizes))
    counts = []
    for ratio in RATIOS:
        solved = 0
        probe = SparseProbe(C=1 / (n * top * ratio), scale=scale).fit(X, y)
        assert probe.gap_ <= 1e-6
        counts.append(max(solved, 20))
    for before, after in pairwise(counts):
        assert after <= 5 * before, dict(zip(RATIOS, counts, strict=True))
