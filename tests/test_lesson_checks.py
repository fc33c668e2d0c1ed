"""Each exercise's check takes what is right, refuses what is wrong, and says why in a sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.io as pio
import pytest

from lesson_answers import ANSWERS, Answer
from scripts import script

pytest.importorskip("jupytext")
build = script("notebooks/build.py", "notebooks_build")
HERE = Path(build.HERE)
LESSONS = [int(source.stem[:2]) for source in build.sources()]


def code_cells(lesson: int) -> list[Any]:
    (source,) = build.sources([f"{lesson:02d}"])
    return [cell for cell in build.solved(build.read(source)).cells if cell.cell_type == "code"]


def tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


def run(code: str, namespace: dict[str, Any]) -> None:
    exec(compile(code, "<cell>", "exec"), namespace)


def try_answer(answer: Answer, check: str, namespace: dict[str, Any]) -> None:
    """Run a check on an answer, in the place of the solution."""
    own = dict(namespace)
    run(answer.code, own)
    if answer.right:
        run(check, own)
        return
    with pytest.raises(AssertionError) as refusal:
        run(check, own)
    said = str(refusal.value).splitlines()[0] if str(refusal.value) else ""
    assert len(said.split()) >= 5, f"{answer.name}: refused without a word of help: {said!r}"


# What the words around the code say, of the names that it leaves.
SAID: dict[int, dict[str, Callable[[dict[str, Any]], bool]]] = {
    3: {"precision far above chance, recall below one": lambda n: (
        n["precision"] > 10 * n["share"] and n["recall"] < 0.5
    )},
    4: {"the detector tells ignorance better than its label": lambda n: n["ignorant"] > n["label"]},
    5: {
        "a looser penalty selects more, of which fewer were planted": lambda n: (
            len(n["many"]) > 3 * len(n["detector"].selected)
            and n["share_planted"](n["many"]) < 0.5 * n["share_planted"](n["stability"].stable)
        ),
        "without the first set the rest tells nearly as well": lambda n: (
            n["hlens"].evaluate(n["again"], n["bare_test"]).value
            > n["hlens"].evaluate(n["detector"], n["test"]).value - 0.05
        ),
    },
    6: {"most of what two sets name was planted as shared": lambda n: n["shared"] > 0.5},
    7: {
        "silenced drivers turn inventions into abstentions, bystanders do not": lambda n: (
            abstained(n, "drivers x 0") > 0.3 > 0.1 > abstained(n, "bystanders x 0")
        ),
        "the shown question is one that changed": lambda n: (
            n["abstains"](n["said"]["drivers x 0"][n["shown"]])
        ),
    },
    8: {"it stops those never taught": lambda n: n["share"][False] > 0.5 > n["share"][True]},
}  # fmt: skip


def abstained(names: dict[str, Any], edit: str) -> float:
    """Share of the inventions that become abstentions under an edit of lesson 7."""
    replies = names["said"][edit]
    return sum(map(names["abstains"], replies)) / len(replies)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_check_takes_right_answers_and_explains_wrong_ones(
    lesson: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HERE)
    # A lesson sets how figures are shown; other tests of this process want it as it was.
    monkeypatch.setattr(pio.renderers, "default", pio.renderers.default)
    namespace: dict[str, Any] = {"__name__": f"lesson_{lesson}"}
    faults, exercise = [], 0
    cells = code_cells(lesson)
    last = max(at for at, cell in enumerate(cells) if "check" in tags(cell))
    for cell in cells[: last + 1]:
        exercise += "exercise" in tags(cell)
        run(cell.source, namespace)
        if "check" not in tags(cell):
            continue
        given = [a for a in ANSWERS if (a.lesson, a.exercise) == (lesson, exercise)]
        assert any(a.right for a in given), f"exercise {exercise}: no right answer is listed"
        assert any(not a.right for a in given), f"exercise {exercise}: no wrong answer is listed"
        for answer in given:
            try:
                try_answer(answer, cell.source, namespace)
            except (Exception, pytest.fail.Exception) as error:
                kind = "right" if answer.right else "wrong"
                what = f"{type(error).__name__}: {error}"
                faults.append(f"exercise {exercise}, {kind}, {answer.name}: {what[:300]}")
        run(cell.source, namespace)  # what was tried has spoilt nothing
    assert not faults, "\n".join(faults)
    for words, holds in SAID.get(lesson, {}).items():
        assert holds(namespace), f"lesson {lesson} says: {words}"
    assert not [a for a in ANSWERS if a.lesson == lesson and a.exercise > exercise]
