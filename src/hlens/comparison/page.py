"""The report of several models: what each reads, which claims hold where, what is lost between."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from hlens import figures
from hlens.behaviours import labels
from hlens.claims import describe_drop
from hlens.comparison.collecting import Comparison
from hlens.counting import count
from hlens.drawing.table import count_models, distinct, listed, value_range
from hlens.figures.claims import count_supported
from hlens.report.data import Card, ReportData, Section
from hlens.report.html_table import table
from hlens.report.sections.published import draw_rows
from hlens.types import Estimate
from hlens.types.estimate import p_words
from hlens.types.labels import SetKind

CAUTIONS = (
    "Each model is wrong about other questions: AUROCs of two models are of different answers, and "
    "their difference is no test.",
    "Neurons of different models have no number in common; they are compared by number only "
    "between a model and its base.",
    "The mean over models has an interval over questions, of these models; what other models would "
    "show takes many of them.",
    '"Not supported" is not "refuted": with few answers a true claim fails for want of evidence.',
)


def comparison_page(compared: Comparison, *, title: str = "") -> ReportData:
    """All that the report of a comparison shows."""
    names = list(compared.models["model"])
    recipes = "\n".join(f"# {name}\n{recipe}" for name, recipe in compared.recipes.items())
    one = next(iter(compared.detectors.values()))
    return ReportData(
        title=title or f"H-neurons in {count_models(compared.models)}",
        summary=f"Models: {', '.join(names)}.",
        finding=describe_comparison(compared)[0],
        cards=_cards(compared),
        sections=[section for section in _sections(compared) if section is not None],
        cautions=CAUTIONS,
        recipe=recipes,
        versions=dict(one.provenance.versions),
    )


def describe_comparison(compared: Comparison) -> list[str]:
    """What the comparison says, in sentences that are true of every model; the first sums up."""
    models = compared.models
    several = count_models(models)
    gains = models.loc[models["adds"].notna()]
    seen = list(gains.loc[gains["adds"].astype(bool), "model"])
    told = [
        f"H-neurons read at an AUROC of {value_range(models['auroc'])} in {several}, as many "
        f"random neurons at {value_range(models['random'])}."
    ]
    if len(gains):
        named = f" ({', '.join(seen)})" if 0 < len(seen) < len(gains) else ""
        told.append(
            f"They raise the AUROC of the model's own output in {len(seen)} of "
            f"{count_models(gains)}{named}: {value_range(gains['output'])} without them, "
            f"{value_range(gains['both'])} with them."
        )
    if len(compared.claims):
        told.append(_describe_claims(compared.claims))
    told += compared.stand_ins
    told += [describe_drop(row) for row in compared.drops.to_dict("records")[-1:]]
    for name, reason in compared.failed.items():
        partly = name in set(models["model"])
        told.append(f"{name} {'was not done to its end' if partly else 'is left out'}: {reason}.")
    return told


def _describe_claims(claims: pd.DataFrame) -> str:
    parts = [f"{claim} in {n}" for claim, n in count_supported(claims).items()]
    quick = distinct(claims.loc[claims["audit"] == "quick", "model"])
    of = f" (quick in {listed(quick)})" if quick else ""
    return f"In {count_models(claims)} the audit{of} supports {', '.join(parts) or 'no claim'}."


def _cards(compared: Comparison) -> list[Card]:
    models = compared.models
    n_failed = len(compared.failed)
    said = f"{n_failed} failed" if n_failed else "none failed"
    if (n_models := len(distinct(models.weights))) < len(models):
        said = f"{count(len(models), 'study', 'studies')}, {said}"
    cards = [
        Card("Models", n_models, said),
        Card("AUROC of H-neurons", value_range(models["auroc"]), "0.5 is chance"),
        Card("Random neurons", value_range(models["random"]), "as many, refitted alike"),
        Card("Neurons, per mille", value_range(models["per_mille"]), "of all of each model"),
    ]
    for row in compared.drops.to_dict("records")[-1:]:
        note = f"within {row['within']:.3f}, across {row['across']:.3f}, {p_words(row['p'])}"
        cards.append(Card("Drop between domains", Estimate.from_row(row, "drop"), note))
    return cards


def _sections(compared: Comparison) -> Iterator[Section | None]:
    yield Section(
        "Do H-neurons read in each model?",
        "The detector of each model on its held-out answers, beside as many random neurons, the "
        "numbers of the model's own output, and both together.",
        (
            partial(figures.models, compared.models),
            *describe_comparison(compared),
            table(compared.models, "Every model in numbers.", tall=True),
        ),
        "Random neurons: mean and central 95 % of the draws; halves: mean, least and greatest "
        "share; all others: 95 % intervals.",
    )
    yield Section(
        "As the papers print it",
        "Balanced accuracy in per cent of as many random neurons and of the H-neurons, as in arXiv "
        "2512.01797; 50 is chance.",
        (draw_rows(compared.published), *compared.stand_ins),
    )
    if len(compared.claims):
        yield Section(
            "Which claims hold in which model?",
            "The verdicts of each model's audit, quick or whole, by the same rules.",
            (
                partial(figures.claims, compared.claims),
                table(compared.claims, "Every verdict with its reason.", tall=True),
            ),
        )
    yield Section(
        "Where are the neurons?",
        "A map a model, on one scale of depth and of rarity.",
        (partial(figures.neuron_maps, compared.detectors),),
    )
    yield _between_domains(compared)
    yield _shared_by_domains(compared)
    if len(compared.related):
        yield Section(
            "Do related models share their H-neurons?",
            "A tuned model and its base: neurons keep their numbers, and chance is that of sets "
            "with as many neurons in each layer.",
            (table(compared.related, "Overlap of related models."),),
        )
    yield from _edited(compared)
    tables = compared.tables()
    missing = {"failed": "Models that failed.", "not_made": "What was not made."}
    if content := [table(tables[name], words) for name, words in missing.items() if name in tables]:
        yield Section(
            "What is missing",
            "What failed, and what a study does not hold, with the command that makes it.",
            content,
        )


def _between_domains(compared: Comparison) -> Section | None:
    if not len(compared.drops):
        return None
    rows = compared.drops.to_dict("records")
    content: list[Any] = [partial(figures.drops, compared.drops), *map(describe_drop, rows)]
    content.append(table(compared.drops, "Within, across and the drop of each model."))
    for name, transfer in compared.transfers.items():
        content += [f"{name}: every probe on every domain.", partial(figures.transfer, transfer)]
    return Section(
        "What is lost between domains?",
        "A probe of each domain, tested on the answers of every domain; each tested domain counts "
        "once, whatever its number of answers.",
        content,
        "A question that several models answered counts once in the interval over all of them.",
    )


def _shared_by_domains(compared: Comparison) -> Section | None:
    if not compared.overlaps:
        return None
    content: list[Any] = []
    for name, shared in compared.overlaps.items():
        content += [f"{name}:", partial(figures.overlap, shared)]
    return Section(
        "Do domains share neurons, in each model?",
        "The H-neurons of each domain of a model, beside chance in the same model.",
        content,
        "A small overlap is not none: halves of one domain share few neurons, too (hlens overlap).",
    )


def _edited(compared: Comparison) -> Iterator[Section]:
    if compared.slopes.empty:
        return
    target = compared.slopes.loc[
        (compared.slopes["kind"] == SetKind.TARGET) & compared.slopes["over_random"].notna()
    ]
    content = [
        partial(figures.slopes_by_size, own, labels=labels())
        for _, own in target.groupby("behaviour", sort=False)
    ]
    shown = target[["model", "behaviour", "grader", "over_random", "over_low", "over_high", "n"]]
    if content:
        yield Section(
            "Do edits move larger models less?",
            "The slope over the dose of each model's H-neurons, less the random sets' mean slope.",
            (*content, table(shown, "Slopes beyond random sets.")),
        )
