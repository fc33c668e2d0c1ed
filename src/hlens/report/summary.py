"""The head and the foot of a study's report: numbers, sentences and cautions, by fixed rules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from hlens.drawing.html import Html, escape
from hlens.recipe import Recipe
from hlens.report.data import Card, Section
from hlens.steps import Step
from hlens.types import Detector, Estimate, Example, Question
from hlens.types.labels import Control


def describe_scores(scores: pd.DataFrame) -> list[str]:
    """Sentences on a table of `hlens.evaluation.controls`, also when nothing was found.

    A probe is called better than chance when its interval lies above 0.5, and better than a
    control when its AUROC lies above the control's interval.
    """
    rows = {row["control"]: row for row in scores.to_dict("records")}
    probe = Estimate.from_row(rows[Control.PROBE])
    if not probe.low > 0.5:
        side = "worse than" if probe.high < 0.5 else "no better than"
        return [
            f"The probe is {side} chance on held-out questions: AUROC {probe:.3f}.",
            "So this study names no hallucination-associated neurons; the map shows only what the "
            "fit picked.",
        ]
    return [
        f"The probe tells hallucinated from true answers on held-out questions: AUROC "
        f"{probe:.3f}, with {rows[Control.PROBE]['neurons']:.0f} neurons.",
        *_describe_controls(rows),
    ]


def _describe_controls(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    aurocs = {control: Estimate.from_row(row) for control, row in rows.items()}
    if rows[Control.SHUFFLED_LABELS]["repeats"]:
        shuffled = aurocs[Control.SHUFFLED_LABELS]
        sound = shuffled.low <= 0.5 <= shuffled.high
        yield (
            f"On shuffled labels the same fit reaches {shuffled:.3f}, "
            f"{'as it should' if sound else 'which is not chance: something leaks'}"
            f" (permutation p = {rows[Control.PROBE]['p']:.3f})."
        )
    selected, random = aurocs.get(Control.SELECTED_REFIT), aurocs.get(Control.RANDOM_NEURONS)
    if selected is not None and random is not None and random.known:
        better = selected.value > random.high
        yield (
            f"As many random neurons of the same layers, refitted alike, reach "
            f"{random:.3f}; the selected ones {selected.value:.3f}: their identity "
            f"{'matters' if better else 'is not shown to matter'}."
        )
    length = aurocs[Control.ANSWER_LENGTH]
    verdict = "explains less" if aurocs[Control.PROBE].low > length.high else "may explain it"
    yield f"The length of the answer alone reaches {length:.3f}: it {verdict}."
    if Control.DOMAIN_ALONE in aurocs:
        yield f"Knowing only the domain reaches {aurocs[Control.DOMAIN_ALONE]:.3f}."


def summarise(recipe: Recipe, detector: Detector, questions: Iterable[Question]) -> str:
    """Probe, domains, training data and seed in two sentences."""
    domains = dict.fromkeys(question.domain for question in questions)
    return (
        f"Probe: L1-logistic on {detector.metric} of the {detector.region} tokens. "
        f"Domains: {', '.join(domains)}. Trained on {detector.fit.get('n', '?')} answers, "
        f"seed {recipe.seed}."
    )


def number_cards(
    scores: pd.DataFrame, detector: Detector, examples: Sequence[Example]
) -> list[Card]:
    """The numbers at the head of the report, controls included."""
    aurocs = {row["control"]: Estimate.from_row(row) for row in scores.to_dict("records")}
    neurons = detector.selected
    wrong = sum(example.hallucinated for example in examples)
    return [
        Card("Held-out AUROC", aurocs[Control.PROBE], "0.5 is chance"),
        Card(
            "Neurons selected",
            len(neurons),
            f"{100 * neurons.fraction:.2f} % of all; {len(detector.neurons)} point to "
            "hallucination",
        ),
        *(
            Card(label, f"{aurocs[control].value:.3f}", note)
            for label, control, note in (
                ("Random neurons", Control.RANDOM_NEURONS, "as many, refitted alike"),
                ("Shuffled labels", Control.SHUFFLED_LABELS, "the same fit; near 0.5"),
                ("Answer length", Control.ANSWER_LENGTH, "the number of tokens alone"),
            )
        ),
        Card(
            "Examples",
            len(examples),
            f"{wrong} hallucinated, {len(examples) - wrong} true",
        ),
    ]


def cautions_of(recipe: Recipe, was_edited: bool, was_audited: bool) -> list[str]:
    """What a study does not show, a sentence each."""
    cautions = [
        "Association is not cause; read the edits beside their controls."
        if was_edited
        else "Association is not cause: no neuron was edited here.",
        "An L1 fit picks one of several neurons that carry the same signal; another seed may pick "
        "its neighbour.",
        "The labels are a rule's verdicts on short answers, not a person's.",
    ]
    if len(recipe.domains) > 1:
        cautions.append("Domains differ in how often the model is wrong; see 'domain alone'.")
    if not was_audited:
        cautions.append(
            "No audit was made: what confidence, words or a dense probe would read here is not "
            "known, nor whether the neurons come back; hlens audit answers that."
        )
    return cautions


AUDIT_CAUTIONS = (
    "The verdicts hold for this model, these questions, this judge and this probe.",
    '"Not supported" is not "refuted": with few answers a true claim fails for want of evidence.',
    "What no covariate and no rival here describes could still explain the score.",
    "The rivals are standard ways, not the strongest that could be built.",
)


def draw_left_out(left_out: Mapping[Step[Any], Sequence[str]], folder: str) -> Section | None:
    """What the report lacks, and the command that makes it; None where nothing is missing."""
    if not left_out:
        return None
    commands: dict[str, list[str]] = {}
    for step, headings in left_out.items():
        commands.setdefault(f"hlens {step.verb} {folder}", []).extend(headings)
    items = "".join(
        f"<li><code>{escape(command)}</code>: {escape(' '.join(headings))}</li>"
        for command, headings in commands.items()
    )
    return Section(
        "What is not shown here",
        "A report never runs the model: what was not made, or was made under other options, is "
        "left out. These commands make it:",
        (Html(f'<ul class="cautions">{items}</ul>'),),
    )


def draw_cautions(cautions: Sequence[str]) -> Section | None:
    """The section of cautions; None where there are none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in cautions)
    content = (Html(f'<ul class="cautions">{items}</ul>'),)
    return Section("What this does not show", "", content) if cautions else None


def draw_provenance(recipe: str, versions: Mapping[str, str]) -> Section | None:
    """The section of recipe (TOML) and versions; None where both are empty."""
    if not recipe and not versions:
        return None
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(version)}</td></tr>"
        for name, version in versions.items()
    )
    table = (
        '<div class="rows"><table><caption>Versions</caption><thead><tr><th scope="col">'
        '<span class="plain">package</span></th><th scope="col"><span class="plain">version'
        f"</span></th></tr></thead><tbody>{rows}</tbody></table></div>"
        if rows
        else ""
    )
    written = f'<pre tabindex="0" aria-label="Recipe">{escape(recipe)}</pre>' if recipe else ""
    return Section(
        "How it was made",
        "The recipe repeats this study.",
        (Html(f'<div class="made">{written}{table}</div>'),),
    )
