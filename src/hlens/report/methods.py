"""What a study did, in the words of a paper's methods section: each said only where it was done.

A sentence is made of plain text and of the works that it cites. What the recipe decides is said
from the recipe, and how it came out (numbers, versions, fingerprints) from what the study holds.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hlens import metrics
from hlens.counting import count
from hlens.display import display_name
from hlens.drawing.table import listed
from hlens.model.network import package_versions
from hlens.recipe import Recipe
from hlens.report.latex_text import escape
from hlens.report.works import (
    ACROSS_DOMAINS,
    H_NEURONS,
    SCIKIT_LEARN,
    TRANSFORMER_LENS,
    VLLM,
    Work,
    hlens_itself,
    unique,
    works_of_domain,
    works_of_layout,
)
from hlens.steps import Runner, answers, audit, detection, domains, effects, gates, layers, origin
from hlens.steps import second_judge as judging
from hlens.types import Detector
from hlens.types.labels import Control

Sentence = tuple[str | Work, ...]


@dataclass(frozen=True, eq=False)
class Held:
    """What a study holds, as far as its methods tell of it.

    Attributes:
        asked: Questions by domain; empty where none were asked.
        judges: Who judged, by name; empty where that is not known.
        examples: Number of examples, and how many of them are hallucinated; None before.
        detector: What was found, or None.
        held_out: Number of examples that were held out; None before.
        controls: Controls that the scores hold, by name.
        made: Names of further artefacts that are there, such as ``"transfer"``.
        written_in: Dtypes in which replies were written, where not the model's own.
    """

    asked: Mapping[str, int] = field(default_factory=dict)
    judges: str = ""
    examples: tuple[int, int] | None = None
    detector: Detector | None = None
    held_out: int | None = None
    controls: Sequence[str] = ()
    made: Collection[str] = ()
    written_in: Sequence[str] = ()


@dataclass(frozen=True)
class Methods:
    """A paragraph on methods, to be printed as text, LaTeX or BibTeX.

    Attributes:
        sentences: The sentences, of text and of the works that they cite.
    """

    sentences: tuple[Sentence, ...]

    @property
    def works(self) -> list[Work]:
        """The works cited, in order."""
        return unique(one for said in self.sentences for one in said if isinstance(one, Work))

    def __str__(self) -> str:
        said = ("".join(one if isinstance(one, str) else f" ({one.said})" for one in sentence)
                for sentence in self.sentences)  # fmt: skip
        return " ".join(said)

    def latex(self) -> str:
        r"""The paragraph as LaTeX; works by ``\cite``, with the keys of `bibtex`."""
        said = (
            "".join(
                escape(one) if isinstance(one, str) else rf"~\cite{{{one.key}}}" for one in sentence
            )
            for sentence in self.sentences
        )
        return "\n".join(said)

    def bibtex(self) -> str:
        """Entries of the works cited."""
        return "\n\n".join(work.bibtex() for work in self.works)


FURTHER = {
    "transfer": domains.transfer, "overlap": domains.overlap, "second_judge": judging.second_judge,
    "origin": origin.origin, "stability": detection.stability,
    "outcomes": effects.outcomes, "by_layer": layers.by_layer, "gated": gates.gated,
    "patching": effects.patching, "audit": audit.card, "quick audit": audit.quick_card,
    "halves": domains.reliability,
}  # fmt: skip


def methods_of(run: Runner) -> Methods:
    """The methods of a study as it is now. Nothing is made and no model is run."""
    return describe_methods(run.recipe, _held_by(run))


def _held_by(run: Runner) -> Held:
    if run.stamps.get(answers.questions.name) is None:  # nothing was asked yet
        return Held()

    def value(step: Any) -> Any:
        is_here = run.is_current(step) and run.first_to_run_model(step) is None
        return run.value(step) if is_here else None

    questions, examples = value(answers.questions), value(answers.examples)
    asked: dict[str, int] = {}
    for question in questions or ():
        asked[question.domain] = asked.get(question.domain, 0) + 1
    named, scores = value(judging.named_judges), value(detection.scores)
    by_control = {} if scores is None else scores.set_index("control")["n"].to_dict()
    return Held(
        asked=asked,
        judges=named.first if named else "",
        examples=(len(examples), sum(e.hallucinated for e in examples)) if examples else None,
        detector=value(detection.detector),
        held_out=by_control.get(Control.PROBE),
        controls=list(by_control),
        made=[name for name, step in FURTHER.items() if run.is_current(step)],
        written_in=sorted({one.written_in for one in value(answers.responses) or ()} - {""}),
    )


def describe_methods(recipe: Recipe, held: Held | None = None) -> Methods:
    """The methods of a recipe, and of what a study of it holds."""
    held = held or Held()
    parts = (_model, _questions, _labels, _measure, _probe, _evaluation, _further, _software)
    told = tuple(sentence for part in parts for sentence in part(recipe, held))
    if not held.asked and held.examples is None:  # said as done, which none of it is
        told = (("Nothing of this was done yet; it is what the recipe asks for.",), *told)
    return Methods(told)


def describe_tools() -> Methods:
    """What is cited for hlens itself, where there is no study."""
    tools = ("We used hlens", hlens_itself(dict(package_versions()).get("hlens", "")))
    return Methods(((*tools, ", which reproduces and tests the finding of H-neurons", H_NEURONS,
                     ".",),))  # fmt: skip


def _model(recipe: Recipe, held: Held) -> Iterator[Sentence]:
    known = held.detector.provenance if held.detector else None
    name = known.model if known and known.model else recipe.model
    facts = [
        f"revision {known.revision}" if known and known.revision else "",
        f"weights in {recipe.dtype}" if recipe.dtype else "",
        f"quantised on loading: {recipe.quantization}" if recipe.quantization else "",
        f"with the adapter {recipe.adapter}" if recipe.adapter else "",
        f"placed on devices by {recipe.device_map}" if recipe.device_map else "",
        f"SHA-256 fingerprint of its weights {known.fingerprint[:16]}…"
        if known and known.fingerprint
        else "",
    ]
    yield (
        "We looked for hallucination-associated neurons",
        H_NEURONS,
        f" in {name}{_in_brackets(facts)} with hlens",
        hlens_itself(dict(known.versions if known else package_versions()).get("hlens", "")),
        ", which reads models through TransformerLens",
        TRANSFORMER_LENS,
        ".",
    )
    if recipe.engine.name != "local":
        cited = (VLLM,) if recipe.engine.name == "vllm" else ()
        options = _in_brackets([f"{k} = {v}" for k, v in recipe.engine.options.items()])
        yield ("The model was run by the engine ", recipe.engine.name, *cited, f"{options}.")


def _questions(recipe: Recipe, held: Held) -> Iterator[Sentence]:
    if recipe.labelled.is_given:
        yield from _given(recipe)
        return
    if held.asked:
        counts = listed(
            [f"{display_name('domains', name)} ({n:,})" for name, n in held.asked.items()]
        )
        which = f" questions of the domain{'s' * (len(held.asked) > 1)} {counts}"
        start: Sentence = (f"It was asked {sum(held.asked.values()):,}{which}",)
    else:
        many = (
            f"{count(recipe.questions, 'question')} at most"
            if recipe.questions
            else "all questions"
        )
        several = "each of the domains" if len(recipe.domains) > 1 else "the domain"
        start = (f"It is asked {many} of {several} {_names('domains', recipe.domains)}",)
    tested = recipe.evaluation

    def works_of(names: Sequence[str]) -> list[Work]:
        return unique(work for name in names for work in works_of_domain(name))

    asked = [name for name in recipe.asks_about if name not in tested.test_domains]
    yield (*start, *works_of(asked), ".")
    if tested.test_domains:
        many = f"{count(tested.test_questions, 'question')} at most" * bool(tested.test_questions)
        yield (f"The detector was only tested on {_names('domains', tested.test_domains)}",
               *works_of(tested.test_domains),
               f" ({many or 'all questions'} of each, asked once).")  # fmt: skip
    for bank, published in recipe.stood_in.items():
        yield (
            f"The questions of {display_name('domains', bank)} are in the place of "
            f"{display_name('domains', published)}, which was not asked.",
        )
    s = recipe.sampling
    how = (
        "as a text to be continued up to the end of the line"
        if s.style == "completion"
        else f"as a chat, followed by “{s.instruction}”" if s.instruction else "as a chat"
    )  # fmt: skip
    shots = f"{count(s.shots, 'worked example')} before it" if s.shots else "no worked example"
    if s.temperature:
        kept = f"top-k {s.top_k}" if s.top_k else "no top-k"
        draws = f"at temperature {s.temperature:g} ({kept}, top-p {s.top_p:g})"
    else:
        draws = "greedily"
    yield (
        f"Each question was put {how}, with {shots}, and answered {count(s.n, 'time')}, {draws}, "
        f"with {count(s.max_new_tokens, 'new token')} at most.",
    )
    if held.written_in:
        yield (f"Replies were written in {listed(held.written_in)}, and neurons read in the "
               "dtype of the model.",)  # fmt: skip
    elif s.precision == "model":
        yield ("Replies were written in the dtype of the model.",)
    if s.rows != type(s).rows:
        yield (f"Batches held {count(s.rows, 'sequence')} at most.",)
    if s.template:
        options = listed([f"{name} = {value}" for name, value in s.template.items()])
        yield (f"Options of the chat template: {options}.",)


def _given(recipe: Recipe) -> Iterator[Sentence]:
    given = recipe.labelled
    units = {
        "span": "a labelled span",
        "response": "a whole response",
        "token": "a token",
    }
    source = f" from {Path(given.file).name}" if given.file else ""
    facts = [
        f"in the layout {given.layout}" if given.layout else "",
        f"content {given.content}" if given.content else "",
        *(f"column {own} for {name}" for name, own in given.columns.items()),
        *(f"{word} for {meaning}" for word, meaning in given.labels.items()),
        f"as the domain {given.domain}" if given.domain else "",
    ]
    works = works_of_layout(given.layout)
    rest = "taken for correct" if given.rest == "correct" else "left out"
    yield (f"The answers were not sampled: they were read, with their labels{source}",
           *works, f"{_in_brackets(facts)}.")  # fmt: skip
    yield (f"One example is {units[given.unit]}; what is not marked was {rest}.",)
    style = "a text to be continued" if given.style == "completion" else "a chat"
    asked = f", each question followed by “{given.instruction}”" if given.instruction else ""
    yield (f"They were read as {style}{asked}.",)


def _labels(recipe: Recipe, held: Held) -> Iterator[Sentence]:
    own = recipe.labels
    named = held.judges or ("the rule that each question asks for" if own.judge == "auto"
                            else own.judge)  # fmt: skip
    if recipe.labelled.is_given:
        yield (f"Labels are those of: {held.judges}." if held.judges else
               f"Answers without a label were judged by {named}.",)  # fmt: skip
    else:
        span = "the whole response" if own.span == "response" else (
            "the stretch of it that the judge took for the answer")  # fmt: skip
        kept = "; only questions that were always right or always wrong were kept" * (
            own.keep == "consistent"
        )
        most = (
            f"; of each question at most {count(own.per_question, 'response')} of each label"
            if own.per_question
            else "; all responses of a question were kept"
        )
        yield (f"Responses were judged by {named}; an example is {span}{kept}{most}.",)
    if own.per_class:
        yield (f"At most {count(own.per_class, 'example')} of each label were kept.",)
    if own.second:
        yield (f"A second judge, {own.second}, judged them as well.",)
    if held.examples:
        n, wrong = held.examples
        yield (f"This gave {count(n, 'example')}, {wrong:,} of them hallucinated.",)


def _measure(recipe: Recipe, held: Held) -> Iterator[Sentence]:
    own = recipe.measure
    reduced = {"mean": "averaged over", "max": "its largest value over", "last": "at the last of",
               "first": "at the first of", "routed": "averaged (an expert's over what is routed to "
               "it) over"}[own.reduce]  # fmt: skip
    formula = (metrics.by_name(own.metric).__doc__ or "").partition("\n")[0].rstrip(".")
    formula = formula.replace("`", "")
    name = display_name("metrics", own.metric)
    yield (
        f"The contribution of every neuron of every MLP was measured by {name} ({formula}), "
        f"{reduced} the {own.region} tokens, where they are {own.position}, and stored in "
        f"{own.dtype}.",
    )
    if own.compat:
        yield (
            f"Formula and regions are those of the official code ({own.compat}) of the paper",
            H_NEURONS,
            ".",
        )
    further = {
        "3-vs-1": "all other tokens of both",
        "3-vs-1-response": "the other tokens of both responses",
    }.get(recipe.labels.design)
    if further:
        yield (
            "The probe was trained to tell answer tokens of hallucinated responses from those of "
            f"true ones and from {further} ({recipe.labels.design}); it was tested on answers.",
        )


def _probe(recipe: Recipe, held: Held) -> Iterator[Sentence]:
    own, fit = recipe.probe, dict(held.detector.fit) if held.detector else {}
    if own.way == "paper":
        yield (
            "The probe is the published one: an L1-penalised logistic regression of scikit-learn's "
            "liblinear with C = 1, nothing scaled or weighted",
            SCIKIT_LEARN,
            ".",
        )
    else:
        kind = (
            "an L1-penalised"
            if own.l1_ratio == 1
            else f"an elastic-net (l1_ratio = {own.l1_ratio:g})"
        )
        scale = {"none": "unscaled", "feature": "scaled neuron by neuron",
                 "layer": "scaled layer by layer"}[own.scale]  # fmt: skip
        weight = "balanced" if own.class_weight == "balanced" else "unweighted"
        yield (
            f"The probe is {kind} logistic regression on {scale} contributions with {weight} "
            "classes, fitted through the interface of scikit-learn",
            SCIKIT_LEARN,
            ".",
        )
        if own.C:
            yield (f"C was fixed at {own.C:g}.",)
        else:
            rule = (
                "the smallest C within one standard error of the best AUROC"
                if own.rule == "1se"
                else "the C of the best AUROC"
            )
            folds = f"{fit['folds']}-fold " if fit.get("folds") else ""
            found = f" (C = {fit['C']:.4g})" if "C" in fit else ""
            yield (
                f"C was chosen inside the training part, by {folds}cross-validation that keeps "
                f"groups of questions together: {rule}{found}.",
            )
    if own.beside:
        other = {"paper": "The published way", "hlens": "The way of hlens"}[own.beside]
        yield (f"{other} to find neurons was run beside it on the same answers.",)
    if own.calibration != "none":
        way = {"platt": "Platt scaling", "isotonic": "isotonic regression"}[own.calibration]
        yield (
            f"Scores were mapped to probabilities by {way} on held-out folds of the training part.",
        )
    if held.detector:
        n = len(held.detector.selected)
        yield (
            f"The probe selected {count(n, 'neuron')} of {held.detector.weights.numel():,}, "
            f"{len(held.detector.neurons):,} of them pointing to hallucination."
            if not held.detector.provenance.experts
            else f"The probe selected {count(n, 'neuron')}, {len(held.detector.neurons):,} of "
            "them pointing to hallucination.",
        )


def _evaluation(recipe: Recipe, held: Held) -> Iterator[Sentence]:
    own, fit = recipe.evaluation, dict(held.detector.fit) if held.detector else {}
    sizes = ""
    if held.held_out is not None and "n" in fit:
        sizes = f" ({count(fit['n'], 'example')} to train on, {held.held_out:,} held out)"
    yield (
        f"A share of {own.test:g} of the groups of questions was held out{sizes}; no "
        "group is in both parts.",
    )
    if not held.controls:
        return
    beside = [name for name in held.controls if name != Control.PROBE]
    named = listed([name.replace(", refit", " refitted") for name in beside])
    yield (
        f"Held-out AUROC is reported beside {named}, with 95 % intervals that keep groups together "
        "(of random draws, of the draws).",
    )
    draws = [
        f"{count(own.random_sets, 'draw')} of random neurons"
        if Control.RANDOM_NEURONS in beside else "",
        f"{count(own.shuffles, 'refit')} on shuffled labels"
        if Control.SHUFFLED_LABELS in beside else "",
        f"{count(own.n_boot, 'bootstrap sample')} of groups for the intervals of accuracies",
    ]  # fmt: skip
    yield (f"Controls rest on {listed([one for one in draws if one])}.",)


def _further(recipe: Recipe, held: Held) -> Iterator[Sentence]:
    made, own = held.made, recipe.evaluation
    if "stability" in made:
        pairs = count(own.stability_pairs, "complementary pair")
        yield (f"Stability selection took {pairs} of half-samples.",)
    if "transfer" in made:
        yield ("Transfer between domains", ACROSS_DOMAINS,
               f" was measured with {count(own.folds, 'fold')} by group.")  # fmt: skip
    if "overlap" in made:
        yield ("The overlap of the domains' neurons was compared with chance within layers.",)
    if "halves" in made:
        splits = count(own.halves, "split")
        yield (f"The reliability of these neurons was measured on {splits} in halves.",)
    if "second_judge" in made and recipe.labels.second:
        yield (f"Results were computed under the labels of {recipe.labels.second} as well.",)
    if "origin" in made and recipe.base:
        yield (f"The detector was traced to the base model {recipe.base}.",)
    for name, how in (("audit", "in full"), ("quick audit", "without running the model further")):
        if name in made:
            sae = f", with the sparse autoencoder {recipe.audit.sae}" if recipe.audit.sae else ""
            yield (f"The finding was audited {how} (rivals, confounds, refits, selectors{sae}).",)
            break
    if "outcomes" in made:
        yield from _edits(recipe)
    if "by_layer" in made and recipe.layers.edits != "none":
        yield (f"Edits were also made layer by layer ({recipe.layers.edits}).",)
    if "gated" in made and recipe.gates.alphas:
        g = recipe.gates
        yield (
            f"On {count(g.questions, 'further question')}, edits by {_numbers(g.alphas)} acted "
            f"only while the risk exceeded the threshold of {g.false_alarms:g} false alarms, "
            f"beside {count(g.random_gates, 'gate')} drawn at random.",
        )
    if "patching" in made:
        yield ("Activations of the neurons were patched between pairs of prompts.",)


def _edits(recipe: Recipe) -> Iterator[Sentence]:
    i = recipe.intervene
    which = {
        "h": "the neurons that point to hallucination",
        "truth": "the neurons that point to truth",
        "both": "the selected neurons of both signs",
    }.get(i.neurons, f"the neurons of {i.neurons}")
    items = f"{count(i.items, 'question')} each" if i.items else "all questions"
    random = [
        count(i.random_sets, "layer-matched random set"),
        count(i.matched_sets, "contribution-matched random set") if i.matched_sets else "",
        f"{count(i.perturbations, 'random perturbation')} as large" if i.perturbations else "",
        f"as many neurons by {_names('selectors', recipe.selectors.beside)}"
        if recipe.selectors.beside
        else "",
    ]
    asked = _names("behaviours", i.behaviours)
    graded = f", and by {i.second_grader}" if i.second_grader else ""
    cost = "Capability was measured beside it." if i.capability else "Capability was not measured."
    yield (
        f"Activations of {which} were multiplied by {_numbers(i.alphas)} on "
        f"{asked} ({items}), beside {listed([one for one in random if one])}; "
        f"replies were graded by rules{graded}. {cost}",
    )
    if recipe.plan.items:
        pilot = count(recipe.plan.items, "question")
        yield (f"A pilot of {pilot} of each behaviour was run first, and its replies kept.",)


def _software(recipe: Recipe, held: Held) -> Iterator[Sentence]:
    versions = dict(held.detector.provenance.versions) if held.detector else {}
    named = listed([f"{name} {version}" for name, version in versions.items()])
    used = f"Versions: {named}. " if versions else ""
    yield (f"{used}All draws have the seed {recipe.seed}; the hash of the recipe is "
           f"{recipe.hash}.",)  # fmt: skip


def _names(family: str, names: Sequence[str]) -> str:
    return listed([display_name(family, name) for name in names])


def _numbers(numbers: Sequence[float]) -> str:
    return listed([f"{number:g}" for number in numbers])


def _in_brackets(facts: Sequence[str]) -> str:
    known = [fact for fact in facts if fact]
    return f" ({'; '.join(known)})" if known else ""
