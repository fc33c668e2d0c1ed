"""Were the neurons informative before tuning? The detector on the base model's contributions."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation import evaluate, fit_detector, folds_by_group
from hlens.evaluation.auroc import auroc, check_both_classes
from hlens.evaluation.bootstrap import summarise_repeats
from hlens.evaluation.fitting import Probe, refit_scores
from hlens.evaluation.folded import delong_folded
from hlens.evaluation.intervals import Sizes, auroc_interval, estimate_auroc
from hlens.evaluation.significance import permutation_p
from hlens.evaluation.usage import match_of
from hlens.probe.ways import probe_of
from hlens.types import Contributions, Detector, Estimate, NeuronSet, same_fingerprint, warn_unbound
from hlens.types.labels import OriginControl

Row = dict[str, object]
Folds = Int[Tensor, " example"]
Score = Callable[[Contributions, Contributions], Float[np.ndarray, " example"]]  # fit, then score


def trace_origin(
    detector: Detector,
    base: Contributions,
    *,
    own: Contributions | None = None,
    probe: Probe | None = None,
    draws: int = 20,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC of a tuned model's detector on its base model, beside what others reach there.

    The base model answers a completion prompt (arXiv 2512.01797: suffix "Answer:" on a line
    of its own, cut at the next newline) and is judged on its own answers.

    Rows (column ``control``, an `OriginControl`), like those of `hlens.evaluation.controls`:

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
        probe: What to train on the base model; that of `hlens.find` when None.
        draws: Random sets.
        folds: Folds by group of the base model's examples.
        seed: Seed of draws and folds.

    Returns:
        Columns ``control, auroc, low, high, n, neurons, repeats, p, note``; ``p`` is the share of
        random sets that do as well.

    Raises:
        HlensError: Models of different shape, another metric or region, no selected neurons,
            one class only, or fewer groups than folds.
    """
    moved = _move_to_base(detector, base)
    labels = base.labels.numpy()
    check_both_classes(labels, "origin")
    fold = folds_by_group(base, k=folds, seed=seed)
    # Every random set stays in the layers of the selected neurons.
    others = list(moved.selected.random_sets(draws, seed=seed, **match_of(base)))

    # Nothing is fitted: the detector, and its weights on other neurons.
    detected = evaluate(moved, base)
    random = [auroc(_move_weights(moved, other)(base).numpy(), labels) for other in others]

    # Fitted on the base model, out of fold: the same neurons, others, and a probe of its own.
    refit = _auroc_of_refit(moved.selected, base, fold)
    random_refit = [_auroc_of_refit(other, base, fold).value for other in others]
    probe = probe_of("hlens") if probe is None else probe
    probed, n_probed = _auroc_of_probe(probe, base, fold)

    lengths = base.n_tokens.double().numpy()
    length = estimate_auroc(lengths, labels, groups=base.groups)
    n, kind = len(moved.selected), OriginControl
    refit_p = permutation_p(refit.value, random_refit)
    rows = [
        _control_row(kind.DETECTOR, detected, n, p=permutation_p(detected.value, random)),
        _random_row(kind.RANDOM, random, n, len(base)),
        _control_row(kind.REFIT, refit, n, p=refit_p),
        _random_row(kind.RANDOM_REFIT, random_refit, n, len(base)),
        _control_row(kind.PROBE, probed, n_probed, note="cross-validated"),
        _control_row(kind.LENGTH, length, 0),
    ]
    if own is not None:
        before = evaluate(detector, own)
        rows.append(_control_row(kind.OWN_MODEL, before, n))
    return pd.DataFrame(rows)


def _move_to_base(detector: Detector, base: Contributions) -> Detector:
    """The detector as one of the base model: the only place where another model is allowed."""
    shapes = tuple(detector.weights.shape), (base.n_layers, base.d_mlp)
    if shapes[0] != shapes[1]:
        raise HlensError(
            f"the detector reads {shapes[0]} layers x neurons, the base model has {shapes[1]}; "
            "origin needs a base model of the same shape"
        )
    if len(detector.selected) == 0:
        raise HlensError("the detector selected no neuron; find one with a larger C first")
    fingerprint = detector.provenance.fingerprint
    if not fingerprint:
        warn_unbound("a detector", f"a model other than {base.provenance.model or 'the base'}")
    elif same_fingerprint(fingerprint, base.provenance.fingerprint):
        raise HlensError(
            "the contributions are of the model that the detector was found on; measure the base "
            "model that it was tuned from"
        )
    moved = replace(detector, provenance=base.provenance)
    moved.check(base)
    return moved


def _move_weights(detector: Detector, other: NeuronSet) -> Detector:
    """The detector with the weights of its selected neurons on others, layer by layer."""
    weights = torch.zeros_like(detector.weights).flatten()
    # Both lists ascend by layer, so each weight stays in its layer.
    selected = detector.selected.flat_indices
    weights[other.flat_indices] = detector.weights.flatten()[selected]
    return replace(detector, weights=weights.reshape(detector.weights.shape), means=(), spreads=())


def _auroc_of_refit(neurons: NeuronSet, base: Contributions, fold: Folds) -> Estimate:
    """Out of fold, of an L2 regression on some neurons."""
    chosen = torch.tensor(neurons.flat_indices)
    # Only these rows are copied fold by fold, not the whole matrix.
    narrow = replace(base, values=base.rows(chosen).T[:, None, :])
    return _out_of_fold_auroc(partial(refit_scores, neurons=range(len(chosen))), narrow, fold)


def _auroc_of_probe(probe: Probe, base: Contributions, fold: Folds) -> tuple[Estimate, int]:
    """Out of fold, of a probe on all neurons; and how many it selects on average."""
    sizes = []

    def fit_and_score(train: Contributions, held_out: Contributions) -> np.ndarray:
        detector = fit_detector(train, probe)
        sizes.append(len(detector.selected))
        return detector(held_out).numpy()

    estimate = _out_of_fold_auroc(fit_and_score, base, fold)
    return estimate, round(float(np.mean(sizes)))


def _out_of_fold_auroc(score: Score, base: Contributions, fold: Folds) -> Estimate:
    scores, labels = np.empty(len(base)), base.labels.numpy()
    for part in range(int(fold.max()) + 1):
        held_out = fold == part
        scores[held_out.numpy()] = score(base.select(~held_out), base.select(held_out))
    placed = delong_folded(scores, labels, fold=fold.numpy(), groups=base.groups)
    area, variance = float(placed.auroc[0]), float(placed.covariance[0, 0])
    return auroc_interval(area, variance, sizes=Sizes.of(labels, base.groups))


def _random_row(control: OriginControl, aurocs: list[float], neurons: int, n: int) -> Row:
    spanned = summarise_repeats(aurocs, n)
    return _control_row(control, spanned, neurons, repeats=len(aurocs), note="matched by layer")


def _control_row(
    control: OriginControl,
    auroc: Estimate,
    neurons: int,
    *,
    repeats: int = 1,
    p: float | None = None,
    note: str = "",
) -> Row:
    counts = {"neurons": neurons, "repeats": repeats, "p": p, "note": note}
    return {"control": control.value, **auroc.to_row(), **counts}
