"""The frozen options of a run, from TOML; an unknown key is an error."""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from hlens.checks import LARGEST_SEED, check_whole
from hlens.data_files import read_text
from hlens.errors import HlensError
from hlens.recipe.sections import (
    EngineRecipe,
    EvaluationRecipe,
    GatesRecipe,
    InterveneRecipe,
    LabelledRecipe,
    LabelsRecipe,
    MeasureRecipe,
    ProbeRecipe,
    SamplingRecipe,
)
from hlens.recipe.tables import Checked, build, toml

__all__ = [
    "EngineRecipe",
    "EvaluationRecipe",
    "GatesRecipe",
    "InterveneRecipe",
    "LabelledRecipe",
    "LabelsRecipe",
    "MeasureRecipe",
    "ProbeRecipe",
    "Recipe",
    "SamplingRecipe",
    "key_of",
]


@dataclass(frozen=True)
class Recipe(Checked):
    """Everything that decides what a run finds.

    Attributes:
        model: What `hlens.load` takes.
        domains: What `hlens.domains.load` takes, one or several.
        questions: Questions of each domain; 0 takes all.
        seed: Seed of every draw.
        dtype: Of the model; empty chooses by device.
        quantization: Short name of how weights are quantised while they are loaded (`hlens list
            quantizations`); empty leaves them as they are.
        adapter: A PEFT adapter of the model, a folder or a hub id; empty for none.
        device_map: How accelerate places the model, such as ``"auto"``; empty for one device. It
            decides where things are computed, and not what.
        base: The base model that `model` was tuned from, to trace its neurons back to; empty for
            none.
    """

    model: str = "smollm2-135m"
    domains: tuple[str, ...] = ("general", "science")
    questions: Annotated[int, check_whole] = 0
    seed: Annotated[int, partial(check_whole, most=LARGEST_SEED)] = 0
    dtype: str = ""
    quantization: str = ""
    adapter: str = ""
    device_map: str = ""
    base: str = ""
    engine: EngineRecipe = field(default_factory=EngineRecipe)
    labelled: LabelledRecipe = field(default_factory=LabelledRecipe)
    sampling: SamplingRecipe = field(default_factory=SamplingRecipe)
    labels: LabelsRecipe = field(default_factory=LabelsRecipe)
    measure: MeasureRecipe = field(default_factory=MeasureRecipe)
    probe: ProbeRecipe = field(default_factory=ProbeRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    intervene: InterveneRecipe = field(default_factory=InterveneRecipe)
    gates: GatesRecipe = field(default_factory=GatesRecipe)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model.strip():
            raise HlensError(f"recipe: model is {self.model!r}; name one, or leave the line out")
        if not self.domains or not all(name.strip() for name in self.domains):
            raise HlensError(
                f"recipe: domains is {list(self.domains)}; it must name at least one domain"
            )

    @classmethod
    def read(cls, path: str | Path) -> "Recipe":
        """Read a recipe from a TOML file; one that is empty takes every default.

        Raises:
            HlensError: No such file, bad TOML, an unknown key or a value of the wrong type.
        """
        path = Path(path)
        if not path.is_file():
            raise HlensError(f"no recipe at {path}; give the path of a TOML file")
        try:
            table = tomllib.loads(read_text(path))
        except (ValueError, RecursionError) as error:  # numbers of thousands of digits, too
            raise HlensError(f"{path}: not TOML ({error})") from None
        return cls.from_dict(table)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "Recipe":
        """A recipe from nested tables, as TOML holds them."""
        if not isinstance(table, Mapping):
            raise HlensError(f"a recipe is a table of options, got {table!r:.60}")
        return build(cls, table, "recipe")

    def to_dict(self) -> dict[str, Any]:
        """Nested tables of plain values."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """The recipe as TOML, every option written out."""
        table = self.to_dict()
        lines = [f"{k} = {toml(v)}" for k, v in table.items() if not isinstance(v, dict)]
        for name, section in table.items():
            if isinstance(section, dict):
                lines += ["", f"[{name}]", *(f"{k} = {toml(v)}" for k, v in section.items())]
        return "\n".join(lines) + "\n"

    @property
    def hash(self) -> str:
        """Hash over all options."""
        return key_of(self.to_dict())


def key_of(value: Any) -> str:
    """A short hash of plain values, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
