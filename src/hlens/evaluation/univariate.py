"""Every neuron alone: AUROC with DeLong's error, effect size, and p corrected for their number.

The values of a block of neurons are sorted once, with the label packed below the value's own
bits, so that one integer sort orders both and ties are exact; everything else is running counts
over the blocks of equal values.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Shaped
from scipy.stats import false_discovery_control, norm, rankdata
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.auroc import check_both_classes
from hlens.evaluation.intervals import Sizes, interval_ends
from hlens.evaluation.ordering import TieBlocks, label_keys
from hlens.evaluation.significance import holm, permute_labels
from hlens.types import Contributions, address, where_neurons_are
from hlens.types.neurons import Neuron

_CELLS = 65_536  # values of one block of neurons: larger arrays would be mapped again at every use
_RANKS = 4_000_000  # ranks of one block of neurons in max-T: bounds memory at some 100 MB


def univariate(
    data: Contributions, *, permutations: int = 0, seed: int = 0, threads: int | None = None
) -> pd.DataFrame:
    """AUROC of each neuron alone, one row per neuron, in the order of (layer, neuron).

    The p of a row is that of the Mann-Whitney test, ties corrected (normal approximation); it
    takes examples as independent. Where groups hold several examples, read ``p_max``, whose
    permutations keep groups whole.

    Contributions are read block by block, so that a memory-mapped store stays on disk: `threads`
    at a time (one for each core when None), which does not change the result.

    Returns:
        Columns ``layer, neuron, auroc, se, low, high, effect, mean, p, p_bh`` and, with
        permutations, ``p_max``. ``se`` is DeLong's, ``low`` and ``high`` end the 95 % interval,
        ``effect`` Cohen's d (positive: larger in hallucinated examples), ``mean`` the mean
        contribution, ``p_bh`` the Benjamini-Hochberg adjusted p, ``p_max`` the max-T adjusted p.

    Raises:
        HlensError: One class only, or a contribution that is not finite; the message names it.
    """
    label = data.labels.numpy()
    check_both_classes(label, "AUROC")
    blocks = _blocks(data.n_layers * data.d_mlp, len(label), _CELLS)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        parts = list(pool.map(lambda block: _block(block, label, data), blocks))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if permutations:
        columns["p_max"] = max_t_p(data, permutations=permutations, seed=seed)
    layer, neuron = np.divmod(np.arange(data.n_layers * data.d_mlp), data.d_mlp)
    if experts := data.provenance.experts:  # what is no neuron is no test to correct for
        kept = np.flatnonzero(where_neurons_are(experts, data.n_layers, data.d_mlp))
        layer, neuron = layer[kept], neuron[kept]
        columns = {name: column[kept] for name, column in columns.items()}
    columns["p_bh"] = false_discovery_control(columns["p"])
    return pd.DataFrame({"layer": layer, "neuron": neuron, **columns})


def alone_by_domain(data: Contributions, neurons: Sequence[Neuron]) -> pd.DataFrame:
    """AUROC of some neurons alone, in each domain by itself.

    A neuron that was selected in a domain was selected for its AUROC there, so that its p there
    tests nothing; in every other domain it does.

    Args:
        data: Contributions of several domains.
        neurons: Which neurons, as (layer, neuron).

    Returns:
        A row a domain and neuron: ``domain, layer, neuron, auroc, low, high, p, p_corrected``; the
        columns are those of `univariate`, and ``p_corrected`` is Holm's over all rows.

    Raises:
        HlensError: A domain has one class only, a contribution is not finite, or a neuron is none
            of the model.
    """
    for layer, neuron in neurons:
        if not (0 <= layer < data.n_layers and 0 <= neuron < data.d_mlp):
            raise HlensError(
                f"L{layer}N{neuron} is no neuron of {data.n_layers} layers x {data.d_mlp:,}"
            )
    values = data.rows([layer * data.d_mlp + neuron for layer, neuron in neurons]).float().numpy()
    place = {"layer": [n[0] for n in neurons], "neuron": [n[1] for n in neurons]}
    label, domains = data.labels.numpy(), np.array(data.domains)
    parts = []
    for domain in dict.fromkeys(data.domains):
        own = domains == domain
        check_both_classes(label[own], f"AUROC in {domain}")
        if neurons:
            _check_all_finite(values[:, own], neurons, domain)
            ranked = _ranked(np.ascontiguousarray(values[:, own]), label[own])
            parts.append(pd.DataFrame({"domain": domain, **place, **ranked}))
    columns = ["domain", "layer", "neuron", "auroc", "low", "high", "p"]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    corrected = holm(np.asarray(table["p"], dtype=float))
    return table.loc[:, columns].assign(p_corrected=corrected)


def _blocks(n_rows: int, n: int, cells: int) -> Iterator[slice]:
    size = max(1, cells // n)
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def separation_alone(data: Contributions) -> Float[np.ndarray, " neuron"]:
    """Distance of each neuron's own AUROC from one half, by flat index; -1 where there is none."""
    alone = univariate(data)
    separation = np.full(data.n_layers * data.d_mlp, -1.0)  # in a narrower layer of a mixture
    separation[alone.layer * data.d_mlp + alone.neuron] = (alone.auroc - 0.5).abs()
    return separation


def _block(where: slice, label: np.ndarray, data: Contributions) -> dict[str, np.ndarray]:
    block = data.rows(where)
    values = (
        block.numpy() if block.dtype in (torch.float16, torch.float32) else block.float().numpy()
    )
    _check_finite(values, where.start, data)
    return _ranked(values, label) | _effects(values.astype(np.float32, copy=False), label)


def _ranked(values: Shaped[np.ndarray, "row n"], label: np.ndarray) -> dict[str, np.ndarray]:
    """AUROC, DeLong's error and the Mann-Whitney p of each row."""
    blocks = TieBlocks.of(label_keys(values, label))
    m, n = int(label.sum()), int((~label).sum())
    # Twice the true examples below a hallucinated one, ties half; and the other way round.
    below = 2 * blocks.negatives_up_to - blocks.negatives
    under = 2 * blocks.positives_up_to - blocks.positives
    auroc = blocks.sum(blocks.positives * below) / (2.0 * m * n)
    v10 = blocks.sum_of_squares(below, blocks.positives) / (4.0 * n**2) - m * auroc**2
    v01 = blocks.sum_of_squares(under, blocks.negatives) / (4.0 * m**2) - n * (1 - auroc) ** 2
    variance = v10.clip(0) / (max(m - 1, 1) * m) + v01.clip(0) / (max(n - 1, 1) * n)
    se = np.sqrt(variance)
    ties = blocks.ties() / ((m + n) * (m + n - 1))
    null = np.sqrt(((m + n + 1 - ties) / (12 * m * n)).clip(0))
    z = np.divide(np.abs(auroc - 0.5), null, out=np.zeros_like(null), where=null > 0)
    low, high = interval_ends(auroc, variance, sizes=Sizes.of(label))
    return {"auroc": auroc, "se": se, "low": low, "high": high, "p": 2 * norm.sf(z)}


def _effects(values: Float[np.ndarray, "row n"], label: np.ndarray) -> dict[str, np.ndarray]:
    """Cohen's d and the mean of each row."""
    mean = values.mean(axis=1)
    centred = values - mean[:, None]
    both = np.stack([label, ~label], axis=1).astype(np.float32)
    count = both.sum(axis=0)
    means = centred @ both / count
    within = (centred**2) @ both - count * means**2
    pooled = np.sqrt(within.clip(0).sum(axis=1) / max(len(label) - 2, 1))
    gap = means[:, 0] - means[:, 1]
    effect = np.divide(gap, pooled, out=np.zeros_like(gap), where=pooled > 0)
    return {"effect": effect, "mean": mean}


def _check_finite(values: np.ndarray, first_row: int, data: Contributions) -> None:
    if np.isfinite(values.min()) and np.isfinite(values.max()):
        return
    row, example = np.argwhere(~np.isfinite(values))[0]
    neuron = address(divmod(first_row + int(row), data.d_mlp), data.provenance.experts)
    raise HlensError(
        f"the contribution of {neuron} to example {example} is {values[row, example]}; "
        "expected finite contributions: measure again, or leave this example out"
    )


def _check_all_finite(values: np.ndarray, neurons: Sequence[Neuron], domain: str) -> None:
    if not np.isfinite(values).all():
        layer, neuron = neurons[int(np.argwhere(~np.isfinite(values))[0][0])]
        raise HlensError(
            f"a contribution of L{layer}N{neuron} in {domain} is not finite; measure again"
        )


def max_t_p(data: Contributions, *, permutations: int = 1000, seed: int = 0) -> np.ndarray:
    """P of each neuron, adjusted for all neurons: how often the best neuron of a null does as well.

    The max-T permutation test, single step (Westfall and Young 1993), of the standardised rank sum,
    two-sided. Labels are permuted by group, so that the dependence between neurons and within
    groups is that of the data.
    """
    drawn = [permute_labels(data, [seed, repeat]) for repeat in range(permutations)]
    labels = torch.stack([data.labels, *drawn], dim=1).float()
    best = np.zeros(permutations)
    observed = []
    for z in _rank_sums(data, labels):
        observed.append(z[:, 0].numpy())
        best = np.maximum(best, z[:, 1:].amax(dim=0).numpy())
    own = np.concatenate(observed)
    # The statistics are float32: a null that equals the observed one must count as reaching it.
    reached = permutations - np.searchsorted(np.sort(best), own - 1e-4, side="left")
    return (1 + reached) / (1 + permutations)


def _rank_sums(
    data: Contributions, labels: Float[Tensor, "example column"]
) -> Iterator[Float[Tensor, "row column"]]:
    """Absolute standardised rank sum of each row under each column of labels, block by block."""
    n = len(labels)
    share = float(labels[:, 0].mean())
    for block in _blocks(data.n_layers * data.d_mlp, n, _RANKS):
        ranks = torch.from_numpy(rankdata(data.rows(block).float().numpy(), axis=1)).float()
        centred = ranks - (n + 1) / 2
        # Variance of a sum over a random choice of m of n ranks, ties included.
        spread = centred.double().pow(2).sum(dim=1) * n * share * (1 - share) / (n - 1)
        yield (centred @ labels).abs() / spread.sqrt().clamp_min(1e-12)[:, None].float()
