"""Does a probe carry over? Trained on each domain, tested on each, on the same footing.

All cells share one set of folds by group, made over all domains together. A cell scores the
examples of its tested domain out of fold, also where training and tested domain differ: so a
group that occurs in two domains never leaks, every cell of a column holds the same examples, and
the drop from within to across is a paired comparison.

Source of the question: arXiv 2604.19765 (within .783, across .563). Its caveat is kept here:
where domains differ in answer format too, a drop may be one of format.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.base import BaseEstimator

from hlens.errors import HlensError
from hlens.evaluation.auroc import check_both_classes, p_of
from hlens.evaluation.correction import holm
from hlens.evaluation.crossfit import CrossFit, smallest
from hlens.evaluation.folded import interval, rarer
from hlens.evaluation.split import folds_by_group
from hlens.probe import SparseProbe
from hlens.types import Contributions
from hlens.types.labels import Pool

Row = dict[str, object]
Source = tuple[str, str | None]
Progress = Callable[[int, int], None]


def transfer(
    data: Contributions,
    probe: BaseEstimator | None = None,
    folds: int = 5,
    equalise: bool = False,
    pooled: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """AUROC of a probe trained on each domain and tested on each.

    Args:
        data: Contributions of two domains or more.
        probe: The estimator; ``SparseProbe(C="cv")`` when None; cloned for each fit.
        folds: Folds by group, over all domains together.
        equalise: Train every domain on as many hallucinated and as many true examples as the
            smallest has; otherwise on all it has. ``n_train`` states it either way.
        pooled: Also train on all domains (``"all domains"``) and on all but the tested one
            (``"all other domains"``); these are never cut to size.
        seed: Seed of folds and of equalising.
        progress: Called with the number of fits done and of all.

    Returns:
        One row a pair: ``train, test, auroc, low, high, n, p, p_corrected, note, auroc_drop,
        p_chance, n_train``. ``low`` and ``high`` are the 95 % interval by DeLong's error
        clustered by group. ``auroc_drop`` is the AUROC within the tested domain less this one,
        ``p`` its paired DeLong test, ``p_corrected`` Holm's over the matrix; the diagonal,
        cross-validated within its domain, has none. The test is of these very probes: it does not
        hold what another training sample would change, and of two small domains alike it calls
        about one pair in ten different at .05. ``p_chance`` tests the AUROC against 0.5.
        ``n_train`` is the smallest number of examples that a fold trained on. An AUROC below 0.5
        is noted as inverse transfer; a pair that could not be fitted has no AUROC and the reason
        as note.

    Raises:
        HlensError: Fewer than two domains, one class only in one, or fewer groups than folds.
    """
    domains = _domains(data)
    fold = folds_by_group(data, folds, seed)
    sources = _sources(domains, pooled)
    limit = smallest(data, domains, fold) if equalise else None
    found = CrossFit(data, fold, len(sources), limit, seed)
    probe = SparseProbe(C="cv") if probe is None else probe
    for at, (name, tested) in enumerate(sources):
        for part in range(folds):
            found.fill(at, part, _members(data, name, tested), probe)
            if progress is not None:
                progress(at * folds + part + 1, len(sources) * folds)
    return table_of(data, sources, found)


def table_of(data: Contributions, sources: Sequence[Source], found: CrossFit) -> pd.DataFrame:
    """The table of `transfer` out of the scores of its training sets.

    Args:
        data: The contributions that were scored.
        sources: The training sets: their name, and the one domain that each is tested on (None:
            every domain). Each domain's own is among them.
        found: Scores of these sources, in their order.
    """
    domains = list(dict.fromkeys(data.domains))
    rows = [row for domain in domains for row in _column(data, domain, sources, found)]
    table = pd.DataFrame(rows)
    table["p_corrected"] = holm(table.p.to_numpy(dtype=float))
    order = ["train", "test", "auroc", "low", "high", "n", "p", "p_corrected", "note"]
    return table.reindex(columns=[*order, "auroc_drop", "p_chance", "n_train"])


def _domains(data: Contributions) -> list[str]:
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


def _sources(domains: Sequence[str], pooled: bool) -> list[Source]:
    """What is trained on: (name, the one tested domain or None for all)."""
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


def _column(
    data: Contributions, domain: str, sources: Sequence[Source], found: CrossFit
) -> list[Row]:
    """All rows of one tested domain, each compared with the probe of that domain itself."""
    inside = np.asarray(data.domains) == domain
    asked = [at for at, (_, tested) in enumerate(sources) if tested in (None, domain)]
    able = [at for at in asked if at not in found.failed]
    own = next(at for at in asked if sources[at][0] == domain)
    rows: list[Row] = []
    least = rarer(data.labels.numpy()[inside], np.asarray(data.groups)[inside])
    areas = found.placements(able, inside) if able else None
    for at in asked:
        name, n = sources[at][0], int(inside.sum())
        place = {"train": name, "test": domain, "n": n, "n_train": int(found.n_train[at])}
        if at in found.failed or areas is None:
            rows.append(place | _EMPTY | {"note": found.failed[at]})
            continue
        k = able.index(at)
        within = able.index(own) if own in able and at != own else None
        rows.append(place | _cell(areas.auroc, areas.covariance, k, within, n, least))
    return rows


_EMPTY: Row = {
    name: float("nan") for name in ("auroc", "low", "high", "p", "auroc_drop", "p_chance")
}


def _cell(
    auroc: np.ndarray, covariance: np.ndarray, k: int, within: int | None, n: int, least: int
) -> Row:
    se = float(np.sqrt(max(covariance[k, k], 0)))
    area = interval(float(auroc[k]), se, n, least)
    drop = p = float("nan")
    if within is not None:
        drop = float(auroc[within] - auroc[k])
        both = covariance[within, within] + covariance[k, k] - 2 * covariance[within, k]
        p = p_of(drop, float(both))
    apart = abs(area.value - 0.5)
    by_luck = 0.5 ** (least - 1)  # all on one side, whichever
    p_chance = 1.0 if apart < 1e-12 else float(2 * norm.sf(apart / se)) if se > 0 else by_luck
    note = _note(area.value, area.high, within is None)
    return {**area.to_row(), "p": p, "auroc_drop": drop, "p_chance": p_chance, "note": note}


def _note(auroc: float, high: float, diagonal: bool) -> str:
    notes = ["within domain, cross-validated"] if diagonal else []
    if auroc < 0.5:
        notes.append("inverse transfer" + (" (interval holds 0.5)" if high >= 0.5 else ""))
    return "; ".join(notes)
