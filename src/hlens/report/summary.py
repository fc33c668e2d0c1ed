"""The head and the foot of a study's report: numbers, sentences and cautions, by fixed rules."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from hlens.claims import describe_claim, describe_gain
from hlens.claims.rules import ABOVE_CHANCE
from hlens.counting import count
from hlens.display import display_name
from hlens.drawing.html import Html, escape
from hlens.drawing.table import capitalized
from hlens.recipe import Recipe
from hlens.report.data import Card, Section
from hlens.steps import Step
from hlens.types import Claim, Detector, Estimate, Example, Question
from hlens.types.labels import ClaimName, Control

# They read no neuron.
ALONE = (Control.ANSWER_LENGTH, Control.DOMAIN_ALONE, Control.CUT_OFF, Control.ATTEMPTED)


NO_NEURON = (
    "The probe selected no neuron: it found none that tells these answers apart, and there is none "
    "to draw, compare or edit. A larger probe.C selects more."
)


def describe_study(scores: pd.DataFrame, claims: Sequence[Claim], *, audited: bool) -> list[str]:
    """What a study says: what the neurons add to the model's own output, then a sentence a claim.

    The first is the finding at the head of its report.

    Nothing is judged here: `claims` are those of its audit where it was `audited`, and else those
    of `hlens.claims.decide` on what has been made. `scores` (of `hlens.evaluation.controls`) give
    the controls that read no neuron, as numbers.
    """
    told = [describe_claim(claim) for claim in claims]
    gain = describe_gain(claims)
    readout = next(claim for claim in claims if claim.name == ClaimName.READOUT)
    if not scores.loc[scores["control"] == Control.PROBE, "neurons"].any():
        told.insert(1, NO_NEURON)
    elif any(check.name == ABOVE_CHANCE and check.holds is False for check in readout.checks):
        told.insert(
            1,
            "So this study names no hallucination-associated neurons; the map shows only what the "
            "fit picked.",
        )
    rows = {row["control"]: Estimate.from_row(row) for row in scores.to_dict("records")}
    alone = [f"{name} {rows[name]:.3f}" for name in ALONE if name in rows and rows[name].known]
    if alone:
        told.append(f"Without any neuron: {', '.join(alone)}.")
    if gain:
        told.insert(0, gain)
    if not audited:
        told.append("What was not measured for these claims, hlens audit measures.")
    return told


def describe_stand_ins(recipe: Recipe) -> list[str]:
    """Which domains were asked in place of published sets, in one sentence; none where none was.

    >>> describe_stand_ins(Recipe(domains=("general",), stand_in={"triviaqa": "general"}))
    ['Not the published data: general knowledge in place of TriviaQA.']
    """
    pairs = [
        f"{display_name('domains', bank)} in place of {display_name('domains', name)}"
        for bank, name in recipe.stood_in.items()
    ]
    return [f"Not the published data: {', '.join(pairs)}."] if pairs else []


def summarise(recipe: Recipe, detector: Detector, questions: Iterable[Question]) -> str:
    """Probe, domains, training data and seed in two sentences."""
    asked = map(recipe.name_of, dict.fromkeys(question.domain for question in questions))
    metric, n = display_name("metrics", detector.metric), detector.fit.get("n")
    trained = f"Trained on {count(int(n), 'answer')}, " if n else ""
    return (
        f"Probe: L1-logistic on {metric} of the {detector.region} tokens. "
        f"Domains: {', '.join(display_name('domains', one) for one in asked)}. "
        f"{capitalized(f'{trained}seed {recipe.seed}')}."
    )


def number_cards(
    scores: pd.DataFrame, over_output: pd.DataFrame, detector: Detector, examples: Sequence[Example]
) -> list[Card]:
    """The numbers at the head of the report, controls included."""
    aurocs = {row["control"]: Estimate.from_row(row) for row in scores.to_dict("records")}
    neurons, gain = detector.selected, _gain_cards(over_output)
    wrong = sum(example.hallucinated for example in examples)
    return [
        Card("Held-out AUROC", aurocs[Control.PROBE], "0.5 is chance"),
        *gain,
        Card(
            "Neurons selected",
            len(neurons),
            f"{100 * neurons.fraction:.2f} % of all; {len(detector.neurons)} "
            f"{'points' if len(detector.neurons) == 1 else 'point'} to hallucination",
        ),
        *(
            Card(
                label,
                f"{aurocs[control].value:.3f}" if aurocs[control].known else "–",
                note if aurocs[control].known else "the probe selected no neuron",
            )
            for label, control, note in (
                ("Random neurons", Control.RANDOM_NEURONS, "as many, refitted alike"),
                ("Shuffled labels", Control.SHUFFLED_LABELS, "the same fit; 0.5 is chance"),
                ("Answer length", Control.ANSWER_LENGTH, "the number of tokens alone"),
            )
            if gain == [] or control != Control.ANSWER_LENGTH  # which the output numbers hold
        ),
        Card(
            "Examples",
            len(examples),
            f"{wrong} hallucinated, {len(examples) - wrong} true",
        ),
    ]


def _gain_cards(over_output: pd.DataFrame) -> list[Card]:
    """What the neurons add to the model's own output; none where that is not known."""
    return [
        Card(
            "Over the output",
            Estimate.from_row(row, "difference", ends="difference_"),
            f"AUROC added to {row['output']:.3f} of probabilities and length",
        )
        for row in over_output.to_dict("records")
    ]


def cautions_of(
    recipe: Recipe, *, was_edited: bool, was_audited: bool, has_several_spans: bool
) -> list[str]:
    """What a study does not show, a sentence each."""
    cautions = [
        "Association is not cause; read the edits beside their controls."
        if was_edited
        else "Association is not cause: no neuron was edited here.",
        "An L1 fit picks one of several neurons that carry the same signal; another seed may pick "
        "its neighbour.",
        "The labels are those that the answers came with; they were taken as they are."
        if recipe.labelled.is_given
        else "The labels are a rule's verdicts on short answers, not a person's.",
    ]
    if len(recipe.domains) > 1:
        cautions.append("Domains differ in how often the model is wrong; see 'domain alone'.")
    if not has_several_spans:
        cautions.append(
            "No answer has several labelled spans: where in a long answer the detector is right is "
            "not known."
        )
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
        "What makes it again, and the versions that made it.",
        (Html(f'<div class="made">{written}{table}</div>'),),
    )
