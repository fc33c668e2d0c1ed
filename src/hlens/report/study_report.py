"""From a study to its report, and to the page of its audit. Neither runs the model."""

from collections.abc import Mapping
from typing import Any

from hlens.report import sections
from hlens.report.data import ReportData
from hlens.report.summary import (
    AUDIT_CAUTIONS,
    cautions_of,
    describe_scores,
    draw_left_out,
    number_cards,
    summarise,
)
from hlens.steps import Runner, Step, answers, audit, detection, effects


def report_data(run: Runner) -> ReportData:
    """All that the report of a study shows.

    Raises:
        NotMadeError: The study has no scores yet.
    """
    scores = run.value_without_model(detection.scores)
    detector = run.value_without_model(detection.detector)
    instead = audit_shown(run)
    was_audited = run.first_to_run_model(audit.audit) is None or bool(instead)
    if was_audited:
        audit.make_transfer(run)
    card = run.value_without_model(_swap(audit.card, instead)) if was_audited else None
    drawn, left_out = sections.draw_sections(run, sections.names(), instead)
    missing = draw_left_out(left_out, str(run.folder))
    return ReportData(
        title=f"H-neurons in {detector.provenance.model}",
        model=detector.provenance.model,
        summary=summarise(run.recipe, detector, run.value_without_model(answers.questions)),
        finding=describe_scores(scores)[0],
        cards=number_cards(scores, detector, run.value_without_model(answers.examples)),
        audit=card,
        sections=[*drawn, *([missing] if missing else [])],
        cautions=cautions_of(run.recipe, run.is_current(effects.outcomes), was_audited),
        recipe=run.recipe.to_toml(),
        versions=dict(detector.provenance.versions),
    )


def audit_page(run: Runner, audited: audit.Audit, quick: bool) -> ReportData:
    """The card of an audit as one page, with the sections of the report that are behind it."""
    detector = run.value_without_model(detection.detector)
    drawn, _ = sections.draw_sections(run, sections.AUDIT, audit.INSTEAD if quick else {})
    return ReportData(
        title=f"Audit of the H-neurons in {detector.provenance.model}",
        model=detector.provenance.model,
        summary="Does this detector know falsehood, or length, format and confidence?",
        audit=audited.card,
        sections=drawn,
        cautions=AUDIT_CAUTIONS,
        recipe=run.recipe.to_toml(),
        versions=dict(detector.provenance.versions),
    )


def audit_shown(run: Runner) -> Mapping[Step[Any], Step[Any]]:
    """The quick audit in the place of the full one, where only the quick one was made."""
    full = run.first_to_run_model(audit.audit) is None
    quick = run.stamps.get(audit.quick_card.name) is not None
    return audit.INSTEAD if quick and not full else {}


def _swap(step: Step[Any], instead: Mapping[Step[Any], Step[Any]]) -> Step[Any]:
    return instead.get(step, step)
