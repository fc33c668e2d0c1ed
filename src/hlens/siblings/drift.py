"""How far each neuron of a detector has drifted from the home model to a sibling.

Mean and spread are what realigning mends. The correlation over the same answers is what it cannot:
a neuron that no longer rises and falls with its counterpart follows something else.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float

from hlens.errors import HlensError
from hlens.siblings.realignment import CONSTANT, check_readable
from hlens.types import Contributions, Detector, NeuronSet

COLUMNS = (
    "layer", "neuron", "weight", "home_mean", "home_sd", "sibling_mean", "sibling_sd", "shift",
    "spread_ratio", "correlation", "layer_correlation", "cosine", "norm_ratio", "n",
)  # fmt: skip


def neuron_drift(
    detector: Detector,
    home: Contributions,
    sibling: Contributions,
    *,
    weights: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Drift of every selected neuron, over the same examples on both models; no label is read.

    Args:
        detector: Found on the home model.
        home: Contributions of the home model.
        sibling: Those of the sibling to the same examples, in the same order.
        weights: From `hlens.siblings.compare_weights`.

    Returns:
        One row a neuron: ``layer, neuron, weight``; its mean and standard deviation on either
        model; ``shift`` of the mean in standard deviations at home, ``spread_ratio``;
        ``correlation`` of the neuron with its counterpart, beside it the median of the other
        neurons of the layer (``layer_correlation``), which is its control; ``cosine`` and
        ``norm_ratio`` of the rows of W_out (NaN without `weights`); and ``n`` examples. What a
        neuron without spread leaves open is NaN.

    Raises:
        HlensError: Other examples, or contributions that the detector does not read.
    """
    check_readable(detector, home, sibling)
    check_same_examples(home, sibling)
    chosen = detector.selected
    (mean, spread), (mean_there, spread_there) = (
        data.moments(chosen.flat_indices) for data in (home, sibling)
    )
    scale = spread.where(spread > 0, float("nan"))
    table = pd.DataFrame(list(chosen), columns=["layer", "neuron"])
    table["weight"] = detector.weights.flatten()[chosen.flat_indices].double().numpy()
    for name, values in {
        "home_mean": mean,
        "home_sd": spread,
        "sibling_mean": mean_there,
        "sibling_sd": spread_there,
        "shift": (mean_there - mean) / scale,
        "spread_ratio": spread_there / scale,
    }.items():
        table[name] = values.numpy()
    table[["correlation", "layer_correlation"]] = _beside_layer(home, sibling, chosen)
    if weights is not None:
        table = table.merge(weights, on=["layer", "neuron"], how="left")
    table["n"] = len(home)
    return table.reindex(columns=list(COLUMNS))


def check_same_examples(home: Contributions, sibling: Contributions) -> None:
    """Raise `HlensError` unless both are of the same examples, in the same order."""
    same = (
        (home.question_ids, home.groups) == (sibling.question_ids, sibling.groups)
        and home.labels.tolist() == sibling.labels.tolist()
        and home.n_tokens.tolist() == sibling.n_tokens.tolist()
    )
    if not same:
        raise HlensError(
            f"{len(home)} examples at home and {len(sibling)} on the sibling are not the same, "
            "one by one; measure the sibling on the examples of the home model"
        )


def _beside_layer(
    home: Contributions, sibling: Contributions, chosen: NeuronSet
) -> Float[np.ndarray, "neuron 2"]:
    """Correlation of each neuron with its counterpart, and the median of its layer's others."""
    rows: list[tuple[float, float]] = []
    for layer in range(chosen.n_layers):
        own = chosen.in_layer(layer)
        if own:  # one layer at a time: all of them may not fit the memory in float64
            found = _correlations(home, sibling, layer)
            others = np.delete(found, own)
            known = others[np.isfinite(others)]
            median = float(np.median(known)) if len(known) else np.nan
            rows += [(float(one), median) for one in found[own]]
    return np.array(rows)


def _correlations(
    home: Contributions, sibling: Contributions, layer: int
) -> Float[np.ndarray, " neuron"]:
    """Of every neuron of a layer with its counterpart; NaN where one of them does not vary."""
    own, other = (data.values[:, layer].double().numpy() for data in (home, sibling))
    centred = own - own.mean(axis=0), other - other.mean(axis=0)
    spreads = own.std(axis=0), other.std(axis=0)
    varies = (spreads[0] > CONSTANT * np.abs(own.mean(axis=0))) & (
        spreads[1] > CONSTANT * np.abs(other.mean(axis=0))
    )
    products = (centred[0] * centred[1]).mean(axis=0)
    scale = np.where(varies, spreads[0] * spreads[1], 1.0)
    return np.where(varies, np.clip(products / scale, -1, 1), np.nan)
