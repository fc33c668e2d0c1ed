"""The shortcuts of a Newton step say what the long way says."""

import numpy as np
import pytest

from hlens.probe.centred_rows import CentredRows
from hlens.probe.minimum import factorise, minimise, solve_bordered
from hlens.probe.quadratic import Factor, Quadratic, build_quadratic, extend_quadratic


def small(n_features: int, n: int = 300, seed: int = 0):
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n_features, n)) * np.exp(draw.normal(size=(n_features, 1)))
    X -= X.mean(axis=1, keepdims=True)
    h = draw.uniform(0.05, 0.25, n) / n
    return X, h, draw.uniform(0.0, 0.1, n_features), draw


def model_of_all(
    X: np.ndarray, h: np.ndarray, l2: np.ndarray, *, allow_float32: bool = False
) -> Quadratic:
    rows, every = CentredRows(X, np.zeros(len(X))), np.arange(len(X))
    return build_quadratic(rows, every, h=h, l2=l2, intercept=True, allow_float32=allow_float32)


def plain(X: np.ndarray, h: np.ndarray, l2: np.ndarray) -> np.ndarray:
    """Hessian of the weights once the intercept is at its best, from the definition."""
    mixed = X @ h
    return (X * h) @ X.T - np.outer(mixed, mixed) / h.sum() + np.diag(l2)


@pytest.mark.parametrize("n_features", [40, 160])  # float64 and float32
def test_curvature_and_its_extension_are_the_hessian(n_features: int) -> None:
    X, h, l2, draw = small(n_features)
    some = np.sort(draw.choice(n_features, n_features * 9 // 10, replace=False))
    rows = CentredRows(X + 3.0, np.full(n_features, 3.0))
    first = build_quadratic(rows, some, h=h, l2=l2, intercept=True, allow_float32=True)
    whole = extend_quadratic(first, rows, np.arange(n_features), l2=l2, intercept=True)
    unscaled = whole.H / np.outer(whole.scale, whole.scale)
    at = whole.features
    assert sorted(at) == list(range(n_features))
    expected = plain(X, h, l2)[np.ix_(at, at)]
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((unscaled - expected) / size).max() < (1e-12 if n_features < 128 else 1e-5)
    assert np.allclose(whole.intercept_response, -(X @ h)[at] / h.sum(), rtol=1e-4, atol=1e-6)


def test_a_bordered_factor_solves_the_changed_system() -> None:
    X, h, l2, draw = small(60)
    H = model_of_all(X, h, l2).H
    at = np.arange(5, 45)
    factor = Factor(at, factorise(H, at))
    gone, new = np.array([3, 7]), np.array([0, 50, 59])  # positions in the factor; in the model
    right = draw.normal(size=60)
    free = np.union1d(np.delete(at, gone), new)
    expected = np.zeros(60)
    expected[free] = np.linalg.solve(H[np.ix_(free, free)] + 1e-9 * np.eye(len(free)), right[free])
    assert np.allclose(
        solve_bordered(H, factor, gone=gone, new=new, right=right), expected, atol=1e-6
    )


@pytest.mark.parametrize("n_features", [30, 200])
def test_the_minimum_of_the_model_meets_its_conditions(n_features: int) -> None:
    """Subgradient conditions at the minimum, from starts near and far, with a factor or none."""
    X, h, l2, draw = small(n_features, n=500)
    model = model_of_all(X, h, l2, allow_float32=True)
    H = plain(X, h, l2)
    gradient = draw.normal(size=n_features) * np.sqrt(np.diag(H))
    l1 = 0.8 * np.sqrt(np.diag(H))
    w = np.zeros(n_features)
    for _ in range(3):
        step = minimise(model, gradient, w=w, l1=l1)
        w, gradient = w + step, gradient + H @ step
    chosen = w != 0
    assert 0 < chosen.sum() < n_features
    assert np.allclose(gradient[chosen], -(l1 * np.sign(w))[chosen], rtol=1e-6)
    assert (np.abs(gradient[~chosen]) <= l1[~chosen] * (1 + 1e-6)).all()


@pytest.mark.parametrize("n_features", [30, 90])
def test_more_features_than_examples_have_a_minimum_too(n_features: int) -> None:
    """A singular model: the search ends at the conditions of a minimum, from near and far."""
    X, h, _, draw = small(n_features, n=25)
    model = model_of_all(X, h, np.zeros(n_features))
    H = model.H
    assert np.linalg.matrix_rank(H) < n_features
    g = 3 * H @ draw.normal(size=n_features)  # in the range of the model, so that it is bounded
    penalty = 0.1 * np.abs(g).max() * np.ones(n_features)
    scale = model.scale
    for start in (np.zeros(n_features), draw.normal(size=n_features)):
        w = start * scale
        step = minimise(model, g / scale, w=w, l1=penalty / scale)
        u, slope = (w + step) / scale, g + H @ (step / scale)
        assert 0 < np.count_nonzero(u) <= 25
        assert np.allclose(slope[u != 0], -(penalty * np.sign(u))[u != 0], rtol=1e-6)
        assert (np.abs(slope) <= penalty * (1 + 1e-6)).all()


def test_a_singular_model_still_steps_down() -> None:
    """Twice the same features: the factor needs a ridge, and the step must still descend."""
    X, h, _, draw = small(20)
    X = np.vstack([X, X])
    model = model_of_all(X, h, np.zeros(40))
    H = plain(X, h, np.zeros(40))
    gradient = draw.normal(size=20).repeat(2).reshape(20, 2).T.ravel() * np.sqrt(np.diag(H))
    l1 = 0.3 * np.sqrt(np.diag(H))
    step = minimise(model, gradient, w=np.zeros(40), l1=l1)
    assert gradient @ step + 0.5 * step @ H @ step + l1 @ np.abs(step) < 0
    assert isinstance(model, Quadratic)
