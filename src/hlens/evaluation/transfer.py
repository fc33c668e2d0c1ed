"""Does a probe carry over? Trained on each domain, tested on each, on the same footing.

All cells share one set of folds by group, made over all domains together. A cell scores the
examples of its tested domain out of fold, also where training and tested domain differ: so a
group that occurs in two domains never leaks, every cell of a column holds the same examples, and
the drop from within to across is a paired comparison.

Where the tested domain is among those trained on, its folds are scored by probes that were fitted
to each other's answers: two folds that are alike by chance are so twice, as training and as tested
part. Where nothing is read, the variance of such an AUROC is therefore that of held-out answers
times one and the tested domain's share of the training set; intervals and `p_chance` take it so.

Source of the question: arXiv 2604.19765 (within .783, across .563). Its caveat is kept here:
where domains differ in answer format too, a drop may be one of format.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hlens.errors import HlensError
from hlens.evaluation.auroc import Placements, check_both_classes
from hlens.evaluation.crossfit import CrossFit, Progress, Source, smallest_counts
from hlens.evaluation.fitting import Probe
from hlens.evaluation.folded import delong_folded
from hlens.evaluation.intervals import Sizes, auroc_interval, chance_p, difference_interval
from hlens.evaluation.significance import holm
from hlens.evaluation.split import folds_by_group
from hlens.probe.ways import probe_of
from hlens.types import Contributions
from hlens.types.labels import Pool

COLUMNS = [
    "train", "test", "auroc", "low", "high", "n", "p", "p_corrected", "note", "auroc_drop",
    "p_chance", "n_train",
]  # fmt: skip

Row = dict[str, object]


def transfer(
    data: Contributions,
    probe: Probe | None = None,
    *,
    folds: int = 5,
    equalise: bool = False,
    pooled: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """AUROC of a probe trained on each domain and tested on each.

    The probe is that of `hlens.find` when None. `equalise` trains every domain on as many
    hallucinated and as many true examples as the smallest has. `pooled` also trains on all domains
    (``"all domains"``) and on all but the tested one (``"all other domains"``), never equalised.
    `progress` is called with the number of fits done and of all.

    Returns:
        One row per pair: ``train, test, auroc, low, high, n, p, p_corrected, note, auroc_drop,
        p_chance, n_train``. ``low`` and ``high`` are the 95 % interval of `estimate_auroc`, by
        group, wider where the tested domain was trained on. ``auroc_drop`` is the AUROC within
        the tested domain less this, ``p`` its paired DeLong test, ``p_corrected`` Holm's over the
        matrix; the diagonal, cross-validated within its domain, has none. The test is of these
        very probes: it leaves out what another training sample would change, and between two
        small domains that are alike it calls about one pair in ten different at .05.
        ``p_chance`` tests the AUROC against 0.5. ``n_train`` is the smallest number of examples
        that a fold trained on. An AUROC below 0.5 is noted as inverse transfer; a pair that could
        not be fitted has no AUROC and the reason as note.

    Raises:
        HlensError: Fewer than two domains, one class only in one, or fewer groups than folds.
    """
    return tabulate_transfer(
        score_across(
            data, probe, folds=folds, equalise=equalise, pooled=pooled, seed=seed, progress=progress
        )
    )


def score_across(
    data: Contributions,
    probe: Probe | None = None,
    *,
    folds: int = 5,
    equalise: bool = False,
    pooled: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The scores behind `transfer`, of which it takes all options: each out of fold.

    Returns:
        One row an example and training set, as `hlens.evaluation.crossfit.CrossFit.table` has it.

    Raises:
        HlensError: As `transfer`.
    """
    domains = _check_domains(data)
    fold = folds_by_group(data, folds, seed=seed)
    sources = _training_sets(domains, pooled)
    limit = smallest_counts(data, fold) if equalise else None
    fitted = CrossFit(data, fold, n_sources=len(sources), limit=limit, seed=seed).fit(
        [_members(data, name, tested) for name, tested in sources],
        probe_of("hlens") if probe is None else probe,
        progress=progress,
    )
    return fitted.table(sources)


def tabulate_transfer(scores: pd.DataFrame) -> pd.DataFrame:
    """The table of `transfer`, of the scores behind it."""
    rows = [
        row for domain in dict.fromkeys(scores["test"]) for row in _rows_of_tested(scores, domain)
    ]
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["p_corrected"] = holm(table["p"].to_numpy(dtype=float))
    return table


@dataclass(frozen=True, eq=False)
class Tested:
    """All training sets that scored the examples of one domain.

    Attributes:
        scores: A row a training set, without those that could not be fitted.
        labels, groups, fold: Of the examples, in the order of the columns of `scores`.
    """

    scores: pd.DataFrame
    labels: np.ndarray
    groups: np.ndarray
    fold: np.ndarray

    @classmethod
    def of(cls, scores: pd.DataFrame, domain: str) -> "Tested":
        """Those of one domain, out of scores as `score_across` returns them."""
        own = scores.loc[scores["test"] == domain]
        by_train = {str(name): part for name, part in own.groupby("train", sort=False)}
        first = next(iter(by_train.values()))  # each holds the same examples in the same order
        able = {name: part for name, part in by_train.items() if not part["score"].isna().any()}
        rows = [part["score"].to_numpy() for part in able.values()]
        return cls(
            pd.DataFrame(rows, index=list(able)),
            first["hallucinated"].to_numpy(dtype=bool),
            first["group"].to_numpy(dtype=str),
            first["fold"].to_numpy(),
        )

    @property
    def sizes(self) -> Sizes:
        """Examples and groups of either class."""
        return Sizes.of(self.labels, self.groups)

    def placements(self) -> Placements:
        """AUROC of the training sets, with their covariance by group."""
        return delong_folded(
            self.scores.to_numpy(), self.labels, fold=self.fold, groups=self.groups
        )


def _check_domains(data: Contributions) -> list[str]:
    domains = list(dict.fromkeys(data.domains))
    if len(domains) < 2:
        raise HlensError(
            f"transfer needs two domains or more, these contributions hold {domains or 'none'}; "
            "measure another domain"
        )
    for domain in domains:
        rows = np.asarray(data.domains) == domain
        check_both_classes(data.labels.numpy()[rows], f"domain {domain!r}")
    return domains


def _training_sets(domains: Sequence[str], pooled: bool) -> list[Source]:
    """Each domain, then the pools."""
    sources: list[Source] = [(domain, None) for domain in domains]
    if pooled:
        sources.append((Pool.ALL, None))
    if pooled and len(domains) > 2:  # with two, all others are the one other
        sources += [(Pool.OTHERS, domain) for domain in domains]
    return sources


def _members(data: Contributions, name: str, tested: str | None) -> np.ndarray:
    """Examples that a source may train on."""
    domains = np.asarray(data.domains)
    if name == Pool.ALL:
        return np.ones(len(data), dtype=bool)
    return domains != tested if name == Pool.OTHERS else domains == name


def _rows_of_tested(scores: pd.DataFrame, domain: str) -> list[Row]:
    """All rows of one tested domain, each compared with the probe of that domain itself."""
    tested = Tested.of(scores, domain)
    able, sizes = list(tested.scores.index), tested.sizes
    areas = tested.placements() if able else None
    here = scores.loc[scores["test"] == domain]
    rows: list[Row] = []
    for train, own in here.groupby("train", sort=False):
        name, one = str(train), own.iloc[0]
        key: Row = {"train": name, "test": domain, "n": len(own), "n_train": int(one["n_train"])}
        if areas is None or name not in able:
            rows.append(key | {"note": one["note"]})
            continue
        within = able.index(domain) if domain in able and name != domain else None
        twice = 1 + _share_of_training(scores, name, domain)
        cell = _cell(areas, able.index(name), within=within, sizes=sizes, scatter=twice)
        rows.append(key | cell)
    return rows


def _share_of_training(scores: pd.DataFrame, train: str, tested: str) -> float:
    """The tested domain's share of a training set."""
    if train == Pool.ALL:
        everyone = scores.loc[scores["train"] == train, "test"]
        return float((everyone == tested).mean())
    return float(train == tested)


def _cell(areas: Placements, k: int, *, within: int | None, sizes: Sizes, scatter: float) -> Row:
    auroc, covariance = areas.auroc, areas.covariance
    own = float(auroc[k]), scatter * float(covariance[k, k])
    area = auroc_interval(*own, sizes=sizes)
    drop = p = float("nan")
    if within is not None:
        drop = float(auroc[within] - auroc[k])
        both = covariance[within, within] + covariance[k, k] - 2 * covariance[within, k]
        _, p = difference_interval(drop, float(both), sizes=sizes)
    p_chance = chance_p(*own, sizes=sizes)
    note = _note(area.value, area.high, within is None)
    return {**area.to_row(), "p": p, "auroc_drop": drop, "p_chance": p_chance, "note": note}


def _note(auroc: float, high: float, diagonal: bool) -> str:
    notes = ["within domain, cross-validated"] if diagonal else []
    if auroc < 0.5:
        notes.append("inverse transfer" + (" (interval holds 0.5)" if high >= 0.5 else ""))
    return "; ".join(notes)
