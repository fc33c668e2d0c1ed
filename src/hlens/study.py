"""A study: the named artefacts of one run. What is current is not made again."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Generic, TypeVar

import pandas as pd

from hlens import engines
from hlens.errors import HlensError
from hlens.kinds import explains_kinds
from hlens.labelled import Labelled
from hlens.lookup import unknown
from hlens.model import Model
from hlens.recipe import Recipe
from hlens.report.methods import Methods, methods_of
from hlens.report.page import report as write_report
from hlens.report.study_report import audit_page, in_words, report_data
from hlens.shards import Gathering, Shard, ShardDone
from hlens.siblings import SiblingComparison
from hlens.steps import (
    Given,
    Progress,
    Runner,
    Step,
    answers,
    detection,
    effects,
    gates,
    layers,
    levels,
    planning,
    sources,
    tested,
)
from hlens.steps import audit as audit_steps
from hlens.steps import domains as domain_steps
from hlens.steps import origin as origin_steps
from hlens.steps import siblings as sibling_steps
from hlens.steps.adoption import adopt
from hlens.steps.audit import Audit
from hlens.steps.designs import DESIGNED
from hlens.steps.given import INSTEAD, check_folder, seal
from hlens.steps.neuron_pages import pages, pages_by_domain, token_risks
from hlens.steps.second_judge import second_judge
from hlens.steps.state import state_of
from hlens.store import write_text
from hlens.store.stamps import verify_stamped
from hlens.types import NeuronSet
from hlens.types.notebook import facts_as_html, first_few, rows_as_html

log = logging.getLogger(__name__)
T = TypeVar("T")
SHARED: tuple[Step, ...] = (answers.responses, detection.measured)  # steps that shards may do
STAMPED = ("stamps.json", "steps.json")  # one of them is in every study that holds something


class Artefact(Generic[T]):
    """A method of `Study` that gives the artefact of a step, under the step's own docstring."""

    def __init__(self, step: Step[T]) -> None:
        self._step = step
        self.__doc__ = step.help

    def __set_name__(self, owner: type, name: str) -> None:
        self.__name__, self.__qualname__ = name, f"{owner.__qualname__}.{name}"

    def __call__(self, study: "Study") -> T:
        return study[self._step]

    def __get__(self, study: "Study | None", owner: type) -> Callable[[], T]:
        return self if study is None else MethodType(self, study)  # type: ignore[return-value]


class Study:
    """The artefacts of one run in one folder, each made when first asked for.

    A method named after an artefact returns it: read from disk if it is current, otherwise made
    (with everything it needs) and stored. ``study[step]`` does the same for any `hlens.steps.Step`.

    Args:
        folder: Where the artefacts are kept; made when absent.
        recipe: The options; None opens the recipe in the folder.
        model: An open model, to be used in place of the recipe's.
        progress: Called with (label of the step, done, total).
        labelled: Answers that are there already, in place of asking; see `from_labelled`.

    >>> study = Study("runs/mine", Recipe(domains=("general",)))  # doctest: +SKIP
    >>> study.scores()  # doctest: +SKIP
    >>> study.report()  # doctest: +SKIP
    """

    _recipe_is_written = True  # False between `trace_to` and the check of the base model's shape

    @explains_kinds
    def __init__(
        self,
        folder: str | Path,
        recipe: Recipe | None = None,
        model: Model | None = None,
        progress: Progress | None = None,
        labelled: Labelled | None = None,
    ) -> None:
        self.folder = Path(folder)
        given = Given(model=model, labelled=labelled, opened=recipe is None)
        kept = _kept_recipe(self.folder)
        if recipe is not None:
            recipe = seal(recipe, labelled)
            if recipe.labelled.is_given:
                check_folder(self.folder, asked=kept is not None and not kept.labelled.is_given)
                if kept and kept.labelled.content != recipe.labelled.content:
                    _check_same_file(self.folder, kept.labelled.file, recipe.labelled.file)
                    _say_what_changed(recipe)
        if recipe is not None and kept not in (None, recipe):
            _check_recipe_replaceable(self.folder / "recipe.toml", kept)
        current = recipe or kept
        if current is None:
            raise HlensError(
                f"no study at {folder}: it holds no recipe.toml; run one with `hlens run`"
            )
        given.instead = _instead(current)
        self.runner = Runner(self.folder, current, given, progress)
        self._check_given()
        if current != kept:
            self._write_recipe()
        doubtful = adopt(self.runner)
        if doubtful:
            log.warning(
                "%s was made by an earlier version; made anew when asked for, since its stamps do "
                "not vouch for them: %s", self.folder, ", ".join(doubtful),
            )  # fmt: skip

    @classmethod
    @explains_kinds
    def run(
        cls,
        recipe: Recipe,
        folder: str | Path | None = None,
        model: Model | None = None,
        progress: Progress | None = None,
    ) -> "Study":
        """Run a study to its scores; `folder` defaults to ``runs/<hash of the recipe>``.

        What its report reads from the model is made too, so that the report need not run it.
        """
        study = cls(folder or Path("runs") / recipe.hash, recipe, model, progress)
        study.make_report_data()
        return study

    @classmethod
    def from_labelled(
        cls,
        labelled: Labelled,
        folder: str | Path,
        model: Model,
        recipe: Recipe | None = None,
        progress: Progress | None = None,
    ) -> "Study":
        """A study of labelled answers, whose first half is given.

        Args:
            labelled: What `hlens.labelled` read.
            folder: Where the artefacts are kept; new, or that of an earlier study of such answers.
            model: The model that the answers were tokenised for, and that is measured.
            recipe: Further options; those of asking and sampling are not used.
            progress: Called with (label of the step, done, total).

        Raises:
            HlensError: The folder holds what hlens did not write, or a study of another kind.
        """
        own = replace(recipe or Recipe(), model=model.name)
        return cls(folder, own, model, progress, labelled)

    def make_report_data(self) -> None:
        """Make the scores, and what the report reads from the model."""
        engine = self.recipe.engine
        metric = sources.metric_of(self.recipe.measure)
        engines.check_measuring(engine.name, engine.options, metric)  # not after sampling
        with self.runner.working():
            if self.recipe.evaluation.test_domains:  # a set that cannot be had, before hours
                self.runner.ensure(tested.tested_questions)
            answers_shown = levels.levels if self[levels.has_several_spans] else token_risks
            for step in (detection.scores, detection.over_output, pages, answers_shown):
                self.runner.ensure(step)
            if len(self[domain_steps.domains]) > 1:
                self.runner.ensure(pages_by_domain)
            for step in tested.rows_of(self.recipe):
                self.runner.ensure(step)
            if self.recipe.labels.second:  # which may ask an endpoint
                self.runner.ensure(second_judge)

    def __getitem__(self, step: Step[T]) -> T:
        """The artefact of any step, read if it is current and made otherwise."""
        return self.runner.value(step)

    @property
    def recipe(self) -> Recipe:
        """The options."""
        return self.runner.recipe

    def revise(self, recipe: Recipe) -> None:
        """Switch to another recipe; artefacts whose options did not change stay current."""
        self.runner.given.instead = _instead(recipe)
        self.runner.revise(recipe)
        self._check_given()
        self._write_recipe()

    def _check_given(self) -> None:
        """Refuse a model with other weights than those that the study was made with."""
        if self.runner.given.model is not None:
            self.runner.value(sources.model)

    def _write_recipe(self) -> None:
        with self.runner.working():  # not under the feet of another process
            write_text(self.folder / "recipe.toml", self.recipe.to_toml())

    @property
    def model(self) -> Model:
        """The model, loaded when first needed."""
        return self.runner.value(sources.model)

    # The nouns of a study, each a method: ``study.scores()`` reads or makes the table.
    questions = Artefact(answers.questions)
    responses = Artefact(answers.responses)
    judgements = Artefact(answers.judgements)
    examples = Artefact(answers.examples)
    losses = Artefact(answers.losses)
    contributions = Artefact(detection.contributions)
    split = Artefact(detection.split)
    probe = Artefact(detection.probe)
    detector = Artefact(detection.detector)
    scores = Artefact(detection.scores)
    confident = Artefact(detection.confident)
    alone = Artefact(detection.alone)
    path = Artefact(detection.path)
    stability = Artefact(detection.stability)
    sparsity = Artefact(detection.sparsity)
    levels = Artefact(levels.levels)

    # Its domains side by side.
    domains = Artefact(domain_steps.domains)
    compared = Artefact(domain_steps.compared)
    transfer = Artefact(domain_steps.transfer)
    formats = Artefact(domain_steps.formats)
    has_formats = Artefact(domain_steps.has_formats)
    transfer_by_format = Artefact(domain_steps.format_pairs)
    format_effect = Artefact(domain_steps.format_effect)
    detectors = Artefact(domain_steps.detectors_by_domain)
    neuron_sets = Artefact(domain_steps.neuron_sets)
    overlap = Artefact(domain_steps.overlap)
    alone_in_domains = Artefact(domain_steps.alone_in_domains)
    pages_by_domain = Artefact(pages_by_domain)
    shared_neurons = Artefact(domain_steps.shared_neurons)
    halves = Artefact(domain_steps.halves)
    reliability = Artefact(domain_steps.reliability)
    selection_correlation = Artefact(domain_steps.selection_correlation)

    # The base model, edits and patches.
    drift_of_neurons = Artefact(origin_steps.drift_of_neurons)
    pilot = Artefact(planning.pilot)
    outcomes = Artefact(effects.outcomes)
    by_layer = Artefact(layers.by_layer)
    gated = Artefact(gates.gated)
    patching = Artefact(effects.patching)
    patching_map = Artefact(effects.patching_map)

    @explains_kinds
    def neurons(self, domain: str = "") -> NeuronSet:
        """The H-neurons of the study; with `domain` those found on that domain, under its name.

        Raises:
            HlensError: The study has no detector of that domain.
        """
        if not domain:
            return self.detector().neurons
        known = {one.name: one for one in self.neuron_sets()}
        if domain not in known:
            raise unknown("domain of this study", domain, known)
        return known[domain]

    def published(self) -> pd.DataFrame:
        """Rows of the published table: what is held out, tested on, and the way beside it."""
        return tested.published_table(self.runner)

    def plan(self, slope: float = 0.03) -> pd.DataFrame:
        """Which slopes its intervention would show, and how many questions `slope` needs.

        Estimated from `outcomes` where they are current, else from `pilot`, whose replies the
        intervention then takes over: of `plan.items` questions where the recipe says how many.
        """
        return planning.plan_run(self.runner, slope=slope, options=self.recipe.intervene)

    def in_words(self) -> list[str]:
        """What the study says, in the sentences of its report."""
        self.scores()
        return in_words(self.runner)

    def methods(self) -> Methods:
        """How it was made, as a paper says it: ``print(study.methods())``, or its ``latex()``.

        Every sentence is computed from the recipe and from what the study holds; nothing is made.
        """
        return methods_of(self.runner)

    def trace_to(self, base: str, model: Model | None = None) -> None:
        """Set the base model; pass `model` if it is already loaded.

        The recipe on disk is updated only after `drift` has checked that both models have the same
        shape, so that a mistake is not saved.
        """
        self.runner.given.base_model = model
        self.runner.revise(replace(self.recipe, base=base))
        self._recipe_is_written = False
        if model is not None:  # refused where the study was traced to other weights of that name
            self.runner.value(origin_steps.base_model)

    def base_line(self) -> "Study":
        """The base model's own study, on the held-out questions: the detector has seen none."""
        base = Study.__new__(Study)
        base.runner = origin_steps.base_runner(self.runner, self[origin_steps.held_out])
        base.folder = base.runner.folder
        return base

    def drift(self) -> pd.DataFrame:
        """How far tuning turned the weights of every neuron."""
        drift = self[origin_steps.drift]
        if not self._recipe_is_written:
            self.revise(self.recipe)
            self._recipe_is_written = True
        return drift

    def origin(self) -> pd.DataFrame:
        """The detector on the base model's answers, beside its controls there."""
        self.drift()
        return self[origin_steps.origin]

    def sibling(
        self,
        name: str,
        model: Model | None = None,
        *,
        dtype: str = "",
        revision: str = "",
        quantization: str = "",
        adapter: str = "",
        device_map: str = "",
        texts: str | Path = "",
        again: bool = False,
    ) -> SiblingComparison:
        """The detector on a sibling of the study's model: as is, realigned and found afresh.

        The sibling (quantised, tuned further, another revision, the base model) reads the study's
        own answers, token for token. What is made is kept in ``siblings/NAME/``, with the realigned
        and the refitted detector, which are detectors of the sibling.

        Args:
            name: What `hlens.load` takes; with `model` what the sibling is called.
            model: The sibling, open.
            dtype: Of the sibling; the study's when empty.
            revision: On the hub.
            quantization: Short name of how its weights are quantised (`hlens list quantizations`).
            adapter: A PEFT adapter of it, a folder or a hub id.
            device_map: How accelerate places it, such as ``"auto"``.
            texts: A file of unlabelled texts, a text a line, to realign on; the training part
                without its labels when empty.
            again: Make the comparison again from what was measured.

        Raises:
            HlensError: The study holds no measures or no detector, the model is no sibling (the
                very same, another shape or vocabulary), or there are no such texts.
        """
        if model is not None:
            self.runner.given.siblings[name] = model
            one = sibling_steps.Sibling.of_model(name, model, texts=texts)
        else:
            one = sibling_steps.Sibling.named(
                name,
                dtype=dtype,
                revision=revision,
                quantization=quantization,
                adapter=adapter,
                device_map=device_map,
                texts=texts,
            )
        sibling_steps.check_found(self.runner)
        sibling_steps.check_named(self.runner, one)
        steps = sibling_steps.steps_of(one)
        if again:
            self.remake(steps.realigned, steps.refitted, steps.comparison)
        return self[steps.comparison]

    def audit(self, quick: bool = False) -> Audit:
        """Which claims survive their controls: rivals, confounds, controls and the card.

        The card is also kept in ``audit/`` (``audit/quick/``) as JSON and Markdown, and as a page
        with the figures behind it.

        Args:
            quick: Do not run the model: rivals that read its inside, P(True), and the other tokens
                and positions are left out.

        Raises:
            NotMadeError: A quick audit of a study that was not measured.
        """
        step = audit_steps.quick_audit if quick else audit_steps.audit
        if quick:
            self.runner.refuse_to_run_model(step)
        else:
            audit_steps.make_positions(self.runner)
        audit_steps.make_transfer(self.runner)
        audit_steps.make_across(self.runner)
        audited = self[step]
        write_report(audit_page(self.runner, audited, quick), self.audit_page_path(quick))
        return audited

    def audit_page_path(self, quick: bool = False) -> Path:
        """Where the page of the audit is kept."""
        return self.folder / "audit" / ("quick" if quick else "") / "card.html"

    def has_audit(self, quick: bool = False) -> bool:
        """Whether the tables of a full (or quick) audit of the current detector are stored."""
        tables = [audit_steps.INSTEAD.get(one, one) if quick else one for one in audit_steps.TABLES]
        return all(map(self.runner.is_current, tables))

    def report(self, path: str | Path | None = None) -> Path:
        """Draw what the study holds into one HTML file; default: in the study's folder.

        The model is not run. What was not made, or was made under other options, is left out and
        named, with the command that makes it.
        """
        path = Path(path) if path else self.folder / "report.html"
        return write_report(report_data(self.runner), path)

    # --- The steps themselves -----------------------------------------------------------------

    def has(self, step: Step) -> bool:
        """Whether an artefact is kept that was made from today's inputs and options."""
        return self.runner.is_current(step)

    def do_shard(self, step: Step, shard: Shard) -> int:
        """Do one shard of sampling or measuring, beside other processes that do the others.

        What the step needs must have been made. The study's folder is one that all processes share;
        when all shards are done, `gather` makes the artefact.

        Args:
            step: `hlens.steps.answers.responses` or `hlens.steps.detection.measured`.
            shard: Which of how many.

        Returns:
            The number of blocks that were done: none where they were done before.

        Raises:
            HlensError: Something that the step needs is not current, or the folder holds blocks of
                other work.
        """
        with self.runner.employing(shard):
            try:
                self.runner.work_beside(step)
            except ShardDone as done:
                return done.blocks
        return 0

    def gather(self) -> Step:
        """Make responses or contributions of what shards have done, whichever is not made yet.

        Returns:
            The step whose artefact was made.

        Raises:
            HlensError: Shards are missing, which are named; or there is nothing to gather.
        """
        step = next((one for one in SHARED if not self.has(one)), None)
        if step is None:
            raise HlensError(f"{self.folder}: nothing to gather: all is made that shards make")
        self.runner.require_needs(step)
        with self.runner.employing(Gathering()):
            self.runner.ensure(step)
        return step

    def remake(self, *steps: Step) -> None:
        """Make these artefacts again when they are next asked for; what they need is kept."""
        self.runner.remake(steps)

    def state(self) -> pd.DataFrame:
        """Where the study stands, a row a stage: ``what, state, seconds, to_go_on, command``."""
        return state_of(self.runner)

    def __repr__(self) -> str:
        try:
            made = self.state().query("state == 'made'")["what"]
            last = f"up to {made.iloc[-1]}" if len(made) else "nothing made yet"
        except HlensError:  # whoever looks at a damaged study must see it
            last = "its state cannot be read"
        asked = self.recipe.labelled.file or first_few(self.recipe.domains)
        return f"Study({str(self.folder)!r}: {self.recipe.model} on {asked}, {last})"

    def _repr_html_(self) -> str:
        """Its stages, with what they took and what the rest would take."""
        facts: dict[str, object] = {"folder": self.folder, "model": self.recipe.model}
        facts |= {"domains": first_few(self.recipe.domains), "seed": self.recipe.seed}
        try:
            rows = [
                [what, state, f"{seconds:,.1f} s" if seconds == seconds else "", to_go_on, command]
                for what, state, seconds, to_go_on, command in self.state().itertuples(index=False)
            ]
        except HlensError as error:
            return facts_as_html("Study", facts | {"state": error})
        table = rows_as_html(["stage", "state", "took", "to go on", "command"], rows)
        return facts_as_html("Study", facts) + table

    def steps(self) -> list[str]:
        """Names of the artefacts that were made."""
        return list(self.runner.stamps.read())

    def verify(self) -> dict[str, str]:
        """What differs from what hlens wrote, by artefact; all files are read.

        Returns:
            For each stamped artefact, those of the base model's line included, the file that
            differs and how; empty where every file is as it was written. `NO_HASH` where a version
            without hashes wrote it, and it has not been read since.
        """
        found = verify_stamped(self.folder)
        base = verify_stamped(self.folder / "origin")
        return found | {f"origin/{name}": state for name, state in base.items()}

    def seconds(self, cpu: bool = False) -> dict[str, float]:
        """How long each artefact took to make, in wall-clock or with `cpu` in processor seconds."""
        return self.runner.seconds(cpu)


def _instead(recipe: Recipe) -> dict[Step, Step]:
    """The steps that run in the place of others under a recipe."""
    given = INSTEAD if recipe.labelled.is_given else {}
    return {**given, **(DESIGNED if recipe.labels.design != "1-vs-1" else {})}


def _kept_recipe(folder: Path) -> Recipe | None:
    """The recipe of the study in a folder; None where there is no study."""
    path = folder / "recipe.toml"
    if not path.is_file():
        return None
    kept = Recipe.read(path, of_study=True)
    lines = path.read_text(encoding="utf-8").splitlines()
    if all(not line.strip() or line.lstrip().startswith("#") for line in lines):
        raise HlensError(
            f"{path} is empty: it names no model and no questions; restore it, or write the "
            "options into it"
        )
    return kept


def _check_same_file(folder: Path, kept: str, given: str) -> None:
    """Raise `HlensError` where a study is of another file, which is still there.

    Two files of one name have the same folder by default; the study of one would be lost.
    """
    before, now = Path(kept).expanduser(), Path(given).expanduser()
    if kept and given and before.exists() and now.exists() and not before.samefile(now):
        raise HlensError(
            f"{folder} holds the study of {kept}, and {given} is another file; give its study "
            "another folder (--out), or remove that study"
        )


def _say_what_changed(recipe: Recipe) -> None:
    """Warn that labelled answers are no longer those that a study was made of."""
    what = recipe.labelled.file or "the labelled answers"
    log.warning(
        "%s: not what this study was made of before; read anew, and what was made of it is "
        "made again", what,
    )  # fmt: skip


def _check_recipe_replaceable(path: Path, kept: Recipe) -> None:
    """Raise `HlensError` where a recipe is the user's own: no study goes with it."""
    is_study = any((path.parent / name).exists() for name in STAMPED)
    if not is_study and path.read_text(encoding="utf-8") != kept.to_toml():
        raise HlensError(
            f"{path} holds another recipe, which hlens did not write, so it is not replaced; open "
            "the study by its folder, or give this recipe another folder"
        )
