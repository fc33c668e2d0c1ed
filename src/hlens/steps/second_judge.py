"""A second judge of the same responses: how far the two agree, and what is left under both.

Where a recipe names none, the loose rule of the paper's official code is the second opinion of an
audit, and nothing of it is shown as a result of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from hlens import figures, judges
from hlens.audit import second_labels
from hlens.audit import under_second_judge as compare_judges
from hlens.errors import HlensError
from hlens.judges import llm
from hlens.probe import SparseProbe
from hlens.steps.answers import JUDGED, examples, judgements, responses
from hlens.steps.detection import Split, contributions, detector, probe, split
from hlens.steps.sources import judge_of
from hlens.steps.step import TABLE, step
from hlens.types import Contributions, Detector, Example, Judgement, Question, Response

UNNAMED = "substring"  # the loose rule of the paper's official code


@dataclass(frozen=True)
class Judges:
    """Who gave the labels.

    Attributes:
        first: The study's judge; where each question asks for one, these by name.
        second: The judge beside it that the recipe names; empty for none.
    """

    first: str
    second: str


@step(needs=(responses,), options=("labels.judge", "labels.second"))
def named_judges(responses: list[Response], *, judge: str, second: str) -> Judges:
    """The judges of a study by name."""
    first = names_of(judge, (response.question for response in responses))
    if second and second == first:
        raise HlensError(
            f"labels.second is {second!r}, which judged every response already; name another judge"
        )
    return Judges(first, second)


def names_of(judge: str, questions: Iterable[Question]) -> str:
    """The judge of a recipe, or those that the questions name."""
    if judge != "auto":
        return judge
    return ", ".join(sorted({str(one.meta.get("judge", "alias")) for one in questions}))


@step(needs=(responses,), options=("labels.second",), storage=JUDGED)
def second_judgements(responses: list[Response], *, second: str, parts: Path) -> list[Judgement]:
    """What a second judge says of the same responses."""
    if second.startswith("llm:"):  # in parallel, and what was answered is not asked again
        return llm.judge_all(responses, llm.endpoint_of(second), cache=parts)
    return judges.judge(responses, judge_of(second or UNNAMED))


@dataclass(frozen=True, eq=False)
class Agreed:
    """How far two judges agree.

    Attributes:
        agreement: As of `hlens.judges.agreement`.
        confusion: As of `hlens.judges.confusion`, with a column for the first judge's verdict.
    """

    agreement: pd.DataFrame
    confusion: pd.DataFrame


@step(
    needs=(judgements, second_judgements, named_judges),
    options=("n_boot=evaluation.n_boot", "seed"),
)
def agreed(
    first: list[Judgement], second: list[Judgement], named: Judges, *, n_boot: int, seed: int
) -> Agreed:
    """How far the study's judge and the second agree."""
    counts = judges.confusion(first, second).rename_axis(index=named.first, columns=None)
    return Agreed(judges.agreement(first, second, draws=n_boot, seed=seed), counts.reset_index())


@step(needs=(second_judgements, examples, contributions, split))
def labels_of_both_parts(
    judged: list[Judgement],
    examples: list[Example],
    contributions: Contributions,
    split: Split,
) -> tuple[Tensor, Tensor]:
    """Labels of training and test part by the second judge; -1 where it gives none."""
    labels, held_out = second_labels(examples, judged), set(split.test.groups)
    in_test = torch.tensor([group in held_out for group in contributions.groups])
    return labels[~in_test], labels[in_test]


@step(
    needs=(split, probe, detector, labels_of_both_parts),
    options=("evaluation.n_boot", "seed"),
    storage=TABLE,
    verb="second-judge",
    figure=figures.refits,
)
def second_judge(
    split: Split,
    probe: SparseProbe,
    detector: Detector,
    labels: tuple[Tensor, Tensor],
    *,
    n_boot: int,
    seed: int,
) -> pd.DataFrame:
    """The detector under a second judge's labels, beside what it is under the first's.

    As found and scored by the second judge's labels, and fitted to these anew. The second judge is
    the recipe's `labels.second`, or the substring rule.
    """
    return compare_judges(
        *split, probe=probe, detector=detector, second=labels, n_boot=n_boot, seed=seed
    )
