"""Groups of correlated neurons, and what each neuron adds to the others.

Of several neurons that carry the same information L1 keeps one and drops the rest; which one is
chance. A group names them all, with one as its representative.
"""

import numpy as np
import pandas as pd
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.special import expit
from torch import Tensor

from hlens.checks import check_real
from hlens.errors import HlensError
from hlens.probe.design import Design
from hlens.probe.resources import one_thread
from hlens.types import Contributions, NeuronSet

RIDGE = 1e-2  # on standardised neurons: keeps a separable fit finite


@one_thread()
def correlated_groups(
    data: Contributions, neurons: NeuronSet, *, min_correlation: float = 0.7
) -> pd.DataFrame:
    """Groups of neurons that correlate with the given ones, over the whole model.

    Every neuron of the model whose correlation with one of `neurons` reaches `min_correlation`
    (in size) is taken in; all are grouped by average linkage at the same level. A group's
    representative is the given neuron with the highest gain alone.

    Args:
        data: Contributions of labelled examples; those of a held-out part, where there is one.
        neurons: Neurons that were selected.
        min_correlation: Smallest correlation inside a group, from 0 to 1.

    Returns:
        One row for each neuron: ``group, layer, neuron, given`` (whether it was one of
        `neurons`), ``representative``, ``correlation`` (with its representative), ``alone`` and
        ``conditional``: the log-likelihood (nats, over all examples; second-order approximations)
        that it adds to the representatives of the other groups, and to those together with the
        other members of its own group. Alone large and conditional near zero: others of the group
        carry the same information.

    Raises:
        HlensError: No neurons, or another shape of model.
    """
    if not len(neurons):
        raise HlensError("no neurons to group; give a NeuronSet that is not empty")
    if (neurons.n_layers, neurons.d_mlp) != (data.n_layers, data.d_mlp):
        raise HlensError(
            f"neurons of a model of {neurons.n_layers} x {neurons.d_mlp}, contributions of "
            f"{data.n_layers} x {data.d_mlp}; use those of one model"
        )
    min_correlation = check_real("min_correlation", min_correlation, above=0, most=1)
    given = np.array([layer * data.d_mlp + neuron for layer, neuron in neurons])
    design = Design(data.neuron_major)
    members = np.union1d(given, find_neighbours(design, given, min_correlation))
    Z = standardise(design.gather(members))
    correlation = np.clip(Z @ Z.T / Z.shape[1], -1.0, 1.0)
    group = cluster(correlation, min_correlation)

    # A group of neighbours alone tells nothing about the given neurons: it is left out.
    kept = np.isin(group, group[np.isin(members, given)])
    members, Z, group = members[kept], Z[kept], group[kept]
    correlation = correlation[np.ix_(kept, kept)]

    labels = data.labels.cpu().numpy().astype(float)
    is_given = np.isin(members, given)
    gain = gain_of_each(Z, np.empty((0, Z.shape[1])), labels)
    representatives = []
    for g in np.unique(group):
        candidates = np.flatnonzero((group == g) & is_given)
        representatives.append(candidates[np.argmax(gain[candidates])])

    tables = []
    for number, representative in enumerate(sorted(representatives)):  # members are in order
        own = np.flatnonzero(group == group[representative])
        others = Z[[i for i in representatives if i != representative]]
        columns = {
            "group": number,
            "layer": members[own] // data.d_mlp,
            "neuron": members[own] % data.d_mlp,
            "given": is_given[own],
            "representative": own == representative,
            "correlation": correlation[own, representative],
            "alone": gain_of_each(Z[own], others, labels),
            "conditional": loss_without_each(Z[own], others, labels),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def standardise(rows: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and variance 1, in float64; a constant row becomes zero."""
    rows = rows.astype(np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    return centred / np.where(deviation > 0, deviation, 1.0)


def find_neighbours(design: Design, given: np.ndarray, min_correlation: float) -> np.ndarray:
    """Features whose correlation with one of the given ones reaches the level: one pass."""
    Z = torch.from_numpy(standardise(design.gather(given))).to(design.device, design.dtype)

    def neighbours_in_chunk(features: slice, chunk: Tensor) -> Tensor:
        deviation = chunk.std(dim=1, correction=0).clamp_min(1e-30)
        centred = chunk - chunk.mean(dim=1, keepdim=True)
        size = (Z @ centred.T).abs() / (deviation * design.n_examples)
        near = (size >= min_correlation).any(dim=0) & (deviation > 1e-30)
        return near.nonzero().flatten().cpu() + features.start

    with design.thread_pool():
        return torch.cat(design.map_chunks(neighbours_in_chunk)).numpy()


def cluster(correlation: np.ndarray, min_correlation: float) -> np.ndarray:
    """Group of each row, from 0, by average linkage of ``1 - |correlation|``."""
    if len(correlation) == 1:
        return np.zeros(1, dtype=np.int64)
    distance = 1.0 - np.abs(correlation)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform((distance + distance.T) / 2, checks=False), method="average")
    return fcluster(tree, 1.0 - min_correlation, criterion="distance") - 1


def gain_of_each(rows: np.ndarray, base: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log-likelihood that each row adds to a fit of the base rows (score test, nats)."""
    B = np.vstack([np.ones((1, len(y))), base])
    _, p, H = fit_logistic(B, y)
    h = p * (1.0 - p)
    slope = rows @ (y - p)
    cross = (rows * h) @ B.T
    own = (rows * rows) @ h - np.einsum("ij,ji->i", cross, np.linalg.solve(H, cross.T))
    return 0.5 * slope**2 / np.maximum(own, 1e-12 + RIDGE)


def loss_without_each(rows: np.ndarray, base: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log-likelihood that a fit of all rows loses without each (Wald test, nats)."""
    B = np.vstack([np.ones((1, len(y))), base, rows])
    w, _, H = fit_logistic(B, y)
    own = slice(1 + len(base), None)
    return 0.5 * w[own] ** 2 / np.diag(np.linalg.inv(H))[own]


def fit_logistic(B: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logistic regression by Newton steps with a small ridge: weights, probabilities, Hessian."""
    w = np.zeros(len(B))
    penalty = RIDGE * (np.arange(len(B)) > 0)  # the intercept, first, has none

    def objective(w: np.ndarray) -> float:
        z = w @ B
        return float(np.sum(np.logaddexp(0.0, z) - y * z) + 0.5 * penalty @ (w * w))

    def hessian(p: np.ndarray) -> np.ndarray:
        return (B * (p * (1.0 - p))) @ B.T + np.diag(penalty + 1e-9)

    for _ in range(50):
        p = expit(w @ B)
        step = np.linalg.solve(hessian(p), B @ (y - p) - penalty * w)
        length = 1.0
        while length > 1e-6 and objective(w + length * step) > objective(w) + 1e-12:
            length *= 0.5
        w = w + length * step
        if np.abs(step).max() < 1e-8:
            break
    p = expit(w @ B)
    return w, p, hessian(p)
