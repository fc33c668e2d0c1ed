"""A study's detector on siblings of its model: a few steps for each sibling that is asked for.

A recipe names no sibling, and no other step reads one: who wants another model read with the
study's detector says so, one model at a time (`hlens sibling`, `Study.sibling`). What is made is
kept in ``siblings/NAME/``: the sibling's contributions to the study's own examples, the realigned
and the refitted detector, and the comparison.
"""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as altered
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from hlens import figures
from hlens.data_files import hash_file, read_text
from hlens.errors import HlensError
from hlens.model import Model, load
from hlens.recipe import MeasureRecipe, key_of
from hlens.siblings import (
    SiblingComparison,
    check_siblings,
    check_tokens,
    compare_siblings,
    compare_weights,
    examples_of_texts,
    realign,
)
from hlens.steps import detection
from hlens.steps.answers import examples
from hlens.steps.detection import DETECTOR, Measured, Split, in_test, measure_examples
from hlens.steps.domains import file_name
from hlens.steps.runner import Runner
from hlens.steps.sources import model
from hlens.steps.step import TABLE, Source, Step, Storage, step
from hlens.store import load_table, save_table
from hlens.store.contributions import load_contributions, save_contributions
from hlens.types import Contributions, Detector, Example

DIFFERENCES, DRIFT = ".differences.parquet", ".drift.parquet"


@dataclass(frozen=True)
class Sibling:
    """Which other model is read, and on what it is realigned.

    Attributes:
        name: What `hlens.load` takes, or the name of an open model.
        dtype: Of the sibling; the study's when empty.
        revision: On the hub; its newest when empty.
        quantization: Short name of how its weights are quantised while they are loaded.
        adapter: A PEFT adapter that it carries, a folder or a hub id.
        device_map: How accelerate places it; what is made does not depend on it.
        texts: A file of unlabelled texts, a text a line, to realign on; the training part of the
            study, without its labels, when empty.
        state: Hash of what the name stands for now, where that can be seen without loading it.
        content: Hash of the texts.
    """

    name: str
    dtype: str = ""
    revision: str = ""
    quantization: str = ""
    adapter: str = ""
    device_map: str = ""
    texts: str = ""
    state: str = ""
    content: str = ""

    @classmethod
    def named(
        cls,
        name: str,
        *,
        dtype: str = "",
        revision: str = "",
        quantization: str = "",
        adapter: str = "",
        device_map: str = "",
        texts: str | Path = "",
    ) -> "Sibling":
        """A sibling that is loaded by its name.

        A folder that is tuned on is another sibling under the same name: sizes and times of its
        files tell, so that the comparison with what it held before is not read back.
        """
        files: list[Path] = []
        for path in (Path(given).expanduser() for given in (name, adapter) if given):
            files += sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
        abouts = [(file.name, file.stat()) for file in files if file.is_file()]
        states = [(file, about.st_size, about.st_mtime_ns) for file, about in abouts]
        state = key_of(states) if states else ""
        content = _content_of(texts)
        return cls(
            name, dtype, revision, quantization, adapter, device_map, str(texts), state, content
        )

    @classmethod
    def of_model(cls, name: str, opened: Model, *, texts: str | Path = "") -> "Sibling":
        """A sibling that is open already, known by its weights."""
        state = key_of([opened.fingerprint, str(opened.dtype)])
        return cls(name, texts=str(texts), state=state, content=_content_of(texts))

    @property
    def place(self) -> str:
        """Its folder in a study."""
        parts = (self.name, self.revision, self.dtype, self.quantization, self.adapter)
        return f"siblings/{file_name(' '.join(part for part in parts if part))}"


class SiblingSteps(NamedTuple):
    """The steps of one sibling, in their order."""

    weights: Step[pd.DataFrame]
    measured: Step[Measured]
    realigned: Step[Detector]
    refitted: Step[Detector]
    comparison: Step[SiblingComparison]


def check_found(run: Runner) -> None:
    """Raise `HlensError` where a study holds no measures, or no detector, made under its recipe.

    A sibling is compared with what was found; that is not made in passing.
    """
    for one, what, verb in (
        (detection.measured, "measures", "measure"),
        (detection.detector, "detector", "find"),
    ):
        if not run.is_current(one):
            raise HlensError(
                f"{run.folder} holds no {what} made under its recipe, so there is nothing to "
                f"compare a sibling with; run hlens {verb} {run.folder} first"
            )


def check_named(run: Runner, one: Sibling) -> None:
    """Raise `HlensError` where a sibling is the study's own model by name, before it is loaded."""
    recipe = run.recipe
    same = one.name == recipe.model and one.dtype in ("", recipe.dtype)
    same &= (one.quantization, one.adapter) == (recipe.quantization, recipe.adapter)
    if same and not one.revision and one.name not in run.given.siblings:
        raise HlensError(
            f"{one.name} is the model of {run.folder} itself, so it is no sibling; name a "
            "quantised, tuned or base model, or another --dtype, --revision, --quantization or "
            "--adapter"
        )


def _content_of(texts: str | Path) -> str:
    if not str(texts):
        return ""
    if not Path(texts).is_file():
        raise HlensError(f"no texts at {texts}; give a file with a text a line")
    return hash_file(Path(texts))


def _save(found: SiblingComparison, file: Path) -> None:
    save_table(found.scores, file)
    save_table(found.differences, file.with_suffix(DIFFERENCES))
    save_table(found.drift, file.with_suffix(DRIFT))


def _load(file: Path) -> SiblingComparison:
    further = (load_table(file.with_suffix(suffix)) for suffix in (DIFFERENCES, DRIFT))
    return SiblingComparison(load_table(file), *further)


COMPARISON: Storage[SiblingComparison] = Storage(
    ".parquet", _save, _load, also=(DIFFERENCES, DRIFT)
)
VALUES: Storage[Contributions] = Storage(
    ".safetensors",
    save_contributions,
    lambda file: load_contributions(file, check=False),
    also=(".index.jsonl",),
)


@cache
def steps_of(one: Sibling) -> SiblingSteps:
    """The steps that compare a study's detector with itself on one sibling."""
    sibling = _source(one)

    @step(
        # It comes first: it refuses what is no sibling before hours of measuring.
        needs=(detection.detector, examples, model, sibling),
        storage=TABLE,
        name=f"{one.place}/weights",
    )
    def weights(
        detector: Detector, examples: list[Example], model: Model, sibling: Model
    ) -> pd.DataFrame:
        """How far the selected neurons' rows of W_out have turned."""
        check_siblings(model, sibling)
        check_tokens(model, sibling, examples)
        return compare_weights(model, sibling, detector.selected)

    measured = altered(
        detection.measured,
        name=f"{one.place}/contributions",
        needs=(examples, sibling),
        verb="",
    )

    @step(needs=(measured, in_test))
    def split_there(measured: Measured, in_test: np.ndarray) -> Split:
        """Training and held-out part of the same examples on the sibling."""
        data, held_out = measured.contributions, torch.from_numpy(in_test)
        return Split(data.select(~held_out), data.select(held_out))

    refitted = altered(
        detection.detector,
        name=f"{one.place}/refitted",
        needs=(split_there, detection.probe),
        verb="",
    )
    here, there = _texts(one, sibling) if one.texts else _training(split_there)

    @step(needs=(detection.detector, here, there), storage=DETECTOR, name=f"{one.place}/realigned")
    def realigned(detector: Detector, home: Contributions, sibling: Contributions) -> Detector:
        """The detector as one of the sibling, realigned without labels."""
        return realign(detector, home, sibling)

    @step(
        needs=(
            weights, detection.detector, detection.contributions, measured, in_test, realigned,
            refitted,
        ),
        options=("evaluation.n_boot", "seed"),
        storage=COMPARISON,
        name=f"{one.place}/comparison",
        figure=lambda found: figures.sibling(found.scores, found.drift),
    )  # fmt: skip
    def comparison(
        weights: pd.DataFrame,
        detector: Detector,
        home: Contributions,
        measured: Measured,
        in_test: np.ndarray,
        realigned: Detector,
        refitted: Detector,
        *,
        n_boot: int,
        seed: int,
    ) -> SiblingComparison:
        """A study's detector on a sibling of its model, as is, realigned and found afresh."""
        return compare_siblings(
            detector,
            home,
            measured.contributions,
            held_out=[home.groups[row] for row in np.flatnonzero(in_test)],
            realigned=realigned,
            refitted=refitted,
            weights=weights,
            n_boot=n_boot,
            seed=seed,
        )

    return SiblingSteps(weights, measured, realigned, refitted, comparison)


def _source(one: Sibling) -> Source[Model]:
    def open_sibling(run: Runner) -> Model:
        opened = run.given.siblings.get(one.name)
        dtype = one.dtype or run.recipe.dtype or None
        return opened or load(
            one.name,
            dtype=dtype,
            revision=one.revision or None,
            quantization=one.quantization or None,
            adapter=one.adapter or None,
            device_map=one.device_map or None,
        )

    known_by = [one.name, one.dtype, one.revision, one.quantization, one.adapter, one.state]
    return Source(
        # Named by its state: that a folder was tuned on is no reason to refuse it.
        f"sibling {one.name} {key_of(known_by)}",
        open_sibling,
        ("dtype",),
        content=lambda run: known_by,
        is_model=True,
    )


Rows = tuple[Step[Contributions], Step[Contributions]]  # unlabelled, at home and on the sibling


def _training(split_there: Step[Split]) -> Rows:
    """The training part on both models; realigning does not look at its labels."""

    @step(needs=(detection.split,))
    def here(split: Split) -> Contributions:
        return split.train

    @step(needs=(split_there,))
    def there(split: Split) -> Contributions:
        return split.train

    return here, there


def _texts(one: Sibling, sibling: Source[Model]) -> Rows:
    """A file of texts, measured on both models."""
    path = Path(one.texts)
    texts: Source[list[str]] = Source(
        "texts",
        lambda run: [line for line in read_text(path).splitlines() if line.strip()],
        content=lambda run: one.content,
    )

    @step(needs=(texts, model))
    def cut(texts: list[str], model: Model) -> list[Example]:
        """The tokens that both models read."""
        return examples_of_texts(model, texts)

    def measure(
        cut: list[Example],
        home: Model,
        sibling: Model | None = None,
        *,
        measure: MeasureRecipe,
        parts: Path,
        progress: Callable[[int, int], None],
    ) -> Contributions:
        """What each neuron contributed to each text."""
        if sibling is not None:
            check_tokens(home, sibling, cut)
        return measure_examples(sibling or home, cut, measure, parts, progress)

    return (
        Step(f"{one.place}/texts_home", measure, (cut, model), ("measure",), storage=VALUES),
        Step(
            f"{one.place}/texts_sibling", measure, (cut, model, sibling), ("measure",),
            storage=VALUES,
        ),
    )  # fmt: skip
