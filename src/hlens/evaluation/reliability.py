"""How much of a domain's own set is found again: sets found on halves of the data.

Each repeat splits every domain in two by group and finds a set on each half. Half against half
of one domain is the ceiling of any overlap; half of one domain against half of another is the
overlap itself at the same sample size.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, combinations_with_replacement

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.bootstrap import summarise_repeats
from hlens.evaluation.crossfit import Progress
from hlens.evaluation.fitting import Probe, fit_detector
from hlens.evaluation.overlap import jaccard
from hlens.evaluation.split import split_by_group
from hlens.probe.ways import probe_of
from hlens.types import Contributions, Experts, NeuronSet, as_experts, where_neurons_are

Row = dict[str, object]


@dataclass(frozen=True, eq=False)
class Halves:
    """The sets found on both halves of each domain, one pair of sets per repeat."""

    sets: Mapping[str, Sequence[tuple[NeuronSet, NeuronSet]]]
    n_half: Mapping[str, int]  #: examples of the smaller half

    def frequencies(self, domain: str) -> Float[Tensor, "layer neuron"]:
        """How often each neuron was selected over all halves of a domain."""
        masks = [one.mask.float() for pair in self.sets[domain] for one in pair]
        return torch.stack(masks).mean(dim=0)

    def table(self) -> pd.DataFrame:
        """One row per selected neuron: ``repeat, half, layer, neuron``, of the one domain.

        What has no column (the domain, sizes, shape) is in its ``attrs``.
        """
        ((domain, pairs),) = self.sets.items()
        rows = [
            {"repeat": repeat, "half": half, "layer": layer, "neuron": neuron}
            for repeat, pair in enumerate(pairs)
            for half, one in enumerate(pair)
            for layer, neuron in one
        ]
        table = pd.DataFrame(rows, columns=["repeat", "half", "layer", "neuron"])
        first = pairs[0][0]
        table.attrs = {
            "domain": domain,
            "n_half": self.n_half[domain],
            "repeats": len(pairs),
            "shape": [first.n_layers, first.d_mlp],
            **({"experts": first.experts} if first.experts else {}),
        }
        return table

    @classmethod
    def of_tables(cls, tables: Iterable[pd.DataFrame]) -> "Halves":
        """The halves of several domains, each from its own `table`."""
        sets: dict[str, list[tuple[NeuronSet, NeuronSet]]] = {}
        n_half: dict[str, int] = {}
        for table in tables:
            domain = str(table.attrs["domain"])
            n_half[domain] = int(table.attrs["n_half"])
            sets[domain] = [
                (_half(table, domain, repeat, 0), _half(table, domain, repeat, 1))
                for repeat in range(int(table.attrs["repeats"]))
            ]
        return cls(sets, n_half)


def _half(table: pd.DataFrame, domain: str, repeat: int, half: int) -> NeuronSet:
    own = table.loc[(table["repeat"] == repeat) & (table["half"] == half)]
    members = zip(own["layer"].tolist(), own["neuron"].tolist(), strict=True)
    experts = as_experts(table.attrs.get("experts", ()))
    return NeuronSet(frozenset(members), *table.attrs["shape"], name=domain, experts=experts)


def split_halves(
    data: Contributions,
    probe: Probe | None = None,
    *,
    repeats: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> Halves:
    """Find H-neurons on random halves of each domain.

    The probe is that of `hlens.find` when None. With ``n_neurons`` set, halves and domains give
    sets of one size, which compare best. `progress` is called with the number of fits done and of
    all.

    Raises:
        HlensError: One class only in a half, or too few groups.
    """
    probe = probe_of("hlens") if probe is None else probe
    domains = list(dict.fromkeys(data.domains))
    done, all_fits = 0, 2 * repeats * len(domains)
    sets: dict[str, list[tuple[NeuronSet, NeuronSet]]] = {domain: [] for domain in domains}
    n_half: dict[str, int] = {}
    for domain in domains:
        own = data.of_domain(domain)
        for repeat in range(repeats):
            parts = split_by_group(own, 0.5, seed=seed * repeats + repeat)
            first, second = (
                replace(fit_detector(half, probe).neurons, name=domain) for half in parts
            )
            sets[domain].append((first, second))
            n_half[domain] = min(n_half.get(domain, len(own)), *map(len, parts))
            done += 2
            if progress is not None:
                progress(done, all_fits)
    return Halves(sets, n_half)


def reliability(halves: Halves) -> pd.DataFrame:
    """Overlap of halves, within each domain (the ceiling) and between domains (at the same size).

    Returns:
        One row per pair, a domain with itself included: ``a, b, jaccard, low, high,
        overlap_coefficient, n_a, n_b, repeats``. ``low`` and ``high`` span the central 95 % of
        repeats; ``n_a, n_b`` are the mean sizes of the sets of a half.
    """
    names = list(halves.sets)
    rows: list[Row] = []
    for a, b in combinations_with_replacement(names, 2):
        # Halves of one domain must not be compared with themselves; across domains any may.
        pairs = [
            pair
            for one, two in zip(halves.sets[a], halves.sets[b], strict=True)
            for pair in ([one] if a == b else [(one[0], two[1]), (one[1], two[0])])
        ]
        rows.append(_pair_row(a, b, pairs, n=min(halves.n_half[a], halves.n_half[b])))
    return pd.DataFrame(rows)


def frequency_correlation(
    frequencies: Mapping[str, Float[Tensor, "layer neuron"]], *, experts: Experts = ()
) -> pd.DataFrame:
    """Rank correlation of how often neurons are selected in two domains.

    Frequencies are from `Halves.frequencies` or a stability selection, `experts` are those of a
    mixture (`Provenance.experts`), whose layers may differ in width.

    Returns:
        Columns ``a, b, rho, n_either, n_both``: Spearman's correlation over all neurons, and
        how many were ever selected in either and in both. Over the neurons of either alone the
        correlation would be negative by construction.

    Raises:
        HlensError: Fewer than two domains, or frequencies of different models.
    """
    names = list(frequencies)
    if len(names) < 2 or len({tuple(one.shape) for one in frequencies.values()}) > 1:
        raise HlensError(
            f"frequencies of {len(names)} domains, of shapes "
            f"{[tuple(one.shape) for one in frequencies.values()]}; expected two or more of one "
            "model"
        )
    shape = frequencies[names[0]].shape
    there = where_neurons_are(experts, *shape)
    rows: list[Row] = []
    for a, b in combinations(names, 2):
        one, two = (frequencies[name].double().numpy()[there] for name in (a, b))
        constant = np.ptp(one) == 0 or np.ptp(two) == 0  # a correlation with a constant is none
        rho = float("nan") if constant else float(np.asarray(spearmanr(one, two))[0])
        either, both = int(((one > 0) | (two > 0)).sum()), int(((one > 0) & (two > 0)).sum())
        rows.append({"a": a, "b": b, "rho": rho, "n_either": either, "n_both": both})
    return pd.DataFrame(rows)


def _pair_row(a: str, b: str, pairs: Sequence[tuple[NeuronSet, NeuronSet]], *, n: int) -> Row:
    estimate = summarise_repeats([jaccard(one, two) for one, two in pairs], n)
    smaller = [max(1, min(len(one), len(two))) for one, two in pairs]
    shared = [len(one & two) / size for (one, two), size in zip(pairs, smaller, strict=True)]
    return {
        "a": a,
        "b": b,
        "jaccard": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "overlap_coefficient": float(np.mean(shared)),
        "n_a": float(np.mean([len(one) for one, _ in pairs])),
        "n_b": float(np.mean([len(two) for _, two in pairs])),
        "repeats": len(pairs),
    }
