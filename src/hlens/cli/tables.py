"""The tables that a verb prints, and the same made again from the stored artefacts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hlens import judges
from hlens.cli import show, studies
from hlens.cli.pictures import Picture
from hlens.errors import HlensError
from hlens.steps import Step, answers, detection, domains, levels, origin, second_judge
from hlens.study import Study

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Beside:
    """What a verb prints and makes again besides the table of its step.

    Attributes:
        shown: Further tables by name.
        remade: Further steps that ``--again`` makes again.
        compared: Steps whose tables are too long to print: made again and compared, where current.
    """

    shown: Callable[[Study], Tables] = lambda study: {}
    remade: Callable[[Study], Sequence[Step[Any]]] = lambda study: ()
    compared: Sequence[Step[pd.DataFrame]] = ()


def _formats(study: Study) -> Tables:
    shown = {"formats": study.formats()}
    if study.has_formats():
        shown["format_effect"] = study.format_effect()
        shown["transfer_by_format"] = study.transfer_by_format()
    return shown


def _evaluated(study: Study) -> Tables:
    shown = {"confident": study.confident(), "losses": study[answers.losses]}
    return {**shown, "levels": study.levels()} if study[levels.has_several_spans] else shown


def _judges_agree(study: Study) -> Tables:
    agreed = study[second_judge.agreed]
    return {"agreement": agreed.agreement, "confusion": agreed.confusion}


BESIDE: dict[Step[Any], Beside] = {
    detection.scores: Beside(
        _evaluated,
        lambda study: [detection.confident, levels.levels],
        compared=(detection.alone, detection.path, detection.stability, detection.sparsity),
    ),
    second_judge.second_judge: Beside(_judges_agree),
    domains.transfer: Beside(_formats, lambda study: [domains.format_transfer]),
    domains.overlap: Beside(
        lambda study: {
            "reliability": study.reliability(),
            "selection_correlation": study.selection_correlation(),
            "shared_neurons": study.shared_neurons(),
        },
        lambda study: [domains.halves_of(name) for name in study.domains()],
    ),
    origin.origin: Beside(
        lambda study: {"drift": study.drift_of_neurons()}, lambda study: [origin.drift]
    ),
}


def make(study: Study, step: Step[Any], again: bool) -> tuple[Tables, list[str] | None]:
    """The tables of a step, and with `again` the names of those that a second making changed."""
    beside = BESIDE.get(step, Beside())

    def shown() -> Tables:
        return {step.name: study[step], **beside.shown(study)}

    before = shown()
    if not again:
        return before, None
    compared = [one for one in beside.compared if study.has(one)]
    before |= {one.name: study[one] for one in compared}
    study.remake(step, *beside.remade(study), *compared)
    after = shown()
    everything = after | {one.name: study[one] for one in compared}
    return after, [name for name in everything if not same(before[name], everything[name])]


def same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables hold the same numbers, but for rounding."""
    try:
        pd.testing.assert_frame_equal(a, b, rtol=1e-9)
    except AssertionError:
        return False
    return True


def draw(study: Study, step: Step[Any], picture: Picture) -> None:
    """Write a step's figure."""
    assert step.figure is not None  # every step with a verb for tables has one
    picture.save(step.figure(study[step]))


def published(folders: Sequence[str]) -> pd.DataFrame:
    """The studies as rows of the published table; nothing is printed but the table."""
    with show.progress() as progress:
        rows = [studies.open_study(one, None, None, progress).published() for one in folders]
    return pd.concat(rows, ignore_index=True)


def agreement(study: Study, name: str) -> Tables:
    """How far the study's judge and another agree; rows of the confusion are the study's.

    Raises:
        HlensError: No judge of that name, or one that cannot judge these questions.
    """
    if name == study.recipe.labels.judge:
        raise HlensError(f"--beside {name} is the study's own judge; name another")
    beside = judges.named(name)  # before the model runs, where it is a mistake
    own = study.judgements()
    other = judges.judge(study.responses(), beside)
    counts = judges.confusion(own, other).rename_axis(index=study.recipe.labels.judge, columns=None)
    return {"agreement": judges.agreement(own, other), "confusion": counts.reset_index()}
