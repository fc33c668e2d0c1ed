"""Were the neurons informative before tuning? The detector on the base model's contributions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation import evaluate, fit_detector, folds_by_group
from hlens.evaluation.auroc import auroc, check_both_classes
from hlens.evaluation.bootstrap import estimate_auroc, summarise_repeats
from hlens.evaluation.fitting import refit_scores
from hlens.evaluation.folded import count_rarer_groups, delong_folded, logit_interval
from hlens.evaluation.significance import permutation_p
from hlens.probe import SparseProbe
from hlens.types import Contributions, Detector, Estimate
from hlens.types.labels import OriginControl

Row = dict[str, object]


def trace_origin(
    detector: Detector,
    base: Contributions,
    own: Contributions | None = None,
    probe: BaseEstimator | None = None,
    draws: int = 20,
    folds: int = 5,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC of a tuned model's detector on its base model, beside what others reach there.

    The base model answers a completion prompt (arXiv 2512.01797: suffix "Answer:" on a line
    of its own, cut at the next newline) and is judged on its own answers.

    Rows (column ``control``), like those of `hlens.evaluation.controls`:

    - ``detector on base model``: scored as it is, nothing fitted.
    - ``random neurons``: the same weights on random other neurons of the same layers.
    - ``selected neurons, refit on base`` and ``random neurons, refit on base``: L2 regression on
      these neurons, out of fold: is the information there, whatever the weights?
    - ``probe found on base``: `probe` on all neurons of the base model, out of fold.
    - ``answer length``: longer means hallucination; below 0.5 shorter does.
    - ``detector on its own model``: with `own` only.

    Args:
        detector: Found on the tuned model.
        base: Contributions of the base model, same metric and region.
        own: Held-out contributions of the tuned model.
        probe: What to train on the base model; ``SparseProbe(C="cv")`` when None.
        draws: Random sets.
        folds: Folds by group of the base model's examples.
        n_boot: Resamples of whole groups.
        seed: Seed of draws, folds and resamples.

    Returns:
        Columns ``control, auroc, low, high, n, neurons, repeats, p, note``; ``p`` is the share of
        random sets that do as well.

    Raises:
        HlensError: Models of different shape, another metric or region, no selected neurons,
            one class only, or fewer groups than folds.
    """
    there = _moved_to(detector, base)
    check_both_classes(base.labels.numpy(), "origin")
    n = len(detector.selected)
    plain = evaluate(there, base, n_boot=n_boot, seed=seed)
    drawn = _random_weights(there, base, draws, seed)
    fold = folds_by_group(base, folds, seed=seed)
    rows = [_row(OriginControl.DETECTOR, plain, n, 1, permutation_p(plain.value, drawn))]
    rows.append(
        _row(OriginControl.RANDOM, summarise_repeats(drawn, len(base)), n, draws, note=_BY_LAYER)
    )
    rows += _refits(there, base, fold, draws, seed)
    rows.append(_found_on_base(base, SparseProbe(C="cv") if probe is None else probe, fold))
    length = base.n_tokens.double().numpy()
    short = estimate_auroc(
        length, base.labels.numpy(), groups=base.groups, n_boot=n_boot, seed=seed
    )
    rows.append(_row(OriginControl.LENGTH, short, 0, 1))
    if own is not None:
        rows.append(
            _row(OriginControl.OWN_MODEL, evaluate(detector, own, n_boot=n_boot, seed=seed), n, 1)
        )
    return pd.DataFrame(rows)


_BY_LAYER = "matched by layer"


def _moved_to(detector: Detector, base: Contributions) -> Detector:
    """The detector as one of the base model: the only place where another model is allowed."""
    shapes = tuple(detector.weights.shape), (base.n_layers, base.d_mlp)
    if shapes[0] != shapes[1]:
        raise HlensError(
            f"the detector reads {shapes[0]} layers x neurons, the base model has {shapes[1]}; "
            "origin needs a base model of the same shape"
        )
    if len(detector.selected) == 0:
        raise HlensError("the detector selected no neuron; find one with a larger C first")
    same = detector.provenance.fingerprint
    if same and same == base.provenance.fingerprint:
        raise HlensError(
            "the contributions are of the model that the detector was found on; measure the base "
            "model that it was tuned from"
        )
    there = replace(detector, provenance=base.provenance)
    there.check(base)
    return there


def _random_weights(detector: Detector, base: Contributions, draws: int, seed: int) -> list[float]:
    """AUROC of the detector's weights on random other neurons, layer by layer."""
    weights = detector.weights.flatten()[detector.selected.flat_indices]
    areas = []
    for other in detector.selected.random_sets(draws, seed=seed, match="layer"):
        moved = torch.zeros_like(detector.weights).flatten()
        moved[other.flat_indices] = weights  # both lists ascend: each weight keeps its layer
        scores = replace(detector, weights=moved.reshape(detector.weights.shape))(base)
        areas.append(auroc(scores.numpy(), base.labels.numpy()))
    return areas


def _refits(
    detector: Detector, base: Contributions, fold: Int[Tensor, " example"], draws: int, seed: int
) -> list[Row]:
    n = len(detector.selected)
    own = _folded(_refit(base, fold, detector.selected.flat_indices), base, fold)
    drawn = [
        _folded(_refit(base, fold, other.flat_indices), base, fold).value
        for other in detector.selected.random_sets(draws, seed=seed, match="layer")
    ]
    p = permutation_p(own.value, drawn)
    return [
        _row(OriginControl.REFIT, own, n, 1, p),
        _row(
            OriginControl.RANDOM_REFIT,
            summarise_repeats(drawn, len(base)),
            n,
            draws,
            note=_BY_LAYER,
        ),
    ]


def _refit(
    base: Contributions, fold: Int[Tensor, " example"], neurons: list[int]
) -> Float[np.ndarray, " example"]:
    """Out-of-fold scores of the L2 refit of some neurons."""
    chosen = torch.tensor(neurons)
    # Only these rows are copied fold by fold, not the whole matrix.
    narrow = replace(base, values=base.neuron_major[chosen].T[:, None, :])
    scores = np.empty(len(base))
    for part in range(int(fold.max()) + 1):
        inner, held_out = narrow.select(fold != part), narrow.select(fold == part)
        scores[(fold == part).numpy()] = refit_scores(inner, held_out, neurons=range(len(neurons)))
    return scores


def _found_on_base(base: Contributions, probe: BaseEstimator, fold: Int[Tensor, " example"]) -> Row:
    scores = np.empty(len(base))
    sizes = []
    for part in range(int(fold.max()) + 1):
        found = fit_detector(base.select(fold != part), probe)
        sizes.append(len(found.selected))
        scores[(fold == part).numpy()] = found(base.select(fold == part)).numpy()
    size = round(float(np.mean(sizes)))
    return _row(OriginControl.PROBE, _folded(scores, base, fold), size, 1, note="cross-validated")


def _folded(
    scores: Float[np.ndarray, " example"], base: Contributions, fold: Int[Tensor, " example"]
) -> Estimate:
    found = delong_folded(scores, base.labels.numpy(), fold=fold.numpy(), groups=base.groups)
    least = count_rarer_groups(base.labels.numpy(), base.groups)
    return logit_interval(float(found.auroc[0]), float(found.se[0]), n=len(base), least=least)


def _row(
    control: OriginControl,
    estimate: Estimate,
    neurons: int,
    repeats: int,
    p: float | None = None,
    note: str = "",
) -> Row:
    about = {"neurons": neurons, "repeats": repeats, "p": p, "note": note}
    return {"control": control, **estimate.to_row(), **about}
