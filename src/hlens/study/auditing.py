"""The audit of a study: its tables and its card, each made once and kept in ``audit/``."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hlens import baselines, figures
from hlens.audit import (
    Scored,
    added_value,
    collect_findings,
    confounds,
    decide,
    leaderboard,
    markdown,
    refits,
    score_all,
    set_agreement,
    truth_by_length,
)
from hlens.audit.findings import NO_BEHAVIOUR
from hlens.effects import slopes
from hlens.evaluation.fitting import fix_C
from hlens.store import write_text
from hlens.store.tables import load_table, save_table
from hlens.study.audit_reading import AuditReading
from hlens.types import AuditCard
from hlens.types.labels import H_NEURONS, Part

if TYPE_CHECKING:
    from hlens.study.deeper import Study

TABLES = ("leaderboard", "added", "confounds", "factorial", "refits", "halves")


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        card: The card: six claims with their verdicts.
        leaderboard: The detector among its rivals.
        added: What it adds to each of them.
        confounds: Its AUROC with each covariate held fixed.
        factorial: Truth against length.
        refits: The same finding made otherwise.
        halves: How much of the set comes back.
    """

    card: AuditCard
    leaderboard: pd.DataFrame
    added: pd.DataFrame
    confounds: pd.DataFrame
    factorial: pd.DataFrame
    refits: pd.DataFrame
    halves: pd.DataFrame

    def _repr_html_(self) -> str:
        return figures.audit_card(self.card).markup

    def to_dict(self) -> dict[str, Any]:
        """The card and all tables as plain JSON values."""
        tables = {
            name: json.loads(value.to_json(orient="records") or "[]")
            for name, value in vars(self).items()
            if isinstance(value, pd.DataFrame)
        }
        return {"card": self.card.to_dict(), **tables}


class Auditing(AuditReading):
    """The steps of one audit, in their order; `Study.audit` runs them."""

    def __init__(self, study: "Study", quick: bool = False) -> None:
        super().__init__(study, quick)
        study.detector()
        self.key = [study.key("find"), self.how, self.seed, baselines.names(), quick]

    def result(self) -> Audit:
        """All tables, and the card that follows from them."""
        make = (
            self._leaderboard, self._added, self._confounds, self._factorial, self._refits,
            self._halves,
        )  # fmt: skip
        if not self.stands():
            self.evidence()  # a step of its own, also in its seconds
        self._table("scores", self._scores)
        tables = {name: self._table(name, how) for name, how in zip(TABLES, make, strict=True)}
        card = self._card(tables)
        return Audit(card, **tables)

    def stands(self) -> bool:
        """Whether all tables stand for this very finding."""
        return all(self.study.stands(f"audit {name}", self.key) for name in ("scores", *TABLES))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Score of every example by every detector; out of fold in the training part."""
        return self._table("scores", self._scores)

    def _scores(self) -> pd.DataFrame:
        study = self.study
        return score_all(
            self.evidence(),
            self.in_test,
            probe=study.probe(),
            detector=study.detector(),
            rivals=baselines.rivals(),
            seed=self.seed,
            progress=study.reporter("audit: rivals"),
        )

    def _of(self, part: str) -> dict[str, np.ndarray]:
        """Scores of each detector that could be run, on one part."""
        rows = self.scores.loc[self.scores["part"] == part]
        return {
            str(name): rows.loc[rows["detector"] == name, "score"].to_numpy()
            for name in rows["detector"].unique()
        }

    def _scored(self) -> tuple[Scored, Scored]:
        """The detector's own scores beside the covariates, training part first."""
        parts = zip(Part, (~self.in_test, self.in_test), strict=True)
        found = [
            Scored(
                self._of(part)[H_NEURONS],
                self.data.labels.numpy()[rows],
                list(np.asarray(self.data.groups)[rows]),
                self.covariates.loc[rows].reset_index(drop=True),
            )
            for part, rows in parts
        ]
        return found[0], found[1]

    def _leaderboard(self) -> pd.DataFrame:
        once = self.scores.drop_duplicates("detector").set_index("detector")
        known = once.loc[once["note"] == ""]
        costs = {
            str(name): (int(row["passes"]), int(row["samples"])) for name, row in known.iterrows()
        }
        absent: Any = once.loc[once["note"] != "", "note"]
        missing = {str(name): str(note) for name, note in absent.items()}
        return leaderboard(
            self._of(Part.TEST),
            self.labels()[1],
            groups=self.groups()[1],
            costs=costs,
            missing=missing,
            n_boot=self.how.n_boot,
            seed=self.seed,
        )

    def _added(self) -> pd.DataFrame:
        return added_value(
            self._of(Part.TRAIN),
            self._of(Part.TEST),
            labels=self.labels(),
            groups=self.groups(),
            n_boot=self.how.n_boot,
            seed=self.seed,
        )

    def _confounds(self) -> pd.DataFrame:
        return confounds(*self._scored(), n_boot=self.how.n_boot, seed=self.seed)

    def _factorial(self) -> pd.DataFrame:
        test = self._scored()[1]
        return truth_by_length(
            test.scores,
            test.labels,
            lengths=test.covariates["length"],
            groups=test.groups,
            n_boot=self.how.n_boot,
            seed=self.seed,
        )

    def _refits(self) -> pd.DataFrame:
        study = self.study
        return refits(
            *study.split(),
            probe=study.probe(),
            detector=study.detector(),
            others=self.evidence().measured,
            second=self.second_judge(),
            draws=self.how.random_sets,
            n_boot=self.how.n_boot,
            seed=self.seed,
        )

    def _halves(self) -> pd.DataFrame:
        study = self.study
        probe = fix_C(study.probe(), study.detector())
        return set_agreement(study.split()[0], probe, seed=self.seed)

    def _card(self, tables: Mapping[str, pd.DataFrame]) -> AuditCard:
        study, several = self.study, len(self.study.domains()) > 1
        detector, scores = study.detector(), study.scores()
        found = collect_findings(
            scores=scores,
            **{name: table for name, table in tables.items() if name != "factorial"},
            n_selected=len(detector.selected),
            n_neurons=detector.weights.numel(),
            transfer=study.transfer() if several else None,
            slopes=self._slopes() if study.has_outcomes() else None,
        )
        n_test = int(self.in_test.sum())
        about = (
            f"{detector.metric} of the {detector.region} tokens, {len(detector.selected)} neurons; "
            f"found on {len(self.data) - n_test} answers, tested on {n_test} of other questions; "
            f"domains: {', '.join(sorted(set(self.data.domains)))}; seed {self.seed}."
            f"{' Quick: the model was run no further.' if self.quick else ''}"
        )
        card = AuditCard(detector.provenance.model, about, decide(found))
        self._write(card)
        return card

    def _slopes(self) -> pd.DataFrame:
        """Slopes at a level corrected for the number of behaviours."""
        outcomes = self.study.outcomes()
        tested = max(1, len(set(outcomes["behaviour"]) - set(NO_BEHAVIOUR)))
        return slopes(outcomes, level=1 - 0.05 / tested)

    def _write(self, card: AuditCard) -> None:
        folder = self.study.folder / "audit"
        text = json.dumps(card.to_dict(), indent=1, ensure_ascii=False) + "\n"
        write_text(folder / "card.json", text)
        write_text(folder / "card.md", markdown(card))

    def _table(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        path = self.study.folder / "audit" / f"{name}.parquet"
        return self.study.step(
            f"audit {name}",
            self.key,
            make,
            lambda found: save_table(found, path),
            partial(load_table, path),
        )
