"""The line of a study, from questions to scores."""

from functools import cached_property
from pathlib import Path

import pandas as pd

from hlens import domains, judges, spans
from hlens.evaluation import controls, split_by_group
from hlens.model import Model, load
from hlens.probe import SparseProbe, find
from hlens.recipe import Recipe, key_of
from hlens.store import remove_folder, write_text
from hlens.store.contributions import load_contributions, save_contributions
from hlens.store.detectors import load_detector, save_detector
from hlens.store.records import (
    load_examples,
    load_judgements,
    load_questions,
    load_responses,
    question_row,
    save_examples,
    save_judgements,
    save_questions,
    save_responses,
)
from hlens.store.tables import load_table, save_table
from hlens.study.asking import ask_again
from hlens.study.checking import check_ids, check_judged, check_labels, check_measured, existing
from hlens.study.measuring import digests, measure_again
from hlens.study.steps import Progress, Steps
from hlens.types import Contributions, Detector, Example, Judgement, Question, Response


class Line(Steps):
    """The artefacts of one run in one folder, each made when first asked for.

    Every method of a noun returns that noun: from disk where it stands under the same recipe, else
    it makes it (and what it needs) and keeps it.

    Args:
        folder: Where the artefacts lie; made when absent.
        recipe: The options; None opens the recipe that lies in the folder.
        model: An open model, to be used in place of the recipe's.
        progress: Called with (step, done, total).
    """

    completion = False  # base models are asked to complete; see `hlens.sample`

    def __init__(
        self,
        folder: str | Path,
        recipe: Recipe | None = None,
        model: Model | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(Path(folder), progress)
        self._opened = recipe is None
        if recipe is None:
            recipe = Recipe.read(existing(self.folder) / "recipe.toml")
        else:
            write_text(self.folder / "recipe.toml", recipe.to_toml())
        self.recipe = recipe
        self._given = model

    def revise(self, recipe: Recipe) -> None:
        """Go on with another recipe; what stands under the same options stands."""
        self.recipe = recipe
        write_text(self.folder / "recipe.toml", recipe.to_toml())

    @cached_property
    def model(self) -> Model:
        """The model, loaded when a step first needs it."""
        return self._given or load(self.recipe.model, dtype=self.recipe.dtype or None)

    def questions(self) -> list[Question]:
        """The questions of all domains of the recipe."""
        return self._questions

    @cached_property
    def _questions(self) -> list[Question]:
        recipe, path = self.recipe, self.folder / "questions.jsonl"
        if self._opened and path.exists():
            # An opened study speaks of what it asked, also when a domain has changed since.
            return load_questions(path)
        n = recipe.questions or None
        found = [q for name in recipe.domains for q in domains.load(name, n, recipe.seed)]
        check_ids(found)
        check_judged(found, self._judge())
        check_measured(recipe.measure)
        key = key_of([question_row(q) for q in found])
        if not self._stamps.stands("questions", key):
            save_questions(found, path)
            self._stamps.mark("questions", key, {"n": len(found)})
        return found

    def responses(self) -> list[Response]:
        """What the model said."""
        recipe, how, path = self.recipe, self.recipe.sampling, self.folder / "responses.jsonl"
        questions = self.questions()
        asked = key_of([recipe.model, recipe.dtype, recipe.seed, vars(how)])

        def make() -> list[Response]:
            before = path if self._stamps.stands("asked", asked) else None
            return ask_again(
                self.model,
                questions,
                recipe,
                self.folder,
                before,
                self.reporter,
                self.completion,
            )

        def save(found: list[Response]) -> None:
            self._stamps.forget("asked")
            save_responses(found, path)
            self._stamps.mark("asked", asked, {})

        return self.step(
            "sample",
            [self.key("questions"), recipe.model, recipe.dtype, recipe.seed, how],
            make,
            save,
            lambda: load_responses(path, questions),
        )

    def judgements(self) -> list[Judgement]:
        """Which responses are true."""
        responses, path = self.responses(), self.folder / "judgements.jsonl"
        judge = self._judge()
        return self.step(
            "judge",
            [self.key("sample"), self.recipe.labels.judge],
            lambda: judges.judge(responses, judge),
            lambda found: save_judgements(found, path),
            lambda: load_judgements(path, responses),
        )

    def _judge(self) -> judges.Judge | None:
        name = self.recipe.labels.judge
        return None if name == "auto" else judges.named(name)

    def examples(self) -> list[Example]:
        """Labelled token sequences, with the losses on the way counted in `losses`."""
        path = self.folder / "examples.jsonl"

        def make() -> list[Example]:
            labels = self.recipe.labels
            judged = self.judgements()
            kept = spans.consistent(judged) if labels.keep == "consistent" else judged
            found, losses = spans.locate_with_losses(kept, self.model, span=labels.span)
            save_table(losses, self.folder / "losses.parquet")
            return spans.first_of_each_label(found, labels.per_question)

        self.judgements()
        return self.step(
            "locate",
            [self.key("judge"), self.recipe.labels],
            make,
            lambda found: save_examples(found, path),
            lambda: load_examples(path),
        )

    def losses(self) -> pd.DataFrame:
        """How many judgements became no example, by label and reason."""
        self.examples()
        return load_table(self.folder / "losses.parquet")

    def contributions(self) -> Contributions:
        """What each neuron contributed to each example; memory-mapped."""
        how, folder, recipe = self.recipe.measure, self.folder / "contributions", self.recipe
        examples = self.examples()
        measured = key_of([recipe.model, recipe.dtype, vars(how)])
        listed = self.folder / "contributions.digests.txt"
        parts = self.folder / "contributions.parts"

        def make() -> Contributions:
            check_labels(examples)
            stands = self._stamps.stands("measured", measured) and listed.exists()
            before = load_contributions(folder) if stands else None
            known = listed.read_text(encoding="utf-8").split() if stands else []
            progress = self.reporter("measure")
            return measure_again(self.model, examples, how, before, known, progress, parts)

        def save(found: Contributions) -> None:
            self._stamps.forget("measured")
            save_contributions(found, folder)
            write_text(listed, "".join(f"{digest}\n" for digest in digests(examples)))
            self._stamps.mark("measured", measured, {})
            remove_folder(parts)

        return self.step(
            "measure", [self.key("locate"), how], make, save, lambda: load_contributions(folder)
        )

    def split(self) -> tuple[Contributions, Contributions]:
        """Training and held-out part, split by group."""
        return split_by_group(
            self.contributions(), self.recipe.evaluation.test, seed=self.recipe.seed
        )

    def probe(self) -> SparseProbe:
        """The recipe's probe, not fitted."""
        how = self.recipe.probe
        return SparseProbe(
            C=how.C or "cv",
            l1_ratio=how.l1_ratio,
            scale=None if how.scale == "none" else how.scale,
            class_weight=None if how.class_weight == "none" else how.class_weight,
            random_state=self.recipe.seed,
        )

    def detector(self) -> Detector:
        """The detector, found on the training part."""
        recipe, path = self.recipe, self.folder / "detector"
        self.contributions()
        return self.step(
            "find",
            [self.key("measure"), recipe.probe, recipe.evaluation.test, recipe.seed],
            lambda: find(
                self.split()[0],
                self.probe(),
                calibration=None
                if recipe.probe.calibration == "none"
                else recipe.probe.calibration,
            ),
            lambda found: save_detector(found, path),
            lambda: load_detector(path),
        )

    def scores(self) -> pd.DataFrame:
        """The detector on held-out groups, beside its controls."""
        recipe, path = self.recipe, self.folder / "scores.parquet"
        detector, how = self.detector(), recipe.evaluation

        def make() -> pd.DataFrame:
            return controls(
                *self.split(),
                self.probe(),
                detector,
                shuffles=how.shuffles,
                draws=how.random_sets,
                n_boot=how.n_boot,
                seed=recipe.seed,
            )

        return self.step(
            "evaluate",
            [self.key("find"), how.shuffles, how.random_sets, how.n_boot, recipe.seed],
            make,
            lambda found: save_table(found, path),
            lambda: load_table(path),
        )
