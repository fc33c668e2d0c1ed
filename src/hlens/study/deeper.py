"""The whole study: the line, and the questions asked of what it found."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from hlens.evaluation import k_sweep, univariate
from hlens.model import Model
from hlens.probe import SparseProbe
from hlens.recipe import Recipe
from hlens.report import report as write_report
from hlens.selection import path as regularisation_path
from hlens.selection import stability
from hlens.study.audited import audit_page
from hlens.study.auditing import Audit, Auditing
from hlens.study.intervening import Intervening
from hlens.study.steps import Progress
from hlens.study.telling import report_data
from hlens.study.words import in_words


class Study(Intervening):
    """The artefacts of one run in one folder, each made when first asked for.

    >>> study = Study("runs/mine", Recipe(domains=("general",)))  # doctest: +SKIP
    >>> study.scores()  # doctest: +SKIP
    >>> study.report()  # doctest: +SKIP
    """

    @classmethod
    def run(
        cls,
        recipe: Recipe,
        folder: str | Path | None = None,
        model: Model | None = None,
        progress: Progress | None = None,
    ) -> "Study":
        """Run the whole line; `folder` defaults to ``runs/<hash of the recipe>``."""
        study = cls(folder or Path("runs") / recipe.hash, recipe, model, progress)
        study.scores()
        return study

    def alone(self) -> pd.DataFrame:
        """AUROC of every neuron alone, on the training part."""
        return self._table("alone", "measure", [self.recipe.evaluation.test], self._alone)

    def _alone(self) -> pd.DataFrame:
        return univariate(self.split()[0])

    def path(self) -> pd.DataFrame:
        """The regularisation path: weight of each neuron at each C."""
        return self._table(
            "path", "find", [], lambda: regularisation_path(self.split()[0], self.probe()).table()
        )

    def stability(self) -> pd.DataFrame:
        """How often half-samples select each neuron; what that promises, in ``attrs``."""
        return self._table(
            "stability", "find", [self.recipe.evaluation.stability_pairs], self._stability
        )

    def _stability(self) -> pd.DataFrame:
        # Scaled by feature: the bound on false selections needs it.
        probe = SparseProbe(scale="feature", class_weight=self.probe().class_weight)
        pairs, seed = self.recipe.evaluation.stability_pairs, self.recipe.seed
        found = stability(self.split()[0], probe, n_pairs=pairs, seed=seed)
        table = found.table()
        table.attrs = {
            "threshold": found.threshold,
            "resamples": found.n_resamples,
            "expected_false": found.expected_false,
            "assumption": found.assumption,
        }
        return table

    def sparsity(self) -> pd.DataFrame:
        """AUROC of the top k neurons beside k random ones and all of them."""
        how, seed = self.recipe.evaluation, self.recipe.seed
        return self._table(
            "sparsity",
            "find",
            [how.random_sets, how.n_boot, seed],
            lambda: k_sweep(
                *self.split(),
                probe=self.probe(),
                draws=how.random_sets,
                n_boot=how.n_boot,
                seed=seed,
            ),
        )

    def audit(self, quick: bool = False) -> Audit:
        """Which claims survive their controls: rivals, confounds, controls and the card.

        The card also lies in ``audit/`` as JSON and Markdown, and as a page of its own with the
        figures behind it.

        Args:
            quick: Run the model no further: rivals that read its inside, P(True), and the other
                tokens and positions are left out.
        """
        auditing = Auditing(self, quick)
        found, path = auditing.result(), self.folder / "audit" / "card.html"
        self.sparsity()  # its figure stands on the page
        self.step(
            "audit page",
            [*auditing.key, found.card.to_dict()],
            lambda: write_report(audit_page(self, found), path),
            lambda written: written,
            lambda: path,
        )
        return found

    def has_audit(self) -> bool:
        """Whether an audit of this very finding stands, so that a report shows it."""
        return Auditing(self).stands() or self.has_quick_audit()

    def has_quick_audit(self) -> bool:
        """Whether the audit that stands is a quick one."""
        return Auditing(self, quick=True).stands()

    def in_words(self) -> list[str]:
        """What the scores say, in sentences."""
        return in_words(self.scores())

    def report(self, path: str | Path | None = None) -> Path:
        """Draw all that the study holds into one HTML file; default: in the study's folder."""
        path = Path(path) if path else self.folder / "report.html"
        found = report_data(self)
        self.reporter("report")(0, 1)
        write_report(found, path)
        self.reporter("report")(1, 1)
        return path

    def _table(
        self, name: str, after: str, depends: list[object], make: Callable[[], pd.DataFrame]
    ) -> pd.DataFrame:
        """A table that is made once for what it depends on, and kept as Parquet."""
        self.detector() if after == "find" else self.contributions()
        return self.table_step(name, [self.key(after), *depends], make)
