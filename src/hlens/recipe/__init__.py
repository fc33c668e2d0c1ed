"""The frozen options of a run, from TOML; an unknown key is an error."""

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.recipe.sections import (
    EvaluationRecipe,
    InterveneRecipe,
    LabelsRecipe,
    MeasureRecipe,
    ProbeRecipe,
    SamplingRecipe,
)
from hlens.recipe.tables import build, toml

__all__ = [
    "EvaluationRecipe",
    "InterveneRecipe",
    "LabelsRecipe",
    "MeasureRecipe",
    "ProbeRecipe",
    "Recipe",
    "SamplingRecipe",
    "key_of",
]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run finds.

    Attributes:
        model: What `hlens.load` takes.
        domains: What `hlens.domains.load` takes, one or several.
        questions: Questions of each domain; 0 takes all.
        seed: Seed of every draw.
        dtype: Of the model; empty chooses by device.
        base: The base model that `model` was tuned from, to trace its neurons back to; empty for
            none.
    """

    model: str = "smollm2-135m"
    domains: tuple[str, ...] = ("general", "science")
    questions: int = 0
    seed: int = 0
    dtype: str = ""
    base: str = ""
    sampling: SamplingRecipe = field(default_factory=SamplingRecipe)
    labels: LabelsRecipe = field(default_factory=LabelsRecipe)
    measure: MeasureRecipe = field(default_factory=MeasureRecipe)
    probe: ProbeRecipe = field(default_factory=ProbeRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    intervene: InterveneRecipe = field(default_factory=InterveneRecipe)

    def __post_init__(self) -> None:
        object.__setattr__(self, "domains", tuple(self.domains))
        checks = {
            "domains": (bool(self.domains), "at least one domain"),
            "questions": (self.questions >= 0, "0 (all) or more"),
            "sampling.n": (self.sampling.n >= 1, "at least 1"),
            "sampling.max_new_tokens": (self.sampling.max_new_tokens >= 1, "at least 1"),
            "sampling.temperature": (self.sampling.temperature >= 0, "0 (greedy) or more"),
            "sampling.top_k": (self.sampling.top_k >= 0, "0 (all) or more"),
            "sampling.top_p": (0 < self.sampling.top_p <= 1, "above 0 and at most 1"),
            "sampling.shots": (self.sampling.shots >= 0, "0 (none) or more"),
            "evaluation.test": (0 < self.evaluation.test < 1, "between 0 and 1"),
            "evaluation.random_sets": (self.evaluation.random_sets >= 20, "at least 20"),
            "evaluation.folds": (self.evaluation.folds >= 2, "at least 2"),
            "evaluation.halves": (self.evaluation.halves >= 2, "at least 2"),
            "intervene.random_sets": (self.intervene.random_sets >= 8, "at least 8"),
            "intervene.matched_sets": (
                self.intervene.matched_sets == 0 or self.intervene.matched_sets >= 8,
                "0, or at least 8",
            ),
            "intervene.alphas": (
                all(math.isfinite(alpha) for alpha in self.intervene.alphas)
                and len({*self.intervene.alphas, 1.0}) > 1,
                "finite, and one of them not 1",
            ),
            "probe.C": (self.probe.C >= 0, "0 (cross-validated) or more"),
        }
        for key, (holds, expected) in checks.items():
            if not holds:
                given = reduce(getattr, key.split("."), self)
                raise HlensError(f"recipe: {key} is {given}; it must be {expected}")

    @classmethod
    def read(cls, path: str | Path) -> "Recipe":
        """Read a recipe from a TOML file.

        Raises:
            HlensError: No such file, bad TOML, an unknown key or a value of the wrong type.
        """
        path = Path(path)
        if not path.is_file():
            raise HlensError(f"no recipe at {path}; give the path of a TOML file")
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise HlensError(f"{path}: not TOML ({error})") from None
        return cls.from_dict(table)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "Recipe":
        """A recipe from nested tables, as TOML holds them."""
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
