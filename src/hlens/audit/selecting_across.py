"""Does it matter who selects, between domains: what carries over, and what is shared.

Problem: that a probe carries over, or that domains share no neurons, may be a finding about L1.

Idea: each selector names as many neurons in each domain, refitted there by L2 and read in every
other; and the sets of two domains are compared, with what as many random neurons would share.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hlens.audit.refits import shared_part
from hlens.checks import check_whole
from hlens.claims.conventions import LEVEL
from hlens.errors import HlensError
from hlens.evaluation import transfer
from hlens.evaluation.significance import holm
from hlens.selectors import SelectedProbe, named
from hlens.types import Contributions
from hlens.types.labels import L1

SELECTORS = (L1, "best_alone", "cna", "random")
COLUMNS = [
    "selector", "neurons", "within", "across", "drop", "above_chance", "pairs", "shared",
    "chance", "note",
]  # fmt: skip


def selectors_across(
    data: Contributions,
    k: int,
    *,
    selectors: Sequence[str] = SELECTORS,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Transfer between domains and overlap of their sets, by each selector.

    Args:
        data: Contributions of two domains or more.
        k: Neurons of each set; at most half of the model's.
        selectors: Members of `hlens.selectors`.
        folds: Folds by group of the transfer matrix.
        seed: Seed of folds and draws.

    Returns:
        A row for each selector: ``within`` and ``across`` (mean AUROC of a domain's neurons in
        their own domain and in others), ``drop``, ``above_chance`` (pairs of different domains that
        are, Holm's p at most .05) of ``pairs``, ``shared`` (mean part of their sets that two
        domains share), ``chance`` (what as many random neurons share) and ``note``.

    Raises:
        HlensError: Fewer than two domains, an unknown selector, or a k out of its limits.
    """
    k = check_whole("k", k, least=1, most=max(1, data.n_neurons // 2))
    rows = []
    for name in selectors:
        probe = SelectedProbe(named(name), k, seed=seed)
        row: dict[str, Any] = {"selector": name, "neurons": k, "chance": k / data.n_neurons}
        try:
            row |= _carries(data, probe, folds, seed) | _shares(data, probe)
        except HlensError as error:  # what fails must not take the rest of the table with it
            row["note"] = str(error)
        rows.append(row | {"note": row.get("note", "")})
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _carries(data: Contributions, probe: SelectedProbe, folds: int, seed: int) -> dict[str, Any]:
    table = transfer(data, probe, folds=folds, pooled=False, seed=seed)
    known: Any = table.loc[table["auroc"].notna()]
    own = known["train"] == known["test"]
    within, across = (float(known.loc[part, "auroc"].mean()) for part in (own, ~own))
    others = known.loc[~own]
    above = (others["auroc"] > 0.5) & (holm(others["p_chance"].to_numpy(dtype=float)) <= LEVEL)
    counts = {"above_chance": int(above.sum()), "pairs": len(others)}
    return {"within": within, "across": across, "drop": within - across, **counts}


def _shares(data: Contributions, probe: SelectedProbe) -> dict[str, Any]:
    domains = list(dict.fromkeys(data.domains))
    sets = [
        # Random sets of one seed would be one set.
        SelectedProbe(probe.selector, probe.k, seed=probe.seed + number)
        .find_in(data.of_domain(domain))
        .selected
        for number, domain in enumerate(domains)
    ]
    return {"shared": float(np.mean([shared_part(a, b) for a, b in combinations(sets, 2)]))}
