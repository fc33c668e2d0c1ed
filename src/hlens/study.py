"""A study: the named artefacts of one run. What is current is not made again."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from hlens.errors import HlensError
from hlens.evaluation import Halves
from hlens.model import Model
from hlens.probe import SparseProbe
from hlens.recipe import Recipe
from hlens.report.page import report as write_report
from hlens.report.study_report import audit_page, report_data
from hlens.report.summary import describe_scores
from hlens.steps import (
    Given,
    Progress,
    Runner,
    Step,
    answers,
    audit,
    detection,
    domains,
    effects,
    neuron_pages,
    origin,
    sources,
)
from hlens.steps.adoption import adopt
from hlens.steps.audit import Audit
from hlens.store import write_text
from hlens.types import (
    Contributions,
    Detector,
    Example,
    Judgement,
    NeuronSet,
    Question,
    Response,
)

log = logging.getLogger(__name__)
T = TypeVar("T")


class Study:
    """The artefacts of one run in one folder, each made when first asked for.

    Every method of a noun returns that noun: from disk where it is current, else it makes it (and
    what it needs) and keeps it. ``study[step]`` does the same for any `hlens.steps.Step`.

    Args:
        folder: Where the artefacts are kept; made when absent.
        recipe: The options; None opens the recipe in the folder.
        model: An open model, to be used in place of the recipe's.
        progress: Called with (label of the step, done, total).
        completion: Whether the model is asked as base models are (`hlens.sample`).

    >>> study = Study("runs/mine", Recipe(domains=("general",)))  # doctest: +SKIP
    >>> study.scores()  # doctest: +SKIP
    >>> study.report()  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | Path,
        recipe: Recipe | None = None,
        model: Model | None = None,
        progress: Progress | None = None,
        *,
        completion: bool = False,
    ) -> None:
        self.folder = Path(folder)
        given = Given(model=model, opened=recipe is None, completion=completion)
        if recipe is None:
            recipe = Recipe.read(_existing(self.folder) / "recipe.toml")
        else:
            write_text(self.folder / "recipe.toml", recipe.to_toml())
        self.runner = Runner(self.folder, recipe, given, progress)
        self._recipe_is_written = True
        doubtful = adopt(self.runner)
        if doubtful:
            log.warning(
                "%s was made by an earlier version; made anew when asked for, since its stamps do "
                "not vouch for them: %s", self.folder, ", ".join(doubtful),
            )  # fmt: skip

    @classmethod
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

    def make_report_data(self) -> None:
        """Make the scores, and what the report reads from the model."""
        for step in (detection.scores, neuron_pages.pages, neuron_pages.token_risks):
            self.runner.ensure(step)

    def __getitem__(self, step: Step[T]) -> T:
        """The artefact of any step, read where it is current and else made."""
        return self.runner.value(step)

    @property
    def recipe(self) -> Recipe:
        """The options."""
        return self.runner.recipe

    def revise(self, recipe: Recipe) -> None:
        """Go on with another recipe; an artefact made under the same options stays current."""
        self.runner.revise(recipe)
        write_text(self.folder / "recipe.toml", recipe.to_toml())

    @property
    def model(self) -> Model:
        """The model, loaded when first needed."""
        return self.runner.value(sources.model)

    # --- From questions to scores -------------------------------------------------------------

    def questions(self) -> list[Question]:
        """The questions of all domains of the recipe."""
        return self[answers.questions]

    def responses(self) -> list[Response]:
        """What the model said."""
        return self[answers.responses]

    def judgements(self) -> list[Judgement]:
        """Which responses are true."""
        return self[answers.judgements]

    def examples(self) -> list[Example]:
        """Labelled token sequences."""
        return self[answers.examples]

    def losses(self) -> pd.DataFrame:
        """How many judgements became no example, by label and reason."""
        return self[answers.losses]

    def contributions(self) -> Contributions:
        """What each neuron contributed to each example; memory-mapped."""
        return self[detection.contributions]

    def split(self) -> detection.Split:
        """Training and held-out part, split by group."""
        return self[detection.split]

    def probe(self) -> SparseProbe:
        """The recipe's probe, not fitted."""
        return self[detection.probe]

    def detector(self) -> Detector:
        """The detector, found on the training part."""
        return self[detection.detector]

    def scores(self) -> pd.DataFrame:
        """The detector on held-out groups, beside its controls."""
        return self[detection.scores]

    def in_words(self) -> list[str]:
        """What the scores say, in sentences."""
        return describe_scores(self.scores())

    def alone(self) -> pd.DataFrame:
        """AUROC of every neuron alone, on the training part."""
        return self[detection.alone]

    def path(self) -> pd.DataFrame:
        """The regularisation path: weight of each neuron at each C."""
        return self[detection.path]

    def stability(self) -> pd.DataFrame:
        """How often half-samples select each neuron; what that promises, in ``attrs``."""
        return self[detection.stability]

    def sparsity(self) -> pd.DataFrame:
        """AUROC of the top k neurons beside k random ones and all of them."""
        return self[detection.sparsity]

    # --- Domains side by side -----------------------------------------------------------------

    def domains(self) -> list[str]:
        """Domains with enough examples of both labels: those that can be compared."""
        return self[domains.domains]

    def compared(self) -> Contributions:
        """The contributions of these domains."""
        return self[domains.compared]

    def transfer(self) -> pd.DataFrame:
        """AUROC of a probe trained on each domain and tested on each."""
        return self[domains.transfer]

    def formats(self) -> pd.DataFrame:
        """What each domain asks and how many examples it gave, by format."""
        return self[domains.formats]

    def has_formats(self) -> bool:
        """Whether the effects of domain and format can be separated."""
        return self[domains.has_formats]

    def transfer_by_format(self) -> pd.DataFrame:
        """Transfer between all domains in each of their formats, with what ``changed``."""
        return self[domains.format_transfer].pairs

    def format_effect(self) -> pd.DataFrame:
        """Mean AUROC and drop where the domain, the format, or both change."""
        return self[domains.format_transfer].effect

    def detectors(self) -> dict[str, Detector]:
        """A detector of each domain, found on all its examples: for its neurons, not its score."""
        return dict(self.runner.value(domains.detectors))

    def neuron_sets(self) -> list[NeuronSet]:
        """The H-neurons of each domain, named by it."""
        return self[domains.neuron_sets]

    def overlap(self) -> pd.DataFrame:
        """Overlap of the domains' H-neurons beside chance, under three nulls."""
        return self[domains.overlap]

    def shared_neurons(self) -> pd.DataFrame:
        """The neurons that the H-neurons of two domains or more hold."""
        return self[domains.shared_neurons]

    def halves(self) -> Halves:
        """The neurons found on random halves of each domain, half as many as on the whole of it."""
        return self[domains.halves]

    def reliability(self) -> pd.DataFrame:
        """Overlap of halves, within a domain (the ceiling of any overlap) and between domains."""
        return self[domains.reliability]

    def selection_correlation(self) -> pd.DataFrame:
        """Rank correlation of how often halves select each neuron, for each pair of domains."""
        return self[domains.selection_correlation]

    # --- The base model -----------------------------------------------------------------------

    def trace_to(self, base: str, model: Model | None = None) -> None:
        """Name the base model; `model` is it, where it is open.

        The study's recipe names it, too, once `drift` has found that the two have one shape: a
        mistake is not written down.
        """
        self.runner.given.base_model = model
        self.runner.revise(replace(self.recipe, base=base))
        self._recipe_is_written = False

    def base_line(self) -> "Study":
        """The base model's own study, on the held-out questions: the detector has seen none."""
        base = Study.__new__(Study)
        base.runner = origin.base_runner(self.runner, self[origin.held_out])
        base.folder = base.runner.folder
        return base

    def drift(self) -> pd.DataFrame:
        """How far tuning turned the weights of every neuron."""
        drift = self[origin.drift]
        if not self._recipe_is_written:
            self.revise(self.recipe)
            self._recipe_is_written = True
        return drift

    def drift_of_neurons(self) -> pd.DataFrame:
        """Mean drift of the H-neurons beside random others of their layers."""
        return self[origin.drift_of_neurons]

    def origin(self) -> pd.DataFrame:
        """The detector on the base model's answers, beside what else reaches there."""
        self.drift()
        return self[origin.origin]

    # --- Edits, audit, report -----------------------------------------------------------------

    def outcomes(self) -> pd.DataFrame:
        """What the model does under every dose of its H-neurons, beside random sets.

        One row a reply or score, as `hlens.effects.intervene` returns them.
        """
        return self[effects.outcomes]

    def patching(self) -> pd.DataFrame:
        """Patching of the H-neurons on the shipped pairs that the model distinguishes.

        One row a pair and patch, as `hlens.effects.patching` returns them.
        """
        return self[effects.patching]

    def patching_map(self) -> pd.DataFrame:
        """Patching layer by token, on the pair that the model distinguishes best."""
        return self[effects.patching_map]

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
        step = audit.quick_audit if quick else audit.audit
        if quick:
            self.runner.value_without_model(detection.contributions)
        audit.make_transfer(self.runner)
        found = self[step]
        write_report(audit_page(self.runner, found, quick), self.audit_page_path(quick))
        return found

    def audit_page_path(self, quick: bool = False) -> Path:
        """Where the page of the audit is kept."""
        return self.folder / "audit" / ("quick" if quick else "") / "card.html"

    def has_audit(self, quick: bool = False) -> bool:
        """Whether the tables of a full, or a quick, audit of this very finding are kept."""
        tables = [audit.INSTEAD.get(one, one) if quick else one for one in audit.TABLES]
        return all(map(self.runner.is_current, tables))

    def report(self, path: str | Path | None = None) -> Path:
        """Draw what the study holds into one HTML file; default: in the study's folder.

        The model is not run. What was not made, or was made under other options, is left out and
        named, with the command that makes it.
        """
        path = Path(path) if path else self.folder / "report.html"
        return write_report(report_data(self.runner), path)

    # --- The steps themselves -----------------------------------------------------------------

    def table(self, step: Step) -> pd.DataFrame:
        """The table of a step by name, through the method of that name where there is one."""
        return getattr(self, step.name)() if hasattr(self, step.name) else self[step]

    def has(self, step: Step) -> bool:
        """Whether an artefact is kept that was made from today's inputs and options."""
        return self.runner.is_current(step)

    def remake(self, *steps: Step) -> None:
        """Make these artefacts again when they are next asked for; what they need is kept."""
        self.runner.remake(steps)

    def steps(self) -> list[str]:
        """Names of the artefacts that were made."""
        return list(self.runner.stamps.read())

    def seconds(self, cpu: bool = False) -> dict[str, float]:
        """How long each artefact took to make, in wall-clock or with `cpu` in processor seconds."""
        return self.runner.seconds(cpu)


def _existing(folder: Path) -> Path:
    """The folder, where a study is in it."""
    if not (folder / "recipe.toml").is_file():
        raise HlensError(f"no study at {folder}: it holds no recipe.toml; run one with `hlens run`")
    return folder
