"""What a study is given from outside."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hlens import baselines, domains, judges, metrics
from hlens.baselines import Rival
from hlens.contributions import Ask
from hlens.contributions.official import cett_thunlp
from hlens.engines import load
from hlens.errors import HlensError
from hlens.labelled import Labelled, content_of, labelled
from hlens.model import Model
from hlens.recipe import LabelsRecipe, MeasureRecipe, Recipe, key_of
from hlens.steps.runner import Runner
from hlens.steps.step import Source
from hlens.store.jsonl import load_questions, question_to_row
from hlens.types import Question, Response

ASKED_BY = ("domains", "questions", "seed")  # options that decide which questions are asked


def _load_model(run: Runner) -> Model:
    model = _own_model(run)
    return model.with_workers(run.given.workers) if run.given.workers else model


def _own_model(run: Runner) -> Model:
    options = run.recipe.sampling.template
    if run.given.model is None:
        adapter = run.recipe.adapter or None
        return open_model(run.recipe, run.recipe.model, adapter=adapter, template_options=options)
    _check_engine(run.given.model, run.recipe)
    return run.given.model.with_template(options) if options else run.given.model


def _check_engine(model: Model, recipe: Recipe) -> None:
    """Raise `HlensError` where a model that was given is run by another engine than the recipe's.

    What is made of it would be kept as that engine's.
    """
    if model.rounding != recipe.engine.rounding:
        runs = model.rounding or "local"
        raise HlensError(
            f'{model.name} is run by the engine {runs}, and the recipe names "{recipe.engine.name}"'
            f'; set name = "{runs}" under [engine]'
        )


def open_model(recipe: Recipe, name: str, **options: Any) -> Model:
    """A model, its weights kept as the recipe says."""
    return load(
        name,
        engine=recipe.engine.name,
        engine_options=recipe.engine.options,
        dtype=recipe.dtype or None,
        quantization=recipe.quantization or None,
        device_map=recipe.device_map or None,
        **options,
    )


def _load_questions(run: Runner) -> list[Question]:
    if run.given.questions is not None:
        return run.given.questions
    if run.recipe.labelled.is_given:
        return run.value(given_answers).questions
    kept, stamp = run.folder / "questions.jsonl", run.stamps.get("questions")
    if run.given.opened and kept.exists() and (stamp or is_from_before(run.folder)):
        # Kept although a domain may have changed since; other options ask for other questions.
        wanted = {name: getattr(run.recipe, name) for name in ASKED_BY}
        if key_of(stamp.note.get("options", wanted) if stamp else wanted) == key_of(wanted):
            run.stamps.check("questions")
            questions = load_questions(kept)
            _check_judges(questions, run.recipe.labels)
            return questions
    recipe = run.recipe
    questions = [
        question
        for name in recipe.domains
        for question in load_domain(recipe, name, recipe.questions)
    ]
    # Before the model is asked, not after hours of sampling.
    check_ids(questions)
    _check_judges(questions, recipe.labels)
    ask_of(recipe.measure)  # which refuses a metric or region that does not exist
    return questions


def load_domain(recipe: Recipe, name: str, n: int) -> list[Question]:
    """`n` questions of a domain, or all where that is 0.

    Raises:
        HlensError: It cannot be read; where the recipe names a stand-in for it, that is said.
    """
    try:
        return domains.load(name, n or None, seed=recipe.seed)
    except HlensError as error:
        if (bank := recipe.stand_in.get(name)) is None:
            raise
        raise HlensError(
            f"{error}; or let {bank!r} stand in for it, as this recipe offers: --stand-in"
        ) from error


def is_from_before(folder: Path) -> bool:
    """Whether a study was written before there were stamps, and has not been adopted yet."""
    return (folder / "steps.json").exists() and not (folder / "stamps.json").exists()


def _check_judges(questions: list[Question], labels: LabelsRecipe) -> None:
    for name in filter(None, (labels.judge, labels.second)):
        check_judged(questions, judge_of(name))


model: Source[Model] = Source(
    "model",
    _load_model,
    ("model", "dtype", "sampling.template"),
    later=("quantization", "adapter", "engine.rounding"),
    is_model=True,
)

# Which model, for a step that does not run it and whose content does not tell; nor does the name of
# a formula tell whether it is the official code's.
model_options: Source[None] = Source(
    "model options",
    lambda run: None,
    ("model", "dtype"),
    later=("quantization", "adapter", "engine.rounding", "measure.compat"),
)

asked: Source[list[Question]] = Source(
    "asked questions",
    _load_questions,
    ASKED_BY,
    content=lambda run: [question_to_row(question) for question in run.value(asked)],
)


Naming = Callable[[str], str]
# What a domain is called where its numbers are shown: what it stands in for is said with it.
naming: Source[Naming] = Source(
    "names of domains",
    lambda run: run.recipe.name_of,
    later=("stand_in", "domains", "evaluation.test_domains"),
)


def _load_worked(run: Runner) -> list[Question]:
    """The worked examples that are shown: those that the study kept, or the recipe's domains'."""
    shots = run.recipe.sampling.shots
    if not shots:
        return []
    kept = run.folder / "worked.jsonl"
    own = []
    if run.given.opened and kept.exists() and run.stamps.get("worked"):
        run.stamps.check("worked")
        own = load_questions(kept)
    own += [one for name in run.recipe.domains for one in domains.load_worked(name)]
    shown = {
        (one.domain, one.id): one
        for question in run.value(asked)
        for one in domains.choose_worked(question, shots, own=own)
    }
    return list(shown.values())


worked_examples: Source[list[Question]] = Source(
    "worked examples",
    _load_worked,
    (*ASKED_BY, "sampling.shots"),
    content=lambda run: [question_to_row(question) for question in run.value(worked_examples)],
)


def _load_labelled(run: Runner) -> Labelled:
    """Labelled answers: those that the caller gave, or the recipe's file, which must be the one."""
    options = run.recipe.labelled
    if run.given.labelled is not None:
        return run.given.labelled
    if not options.file:
        raise HlensError(
            f"the answers of {run.folder} were given in Python, and are not kept whole; give them "
            "again: hlens.Study.from_labelled(...)"
        )
    if content_of(options.file) != options.content:
        raise HlensError(
            f"{options.file} has changed since the study at {run.folder} was made of it; import "
            "it anew (hlens import), or restore it"
        )
    return labelled(
        options.file,
        run.value(model),
        layout=options.layout or None,
        columns=options.columns,
        labels=options.labels,
        unit=options.unit,
        rest=options.rest,
        judge=judge_of(run.recipe.labels.judge),
        domain=options.domain or None,
        instruction=options.instruction,
        style=options.style,
    )


# Not its path, which may change: the content decides.
_READ_AS = ("content", "layout", "columns", "labels", "unit", "rest", "domain", "instruction")
given_answers: Source[Labelled] = Source(
    "labelled answers",
    _load_labelled,
    (*(f"labelled.{name}" for name in (*_READ_AS, "style")), "labels.judge"),
    is_model=True,  # whose tokenizer reads them
)

rivals: Source[list[Rival]] = Source(
    "rivals", lambda run: baselines.rivals(), content=lambda run: baselines.names()
)


def judge_of(name: str) -> judges.Judge | None:
    """The judge of a recipe; None lets each question say which judge it asks for."""
    return None if name == "auto" else judges.named(name)


def check_ids(questions: list[Question]) -> None:
    """Raise `HlensError` where two questions of one domain have one id, whatever their file."""
    counts = Counter((q.domain, q.id) for q in questions)
    repeated = [key for key, n in counts.items() if n > 1]
    if repeated:
        domain, first = repeated[0]
        raise HlensError(
            f"{len(repeated)} ids of questions occur twice, such as {first!r} of domain "
            f"{domain!r}; files that form one domain need ids that differ"
        )


def check_judged(questions: list[Question], judge: judges.Judge | None) -> None:
    """Raise `HlensError` where a question lacks what its judge needs."""
    problems: list[str] = []
    for question in questions:
        try:
            judges.judge([Response(question, "", (), 0)], judge)
        except HlensError as error:
            problems.append(f"{question.domain}: {error}")
    if problems:
        raise HlensError(
            f"{len(problems)} of {len(questions)} questions cannot be judged, such as {problems[0]}"
        )


def ask_of(measure: MeasureRecipe) -> Ask:
    """The metric, region, reduction and position of a recipe, its `compat` aside.

    Raises:
        HlensError: A metric or region does not exist, or the two do not go together.
    """
    return Ask(
        metrics.by_name(measure.metric),
        measure.region,
        reduce=measure.reduce,
        position=measure.position,
    )


def metric_of(measure: MeasureRecipe) -> metrics.Metric:
    """The formula that is measured, which an engine must be able to."""
    return cett_thunlp if measure.compat else ask_of(measure).metric
