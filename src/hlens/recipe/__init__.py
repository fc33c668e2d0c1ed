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
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hlens.errors import HlensError
from hlens.lookup import unknown
from hlens.sampling import INSTRUCTION


@dataclass(frozen=True)
class SamplingRecipe:
    """How the questions are asked; the defaults but `n` and the length are the paper's.

    Attributes:
        n: Samples of each question (the paper: 10).
        max_new_tokens: Where a response is cut (the paper: 50).
        temperature: 0 is greedy.
        top_k: Keep the k likeliest tokens.
        top_p: Keep the smallest set of tokens with this mass.
        instruction: Put after each question.
        rows: Sequences in a batch.
    """

    n: int = 5
    max_new_tokens: int = 24
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 0.9
    instruction: str = INSTRUCTION
    rows: int = 96


@dataclass(frozen=True)
class LabelsRecipe:
    """Which responses become examples.

    Attributes:
        judge: A member of `hlens.judges`, or ``"auto"``: what each question asks for.
        keep: ``"all"`` responses, or ``"consistent"``: only questions that are always right or
            always wrong, as in the paper.
        span: ``"response"`` measures the whole response; ``"answer"`` the stretch that the judge
            takes for the answer.
        per_question: At most this many responses of each question and label; 0 keeps all.
    """

    judge: str = "auto"
    keep: Literal["all", "consistent"] = "all"
    span: Literal["response", "answer"] = "answer"
    per_question: int = 1


@dataclass(frozen=True)
class MeasureRecipe:
    """What is measured on the examples.

    Attributes:
        metric: A function of `hlens.metrics`.
        region: Which tokens.
        reduce: How tokens are put together.
        position: Where the tokens are ``"read"`` or ``"predicted"``.
        dtype: Of the store.
    """

    metric: str = "cett"
    region: str = "answer"
    reduce: Literal["mean", "max", "last", "first"] = "mean"
    position: Literal["read", "predicted"] = "read"
    dtype: Literal["float32", "float16"] = "float32"


@dataclass(frozen=True)
class ProbeRecipe:
    """The sparse probe.

    Attributes:
        C: Inverse strength of the penalty; 0 chooses it by cross-validation in the training part.
        l1_ratio: 1 is L1, below is elastic net.
        scale: ``"none"`` (the paper), ``"feature"`` or ``"layer"``.
        class_weight: ``"balanced"`` or ``"none"``.
        calibration: Map scores to probabilities by ``"platt"``, ``"isotonic"`` or ``"none"``.
    """

    C: float = 0.0
    l1_ratio: float = 1.0
    scale: Literal["none", "feature", "layer"] = "none"
    class_weight: Literal["balanced", "none"] = "balanced"
    calibration: Literal["none", "platt", "isotonic"] = "platt"


@dataclass(frozen=True)
class EvaluationRecipe:
    """Held-out estimates and their controls.

    Attributes:
        test: Share of the groups that is held out.
        n_boot: Bootstrap samples of an interval.
        shuffles: Refits on shuffled labels.
        random_sets: Draws of random neurons (at least 20).
        stability_pairs: Complementary pairs of half-samples of the stability selection.
        folds: Folds of the transfer matrix.
        halves: Splits of each domain in two halves, for the reliability of its neurons.
    """

    test: float = 0.3
    n_boot: int = 1000
    shuffles: int = 20
    random_sets: int = 20
    stability_pairs: int = 50
    folds: int = 5
    halves: int = 10


@dataclass(frozen=True)
class InterveneRecipe:
    """What `hlens intervene` runs; `hlens run` leaves it out.

    Attributes:
        behaviours: Members of `hlens.behaviours`, or ``"NAME:PATH"`` for a published set.
        items: Questions of each behaviour, and of multiple choice; 0 takes all.
        alphas: Multipliers of the neurons' activations.
        random_sets: Layer-matched random sets beside the neurons (at least 8).
        matched_sets: Contribution-matched random sets (none, or at least 8).
        perturbations: Random perturbations as large as the edit.
        capability: Also measure perplexity, KL and multiple choice.
    """

    behaviours: tuple[str, ...] = ("false_premises", "misleading_context", "plain_qa")
    items: int = 40
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    random_sets: int = 8
    matched_sets: int = 0
    perturbations: int = 1
    capability: bool = True


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
        return _build(cls, table, "recipe")

    def to_dict(self) -> dict[str, Any]:
        """Nested tables of plain values."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """The recipe as TOML, every option written out."""
        table = self.to_dict()
        lines = [f"{k} = {_toml(v)}" for k, v in table.items() if not isinstance(v, dict)]
        for name, section in table.items():
            if isinstance(section, dict):
                lines += ["", f"[{name}]", *(f"{k} = {_toml(v)}" for k, v in section.items())]
        return "\n".join(lines) + "\n"

    @property
    def hash(self) -> str:
        """Hash over all options."""
        return key_of(self.to_dict())


def key_of(value: Any) -> str:
    """A short hash of plain values, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _build(kind: type, table: Mapping[str, Any], where: str) -> Any:
    """An instance of a dataclass out of a table, every key and type checked."""
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise unknown(f"key in {where}", key, hints)
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise HlensError(f"{where}: [{key}] is a section, got {value!r}")
            values[key] = _build(hint, value, f"{where} [{key}]")  # type: ignore[arg-type]
        else:
            values[key] = _checked(hint, value, f"{where}: {key}")
    return kind(**values)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value, if it is of the hinted type; integers pass for floats."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise HlensError(f"{where} = {value!r}; expected one of {', '.join(get_args(hint))}")
        return value
    if get_origin(hint) is tuple:
        kind = get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise HlensError(f"{where} = {value!r}; expected a list of {kind.__name__}")
        return tuple(_checked(kind, item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise HlensError(f"{where} = {value!r}; expected {hint.__name__}")
    return value


def _toml(value: Any) -> str:
    """A plain value in TOML; its strings, numbers, booleans and lists are written as in JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
