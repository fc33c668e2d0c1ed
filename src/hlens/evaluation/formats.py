"""Domain or format? Transfer between the formats of domains, each step changed alone.

Where domains differ in how answers look (a word, an option, yes or no), a drop across domains may
be one of format. A domain that has several formats, or a format that several domains have,
separates the two: each cell (a domain in one format) is trained on and tested on by itself, and the
pairs are sorted by what changes between them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from hlens.errors import HlensError
from hlens.evaluation.auroc import Placements
from hlens.evaluation.crossfit import CrossFit, Progress
from hlens.evaluation.fitting import Probe
from hlens.evaluation.intervals import Sizes, auroc_interval, difference_interval
from hlens.evaluation.significance import holm
from hlens.evaluation.split import folds_by_group
from hlens.evaluation.transfer import Tested, tabulate_transfer
from hlens.probe.ways import probe_of
from hlens.types import Contributions
from hlens.types.labels import Changed

COLUMNS = [
    "changed", "auroc", "low", "high", "auroc_drop", "drop_low", "drop_high", "p", "p_corrected",
    "n_pairs", "n_tested",
]  # fmt: skip

Cell = tuple[str, str]  # domain and format
Row = dict[str, object]


def transfer_by_format(
    data: Contributions,
    formats: Sequence[str],
    *,
    probe: Probe | None = None,
    folds: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Transfer between all pairs of cells (a domain in one format), and its mean by what changes.

    The probe is that of `hlens.find` when None; folds by group are over all cells together.
    `progress` is called with the number of fits done and of all.

    Returns:
        First the table of all pairs, as `hlens.evaluation.transfer` returns it, with a column
        ``changed``: ``"nothing"`` (within, cross-validated), ``"domain"``, ``"format"`` or
        ``"domain and format"``. Then one row for each of these that occurs: ``changed, auroc,
        low, high, auroc_drop, drop_low, drop_high, p, p_corrected, n_pairs, n_tested``. The AUROC
        is the mean over tested cells, each the mean over its training cells; the drop is from
        within the same tested cells. Intervals and p are of the tested groups (as of
        `estimate_auroc`) given the probes, as if no group were in two cells; p is corrected by
        Holm.

    Raises:
        HlensError: Formats of another number of examples, fewer than two cells, or one label
            only in a cell.
    """
    if len(formats) != len(data):
        raise HlensError(f"{len(formats)} formats for {len(data)} examples; give one for each")
    cell_of = list(zip(data.domains, formats, strict=True))
    cells = {cell_name(cell): cell for cell in sorted(set(cell_of))}
    named = replace(data, domains=tuple(map(cell_name, cell_of)))
    names = np.asarray(named.domains)
    fitted = CrossFit(named, folds_by_group(named, folds, seed=seed), n_sources=len(cells)).fit(
        [names == name for name in cells],
        probe_of("hlens") if probe is None else probe,
        progress=progress,
    )
    scores = fitted.table([(name, None) for name in cells])
    table = tabulate_transfer(scores)
    pairs = zip(table["train"], table["test"], strict=True)
    table["changed"] = [changed(cells[train], cells[test]) for train, test in pairs]
    able = [name for k, name in enumerate(cells) if k not in fitted.failed]
    tested = [Tested.of(scores, name) for name in able]
    areas, sizes = [one.placements() for one in tested], [one.sizes for one in tested]
    of_cells = [cells[name] for name in able]
    means = [_mean_of(relation, of_cells, areas=areas, sizes=sizes) for relation in Changed]
    summary = pd.DataFrame([row for row in means if row]).reindex(columns=COLUMNS)
    summary["p_corrected"] = holm(summary["p"].to_numpy(dtype=float))
    return table, summary


def cell_name(cell: Cell) -> str:
    """A domain in one format, in words.

    >>> cell_name(("legal", "short_answer"))
    'legal, short answer'
    """
    return f"{cell[0]}, {cell[1].replace('_', ' ')}"


def changed(train: Cell, test: Cell) -> Changed:
    """What differs between two cells.

    >>> print(changed(("legal", "label"), ("moral", "label")))
    domain
    """
    if train[0] == test[0]:
        return Changed.NOTHING if train[1] == test[1] else Changed.FORMAT
    return Changed.DOMAIN if train[1] == test[1] else Changed.BOTH


def _mean_of(
    relation: Changed,
    cells: Sequence[Cell],
    *,
    areas: Sequence[Placements],
    sizes: Sequence[Sizes],
) -> Row | None:
    """The mean of one relation over the tested cells, each a column of the transfer matrix.

    A mean of AUROCs is a linear combination of them, so its variance follows from the covariance
    of each column; columns are tested on different groups and add up as independent.
    """
    trained = [
        [k for k, source in enumerate(cells) if changed(source, tested) == relation]
        for tested in cells
    ]
    columns = [k for k in range(len(cells)) if trained[k]]
    if not columns:
        return None
    value = drop = value_variance = drop_variance = 0.0
    for column in columns:
        mean, own = np.zeros((2, len(cells)))
        mean[trained[column]] = 1 / len(trained[column]) / len(columns)
        own[column] = 1 / len(columns)
        area = areas[column]
        value += float(mean @ area.auroc)
        drop += float((own - mean) @ area.auroc)
        value_variance += float(mean @ area.covariance @ mean)
        drop_variance += float((own - mean) @ area.covariance @ (own - mean))
    row: Row = {"changed": relation, "n_pairs": sum(map(len, trained))}
    row |= {"n_tested": len(columns), "auroc": value}
    tested = sum((sizes[column] for column in columns[1:]), start=sizes[columns[0]])
    mean_area = auroc_interval(value, value_variance, sizes=tested)
    row |= {"low": mean_area.low, "high": mean_area.high}
    if relation != Changed.NOTHING:
        estimate, p = difference_interval(drop, drop_variance, sizes=tested)
        row |= {"auroc_drop": drop, "drop_low": estimate.low, "drop_high": estimate.high, "p": p}
    return row
