"""A study in the form of the published table: random neurons, H-neurons, and how few they are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hlens.errors import HlensError
from hlens.evaluation.bootstrap import summarise_repeats
from hlens.evaluation.controls import check_shares_no_group
from hlens.evaluation.fitting import over_random_sets, refit_detector, refit_threshold
from hlens.evaluation.scores import balanced_accuracy, estimate_accuracy
from hlens.evaluation.usage import match_of
from hlens.types import Contributions, Detector, Estimate, NeuronSet
from hlens.types.labels import Control

COLUMNS = [
    "model", "way", "domains", "test", "per_mille", "neurons", "random", "random_low",
    "random_high", "h_neurons", "low", "high", "n", "note",
]  # fmt: skip


def published_row(
    scores: pd.DataFrame,
    neurons: NeuronSet,
    *,
    model: str = "",
    domains: str = "",
    way: str = "",
    test: str = "",
) -> pd.DataFrame:
    """Accuracy of as many random neurons and of the H-neurons, as in arXiv 2512.01797.

    The published test sets hold as many hallucinated as true answers, so this is the balanced
    accuracy: 50 is chance. Thresholds are fixed in the training part.

    Args:
        scores: Of `hlens.evaluation.controls`.
        neurons: Those that the probe selected.
        model: Name of the model.
        domains: What the detector was trained on.
        way: How it was found, of `hlens.probe.ways`.
        test: What it was tested on.

    Returns:
        One row: ``model, way, domains, test, per_mille`` (selected neurons in a thousand of the
        model's),
        ``neurons`` (their number), ``random, random_low, random_high`` (per cent; mean and central
        95 % of the draws), ``h_neurons, low, high`` (per cent; the probe with its 95 % interval),
        ``n`` (held-out answers) and ``note`` (why there is no accuracy).

    Raises:
        HlensError: Scores without accuracy, of an earlier version.
    """
    rows = {row["control"]: row for row in scores.to_dict("records")}
    if "balanced_accuracy" not in scores:
        raise HlensError(
            "these scores hold no accuracy: they were made by an earlier version; expected those "
            "of hlens.evaluation.controls, made again by `hlens evaluate STUDY --again`"
        )
    random, own = (
        Estimate.from_row(rows[control], "balanced_accuracy", ends="balanced_").scaled(100.0)
        for control in (Control.RANDOM_NEURONS, Control.PROBE)
    )
    named = {"model": model, "way": way, "domains": domains, "test": test}
    return pd.DataFrame([_row(named, neurons, random, own, "")], columns=COLUMNS)


def published_rows(
    train: Contributions,
    tests: Mapping[str, Contributions],
    detector: Detector,
    *,
    model: str = "",
    domains: str = "",
    way: str = "",
    draws: int = 200,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """The same of several test sets, as published: a row a set.

    Args:
        train: What the detector was found on; random neurons are refitted to it.
        tests: The sets by name; a set may hold one label only, or nothing, and its row then says so
            in place of an accuracy.
        detector: What was found.
        model: Name of the model.
        domains: What the detector was trained on.
        way: How it was found.
        draws: Draws of as many random neurons, matched by layer.
        n_boot: Bootstrap samples of the intervals.
        seed: Of the draws.

    Returns:
        The columns of `published_row`.

    Raises:
        HlensError: A group of a test set is in the training part.
    """
    selected = detector.selected
    thrown: list[dict[str, np.ndarray]] = []
    for test in tests.values():
        check_shares_no_group(train, test)

    def said_by(neurons: Sequence[int]) -> dict[str, np.ndarray]:
        threshold = refit_threshold(train, neurons=neurons, seed=seed)
        refitted = refit_detector(train, neurons=neurons)
        return {
            name: refitted(one).numpy() >= threshold
            for name, one in tests.items()
            if len(one) and not np.isnan(threshold)
        }

    if len(selected):
        sets = selected.random_sets(draws, seed=seed, **match_of(train))
        thrown, _ = over_random_sets(sets, said_by)
    rows = []
    for name, test in tests.items():
        label, n = test.labels.numpy(), len(test)
        random = own = Estimate.missing(n)
        note = _one_label(label)
        if not note:
            said = detector(test).numpy() >= detector.threshold
            own = estimate_accuracy(
                said, label, balanced=True, groups=test.groups, n_boot=n_boot, seed=seed
            ).scaled(100.0)
            by_chance = [100 * balanced_accuracy(one[name], label) for one in thrown if name in one]
            random = summarise_repeats(by_chance, n)
        named = {"model": model, "way": way, "domains": domains, "test": name}
        rows.append(_row(named, selected, random, own, note))
    return pd.DataFrame(rows, columns=COLUMNS)


def _one_label(label: np.ndarray) -> str:
    """Why no accuracy can be told; empty where it can."""
    if not len(label):
        return "no answer could be judged"
    if label.all() or not label.any():
        return f"all {len(label)} answers are {'hallucinated' if label[0] else 'true'}"
    return ""


def _row(
    named: Mapping[str, str], neurons: NeuronSet, random: Estimate, own: Estimate, note: str
) -> dict[str, object]:
    return {
        **named,
        "per_mille": 1000 * neurons.fraction,
        "neurons": len(neurons),
        **random.to_row("random", ends="random_"),
        **own.to_row("h_neurons"),
        "note": note,
    }
