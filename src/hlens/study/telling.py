"""From a study to the plain data that its report is drawn from."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from hlens import figures
from hlens.figures._html import Html
from hlens.monitor import risks
from hlens.report import Card, ReportData, Section, neuron_pages
from hlens.spans import token_span
from hlens.study.acting import effect_sections, patching_section
from hlens.study.audited import audit_sections
from hlens.study.domain_sections import domain_sections
from hlens.study.origin_section import origin_section
from hlens.study.words import in_words
from hlens.types import Detector, Estimate, Example

if TYPE_CHECKING:
    from hlens.study.deeper import Study

STRIPS = 4  # answers shown token by token, half of each label


def report_data(study: "Study") -> ReportData:
    """All that the report of a study shows."""
    scores, detector = study.scores(), study.detector()
    finding, *more = in_words(scores)
    audited = study.audit(study.has_quick_audit()) if study.has_audit() else None
    train, _ = study.split()
    shape = tuple(detector.weights.shape)
    alone = torch.from_numpy(study.alone()["auroc"].to_numpy(dtype=np.float32)).reshape(shape)
    several = len(study.domains()) > 1
    return ReportData(
        title=f"H-neurons in {detector.provenance.model}",
        model=detector.provenance.model,
        summary=_summary(study, detector),
        finding=finding,
        cards=_cards(study, scores, detector),
        audit=audited.card if audited else None,
        scores=scores,
        strips=strips(study, detector),
        detector=detector,
        frequency=_frequency(study, shape),
        auroc=alone,
        contribution=train,
        pages=neuron_pages(study.model, detector, study.contributions(), study.examples()),
        shared={one.name: one for one in study.neuron_sets()} if several else None,
        sections=[
            Section("What the controls say", content=more),
            *(audit_sections(audited) if audited else ()),
            *questions(study),
            _labels(study),
        ],
        cautions=_cautions(study),
        recipe=study.recipe.to_toml(),
        versions=dict(detector.provenance.versions),
    )


def questions(study: "Study") -> Iterator[Section]:
    """The questions asked of the finding, each with its picture."""
    stable = study.stability()
    promise = stable.attrs
    yield Section(
        "How many neurons are needed?",
        "The top neurons of the probe beside as many random ones, refitted alike, and all of them.",
        (partial(figures.k_sweep, study.sparsity()),),
        "Where random neurons do as well, the signal is spread out and its place means little.",
    )
    yield Section(
        "Is the selection stable?",
        "Left: the regularisation path. Right: how often half-samples select a neuron.",
        (
            partial(
                figures.path,
                study.path(),
                stable,
                chosen=study.detector().fit.get("C"),
                threshold=promise["threshold"],
                resamples=promise["resamples"],
                expected_false=promise["expected_false"],
            ),
        ),
        _promised(str(promise["assumption"])),
    )
    yield Section(
        "Does one neuron alone tell it?",
        "AUROC and corrected p of every neuron by itself, on the training part.",
        (
            partial(
                figures.volcano,
                study.alone(),
                selected=study.detector().selected,
                n=len(study.split()[0]),
            ),
        ),
        "A neuron that tells wrong from right may tell short from long, or domain from domain.",
    )
    if len(study.recipe.domains) > 1:
        yield from domain_sections(study)
    if study.recipe.base:
        yield origin_section(study)
    if study.has_outcomes():
        yield from effect_sections(study)
    if study.has_patching():
        yield patching_section(study)


def _promised(assumption: str) -> str:
    """What the bound on false selections rests on, or why there is none, as a sentence."""
    if assumption.startswith("no bound: "):
        return f"{assumption[0].upper()}{assumption[1:]}."
    return f"The promise {assumption}."


def _frequency(study: "Study", shape: tuple[int, ...]) -> torch.Tensor:
    table = study.stability()
    frequency = torch.zeros(shape)
    at = [torch.tensor(table[axis].tolist(), dtype=torch.long) for axis in ("layer", "neuron")]
    frequency[at[0], at[1]] = torch.tensor(table["frequency"].tolist())
    return frequency


def strips(study: "Study", detector: Detector) -> list[Html]:
    """A few held-out answers, half of each label, with the detector's reading of each token."""
    held_out = set(study.split()[1].question_ids)
    examples = [e for e in study.examples() if e.question_id in held_out]
    chosen = [
        example
        for label in (True, False)
        for example in [e for e in examples if e.hallucinated is label][: STRIPS // 2]
    ]
    return [_strip(study, detector, example) for example in chosen]


def _strip(study: "Study", detector: Detector, example: Example) -> Html:
    model, ids = study.model, example.token_ids.tolist()
    read = risks(model, detector, ids, example.n_prompt)
    alone = detector.probability_of(torch.tensor([risk.token_score for risk in read]))
    begin = _question_start(study, example)
    return figures.tokens(
        pieces(model.tokenizer, ids)[begin:],
        ([float("nan")] * example.n_prompt + alone.tolist())[begin:],
        n_prompt=example.n_prompt - begin,
        verdict=f"judged {'hallucinated' if example.hallucinated else 'true'}",
    )


def _question_start(study: "Study", example: Example) -> int:
    """First token of the question in its prompt; what stands before it is the same everywhere."""
    asked = {(q.domain, q.id): q.text for q in study.questions()}
    question = asked[example.domain, example.question_id]
    ids, tokenizer = example.token_ids[: example.n_prompt].tolist(), study.model.tokenizer
    text = tokenizer.decode(ids, skip_special_tokens=True)
    at = text.rfind(question)
    place = token_span(text, ids, answer=(at, len(text)), tokenizer=tokenizer) if at >= 0 else None
    return place[0] if place else 0


def pieces(tokenizer: Any, token_ids: list[int]) -> list[str]:
    """Text of each token; a character of several tokens stands at the last of them."""
    found, held = [], []
    for token in token_ids:
        held.append(token)
        text = tokenizer.decode(held, skip_special_tokens=False)
        broken = text.endswith("\ufffd") and len(held) < 4
        found.append("·" if broken else text)
        held = held if broken else []
    return found


def _summary(study: "Study", detector: Detector) -> str:
    recipe, fit = study.recipe, detector.fit
    domains = dict.fromkeys(question.domain for question in study.questions())
    return (
        f"Probe: L1-logistic on {detector.metric} of the {detector.region} tokens. "
        f"Domains: {', '.join(domains)}. Trained on {fit.get('n', '?')} answers, "
        f"seed {recipe.seed}."
    )


def _cards(study: "Study", scores: pd.DataFrame, detector: Detector) -> list[Card]:
    rows = {row["control"]: row for row in scores.to_dict("records")}
    probe = rows["probe"]
    neurons = detector.selected
    cards = [
        Card(
            "Held-out AUROC",
            Estimate(probe["auroc"], probe["low"], probe["high"], probe["n"]),
            "0.5 is chance",
        ),
        Card(
            "Neurons selected",
            len(neurons),
            f"{100 * neurons.fraction:.2f} % of all; {len(detector.neurons)} point to "
            "hallucination",
        ),
        Card("Random neurons", f"{rows['random neurons']['auroc']:.3f}", "as many, refitted alike"),
        Card(
            "Shuffled labels", f"{rows['shuffled labels']['auroc']:.3f}", "the same fit; near 0.5"
        ),
        Card(
            "Answer length", f"{rows['answer length']['auroc']:.3f}", "the number of tokens alone"
        ),
    ]
    examples = study.examples()
    wrong = sum(example.hallucinated for example in examples)
    share = f"{wrong} hallucinated, {len(examples) - wrong} true"
    return [*cards, Card("Examples", len(examples), share)]


def _labels(study: "Study") -> Section:
    return Section(
        "What became of the responses",
        "Refused and unscored responses are no examples, and are counted here.",
        (study.losses(),),
        "A label that loses more responses than the other would be a confound.",
    )


def _cautions(study: "Study") -> list[str]:
    said = [
        "Association is not cause; read the edits beside their controls."
        if study.has_outcomes()
        else "Association is not cause: no neuron was edited here.",
        "An L1 fit picks one of several neurons that carry the same signal; another seed may pick "
        "its neighbour.",
        "The labels are a rule's verdicts on short answers, not a person's.",
    ]
    if len(study.recipe.domains) > 1:
        said.append("Domains differ in how often the model is wrong; see 'domain alone'.")
    if not study.has_audit():
        said.append(
            "No audit was made: what confidence, words or a dense probe would read here is not "
            "known, nor whether the neurons come back; hlens audit tells."
        )
    return said
