"""Whether a probe found on one domain reads another."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from hlens import figures
from hlens.claims import describe_drop
from hlens.claims.conventions import LEVEL
from hlens.claims.findings import read_transfers
from hlens.claims.rules import carries
from hlens.counting import count
from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.tables import Tables
from hlens.steps import domains
from hlens.types.labels import Heading, Pool

HEADING = Heading.TRANSFER
NEEDS = (domains.domains, domains.transfer, domains.drop)


def section(tables: Tables) -> Section | None:
    """The section of a study of two domains or more."""
    if len(tables[domains.domains]) < 2:
        return None
    transfer = tables[domains.transfer]
    return Section(
        HEADING,
        "Trained on one domain, tested on another, on the same footing: groups are never split, "
        "and every cell of a column holds the same answers.",
        (
            partial(figures.transfer, transfer),
            *describe_transfer(transfer),
            *map(describe_drop, tables[domains.drop].to_dict("records")),
            "Each pair in numbers: the drop from within the tested domain with its DeLong p, that "
            "p corrected by Holm over the matrix, and the examples of the smallest training fold.",
            table(transfer, "AUROC of each pair.", tall=True),
        ),
        "Training sets have the sizes that the domains have (n train): a small one makes a weak "
        "probe, whatever it transfers.",
    )


def describe_transfer(transfer: pd.DataFrame) -> Iterator[str]:
    """What a transfer table says, in sentences."""
    known = transfer.loc[transfer["auroc"].notna()]
    single = known.loc[~known["train"].isin(list(Pool))]
    own = single.loc[single["train"] == single["test"]]
    across = single.loc[single["train"] != single["test"]]
    worse = np.count_nonzero((across["p_corrected"] <= LEVEL) & (across["auroc_drop"] > 0))
    inverse = across.loc[across["high"] < 0.5]
    above = sum(map(carries, read_transfers(transfer)))
    yield (
        f"Within domains the mean AUROC is {own['auroc'].mean():.3f}, across "
        f"{across['auroc'].mean():.3f}; {worse} of {count(len(across), 'pair')} drop (corrected "
        "p at most "
        f".05), {above} are above chance (Holm's p at most .05)."
    )
    for name, what in (
        (Pool.ALL, "all domains together"),
        (Pool.OTHERS, "all domains but the tested"),
    ):
        rows = known.loc[known["train"] == name]
        if len(rows):
            yield f"Trained on {what}, the mean AUROC is {rows['auroc'].mean():.3f}."
    if len(inverse):
        pairs = ", ".join(f"{r.train} to {r.test}" for r in inverse.itertuples())
        yield f"Inverse transfer (the interval lies below 0.5): {pairs}."
