"""The domains of a study and the formats that they ask in: which of them can be compared."""

from collections import Counter
from dataclasses import replace
from functools import cached_property

import pandas as pd

from hlens.errors import HlensError
from hlens.evaluation import domains_with_both, transfer_by_format
from hlens.study.line import Line
from hlens.types import Contributions

Cell = tuple[str, str]  # domain and format


class Formats(Line):
    """The domains of a study, and its formats beside them."""

    @property
    def least(self) -> int:
        """Groups of each label that a domain needs, so that every fold of every fit has some."""
        return 2 * self.recipe.evaluation.folds

    def domains(self) -> list[str]:
        """Domains with enough examples of both labels: those that can be compared."""
        return domains_with_both(self.contributions(), self.least)

    def compared(self) -> Contributions:
        """The contributions of these domains.

        Raises:
            HlensError: There are fewer than two.
        """
        names = self.domains()
        if len(names) < 2:
            raise HlensError(
                f"domains are compared where two or more have {self.least} groups of each label, "
                f"here {names or 'none'}; ask more questions, or name another domain in the recipe"
            )
        data = self.contributions()
        if set(names) == set(data.domains):
            return data
        return data.select([i for i, name in enumerate(data.domains) if name in names])

    def formats(self) -> pd.DataFrame:
        """What each domain asks and gave, by format.

        Returns:
            One row a domain and format: ``domain, format, questions, examples, hallucinated, true,
            compared`` (whether the cell itself has enough of both labels to be compared).
        """
        format_of = self._format_of
        asked = Counter((q.domain, format_of[q.domain, q.id]) for q in self.questions())
        counts: Counter[tuple[str, str, bool]] = Counter()
        for example in self.examples():
            how = format_of[example.domain, example.question_id]
            counts[example.domain, how, example.hallucinated] += 1
        large = self._cells()
        return pd.DataFrame(
            {
                "domain": domain,
                "format": how,
                "questions": n,
                "examples": counts[domain, how, True] + counts[domain, how, False],
                "hallucinated": counts[domain, how, True],
                "true": counts[domain, how, False],
                "compared": (domain, how) in large,
            }
            for (domain, how), n in asked.items()
        )

    @cached_property
    def _format_of(self) -> dict[tuple[str, str], str]:
        questions = self.questions()
        return {(q.domain, q.id): str(q.meta.get("format", "short_answer")) for q in questions}

    def _cell_of(self, data: Contributions) -> list[Cell]:
        pairs = zip(data.domains, data.question_ids, strict=True)
        return [(domain, self._format_of[domain, qid]) for domain, qid in pairs]

    def _cells(self) -> list[Cell]:
        """Domains in one format with enough examples of both labels."""
        data = self.contributions()
        cells = self._cell_of(data)
        names = {f"{domain}\n{how}": (domain, how) for domain, how in cells}
        apart = replace(data, domains=tuple(f"{domain}\n{how}" for domain, how in cells))
        return [names[name] for name in domains_with_both(apart, self.least)]

    def has_formats(self) -> bool:
        """Whether domain and format can be told apart: one of them changes without the other."""
        cells = self._cells()
        return (
            any((a[0] == b[0]) != (a[1] == b[1]) for a in cells for b in cells if a != b)
            and len({how for _, how in cells}) > 1
        )

    def transfer_by_format(self) -> pd.DataFrame:
        """Transfer between all domains in each of their formats, with what ``changed``."""
        return self._by_format()[0]

    def format_effect(self) -> pd.DataFrame:
        """Mean AUROC and drop where the domain, the format, or both change."""
        return self._by_format()[1]

    def _by_format(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        made: list[pd.DataFrame] = []

        def both() -> list[pd.DataFrame]:
            made[:] = made or self._make_by_format()
            return made

        folds, seed = self.recipe.evaluation.folds, self.recipe.seed
        depends = [*self._rests_on(), folds, seed]
        return (
            self.table_step("transfer by format", depends, lambda: both()[0]),
            self.table_step("format effect", depends, lambda: both()[1]),
        )

    def _make_by_format(self) -> list[pd.DataFrame]:
        data, large = self.contributions(), set(self._cells())
        if len(large) < 2:
            raise HlensError(
                "formats are compared where two or more cells of domain and format have "
                f"{self.least} groups of each label; ask more questions"
            )
        data = data.select([i for i, cell in enumerate(self._cell_of(data)) if cell in large])
        found = transfer_by_format(
            data,
            [how for _, how in self._cell_of(data)],
            probe=self.probe(),
            folds=self.recipe.evaluation.folds,
            seed=self.recipe.seed,
            progress=self.reporter("transfer by format"),
        )
        return list(found)

    def _rests_on(self) -> list[object]:
        """What all comparisons depend on: the measured examples, the domains and the probe."""
        self.contributions()
        return [self.key("measure"), sorted(self.domains()), self.recipe.probe]
