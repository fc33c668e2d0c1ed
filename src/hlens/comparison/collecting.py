"""What several studies hold, side by side. Nothing is measured here, and no model is run.

What a study does not hold is left out of the tables and named, with the command that makes it;
neurons are compared by their numbers only between models of which one is the base of the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from hlens.claims.findings import read_over_output
from hlens.claims.rules import is_gain
from hlens.effects import slopes
from hlens.errors import HlensError, one_line
from hlens.evaluation import drops, overlap
from hlens.recipe import Recipe
from hlens.report.study_report import audit_shown, shown_card
from hlens.report.summary import describe_stand_ins
from hlens.steps import NotMadeError, Step, audit, detection, domains, effects
from hlens.steps.tested import rows_of
from hlens.study import Study
from hlens.types import Claim, Detector, Estimate
from hlens.types.labels import ALL_MODELS, Control

MODELS = [
    "model", "weights", "neurons_of_model", "examples", "n", "auroc", "low", "high", "random",
    "random_low", "random_high", "shuffled", "shuffled_p", "accuracy", "accuracy_low",
    "accuracy_high", "output", "output_low", "output_high", "both", "both_low", "both_high",
    "difference", "difference_low", "difference_high", "gain", "gain_low", "gain_high", "gain_p",
    "adds", "neurons", "per_mille", "halves", "halves_low", "halves_high", "stable",
]  # fmt: skip
SHORT = 12  # digits of a fingerprint
T = TypeVar("T")
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models side by side: a row a model, or a table of each.

    Attributes:
        models: One row a study that could be read: AUROC of its H-neurons, of as many random
            neurons, of its output numbers and of both together (``difference``; ``gain`` in
            likelihood with its ``gain_p``; ``adds`` where both show it), accuracy, how many
            neurons, and how many come back. ``weights`` is the fingerprint of the model: studies
            that share it are of one model.
        published: In the form of the table of arXiv 2512.01797.
        failed: Why a model has no row, or lacks what comes after its scores.
        detectors: The detector of each model.
        recipes: The recipe of each model's study, as TOML.
        stand_ins: What was asked in place of published data, as each study says it.
        drops: Of `hlens.evaluation.drops`; empty where no model has two domains.
        transfers, overlaps: Tables of one model each: between domains, and of neurons shared.
        related: Overlap of the H-neurons of models of which one is the base of the other.
        claims: ``model, weights, audit, claim, verdict, because``, where there was an audit, quick
            or whole.
        slopes: Of `hlens.effects.slopes`, with ``model``, ``weights`` and ``neurons_of_model``.
        not_made: What a study lacks, as ``model, what, command``.
    """

    models: pd.DataFrame
    published: pd.DataFrame
    failed: Mapping[str, str] = field(default_factory=dict)
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)
    stand_ins: Sequence[str] = ()
    drops: pd.DataFrame = field(default_factory=pd.DataFrame)
    transfers: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    overlaps: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    related: pd.DataFrame = field(default_factory=pd.DataFrame)
    claims: pd.DataFrame = field(default_factory=pd.DataFrame)
    slopes: pd.DataFrame = field(default_factory=pd.DataFrame)
    not_made: pd.DataFrame = field(default_factory=pd.DataFrame)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables of all models together that hold something, by name."""
        failed = pd.DataFrame(list(self.failed.items()), columns=["model", "reason"])
        shown = {"models": self.models, "published": self.published, "drops": self.drops}
        shown |= {"claims": self.claims, "slopes": self.slopes, "related": self.related}
        shown |= {"failed": failed, "not_made": self.not_made}
        # The models' own table says which are one.
        return {
            name: table if name == "models" else table.drop(columns="weights", errors="ignore")
            for name, table in shown.items()
            if len(table)
        }


def compare(studies: Mapping[str, Study], *, failed: Mapping[str, str] | None = None) -> Comparison:
    """Put studies side by side, each under a name.

    Args:
        studies: The studies; none is run.
        failed: Why a model has no study, or an incomplete one.

    Raises:
        HlensError: No study has scores, or one is called as the mean over all is.
    """
    if ALL_MODELS in studies:
        raise HlensError(
            f"a study is called {ALL_MODELS!r}, as the mean over all is; give it another name"
        )
    reasons, readers = dict(failed or {}), dict[str, _Reader]()
    for name, study in studies.items():
        reader = _Reader(name, study)
        try:
            if reader.is_whole():
                readers[name] = reader
            else:
                reasons.setdefault(name, f"no scores yet; run `hlens run {study.folder}`")
        except (HlensError, OSError) as error:  # a damaged one must not take the others with it
            reasons.setdefault(name, one_line(str(error)))
    if not readers:
        said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise HlensError(f"no study to compare: {said or 'none was given'}")
    detectors = {name: one.value(detection.detector) for name, one in readers.items()}
    several = [one for one in readers.values() if len(one.value(domains.domains)) > 1]
    scored = _known(several, domains.scores_across, "transfer")
    steep = [table for one in readers.values() if (table := one.slopes) is not None]
    claims = [row for one in readers.values() for row in one.claims]
    published = [table for one in readers.values() for table in one.published]
    overlaps = _known(several, domains.overlap, "overlap")
    missing = [row for one in readers.values() for row in one.not_made]
    return Comparison(
        models=pd.DataFrame([one.row for one in readers.values()]).reindex(columns=MODELS),
        published=pd.concat(published, ignore_index=True),
        failed=reasons,
        detectors=detectors,
        recipes={name: one.study.recipe.to_toml() for name, one in readers.items()},
        stand_ins=list(dict.fromkeys(said for one in readers.values() for said in one.stand_ins)),
        drops=drops(scored, weights={name: one.weights for name, one in readers.items()}),
        transfers={name: readers[name].value(domains.transfer) for name in scored},
        overlaps=overlaps,
        related=_related(readers, detectors),
        claims=pd.DataFrame(claims),
        slopes=pd.concat(steep, ignore_index=True) if steep else pd.DataFrame(),
        not_made=pd.DataFrame(missing, columns=["model", "what", "command"]),
    )


def usual_name(recipe: Recipe) -> str:
    """What a study is called beside others: its model, with how that is loaded."""
    parts = [recipe.model, recipe.adapter, recipe.quantization, recipe.dtype]
    return " ".join(Path(part).name for part in parts if part)


class _Reader:
    """What one study holds, read once; what it does not is noted."""

    def __init__(self, name: str, study: Study) -> None:
        self.name, self.study = name, study
        self.not_made: list[Row] = []

    def is_whole(self) -> bool:
        """Whether there are scores; what else it holds is read, too, and whole.

        Raises:
            HlensError: A file of the study is not as hlens wrote it.
        """
        if self.read(detection.scores, "scores", "evaluate") is None:
            return False
        for what in ("row", "published", "slopes", "claims"):
            getattr(self, what)
        for step in (domains.scores_across, domains.transfer, domains.overlap):
            if self.study.has(step):
                self.value(step)
        return True

    def value(self, step: Step[T]) -> T:
        return self.study.runner.value_without_model(step)

    def read(self, step: Step[T], what: str, verb: str) -> T | None:
        """The artefact of a step; None, and a note, where the model would have to be run."""
        try:
            return self.value(step)
        except NotMadeError:
            self.lacks(what, verb)
            return None

    def lacks(self, what: str, verb: str) -> None:
        command = f"hlens {verb} {self.study.folder}"
        self.not_made.append({"model": self.name, "what": what, "command": command})

    @property
    def stand_ins(self) -> list[str]:
        """What was asked in place of published data."""
        return describe_stand_ins(self.study.recipe)

    @property
    def weights(self) -> str:
        """What tells the model from others; of a study that kept no fingerprint, its own name."""
        return self.value(detection.detector).provenance.fingerprint[:SHORT] or self.name

    @cached_property
    def row(self) -> Row:
        """The model's row."""
        scores = {row["control"]: row for row in self.value(detection.scores).to_dict("records")}
        detector, own = self.value(detection.detector), scores[Control.PROBE]
        selected = detector.selected
        row: Row = {
            "model": self.name,
            "weights": self.weights,
            "neurons_of_model": selected.n_neurons,
            "examples": len(self.value(detection.contributions)),
            **{column: own[column] for column in ("n", "auroc", "low", "high")},
            **{column: own.get(column) for column in ("accuracy", "accuracy_low", "accuracy_high")},
            "neurons": len(selected),
            "per_mille": 1000 * selected.fraction,
        }
        random, shuffled = scores[Control.RANDOM_NEURONS], scores[Control.SHUFFLED_LABELS]
        row |= Estimate.from_row(random).to_row("random", ends="random_") | {"n": own["n"]}
        row |= {"shuffled": shuffled["auroc"], "shuffled_p": own["p"]}
        return row | self._over_output() | self._coming_back()

    def _over_output(self) -> Row:
        """What the neurons add to the model's own output."""
        shown = audit_shown(self.study.runner)
        step = detection.over_output
        if shown is not None:
            step = shown.get(audit.over_output, audit.over_output)
        table = self.read(step, "gain over the output", "evaluate")
        if table is None or table.empty:
            return {}
        (own,) = table.to_dict("records")
        found = read_over_output(own)
        adds = None if found is None else is_gain(found)
        numbers = {key: own[key] for key in MODELS if key in own and key != "n"}
        return numbers | {"gain_p": own["p"], "adds": adds}

    def _coming_back(self) -> Row:
        """Which part of the set the halves of the training part share, and who is stable."""
        row: Row = {}
        if self.study.has(audit.set_halves):
            halves = self.value(audit.set_halves).iloc[0]
            row = {"halves": halves["shared"]}
            row |= {f"halves_{end}": halves[end] for end in ("low", "high")}
        if self.study.has(detection.stability):
            stability = self.value(detection.stability)
            row["stable"] = int((stability["frequency"] >= stability.attrs["threshold"]).sum())
        return row

    @cached_property
    def published(self) -> list[pd.DataFrame]:
        """Its rows of the published table: what is held out, and what is only tested on."""
        steps = rows_of(self.study.recipe)
        tables = [self.read(step, "rows of the published table", "table") for step in steps]
        return [table.assign(model=self.name) for table in tables if table is not None]

    @cached_property
    def slopes(self) -> pd.DataFrame | None:
        """Slopes of its dose-response, where it was edited."""
        if not self.study.has(effects.outcomes):
            self.lacks("edits", "intervene")
            return None
        size = self.value(detection.detector).selected.n_neurons
        steep = slopes(self.value(effects.outcomes))
        return steep.assign(model=self.name, weights=self.weights, neurons_of_model=size)

    @cached_property
    def claims(self) -> list[Row]:
        """The verdicts of its audit."""
        card = shown_card(self.study.runner)
        if card is None:
            self.lacks("audit", "audit")
            return []
        whole = not audit_shown(self.study.runner)
        of = {"model": self.name, "weights": self.weights, "audit": "whole" if whole else "quick"}
        return [of | _verdict(claim) for claim in card.claims]


def _verdict(claim: Claim) -> Row:
    return {"claim": claim.name, "verdict": str(claim.verdict), "because": claim.because}


def _known(
    readers: Iterable[_Reader], step: Step[pd.DataFrame], verb: str
) -> dict[str, pd.DataFrame]:
    """The table of a step in each study that holds it, by model; to make it takes minutes."""
    tables = {}
    for one in readers:
        if one.study.has(step):
            tables[one.name] = one.value(step)
        else:
            one.lacks(verb, verb)
    return tables


def _is_same_model(one: str, two: str) -> bool:
    """Whether two names are of one model: alike, or one folder however it is spelled."""
    if one == two or not (one and two):
        return one == two
    places = Path(one).expanduser(), Path(two).expanduser()
    return all(place.is_dir() for place in places) and places[0].samefile(places[1])


def _related(readers: Mapping[str, _Reader], detectors: Mapping[str, Detector]) -> pd.DataFrame:
    """Overlap of the neurons of each model with those of its base, where both are here."""
    parts = []
    for tuned, base in permutations(readers, 2):
        named = readers[tuned].study.recipe.base
        one, two = detectors[tuned].neurons, detectors[base].neurons
        here = readers[base].study.recipe
        if not _is_same_model(named, here.model) or here.adapter or one.widths != two.widths:
            continue
        # Weights differ, and neurons keep their numbers where one model was tuned from the other.
        both = [replace(one, name=tuned, model=None), replace(two, name=base, model=None)]
        parts.append(overlap(both))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
