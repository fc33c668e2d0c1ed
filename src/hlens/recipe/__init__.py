"""The frozen options of a run, from TOML; an unknown key is an error."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

from hlens.checks import LARGEST_SEED, check_whole
from hlens.data_files import read_toml
from hlens.errors import HlensError
from hlens.probe.ways import READS
from hlens.recipe.sections import (
    AuditRecipe,
    EngineRecipe,
    EvaluationRecipe,
    GatesRecipe,
    InterveneRecipe,
    LabelledRecipe,
    LabelsRecipe,
    LayersRecipe,
    MeasureRecipe,
    PlanRecipe,
    ProbeRecipe,
    SamplingRecipe,
    SelectorsRecipe,
)
from hlens.recipe.tables import Checked, build, toml, toml_key

# What options were before a recipe could say them, where that is not the default of today.
BEFORE = {"probe.rule": "best", "sampling.precision": "model"}
# Options of sections that some steps read whole, which are newer than some studies: they count
# where they are not what they were before.
NEWER = ("labels.per_class", "labels.design", "measure.compat", "sampling.precision")

__all__ = [
    "BEFORE",
    "NEWER",
    "AuditRecipe",
    "EngineRecipe",
    "EvaluationRecipe",
    "GatesRecipe",
    "InterveneRecipe",
    "LabelledRecipe",
    "LabelsRecipe",
    "LayersRecipe",
    "MeasureRecipe",
    "PlanRecipe",
    "ProbeRecipe",
    "Recipe",
    "SamplingRecipe",
    "SelectorsRecipe",
    "key_of",
    "plain_section",
]


@dataclass(frozen=True)
class Recipe(Checked):
    """Everything that decides what a run finds.

    Attributes:
        model: What `hlens.load` takes.
        domains: What `hlens.domains.load` takes, one or several.
        questions: Questions of each domain; 0 takes all.
        seed: Seed of every draw.
        dtype: Number format of its weights, such as ``"bfloat16"``; empty chooses by device.
        quantization: Short name of how weights are quantised while they are loaded (`hlens list
            quantizations`); empty leaves them as they are.
        adapter: A PEFT adapter of the model, a folder or a hub id; empty for none.
        device_map: How accelerate places the model, such as ``"auto"``; empty for one device. It
            decides where things are computed, and not what.
        base: The base model that `model` was tuned from, to trace its neurons back to; empty for
            none.
        stand_in: Which domain stands in for which published set, such as ``{triviaqa =
            "general"}``, where the set itself is not asked (see `with_stand_ins`). Tables and
            reports say so.
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
    audit: AuditRecipe = field(default_factory=AuditRecipe)
    intervene: InterveneRecipe = field(default_factory=InterveneRecipe)
    plan: PlanRecipe = field(default_factory=PlanRecipe)
    selectors: SelectorsRecipe = field(default_factory=SelectorsRecipe)
    layers: LayersRecipe = field(default_factory=LayersRecipe)
    gates: GatesRecipe = field(default_factory=GatesRecipe)
    stand_in: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model.strip():
            raise HlensError(f"recipe: model is {self.model!r}; name one, or leave the line out")
        if not self.domains or not all(name.strip() for name in self.domains):
            raise HlensError(
                f"recipe: domains is {list(self.domains)}; it must name at least one domain"
            )
        for name, bank in self.stand_in.items():
            if not isinstance(bank, str):
                raise HlensError(f"recipe: stand_in.{name} is {bank!r:.60}; name one domain")
        self._check_design()
        reads = self.reads
        if self.measure.metric == "auto":
            object.__setattr__(self, "measure", dataclasses.replace(self.measure, metric=reads))
        if self.probe.way == "paper" and self.measure.metric != reads:
            raise HlensError(
                f"recipe: probe.way = 'paper' reads {reads}, and measure.metric is "
                f"{self.measure.metric!r:.60}; leave measure.metric out, or give {reads!r}"
            )

    @property
    def reads(self) -> str:
        """The metric that the probe's way reads."""
        return "cett" if self.measure.compat else READS[self.probe.way]

    def _check_design(self) -> None:
        """Raise `HlensError` where what is trained on does not go with what is measured."""
        design, measure = self.labels.design, self.measure
        if design != "1-vs-1" and measure.region != "answer":
            raise HlensError(
                f"recipe: labels.design = {design!r} contrasts answer tokens with others, and "
                f"measure.region is {measure.region!r:.60}; leave measure.region out"
            )
        if design == "3-vs-1-response" and measure.compat:
            raise HlensError(
                "recipe: labels.design = '3-vs-1-response' is not of the official code, which "
                "measure.compat = 'thunlp' takes; give design = '3-vs-1', or leave compat out"
            )

    @property
    def asks_about(self) -> tuple[str, ...]:
        """All domains whose questions are asked: to train on, and to test on alone."""
        return tuple(dict.fromkeys((*self.domains, *self.evaluation.test_domains)))

    @property
    def stood_in(self) -> dict[str, str]:
        """What each domain that is asked stands in for: published sets that are not asked."""
        return {
            bank: published
            for published, bank in self.stand_in.items()
            if bank in self.asks_about and published not in self.asks_about
        }

    def name_of(self, domain: str) -> str:
        """A domain as tables name it: with what it stands in for, where it does."""
        published = self.stood_in.get(domain)
        return f"{domain} (in place of {published})" if published else domain

    def with_stand_ins(self) -> "Recipe":
        """The recipe with its stand-ins in the place of the sets that they stand in for.

        Raises:
            HlensError: It names no stand-in for any of its domains.
        """
        if not {*self.asks_about} & {*self.stand_in}:
            raise HlensError(
                f"the recipe names no stand-in for {', '.join(self.asks_about)}; write them into "
                'its [stand_in], such as triviaqa = "general"'
            )
        domains, tested = (
            tuple(self.stand_in.get(name, name) for name in names)
            for names in (self.domains, self.evaluation.test_domains)
        )
        evaluation = dataclasses.replace(self.evaluation, test_domains=tested)
        return dataclasses.replace(self, domains=domains, evaluation=evaluation)

    @classmethod
    def read(cls, path: str | Path, *, of_study: bool = False) -> "Recipe":
        """Read a recipe from a TOML file; one that is empty takes every default.

        The one that a study keeps (`of_study`) had every option written out, so that what it lacks
        was not there yet: it takes that for what it was `BEFORE`.

        Raises:
            HlensError: No such file, bad TOML, an unknown key or a value of the wrong type.
        """
        table = read_toml(Path(path), "recipe")
        if of_study:
            for name, value in BEFORE.items():
                section, _, option = name.partition(".")
                if isinstance(own := table.get(section), dict):
                    own.setdefault(option, value)
        return cls.from_dict(table)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "Recipe":
        """A recipe from nested tables, as TOML holds them."""
        if not isinstance(table, Mapping):
            raise HlensError(f"a recipe is a table of options, got {table!r:.60}")
        return build(cls, table, "recipe")

    def with_options(self, table: Mapping[str, Any]) -> "Recipe":
        """The recipe with some options replaced, given in nested tables, as TOML holds them.

        A metric that follows the probe's way follows another way, too.

        >>> Recipe().with_options({"seed": 1, "probe": {"way": "paper"}}).measure.metric
        'cett'
        """
        merged = self.to_dict()
        if self.measure.metric == self.reads:
            merged["measure"]["metric"] = "auto"
        for name, value in table.items():
            own = merged.get(name)
            if isinstance(own, Mapping) and isinstance(value, Mapping):
                value = {**own, **value}
            merged[name] = value
        return Recipe.from_dict(merged)

    def to_dict(self) -> dict[str, Any]:
        """Nested tables of plain values."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """The recipe as TOML, every option written out."""
        table = self.to_dict()
        lines = [f"{k} = {toml(v)}" for k, v in table.items() if not isinstance(v, dict)]
        for name, section in table.items():
            if isinstance(section, dict):
                lines += [
                    "",
                    f"[{name}]",
                    *(f"{toml_key(k)} = {toml(v)}" for k, v in section.items()),
                ]
        return "\n".join(lines) + "\n"

    @property
    def hash(self) -> str:
        """Hash over all options."""
        return key_of(self.to_dict())


@cache
def _default() -> Recipe:
    return Recipe()


def plain_section(name: str, section: Checked) -> dict[str, Any]:
    """The options of a section by name, without the `NEWER` ones that are what they were before."""
    default = getattr(_default(), name)

    def counts(key: str, value: Any) -> bool:
        option = f"{name}.{key}"
        return option not in NEWER or value != BEFORE.get(option, getattr(default, key))

    return {key: value for key, value in vars(section).items() if counts(key, value)}


def key_of(value: Any) -> str:
    """A short hash of plain values, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
