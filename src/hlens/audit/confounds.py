"""Confounds: does the detector still read when what could be read in place of truth is held fixed?

For every covariate there are four views of the same held-out scores. None is enough alone: strata
are coarse, alike pairs are few, a matched subset is smaller still, an adjustment trusts its model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from hlens.audit import views
from hlens.audit.covariates import SAMPLING, SURFACE, Scored
from hlens.counting import count
from hlens.evaluation import estimate_auroc
from hlens.types import Estimate
from hlens.types.labels import Covariate, View

COLUMNS = ["covariate", "view", "stratum", "auroc", "low", "high", "n", "hallucinated", "note"]
FEWEST = 10  # examples of a class below which a stratum is counted, not judged

Row = dict[str, Any]


def confounds(train: Scored, test: Scored, *, seed: int = 0) -> pd.DataFrame:
    """AUROC of a detector with each covariate held fixed, on held-out examples.

    Scores of `train` are out of fold; all that is learned is learned there. `seed` is that of
    matching.

    Returns:
        Columns ``covariate, view, stratum, auroc, low, high, n, hallucinated, note``. Views:

        - ``alone``: the covariate itself as a detector (its direction or the rate of each of its
          values learned in training): how much it could explain.
        - ``stratum``: the detector among the examples of one stratum (thirds of a number).
        - ``alike pairs``: over all pairs of a hallucinated and a true answer that agree in it.
        - ``matched``: on a subset in which every hallucinated answer has a true one like it.
        - ``adjusted``: what is left of the score when what it predicts is taken off; without
          examples of a category that no true answer of the training part is of.

        The covariate ``surface, all at once`` combines all covariates of surface that vary; its
        alike pairs agree in the log-odds of hallucination that they predict. A covariate without
        variation has one row that says so.
    """
    rows = _Rows(train, test, seed)
    table = [row for name in test.covariates for row in rows.of_covariate(str(name))]
    return pd.DataFrame([*table, *rows.of_surface()], columns=COLUMNS)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of the table, covariate by covariate."""

    train: Scored
    test: Scored
    seed: int

    def of_covariate(self, name: str) -> Iterator[Row]:
        column = pd.Series(self.test.covariates[name])
        if not self._varies(name):
            note = "missing for some examples" if column.hasnans else "has one value only"
            yield self._row(name, View.ALONE, Estimate.missing(len(self.test)), note=note)
            return
        if name not in SAMPLING:
            odds = views.hallucination_odds(self.train, self.test, columns=[name])
            yield self._row(name, View.ALONE, self._auroc(odds, self.test))
        yield from self._of_strata(name, column)
        if name not in SAMPLING:
            alike = views.alike_pairs(column.to_numpy(), self.test.labels)
            yield from self._held_fixed(name, [name], alike)

    def of_surface(self) -> Iterator[Row]:
        names = [n for n in SURFACE if n in self.test.covariates and self._varies(n)]
        if not names:
            return
        name, note = Covariate.ALL_OF_SURFACE, ", ".join(names)
        odds = views.hallucination_odds(self.train, self.test, columns=names)
        yield self._row(name, View.ALONE, self._auroc(odds, self.test), note=note)
        yield from self._held_fixed(name, names, views.alike_pairs(odds, self.test.labels))

    def _of_strata(self, name: str, column: pd.Series) -> Iterator[Row]:
        strata = views.name_strata(column)
        for stratum in views.order_strata(column):
            part = self.test.select(strata == stratum)
            few = min(int(part.labels.sum()), int((~part.labels).sum())) < FEWEST
            note = f"fewer than {FEWEST} of a label" if few else ""
            auroc = Estimate.missing(len(part)) if few else self._auroc(part.scores, part)
            row = self._row(name, View.STRATUM, auroc, part=part, note=note)
            yield row | {"stratum": str(stratum)}

    def _held_fixed(self, name: str, columns: Sequence[str], alike: views.Alike) -> Iterator[Row]:
        test = self.test
        over_pairs = views.estimate_over_pairs(
            test.scores, test.labels, alike=alike, groups=test.groups
        )
        row = self._row(name, View.ALIKE_PAIRS, over_pairs, note=count(int(alike.sum()), "pair"))
        yield row | {"hallucinated": int(alike.any(axis=1).sum())}
        chosen = test.select(views.match_alike(alike, test.labels, seed=self.seed))
        yield self._row(name, View.MATCHED, self._auroc(chosen.scores, chosen), part=chosen)
        left = views.adjust_scores(self.train, test, columns=columns)
        kept = test.select(np.isfinite(left))
        adjusted = self._auroc(left[np.isfinite(left)], kept)
        yield self._row(name, View.ADJUSTED, adjusted, part=kept)

    def _varies(self, name: str) -> bool:
        columns = (pd.Series(part.covariates[name]) for part in (self.test, self.train))
        return all(not column.hasnans and column.nunique() > 1 for column in columns)

    def _auroc(self, score: Float[np.ndarray, " example"], part: Scored) -> Estimate:
        if part.labels.all() or not part.labels.any():
            return Estimate.missing(len(part))
        return estimate_auroc(score, part.labels, groups=part.groups)

    def _row(
        self, name: str, view: View, auroc: Estimate, *, part: Scored | None = None, note: str = ""
    ) -> Row:
        count = int((self.test if part is None else part).labels.sum())
        key = {"covariate": name, "view": view, "stratum": ""}
        return {**key, **auroc.to_row(), "hallucinated": count, "note": note}
