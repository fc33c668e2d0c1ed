"""The tables that a verb prints, and the same once more from the stored artefacts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hlens import figures, judges
from hlens.drawing.figure import Figure

if TYPE_CHECKING:
    from hlens.study import Study

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Verb:
    """What a verb prints.

    Attributes:
        tables: All its tables by name, made where they do not stand.
        steps: The steps to do again when it is to recompute.
        figure: Its figure of a study.
        also: Tables too long to be printed, recomputed and compared with the others.
    """

    tables: Callable[["Study"], Tables]
    steps: Callable[["Study"], list[str]]
    figure: Callable[["Study"], Figure]
    also: Callable[["Study"], Tables] = lambda study: {}


def recomputed(study: "Study", verb: Verb) -> tuple[Tables, list[str]]:
    """The tables made again from the stored artefacts, and the names of those that changed."""
    before = verb.tables(study) | verb.also(study)
    long = set(verb.also(study))
    study.redo(verb.steps(study))
    after = {name: getattr(study, name)() for name in long} | verb.tables(study)
    changed = [name for name in after if not same(before[name], after[name])]
    return {name: one for name, one in after.items() if name not in long}, changed


def same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables hold the same numbers, but for rounding."""
    try:
        pd.testing.assert_frame_equal(a, b, rtol=1e-9)
    except AssertionError:
        return False
    return True


def draw(study: "Study", verb: Verb, path: Path) -> None:
    """Write a verb's figure as one page, which asks no host for anything."""
    drawn = verb.figure(study)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.write_html(path, include_plotlyjs=True)


DEEPER = ("alone", "path", "stability", "sparsity")  # of the report; long, and made only by it


def beside(study: "Study", name: str) -> Tables:
    """How far the study's judge and another agree; rows of the confusion are the study's.

    Raises:
        HlensError: No judge of that name, or one that cannot judge these questions.
    """
    own = study.judgements()
    other = judges.judge(study.responses(), judges.named(name))
    counts = judges.confusion(own, other).rename_axis(index=study.recipe.labels.judge, columns=None)
    return {"agreement": judges.agreement(own, other), "confusion": counts.reset_index()}


def _evaluate(study: "Study") -> Tables:
    return {"scores": study.scores(), "losses": study.losses()}


def _deeper(study: "Study") -> Tables:
    return {name: getattr(study, name)() for name in _standing(study)}


def _standing(study: "Study") -> list[str]:
    return [name for name in DEEPER if study.key(name)]


def _transfer(study: "Study") -> Tables:
    found = {"transfer": study.transfer(), "formats": study.formats()}
    if study.has_formats():
        found |= {"format_effect": study.format_effect()}
        found |= {"transfer_by_format": study.transfer_by_format()}
    return found


def _overlap(study: "Study") -> Tables:
    return {
        "overlap": study.overlap(),
        "reliability": study.reliability(),
        "selection_correlation": study.selection_correlation(),
        "shared_neurons": study.shared_neurons(),
    }


def _origin(study: "Study") -> Tables:
    return {"origin": study.origin(), "drift": study.drift_of_neurons()}


VERBS = {
    "evaluate": Verb(
        _evaluate,
        lambda study: ["evaluate", *_standing(study)],
        lambda study: figures.scores(study.scores()),
        _deeper,
    ),
    "transfer": Verb(
        _transfer,
        lambda study: ["transfer", "transfer by format", "format effect"],
        lambda study: figures.transfer(study.transfer()),
    ),
    "overlap": Verb(
        _overlap,
        lambda study: ["overlap", *(f"halves {name}" for name in study.domains())],
        lambda study: figures.overlap(study.overlap()),
    ),
    "trace-origin": Verb(
        _origin, lambda study: ["origin", "drift"], lambda study: figures.scores(study.origin())
    ),
}
