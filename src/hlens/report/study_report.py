"""From a study to its report, and to the page of its audit. Neither runs the model."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hlens.report import sections
from hlens.report.data import ReportData
from hlens.report.summary import (
    AUDIT_CAUTIONS,
    cautions_of,
    describe_stand_ins,
    describe_study,
    draw_left_out,
    number_cards,
    summarise,
)
from hlens.steps import Runner, Step, answers, audit, detection, domains, effects, levels
from hlens.types import AuditCard


def report_data(run: Runner) -> ReportData:
    """All that the report of a study shows.

    Raises:
        NotMadeError: The study has no scores yet.
    """
    scores = run.value_without_model(detection.scores)
    detector = run.value_without_model(detection.detector)
    shown = audit_shown(run)
    if shown is not None and run.first_to_run_model(domains.transfer) is None:
        audit.make_transfer(run)  # which the card reads
    card = shown_card(run)
    drawn, left_out = sections.draw_sections(run, sections.names(), shown or {})
    missing = draw_left_out(left_out, str(run.folder))
    return ReportData(
        title=f"H-neurons in {detector.provenance.model}",
        model=detector.provenance.model,
        summary=summarise(run.recipe, detector, run.value_without_model(answers.questions)),
        finding=in_words(run)[0],
        cards=number_cards(
            scores, _over_output(run), detector, run.value_without_model(answers.examples)
        ),
        audit=card,
        sections=[*drawn, *([missing] if missing else [])],
        cautions=cautions_of(
            run.recipe,
            was_edited=run.stands(effects.outcomes),
            was_audited=card is not None,
            has_several_spans=run.value_without_model(levels.has_several_spans),
        ),
        recipe=run.recipe.to_toml(),
        versions=dict(detector.provenance.versions),
    )


def _over_output(run: Runner) -> pd.DataFrame:
    """What the neurons add to the model's own output: by the audit that is shown, or before it."""
    shown = audit_shown(run)
    step = detection.over_output
    if shown is not None:
        step = shown.get(audit.over_output, audit.over_output)
    unknown = run.first_to_run_model(step) is not None
    return pd.DataFrame() if unknown else run.value_without_model(step)


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


def audit_shown(run: Runner) -> Mapping[Step[Any], Step[Any]] | None:
    """The steps of the audit that a report can show without running the model.

    Returns:
        Nothing to exchange for the full audit; what a quick one exchanges, where only that was
        made; None where there is neither.
    """
    if run.first_to_run_model(audit.audit) is None:
        return {}
    made = run.stamps.get(audit.quick_card.name) is not None
    return audit.INSTEAD if made and run.first_to_run_model(audit.quick_audit) is None else None


def shown_card(run: Runner) -> AuditCard | None:
    """The card that a report shows, or None where there is no audit to show."""
    shown = audit_shown(run)
    return None if shown is None else run.value_without_model(shown.get(audit.card, audit.card))


def in_words(run: Runner) -> list[str]:
    """What a study says, in the sentences of its report: those of its audit where it has one.

    Raises:
        NotMadeError: It has no scores yet.
    """
    scores, card = run.value_without_model(detection.scores), shown_card(run)
    _over_output(run)  # which the claims read where it is current
    claims = run.value(audit.first_claims) if card is None else card.claims
    told = describe_study(scores, claims, audited=card is not None)
    return [*told, *describe_stand_ins(run.recipe)]
