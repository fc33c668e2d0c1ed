"""Several models under one recipe, from a TOML file: each a study in a folder of its own.

Example::

    recipe = "domains"                        # one that ships, or a file
    steps = ["transfer", "overlap", "audit"]  # of each study, after its scores
    models = ["smollm2-135m", "gemma3-270m"]
    questions = 100                           # any option of a recipe, for all models

A model that is asked otherwise is a table, with options of a recipe of its own::

    [[models]]
    model = "gemma3-270m"
    name = "Gemma, asked in chat"
    sampling = {style = "chat", shots = 0}

Models are run one after the other. What fails, whatever it is, is said of that model, and the
others go on; the same command takes up what is missing. Since every model has a study's folder,
shards and verbs work on it as on any other.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlens.comparison.collecting import Comparison, compare, usual_name
from hlens.data_files import read_toml
from hlens.errors import HlensError, first_line, one_line
from hlens.lookup import unknown
from hlens.recipe import Recipe
from hlens.recipe.shipped import find_recipe
from hlens.steps.domains import file_name
from hlens.study import Study
from hlens.types.labels import ALL_MODELS

log = logging.getLogger(__name__)

STEPS: Mapping[str, Callable[[Study], object]] = {
    "transfer": lambda study: study.transfer(),
    "overlap": lambda study: study.overlap(),
    "audit": lambda study: study.audit(),
    "quick-audit": lambda study: study.audit(quick=True),
    "intervene": lambda study: study.outcomes(),
}
OF_DOMAINS = ("transfer", "overlap")  # which take several
USUAL = ("transfer", "overlap", "audit")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Campaign:
    """Models under one recipe.

    Attributes:
        recipes: The recipe of each model's study, by the name that it has here.
        steps: What is made of each study after its scores: names of `STEPS`.
    """

    recipes: Mapping[str, Recipe]
    steps: tuple[str, ...] = USUAL

    def __post_init__(self) -> None:
        for name in self.steps:
            if name not in STEPS:
                raise unknown("step of a campaign", name, STEPS)
        if not self.recipes:
            raise HlensError("a campaign without models; name them: models = ['smollm2-135m']")
        folders: dict[str, str] = {}
        for name in self.recipes:
            other = folders.setdefault(file_name(name).casefold(), name)
            if other != name:
                raise HlensError(
                    f"two models of a campaign would share a folder: {other!r} and {name!r}; give "
                    "one of them another name"
                )

    @classmethod
    def read(cls, path: str | Path) -> "Campaign":
        """Read a campaign from a TOML file.

        Raises:
            HlensError: No such file, bad TOML, an unknown key, or a name that stands twice.
        """
        table = read_toml(Path(path), "campaign")
        try:
            return cls.from_dict(table)
        except HlensError as error:
            raise HlensError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "Campaign":
        """A campaign from nested tables, as TOML holds them."""
        rest = dict(table)
        named, models = rest.pop("recipe", None), rest.pop("models", [])
        steps = rest.pop("steps", list(USUAL))
        for key, value in (("models", models), ("steps", steps)):
            if not isinstance(value, list):
                raise HlensError(f"campaign: {key} is {value!r:.60}; expected a list")
        for step in steps:
            if not isinstance(step, str):
                raise unknown("step of a campaign", f"{step!r:.60}", STEPS)
        if named is not None and not isinstance(named, str):
            raise HlensError(
                f"campaign: recipe is {named!r:.60}; expected the name of one, or a file"
            )
        if "model" in rest:
            raise HlensError(
                f"campaign: model = {rest['model']!r:.60} beside models; name it among the models"
            )
        shared = (find_recipe(named) if named else Recipe()).with_options(rest)
        recipes: dict[str, Recipe] = {}
        for one in models:
            own = {"model": one} if isinstance(one, str) else one
            if not isinstance(own, Mapping) or not isinstance(own.get("model"), str):
                raise HlensError(
                    f"campaign: {one!r:.60} among the models; expected a name, or a table with "
                    "model = NAME"
                )
            options = {key: value for key, value in own.items() if key != "name"}
            recipe = shared.with_options(options)
            name = own.get("name", usual_name(recipe))
            if not isinstance(name, str) or not name.isprintable() or not name.strip():
                raise HlensError(f"campaign: name is {name!r:.60}; expected a text of one line")
            if name == ALL_MODELS:
                raise HlensError(
                    f"campaign: a model is called {name!r}, as the mean over all is; give it "
                    "another name"
                )
            if name in recipes:
                raise HlensError(
                    f"campaign: two models are called {name!r}; give one of them a name of its "
                    "own: name = ..."
                )
            recipes[name] = recipe
        return cls(recipes, tuple(steps))

    def run(self, folder: str | Path, progress: Progress | None = None) -> Comparison:
        """Make what is missing of every model's study, and compare them.

        Args:
            folder: Where the studies are kept, each in ``models/NAME``.
            progress: Called with (model and step, done, total).

        Raises:
            HlensError: Nothing could be made of any model.
        """
        folders = {name: Path(folder) / "models" / file_name(name) for name in self.recipes}
        failed = {}
        for name, recipe in self.recipes.items():
            try:
                self._carry_out(Study(folders[name], recipe, progress=_said_of(name, progress)))
            except Exception as error:  # of any kind, out of memory too: the others go on
                failed[name] = reason = _reason(error)
                log.warning("%s: %s", name, reason)
        # Opened anew: no model stays in memory.
        studies = {}
        for name, place in folders.items():
            # A study that could not even be begun has its reason above.
            with suppress(HlensError, OSError):
                studies[name] = Study(place)
        return compare(studies, failed=failed)

    def _carry_out(self, study: Study) -> None:
        study.make_report_data()
        for step in self.steps:
            if step in OF_DOMAINS and len(study.domains()) < 2:
                continue
            STEPS[step](study)
        study.report()


def _said_of(name: str, progress: Progress | None) -> Progress | None:
    if progress is None:
        return None
    return lambda label, done, total: progress(f"{name}: {label}", done, total)


def _reason(error: Exception) -> str:
    if isinstance(error, HlensError):
        return str(error)
    return one_line(f"{type(error).__name__}: {first_line(error)}")
