"""A study in the form of the published table: random neurons, H-neurons, and how few they are."""

import pandas as pd

from hlens.errors import HlensError
from hlens.types import Estimate, NeuronSet
from hlens.types.labels import Control

COLUMNS = [
    "model", "domains", "per_mille", "neurons", "random", "random_low", "random_high", "h_neurons",
    "low", "high", "n",
]  # fmt: skip


def published_row(
    scores: pd.DataFrame, neurons: NeuronSet, *, model: str = "", domains: str = ""
) -> pd.DataFrame:
    """Accuracy of as many random neurons and of the H-neurons, as in arXiv 2512.01797.

    The published test sets hold as many hallucinated as true answers, so this is the balanced
    accuracy: 50 is chance. Thresholds are fixed in the training part.

    Args:
        scores: Of `hlens.evaluation.controls`.
        neurons: Those that the probe selected.
        model: Name of the model.
        domains: What was asked.

    Returns:
        One row: ``model, domains, per_mille`` (selected neurons in a thousand of the model's),
        ``neurons`` (their number), ``random, random_low, random_high`` (per cent; mean and central
        95 % of the draws), ``h_neurons, low, high`` (per cent; the probe with its 95 % interval)
        and ``n`` (held-out answers).

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
    row = {
        "model": model,
        "domains": domains,
        "per_mille": 1000 * neurons.fraction,
        "neurons": len(neurons),
        **random.to_row("random", ends="random_"),
        **own.to_row("h_neurons"),
    }
    return pd.DataFrame([row], columns=COLUMNS)
