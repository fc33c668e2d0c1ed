"""The audit of a study: its tables and its card, each made once and kept in ``audit/``."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hlens import baselines, figures, judges, metrics
from hlens.audit import (
    REFERENCE,
    Scored,
    added_value,
    confounds,
    covariates,
    decide,
    findings,
    leaderboard,
    markdown,
    refits,
    score_all,
    second_labels,
    set_agreement,
    truth_by_length,
)  # fmt: skip
from hlens.audit.findings import NO_BEHAVIOUR
from hlens.audit.quick import known_evidence
from hlens.audit.scoring import TEST, TRAIN
from hlens.contributions import measure
from hlens.effects import slopes
from hlens.evaluation.controls import settled
from hlens.model import Settings
from hlens.store import write_text
from hlens.store.evidence import load_evidence, save_evidence
from hlens.store.tables import load_table, save_table
from hlens.types import AuditCard, Contributions, Evidence

if TYPE_CHECKING:
    from hlens.study.deeper import Study

SECOND_JUDGE = "substring"  # the loose rule of the paper's official code
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


class Auditing:
    """The steps of one audit, in their order; `Study.audit` runs them."""

    def __init__(self, study: "Study", quick: bool = False) -> None:
        self.study, self.how, self.quick = study, study.recipe.evaluation, quick
        self.seed = study.recipe.seed
        study.detector()
        self.key = [study.key("find"), self.how, self.seed, baselines.names(), quick]

    def result(self) -> Audit:
        """All tables, and the card that follows from them."""
        make = (
            self._leaderboard, self._added, self._confounds, self._factorial, self._refits,
            self._halves,
        )  # fmt: skip
        if not self.study.stands("audit scores", self.key):
            self.evidence()  # a step of its own, also in its seconds
        self._table("scores", self._scores)
        tables = {name: self._table(name, how) for name, how in zip(TABLES, make, strict=True)}
        card = self._card(tables)
        return Audit(card, **tables)

    def stands(self) -> bool:
        """Whether all tables stand for this very finding."""
        return all(self.study.stands(f"audit {name}", self.key) for name in ("scores", *TABLES))

    @cached_property
    def data(self) -> Contributions:
        return self.study.contributions()

    @cached_property
    def in_test(self) -> np.ndarray:
        """Which examples are held out."""
        held_out = set(self.study.split()[1].groups)
        return np.array([group in held_out for group in self.data.groups])

    @cached_property
    def covariates(self) -> pd.DataFrame:
        return covariates(self.study.examples(), self.study.judgements())

    def evidence(self) -> Evidence:
        """What the rivals read, in one forward pass; in a quick audit what the study holds."""
        if self.quick:
            return known_evidence(self.study.examples(), self.study.judgements(), self.data)
        study, how = self.study, self.study.recipe.sampling
        folder = study.folder / "audit" / "evidence"

        def make() -> Evidence:
            return baselines.gather(
                study.model,
                study.examples(),
                study.responses(),
                self.data,
                seed=self.seed,
                settings=Settings(how.max_new_tokens, how.temperature, how.top_k, how.top_p),
                progress=lambda step, done, total: study.reporter(f"audit: {step}")(done, total),
            )

        return study.step(
            "audit evidence",
            [study.key("measure"), how, self.seed],
            make,
            lambda found: save_evidence(found, folder),
            lambda: load_evidence(folder, self.data),
        )

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Score of every example by every detector; out of fold in the training part."""
        return self._table("scores", self._scores)

    def _scores(self) -> pd.DataFrame:
        study = self.study
        return score_all(
            self.evidence(),
            self.in_test,
            study.probe(),
            study.detector(),
            baselines.rivals(),
            self.seed,
            study.reporter("audit: rivals"),
        )

    def _of(self, part: str) -> dict[str, np.ndarray]:
        """Scores of each detector that could be run, on one part."""
        rows = self.scores.loc[self.scores["part"] == part]
        return {
            str(name): rows.loc[rows["detector"] == name, "score"].to_numpy()
            for name in rows["detector"].unique()
        }

    def _labels(self) -> tuple[np.ndarray, np.ndarray]:
        labels = self.data.labels.numpy()
        return labels[~self.in_test], labels[self.in_test]

    def _groups(self) -> tuple[list[str], list[str]]:
        groups = np.asarray(self.data.groups)
        return list(groups[~self.in_test]), list(groups[self.in_test])

    def _scored(self) -> tuple[Scored, Scored]:
        """The detector's own scores beside the covariates, training part first."""
        parts = zip((TRAIN, TEST), (~self.in_test, self.in_test), strict=True)
        found = [
            Scored(
                self._of(part)[REFERENCE],
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
            self._of(TEST),
            self._labels()[1],
            self._groups()[1],
            costs,
            missing,
            self.how.n_boot,
            self.seed,
        )

    def _added(self) -> pd.DataFrame:
        return added_value(
            self._of(TRAIN),
            self._of(TEST),
            self._labels(),
            self._groups(),
            n_boot=self.how.n_boot,
            seed=self.seed,
        )

    def _confounds(self) -> pd.DataFrame:
        return confounds(*self._scored(), self.how.n_boot, self.seed)

    def _factorial(self) -> pd.DataFrame:
        test = self._scored()[1]
        return truth_by_length(
            test.scores,
            test.labels,
            test.covariates["length"],
            test.groups,
            self.how.n_boot,
            self.seed,
        )

    def _refits(self) -> pd.DataFrame:
        study = self.study
        return refits(
            *study.split(),
            study.probe(),
            study.detector(),
            {} if self.quick else dict(self._otherwise()),
            self._second_judge(),
            draws=self.how.random_sets,
            n_boot=self.how.n_boot,
            seed=self.seed,
        )

    def _halves(self) -> pd.DataFrame:
        study = self.study
        probe = settled(study.probe(), study.detector())
        return set_agreement(study.split()[0], probe, seed=self.seed)

    def _otherwise(self) -> Iterator[tuple[str, Contributions]]:
        """The same examples at the other position, and over the other region."""
        how, study = self.study.recipe.measure, self.study
        read = how.position == "read"
        region = "response" if how.region == "answer" else "answer"
        ways = {
            "where tokens are predicted" if read else "where tokens are read": (
                how.region,
                "predicted" if read else "read",
            ),
            f"over the {'whole ' if region == 'response' else ''}{region}": (region, how.position),
        }
        for name, (where, position) in ways.items():
            yield (
                name,
                measure(
                    study.model,
                    study.examples(),
                    metric=metrics.by_name(how.metric),
                    region=where,
                    reduce=how.reduce,
                    position=position,
                    progress=study.reporter(f"audit: measuring {name}"),
                ),
            )

    def _second_judge(self) -> tuple[Tensor, Tensor]:
        """Labels of training and test part by the second judge; -1 where it gives none."""
        second = judges.judge(self.study.responses(), judges.named(SECOND_JUDGE))
        labels = second_labels(self.study.examples(), second)
        held_out = torch.from_numpy(self.in_test)
        return labels[~held_out], labels[held_out]

    def _card(self, tables: Mapping[str, pd.DataFrame]) -> AuditCard:
        study, several = self.study, len(self.study.domains()) > 1
        detector, scores = study.detector(), study.scores()
        found = findings(
            scores,
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
