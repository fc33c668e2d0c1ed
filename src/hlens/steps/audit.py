"""The audit of a study: evidence, tables and a card, each made once and kept in ``audit/``."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hlens import baselines, figures, metrics
from hlens.audit import (
    Scored,
    added_value,
    compare_selectors,
    markdown,
    score_all,
    set_agreement,
    truth_by_length,
)
from hlens.audit import confounds as hold_covariates_fixed
from hlens.audit import leaderboard as rank_detectors
from hlens.audit import refits as refit
from hlens.audit.leaderboard import scores_of
from hlens.audit.over_output import numbers_of
from hlens.audit.over_output import over_output as compare_with_output
from hlens.audit.positions import COLUMNS as POSITIONS
from hlens.audit.positions import position_curve, positions_of
from hlens.audit.selecting import COLUMNS as SELECTORS
from hlens.audit.selecting_across import COLUMNS as ACROSS
from hlens.audit.selecting_across import selectors_across
from hlens.baselines import Rival
from hlens.claims import collect_findings, decide
from hlens.contributions import Ask, measure_many
from hlens.counting import count
from hlens.display import display_name
from hlens.effects import slopes
from hlens.errors import HlensError, first_line
from hlens.evaluation.fitting import fix_C
from hlens.model import Model
from hlens.probe import SparseProbe
from hlens.recipe import MeasureRecipe, SamplingRecipe
from hlens.steps.answers import examples, responses, settings_of
from hlens.steps.detection import (
    DRAWS,
    SPREAD,
    Split,
    contributions,
    covariates,
    detector,
    in_test,
    known,
    probe,
    scores,
    split,
)
from hlens.steps.detection import over_output as over_sampled_output
from hlens.steps.domains import compared, domains, transfer
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
    Response,
    SetKind,
)
from hlens.types.labels import COMBINED, H_NEURONS, Covariate, Part

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
    later=("audit.sae",),
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
    sae: str,
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
        sae=baselines.load_sae(sae) if sae else None,
        also=other_asks,
        progress=report,
    )


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


@step(needs=(rival_scores, rows))
def own_scores(table: pd.DataFrame, rows: Rows) -> tuple[Scored, Scored]:
    """The detector's own scores beside the covariates, training part first."""

    def scored(number: int, part: Part, chosen: np.ndarray) -> Scored:
        covariates = rows.covariates.loc[chosen].reset_index(drop=True)
        own = scores_of(table, part)[H_NEURONS]
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
        scores_of(table, Part.TEST),
        rows.labels[1],
        groups=rows.groups[1],
        costs=costs,
        missing=notes[notes != ""].astype(str).to_dict(),
    )


@step(needs=(rival_scores, rows), options=RESAMPLES, storage=TABLE, name="audit/added")
def added(table: pd.DataFrame, rows: Rows, **draws: int) -> pd.DataFrame:
    """What the detector adds to each of its rivals."""
    train, test = scores_of(table, Part.TRAIN), scores_of(table, Part.TEST)
    train.pop(COMBINED, None)  # which is no rival: it holds them
    return added_value(train, test, labels=rows.labels, groups=rows.groups, **draws)


@step(
    needs=(rival_scores, rows, evidence), options=RESAMPLES, storage=TABLE, name="audit/over_output"
)
def over_output(table: pd.DataFrame, rows: Rows, evidence: Evidence, **draws: int) -> pd.DataFrame:
    """What the detector adds to the model's own output, all of it together."""
    return compare_with_output(
        scores_of(table, Part.TRAIN),
        scores_of(table, Part.TEST),
        numbers=numbers_of(evidence, rows.in_test),
        labels=rows.labels,
        groups=rows.groups,
        **draws,
    )


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


@step(needs=(split, probe, detector), options=DRAWS, storage=TABLE, name="audit/selectors")
def selectors(
    split: Split, probe: SparseProbe, detector: Detector, *, draws: int, seed: int
) -> pd.DataFrame:
    """As many neurons by each selector, refitted alike."""
    k = len(detector.selected)
    if not k:
        return pd.DataFrame(columns=SELECTORS)
    few = min(draws, SPREAD)
    return compare_selectors(*split, k, found=detector.selected, probe=probe, draws=few, seed=seed)


@step(
    needs=(evidence, rows, examples, probe, model),
    options=("measure.metric",),
    storage=TABLE,
    name="audit/positions",
    verb="audit",
)
def positions(
    evidence: Evidence,
    rows: Rows,
    examples: list[Example],
    probe: SparseProbe,
    model: Model,
    *,
    metric: str,
    parts: Path,
    progress: Callable[[int, int], None],
) -> pd.DataFrame:
    """AUROC at each token, from the prompt's end on, in one further forward pass.

    A contribution at every token asked for would be as large as the study's own as many times over:
    they are kept in half precision, on disk, until the probes are fitted.
    """
    formula, places = metrics.by_name(metric), positions_of(evidence, rows.in_test)
    if metrics.needs_of(formula) or not places:  # of logits, where there are none yet to look at
        return pd.DataFrame(columns=POSITIONS)
    regions = list(dict.fromkeys(place.region for place in places))
    values = measure_many(
        model,
        examples,
        metrics=[formula],
        regions=regions,
        dtype=torch.float16,
        store=parts,
        drop_empty=True,
    )
    measured = {region: data for (_, region), data in values.items()}
    return position_curve(evidence, rows.in_test, measured, probe=probe, progress=progress)


@step(
    needs=(compared, detector),
    options=("evaluation.folds", "seed"),
    storage=TABLE,
    name="audit/selectors_across",
)
def across(compared: Contributions, detector: Detector, *, folds: int, seed: int) -> pd.DataFrame:
    """As many neurons by each selector, between the domains."""
    k = min(len(detector.selected), compared.n_neurons // 2)
    if not k:
        return pd.DataFrame(columns=ACROSS)
    return selectors_across(compared, k, folds=folds, seed=seed)


# --- The card --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        card: The card: six claims with their verdicts.
        leaderboard: The detector among its rivals.
        added: What it adds to each of them.
        over_output: What it adds to the model's own output, all of it together.
        confounds: Its AUROC with each covariate held fixed.
        factorial: Truth against length.
        refits: The same finding made in other ways.
        halves: How much of the set comes back.
        selectors: As many neurons by each selector.
        positions: AUROC at each token; empty where none was read, as in a quick audit.
        across: The selectors between domains; empty where there is one.
    """

    card: AuditCard
    leaderboard: pd.DataFrame
    added: pd.DataFrame
    over_output: pd.DataFrame
    confounds: pd.DataFrame
    factorial: pd.DataFrame
    refits: pd.DataFrame
    halves: pd.DataFrame
    selectors: pd.DataFrame
    positions: pd.DataFrame
    across: pd.DataFrame

    def _repr_html_(self) -> str:
        return figures.audit_card(self.card).markup

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name, the claims of the card first."""
        claims = [
            {"claim": one.name, "verdict": one.verdict.value, "because": one.because}
            | {"under": one.under}
            for one in self.card.claims
        ]
        tables = {name: one for name, one in vars(self).items() if isinstance(one, pd.DataFrame)}
        return {"card": pd.DataFrame(claims), **tables}

    def to_dict(self) -> dict[str, Any]:
        """The card and all tables as plain JSON values."""
        tables = {
            name: json.loads(value.to_json(orient="records") or "[]")
            for name, value in self.tables().items()
        }
        return {**tables, "card": self.card.to_dict()}


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


@step(needs=(scores, detector), optional=(over_sampled_output, transfer, outcomes))
def first_claims(
    scores: pd.DataFrame,
    detector: Detector,
    *,
    over_output: pd.DataFrame | None,
    transfer: pd.DataFrame | None,
    outcomes: pd.DataFrame | None,
) -> tuple[Claim, ...]:
    """The claims before an audit: what scores, transfer and edits decide."""
    numbers = collect_findings(
        scores=scores,
        over_output=over_output,
        n_selected=len(detector.selected),
        n_neurons=detector.selected.n_neurons,
        transfer=transfer,
        slopes=slopes_of_finding(outcomes),
    )
    return decide(numbers)


TABLES = (leaderboard, added, over_output, confounds, factorial, refits, set_halves, selectors)


@step(
    needs=(scores, detector, contributions, rows, remark, named_judges, *TABLES),
    options=("seed",),
    optional=(transfer, outcomes, positions),
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
    seed: int,
    **optional: pd.DataFrame | None,
) -> AuditCard:
    """Six claims, each with its verdict and the numbers that decided it."""
    leaderboard, added, over_output, confounds, _, refits, halves, selectors = tables
    selected_by = "L1" if detector.fit.get("l1_ratio", 1) == 1 else "an elastic net"
    numbers = collect_findings(
        scores=scores,
        leaderboard=leaderboard,
        added=added,
        over_output=over_output,
        confounds=confounds,
        refits=refits,
        halves=halves,
        positions=optional[positions.name],
        selectors=selectors,
        selected_by=selected_by,
        n_selected=len(detector.selected),
        n_neurons=detector.selected.n_neurons,
        transfer=optional[transfer.name],
        slopes=slopes_of_finding(optional[outcomes.name]),
        judge=named.first,
        second_judge=named.second,
    )
    n_test = int(rows.in_test.sum())
    domains = display_name("domains", ", ".join(sorted(set(contributions.domains))))
    about = (
        f"{display_name('metrics', detector.metric)} of the {detector.region} tokens, "
        f"{count(len(detector.selected), 'neuron')}, "
        f"selected by {selected_by}; "
        f"found on {count(len(contributions) - n_test, 'answer')}, "
        f"tested on {n_test:,} of other questions; domains: {domains}; seed {seed}.{remark}"
    )
    return AuditCard(detector.provenance.model, about, decide(numbers))


@step(needs=(card, *TABLES), optional=(positions, across), verb="audit")
def audit(card: AuditCard, *tables: pd.DataFrame, **optional: pd.DataFrame | None) -> Audit:
    """Which claims survive their controls: rivals, confounds, controls, and one card."""

    def known(one: Step[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
        table = optional[one.name]
        return pd.DataFrame(columns=columns) if table is None else table

    further = {"positions": known(positions, POSITIONS), "across": known(across, ACROSS)}
    return Audit(card, *tables, **further)


def _quick_name(name: str) -> str:
    return name.replace("audit/", "audit/quick/", 1) if "/" in name else f"audit/quick/{name}"


# The same audit without a forward pass: other evidence below, the same tables above.
INSTEAD: dict[Step[Any], Step[Any]] = {evidence: known, remark: quick_remark}
quick_audit: Step[Audit] = substitute(audit, INSTEAD, _quick_name)
quick_card: Step[AuditCard] = INSTEAD[card]


def make_positions(run: Runner) -> None:
    """Make the table of positions with a new audit; one of before is read as it is.

    It takes the model, which an audit that was made needs no more.
    """
    if not run.is_current(evidence) or not run.file(card).exists():
        run.ensure(positions)


def make_transfer(run: Runner) -> None:
    """Make the transfer table of several domains: the card reads it where it is current."""
    if len(run.value(domains)) > 1:
        run.ensure(transfer)


def make_across(run: Runner) -> None:
    """Make the table of selectors between domains, where there are several."""
    if len(run.value(domains)) > 1:
        run.ensure(across)
