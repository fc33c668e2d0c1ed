"""SparseProbe: L1 and elastic-net logistic regression as a scikit-learn estimator."""

from collections.abc import Mapping
from typing import Any, no_type_check

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from hlens.checks import check_real, check_seed, check_whole
from hlens.errors import HlensError
from hlens.probe.crossval import CrossValidation, assign_folds, cross_validate
from hlens.probe.design import Design, as_matrix
from hlens.probe.resources import one_thread
from hlens.probe.routed import RoutedDesign
from hlens.probe.solution import Options
from hlens.probe.training import TrainingSet, at_C, nearest_count, solve_liblinear
from hlens.types import RoutedMatrix

ArrayLike = Any  # what scikit-learn calls array-like: arrays, tensors, frames, nested lists

KNOWN: dict[str, tuple[object, ...]] = {
    "penalty": ("l1", "l2"),
    "scale": (None, "feature", "layer"),
    "solver": ("exact", "liblinear"),
    "rule": ("best", "1se"),
}
PAPER_SEED = 42  # of liblinear in the official script (github.com/thunlp/H-Neurons)
FLOATS = (np.float64, np.float32, np.float16)


class SparseProbe(ClassifierMixin, BaseEstimator):
    """Sparse logistic regression over many neurons, solved to a certified duality gap.

    Minimises ``C * sum_i s_i logloss_i + l1_ratio |w|_1 + (1 - l1_ratio) / 2 |w|^2`` with an
    intercept that is not penalised: scikit-learn's objective. The matrix is read in place: float32
    stays float32, half precision and memory-mapped input are widened one chunk at a time.

    Args:
        C: Inverse penalty, or ``"cv"``: chosen by cross-validation over a grid, by `rule`.
        l1_ratio: 1 is the lasso; smaller values mix in a squared penalty (elastic net).
        penalty: ``"l1"`` (elastic net included), or ``"l2"``: the dense ceiling.
        scale: ``None`` penalises neurons as they are (arXiv 2512.01797); ``"feature"`` multiplies
            the penalty of each by its standard deviation, as if it were standardised, ``"layer"``
            by its layer's root mean variance. Weights are always in the units of the data.
        class_weight: None, ``"balanced"``, or a weight for each class.
        solver: ``"exact"``, or ``"liblinear"``: scikit-learn's, which penalises the intercept too,
            as the paper's code does (seeded; copies to float64; L1 or L2 without mixing). With
            ``C=1`` and no other option its weights are the official script's, to the last bit.
        cv: Number of folds; whole groups, classes in balance.
        rule: ``"best"`` mean AUROC, or ``"1se"``: the smallest C within one standard error of it.
        n_neurons: Choose C so that this many neurons are selected (or as few more as can be),
            instead of by `C`.
        n_layers: Layers of the model, for ``scale="layer"``.
        n_points: Points of the grid of C.
        path_ratio: Its end: lambda / lambda_max of the largest C.
        tol: Largest duality gap, as a share of the null objective.
        max_iter: Rounds until a `ConvergenceError`.
        random_state: Seed of the folds and of liblinear; None is 0 for the folds and, for
            liblinear, 42, as in the official script.

    Attributes:
        coef_: Weights in the units of the data, ``[1, feature]``.
        intercept_: Intercept, ``[1]``.
        classes_: The two labels; a positive score points to the second.
        C_: The C that was used.
        gap_: Duality gap over the null objective (not for liblinear, which has no certificate).
        lambda_ratio_: lambda / lambda_max: what C means on these data.
        n_selected_: Neurons of nonzero weight.
        cv_: The `CrossValidation`, where C was chosen.
        solution_: The sparse `Solution` with its objective.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.gamma(1.0, size=(200, 50)).astype(np.float32)
        >>> y = X[:, 7] + 0.3 * rng.normal(size=200) > 1
        >>> probe = SparseProbe(C=0.05).fit(X, y)
        >>> np.flatnonzero(probe.coef_).tolist(), probe.gap_ <= 1e-6
        ([7], True)
    """

    @no_type_check  # scikit-learn's rule: options are stored as given, and `fit` checks them
    def __init__(
        self,
        C: float | int | str = 1.0,
        *,
        l1_ratio: float | int = 1.0,
        penalty: str = "l1",
        scale: str | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        fit_intercept: bool = True,
        solver: str = "exact",
        cv: int = 5,
        rule: str = "best",
        n_neurons: int | None = None,
        n_layers: int | None = None,
        n_points: int = 30,
        path_ratio: float = 0.01,
        tol: float = 1e-6,
        max_iter: int = 200,
        random_state: int | None = None,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.penalty = penalty
        self.scale = scale
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.cv = cv
        self.rule = rule
        self.n_neurons = n_neurons
        self.n_layers = n_layers
        self.n_points = n_points
        self.path_ratio = path_ratio
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "SparseProbe":
        """Fit to examples with two kinds of label.

        Args:
            X: ``[example, feature]``; the transpose of a neuron-major matrix is read in place.
            y: Label of each example.
            sample_weight: Weight of each example.
            groups: What cross-validation must not split, for ``C="cv"``.

        Raises:
            HlensError: NaN or infinity (which example, which neuron), one class, more than two
                classes, fewer groups than folds, or an unknown option.
            ConvergenceError: The gap is above `tol` after `max_iter` rounds.
        """
        training = self.training_set(X, y, sample_weight)
        self.cv_: CrossValidation | None = None
        if self.n_neurons is not None:
            solution = nearest_count(training, self.n_neurons)
        elif self.C == "cv":
            fold = assign_folds(training.y, groups, n_folds=int(self.cv), seed=self.random_state)
            grid = training.grid(int(self.n_points), float(self.path_ratio))[0]
            self.cv_, path = cross_validate(training, fold, grid)
            solution = path[self.cv_.choose(self.rule)]
        elif self.solver == "liblinear":
            solution = solve_liblinear(training, float(self.C), seed=self._liblinear_seed())
        else:
            solution = training.solve(training.everyone, at_C(float(self.C)))[0][0]
        self.solution_ = solution
        self.coef_ = np.zeros((1, training.design.n_features))
        self.coef_[0, solution.features] = solution.values
        self.intercept_ = np.array([solution.bias])
        self.C_ = float(1.0 / (solution.penalty * training.weights(training.everyone).sum()))
        self.gap_ = float(solution.gap)
        self.lambda_ratio_ = float(solution.ratio)
        self.n_selected_ = int(np.count_nonzero(self.coef_))
        self.n_iter_ = max(1, solution.rounds)
        return self

    def training_set(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> TrainingSet:
        """The checked training set of these options; sets ``classes_`` and ``n_features_in_``."""
        self._check_options()
        design, labels, weight = self._check_input(X, y, sample_weight)
        cost = self.class_weight
        if isinstance(cost, Mapping):
            first, second = self.classes_.tolist()
            if unknown := [label for label in cost if label not in (first, second)]:
                raise HlensError(
                    f"class_weight has {unknown[0]!r:.60}, which is no label here; the labels are "
                    f"{first!r} and {second!r}"
                )
            cost = (
                check_real(f"class_weight of {first!r}", cost.get(first, 1.0), above=0),
                check_real(f"class_weight of {second!r}", cost.get(second, 1.0), above=0),
            )
        elif cost is not None and not (isinstance(cost, str) and cost == "balanced"):
            raise HlensError(
                f"class_weight={cost!r} is unknown; expected None, 'balanced' or a weight a class"
            )
        return TrainingSet(
            design=design,
            y=labels,
            sample_weight=weight,
            class_weight=cost,
            scale=self.scale,
            n_layers=self.n_layers,
            penalty="l2" if self._is_ridge else "l1",
            options=Options(
                l1_ratio=1.0 if self.penalty == "l2" else float(self.l1_ratio),
                fit_intercept=bool(self.fit_intercept),
                tol=float(self.tol),
                max_rounds=int(self.max_iter),
            ),
        )

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Log-odds of the second class, ``[example]``."""
        check_is_fitted(self)
        chosen = np.flatnonzero(self.coef_[0])
        if isinstance(X, Tensor | RoutedMatrix):
            if isinstance(X, Tensor):
                _check_matrix(X)
            if X.shape[1] != self.n_features_in_:
                raise HlensError(f"X has {X.shape[1]} features; expected {self.n_features_in_}")
            if isinstance(X, RoutedMatrix):
                picked = X.rows(chosen).T.double().numpy()
            else:
                picked = X[:, torch.from_numpy(chosen).to(X.device)].cpu().double().numpy()
            if not (finite := np.isfinite(picked)).all():
                row, column = np.argwhere(~finite)[0]
                raise HlensError(
                    f"X is {picked[row, column]} at example {row}, neuron (feature) "
                    f"{chosen[column]}; measure it again"
                )
        else:
            checked: Any = _validated(self, X, reset=False, dtype=FLOATS)
            picked = checked[:, chosen].astype(np.float64)
        with one_thread():
            return picked @ self.coef_[0, chosen] + self.intercept_[0]

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The likelier label of each example."""
        positive = self.decision_function(X) > 0  # first: it checks that the probe is fitted
        return self.classes_[positive.astype(int)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Probability of each class by the logistic link, ``[example, 2]``."""
        positive = expit(self.decision_function(X))
        return np.stack([1.0 - positive, positive], axis=1)

    @property
    def reads_routed(self) -> bool:
        """Whether it can be fitted to a `RoutedMatrix`: the exact L1 solver alone can."""
        return self.solver == "exact" and not self._is_ridge

    @property
    def _is_ridge(self) -> bool:
        return bool(self.penalty == "l2" or self.l1_ratio == 0)

    def _liblinear_seed(self) -> int:
        return PAPER_SEED if self.random_state is None else self.random_state

    def _check_options(self) -> None:
        for name, values in KNOWN.items():
            if getattr(self, name) not in values:
                raise HlensError(f"{name}={getattr(self, name)!r} is unknown; expected {values}")
        C, l1_ratio = self.C, self.l1_ratio
        if isinstance(C, str) and C != "cv":
            raise HlensError(f"C={C!r}; expected a positive number or 'cv'")
        if not isinstance(C, str):
            check_real("C", C, above=0)
        check_real("l1_ratio", l1_ratio, most=1)
        check_real("tol", self.tol, above=0, most=1)
        check_real("path_ratio", self.path_ratio, above=0, most=1)
        for name, least in {"n_points": 1, "max_iter": 1, "n_neurons": 1}.items():
            if getattr(self, name) is not None or name != "n_neurons":
                check_whole(name, getattr(self, name), least=least)
        if self.random_state is not None:
            check_seed(self.random_state)
        if self.solver == "liblinear" and (C == "cv" or self.n_neurons or l1_ratio != 1):
            raise HlensError(
                "solver='liblinear' fits one given C with l1_ratio=1, as the paper does; use "
                "solver='exact' for a path, cross-validation or the elastic net"
            )

    def _check_input(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[Design, np.ndarray, np.ndarray]:
        # scikit-learn would copy a tensor, and look for NaN in a copy: the passes look on the way.
        if isinstance(X, RoutedMatrix):
            if not self.reads_routed:
                raise HlensError(
                    "a matrix of routed neurons is read by the L1 probe alone; give penalty='l1', "
                    "solver='exact' and an l1_ratio above 0, or the dense contributions"
                )
            y = np.asarray(y)
            if len(X) != len(y):
                raise HlensError(f"got {len(X)} examples and {len(y)} labels; give one for each")
            self.n_features_in_ = X.shape[1]
        elif isinstance(X, Tensor):
            _check_matrix(X)
            y = np.asarray(y)
            if len(X) != len(y) or not X.shape[1]:
                raise HlensError(
                    f"got {tuple(X.shape)} and {len(y)} labels; expected [example, feature] with a "
                    "label for each example"
                )
            self.n_features_in_ = X.shape[1]
        else:
            X, y = _validated(self, X, y, dtype=FLOATS, ensure_all_finite=False)
        if y is None:
            raise HlensError("the labels are None; give a label for each example")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) > 2:
            raise HlensError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(y)} with {len(self.classes_)} classes; give two kinds of label"
            )
        if len(self.classes_) < 2:
            raise HlensError(
                f"only one class ({self.classes_[0]!r}) among the {len(y)} examples; "
                "a probe needs examples of both"
            )
        try:
            weight = _check_sample_weight(
                sample_weight, np.empty((len(y), 1)), dtype=np.float64, ensure_non_negative=True
            )
        except ValueError as error:
            raise HlensError(str(error)) from error
        if not all(weight[codes == code].sum() > 0 for code in (0, 1)):
            raise HlensError(
                "all sample weights of a class are 0, which leaves only one class; a probe needs "
                "examples of both"
            )
        design = RoutedDesign(X) if isinstance(X, RoutedMatrix) else Design(as_matrix(X))
        return design, codes.astype(float), weight


def _check_matrix(X: Tensor) -> None:
    if X.layout != torch.strided or X.ndim != 2 or X.is_complex():
        raise HlensError(
            f"X is a {X.layout} tensor of {X.dtype} and shape {tuple(X.shape)}; expected a dense "
            "tensor [example, feature] of real numbers"
        )


def _validated(probe: SparseProbe, *arrays: Any, **options: Any) -> Any:
    """What scikit-learn's own check returns; its errors in one line."""
    try:
        return validate_data(probe, *arrays, **options)
    except ValueError as error:
        raise HlensError(str(error)) from error
