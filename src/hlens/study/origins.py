"""Where a study's neurons come from: its detector on the base model, and how far weights moved."""

from dataclasses import replace
from functools import cached_property

import pandas as pd

from hlens.errors import HlensError
from hlens.model import Model
from hlens.origin import drift_beside_random, trace_origin, weight_drift
from hlens.recipe import Recipe, key_of
from hlens.store.records import question_row, save_questions
from hlens.study.comparing import Comparing
from hlens.study.line import Line
from hlens.study.steps import Progress
from hlens.types import Question


class BaseLine(Line):
    """The line of a base model: given questions, asked as text to be completed.

    Args:
        study: The study of the tuned model; the artefacts lie in its folder's ``origin/``.
        questions: What is asked.
        model: The base model, open; None loads that of the recipe.
        progress: Called with (step, done, total).
    """

    completion = True

    def __init__(
        self,
        study: Line,
        questions: list[Question],
        model: Model | None = None,
        progress: Progress | None = None,
    ) -> None:
        recipe: Recipe = replace(study.recipe, model=study.recipe.base, base="")
        super().__init__(study.folder / "origin", recipe, model, progress)
        self._given_questions = questions

    @cached_property
    def _questions(self) -> list[Question]:
        key = key_of([question_row(q) for q in self._given_questions])
        if not self._stamps.stands("questions", key):
            save_questions(self._given_questions, self.folder / "questions.jsonl")
            self._stamps.mark("questions", key, {"n": len(self._given_questions)})
        return self._given_questions


class Tracing(Comparing):
    """The neurons of a study, traced to the base model of its recipe."""

    _base_model: Model | None = None
    _unwritten = False

    def traced_to(self, base: str, model: Model | None = None) -> None:
        """Name the base model; `model` is it, where it is open.

        The study's recipe names it, too, once `drift` has found that the two are a pair: a mistake
        shall not be written down.
        """
        self.recipe = replace(self.recipe, base=base)
        self._base_model, self._unwritten = model, True
        self.__dict__.pop("base_line", None)

    @cached_property
    def base_line(self) -> BaseLine:
        """The base model's line, on the held-out questions: the detector has seen none of them.

        Raises:
            HlensError: The recipe names no base model.
        """
        if not self.recipe.base:
            raise HlensError(
                'the recipe names no base model; write base = "...", the model that '
                f"{self.recipe.model} was tuned from, into it"
            )
        test = self.split()[1]
        held_out = set(zip(test.domains, test.question_ids, strict=True))
        asked = [q for q in self.questions() if (q.domain, q.id) in held_out]
        return BaseLine(self, asked, self._base_model, self._origin_progress)

    def _origin_progress(self, step: str, done: int, total: int) -> None:
        self.reporter(f"base model: {step}")(done, total)

    def drift(self) -> pd.DataFrame:
        """How far tuning turned the weights of every neuron.

        Raises:
            HlensError: No base model, or one of another shape.
        """
        line, recipe = self.base_line, self.recipe
        found = self.table_step(
            "drift",
            [recipe.model, recipe.base, recipe.dtype],
            lambda: weight_drift(line.model, self.model),
        )
        if self._unwritten:
            self.revise(recipe)
            self._unwritten = False
        return found

    def drift_of_neurons(self) -> pd.DataFrame:
        """Mean drift of the H-neurons beside random others of their layers."""
        return drift_beside_random(self.drift(), self.detector().neurons, seed=self.recipe.seed)

    def origin(self) -> pd.DataFrame:
        """The detector on the base model's answers, beside what else reaches there.

        Raises:
            HlensError: No base model, one of another shape, or answers of one label only.
        """
        self.drift()  # a pair of other shapes is refused before hours are spent on asking
        how, recipe, line = self.recipe.evaluation, self.recipe, self.base_line
        line.contributions()
        self.detector()
        return self.table_step(
            "origin",
            [
                self.key("find"), line.key("measure"), recipe.probe, how.random_sets, how.folds,
                how.n_boot, recipe.seed,
            ],
            lambda: trace_origin(
                self.detector(),
                line.contributions(),
                own=self.split()[1],
                probe=self.probe(),
                draws=how.random_sets,
                folds=how.folds,
                n_boot=how.n_boot,
                seed=recipe.seed,
            ),
        )  # fmt: skip
