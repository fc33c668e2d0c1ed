"""The audit of a study: evidence, tables and a card, each made once and kept in ``audit/``."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from hlens import baselines, figures, metrics
from hlens.audit import (
    Scored,
    added_value,
    markdown,
    score_all,
    set_agreement,
    truth_by_length,
)
from hlens.audit import confounds as hold_covariates_fixed
from hlens.audit import leaderboard as rank_detectors
from hlens.audit import refits as refit
from hlens.audit.judgements import known_evidence
from hlens.baselines import Rival
from hlens.claims import collect_findings, decide
from hlens.contributions import Ask
from hlens.effects import slopes
from hlens.errors import HlensError, first_line
from hlens.evaluation.fitting import fix_C
from hlens.model import Model
from hlens.probe import SparseProbe
from hlens.recipe import MeasureRecipe, SamplingRecipe
from hlens.steps.answers import examples, judgements, responses, settings_of
from hlens.steps.detection import (
    DRAWS,
    SPREAD,
    Split,
    contributions,
    covariates,
    detector,
    in_test,
    probe,
    scores,
    split,
)
from hlens.steps.domains import domains, transfer
from hlens.steps.effects import outcomes
from hlens.steps.runner import Runner
from hlens.steps.second_judge import Judges, labels_of_both_parts, named_judges
from hlens.steps.sources import ask_of, model, rivals
from hlens.steps.step import TABLE, Step, Storage, step, substitute
from hlens.store import write_text
from hlens.store.checked import MEND, read_json
from hlens.store.evidence import load_evidence, save_evidence
from hlens.types import (
    AuditCard,
    Claim,
    Contributions,
    Detector,
    Evidence,
    Example,
    Judgement,
    Response,
    SetKind,
)
from hlens.types.labels import H_NEURONS, Covariate, Part

# --- What the audit reads --------------------------------------------------------------------


@step(needs=(examples,), options=("measure",))
def other_asks(examples: list[Example], *, measure: MeasureRecipe) -> dict[str, Ask]:
    """The same measure at the other position, and over the other region, where they differ."""
    own = ask_of(measure)
    region = "response" if measure.region == "answer" else "answer"
    position = "predicted" if measure.position == "read" else "read"
    asks: dict[str, Ask] = {}
    if "direction" not in metrics.needs_of(own.metric):  # a direction needs the predicted token
        asks[f"where tokens are {position}"] = replace(own, position=position)
    over = f"over the {'whole ' if region == 'response' else ''}{region}"
    asks[over] = replace(own, region=region)
    return {
        name: ask
        for name, ask in asks.items()
        if any(ask.positions(e).tolist() != own.positions(e).tolist() for e in examples)
    }


@step(
    needs=(examples, responses, contributions, other_asks, model),
    options=("sampling", "seed"),
    storage=Storage(
        "", save_evidence, partial(load_evidence, check=False), beside=(contributions,)
    ),
    name="audit/evidence",
    verb="audit",
)
def evidence(
    examples: list[Example],
    responses: list[Response],
    contributions: Contributions,
    other_asks: Mapping[str, Ask],
    model: Model,
    *,
    sampling: SamplingRecipe,
    seed: int,
    report: Callable[[str, int, int], None],
) -> Evidence:
    """What the rivals read, in one forward pass."""
    return baselines.gather(
        model,
        examples,
        responses,
        contributions,
        seed=seed,
        settings=settings_of(sampling),
        style=sampling.style,
        also=other_asks,
        progress=report,
    )


@step(needs=(examples, judgements, contributions), name="audit/quick/evidence")
def quick_evidence(
    examples: list[Example], judgements: list[Judgement], contributions: Contributions
) -> Evidence:
    """What the rivals can read without running the model."""
    return known_evidence(examples, judgements, contributions=contributions)


@dataclass(frozen=True, eq=False)
class Rows:
    """Training and held-out part of the examples, as the audit's tables take them.

    Attributes:
        in_test: Which examples are held out.
        labels: Labels of the training part and of the held-out part.
        groups: Their groups.
        covariates: What the detector could read in place of truth, one row per example.
    """

    in_test: np.ndarray
    labels: tuple[np.ndarray, np.ndarray]
    groups: tuple[list[str], list[str]]
    covariates: pd.DataFrame


@step(needs=(contributions, in_test, covariates))
def rows(contributions: Contributions, in_test: np.ndarray, covariates: pd.DataFrame) -> Rows:
    """The examples of both parts with their labels, groups and covariates."""
    labels, groups = contributions.labels.numpy(), np.asarray(contributions.groups)
    return Rows(
        in_test,
        (labels[~in_test], labels[in_test]),
        (list(groups[~in_test]), list(groups[in_test])),
        covariates,
    )


# --- The tables ------------------------------------------------------------------------------

RESAMPLES = ("evaluation.n_boot", "seed")


@step(
    needs=(evidence, rows, probe, detector, rivals),
    options=("seed",),
    storage=TABLE,
    name="audit/scores",
)
def rival_scores(
    evidence: Evidence,
    rows: Rows,
    probe: SparseProbe,
    detector: Detector,
    rivals: list[Rival],
    *,
    progress: Callable[[int, int], None],
    seed: int,
) -> pd.DataFrame:
    """Score of every example by every detector; out of fold in the training part."""
    return score_all(
        evidence,
        rows.in_test,
        probe=probe,
        detector=detector,
        rivals=rivals,
        seed=seed,
        progress=progress,
    )


def _by_detector(table: pd.DataFrame, part: str) -> dict[str, np.ndarray]:
    """Scores of each detector that could be run, on one part."""
    own = table.loc[table["part"] == part]
    return {
        str(name): rows["score"].to_numpy() for name, rows in own.groupby("detector", sort=False)
    }


@step(needs=(rival_scores, rows))
def own_scores(table: pd.DataFrame, rows: Rows) -> tuple[Scored, Scored]:
    """The detector's own scores beside the covariates, training part first."""

    def scored(number: int, part: Part, chosen: np.ndarray) -> Scored:
        covariates = rows.covariates.loc[chosen].reset_index(drop=True)
        own = _by_detector(table, part)[H_NEURONS]
        return Scored(own, rows.labels[number], rows.groups[number], covariates)

    return scored(0, Part.TRAIN, ~rows.in_test), scored(1, Part.TEST, rows.in_test)


@step(needs=(rival_scores, rows), storage=TABLE, name="audit/leaderboard")
def leaderboard(table: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """The detector among its rivals."""
    once: Any = table.drop_duplicates("detector").set_index("detector")
    notes = once["note"]
    known = once.loc[notes == ""]
    costs = {name: (int(row.passes), int(row.samples)) for name, row in known.iterrows()}
    return rank_detectors(
        _by_detector(table, Part.TEST),
        rows.labels[1],
        groups=rows.groups[1],
        costs=costs,
        missing=notes[notes != ""].astype(str).to_dict(),
    )


@step(needs=(rival_scores, rows), options=RESAMPLES, storage=TABLE, name="audit/added")
def added(table: pd.DataFrame, rows: Rows, **draws: int) -> pd.DataFrame:
    """What the detector adds to each of its rivals."""
    train, test = _by_detector(table, Part.TRAIN), _by_detector(table, Part.TEST)
    return added_value(train, test, labels=rows.labels, groups=rows.groups, **draws)


@step(needs=(own_scores,), options=("seed",), storage=TABLE, name="audit/confounds")
def confounds(own_scores: tuple[Scored, Scored], *, seed: int) -> pd.DataFrame:
    """The detector's AUROC with each covariate held fixed."""
    return hold_covariates_fixed(*own_scores, seed=seed)


@step(needs=(own_scores,), options=RESAMPLES, storage=TABLE, name="audit/factorial")
def factorial(own_scores: tuple[Scored, Scored], **draws: int) -> pd.DataFrame:
    """Truth against length."""
    test = own_scores[1]
    lengths = test.covariates[Covariate.LENGTH]
    return truth_by_length(test.scores, test.labels, lengths=lengths, groups=test.groups, **draws)


@step(
    needs=(split, probe, detector, evidence, labels_of_both_parts),
    options=DRAWS,
    storage=TABLE,
    name="audit/refits",
)
def refits(
    split: Split,
    probe: SparseProbe,
    detector: Detector,
    evidence: Evidence,
    second: tuple[Tensor, Tensor],
    *,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """The same finding made in other ways."""
    others, few = evidence.measured, min(draws, SPREAD)
    return refit(
        *split, probe=probe, detector=detector, others=others, second=second, draws=few, seed=seed
    )


@step(needs=(split, probe, detector), options=("seed",), storage=TABLE, name="audit/halves")
def set_halves(split: Split, probe: SparseProbe, detector: Detector, *, seed: int) -> pd.DataFrame:
    """How much of the set of neurons comes back on halves of the training part."""
    return set_agreement(split.train, fix_C(probe, detector), seed=seed)


# --- The card --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        card: The card: six claims with their verdicts.
        leaderboard: The detector among its rivals.
        added: What it adds to each of them.
        confounds: Its AUROC with each covariate held fixed.
        factorial: Truth against length.
        refits: The same finding made in other ways.
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


def _save_card(card: AuditCard, file: Path) -> None:
    text = json.dumps(card.to_dict(), indent=1, ensure_ascii=False) + "\n"
    write_text(file.with_suffix(".md"), markdown(card))
    write_text(file, text)


def _load_card(file: Path) -> AuditCard:
    try:
        return AuditCard.from_dict(read_json(file, shape=dict))
    except (AttributeError, KeyError, TypeError) as error:
        raise HlensError(f"{file} holds no card ({first_line(error)}); {MEND}") from None


@step()
def remark() -> str:
    """A remark for the card on how the audit was run; empty for a full audit."""
    return ""


@step(name="audit/quick/remark")
def quick_remark() -> str:
    """The remark on the card of a quick audit."""
    return " Quick: the model was not run any further."


def slopes_of_finding(outcomes: pd.DataFrame | None) -> pd.DataFrame | None:
    """The slopes that the claim Control is about; None where other neurons were edited."""
    if outcomes is None:
        return None
    names = set(outcomes.loc[outcomes["kind"] == SetKind.TARGET, "set"])
    return slopes(outcomes) if names == {H_NEURONS} else None


@step(needs=(scores, detector), optional=(transfer, outcomes))
def first_claims(
    scores: pd.DataFrame,
    detector: Detector,
    *,
    transfer: pd.DataFrame | None,
    outcomes: pd.DataFrame | None,
) -> tuple[Claim, ...]:
    """The claims before an audit: what scores, transfer and edits decide."""
    numbers = collect_findings(
        scores=scores,
        n_selected=len(detector.selected),
        n_neurons=detector.selected.n_neurons,
        transfer=transfer,
        slopes=slopes_of_finding(outcomes),
    )
    return decide(numbers)


TABLES = (leaderboard, added, confounds, factorial, refits, set_halves)


@step(
    needs=(scores, detector, contributions, rows, remark, named_judges, *TABLES),
    options=("seed",),
    optional=(transfer, outcomes),
    storage=Storage(".json", _save_card, _load_card, also=(".md",)),
    name="audit/card",
)
def card(
    scores: pd.DataFrame,
    detector: Detector,
    contributions: Contributions,
    rows: Rows,
    remark: str,
    named: Judges,
    *tables: pd.DataFrame,
    transfer: pd.DataFrame | None,
    outcomes: pd.DataFrame | None,
    seed: int,
) -> AuditCard:
    """Six claims, each with its verdict and the numbers that decided it."""
    leaderboard, added, confounds, _, refits, halves = tables
    numbers = collect_findings(
        scores=scores,
        leaderboard=leaderboard,
        added=added,
        confounds=confounds,
        refits=refits,
        halves=halves,
        n_selected=len(detector.selected),
        n_neurons=detector.selected.n_neurons,
        transfer=transfer,
        slopes=slopes_of_finding(outcomes),
        judge=named.first,
        second_judge=named.second,
    )
    n_test = int(rows.in_test.sum())
    about = (
        f"{detector.metric} of the {detector.region} tokens, {len(detector.selected)} neurons; "
        f"found on {len(contributions) - n_test} answers, tested on {n_test} of other questions; "
        f"domains: {', '.join(sorted(set(contributions.domains)))}; seed {seed}.{remark}"
    )
    return AuditCard(detector.provenance.model, about, decide(numbers))


@step(needs=(card, *TABLES), verb="audit")
def audit(card: AuditCard, *tables: pd.DataFrame) -> Audit:
    """Which claims survive their controls: rivals, confounds, controls, and one card."""
    return Audit(card, *tables)


def _quick_name(name: str) -> str:
    return name.replace("audit/", "audit/quick/", 1) if "/" in name else f"audit/quick/{name}"


# The same audit without a forward pass: other evidence below, the same tables above.
INSTEAD: dict[Step[Any], Step[Any]] = {evidence: quick_evidence, remark: quick_remark}
quick_audit: Step[Audit] = substitute(audit, INSTEAD, _quick_name)
quick_card: Step[AuditCard] = INSTEAD[card]


def make_transfer(run: Runner) -> None:
    """Make the transfer table of several domains: the card reads it where it is current."""
    if len(run.value(domains)) > 1:
        run.ensure(transfer)
