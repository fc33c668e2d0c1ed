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
    12: {
        "common features have a neuron each, rare ones share": lambda n: (
            n["means"][0] < 1.3 and n["means"][2] > 2.5 and n["means"][3] > 2.5
        ),
        "a model that is not trained is worse than zeros": lambda n: n["off"] > n["zeros"],
        "as long as features are common one neuron is the direction, later it is not": lambda n: (
            abs(n["told"][n["told"].world == 0].eval("direction - one").mean()) < 0.02
            and (n["kept"].direction - n["kept"].one).mean() > 0.05
        ),
        "common features that get no neuron are told by nothing": lambda n: (
            n["told"].query("world == 0 and feature >= 6").direction.max() < 0.65
        ),
        "a turn costs the sparse probe neurons where none is shared, and no AUROC": lambda n: (
            n["n_kept"][0, "turned"] >= 2 * n["n_kept"][0, "as they are"]
            and abs(n["scored"][0, "turned"] - n["scored"][0, "as they are"]) < 0.02
        ),
        "where features share, it costs none": lambda n: (
            n["n_kept"][2, "turned"] <= n["n_kept"][2, "as they are"]
            and abs(n["scored"][2, "turned"] - n["scored"][2, "as they are"]) < 0.02
        ),
        "a random basis needs about twenty times as many axes, a tenth of all": lambda n: all(
            15 <= k / len(n["as_it_is"].selected) <= 30 and 0.08 < k / 1024 < 0.15
            for k, _ in n["chosen"].values()
        ),
        "and tells nearly as well": lambda n: all(
            -0.01 < n["hlens"].evaluate(n["as_it_is"], n["test"]).value - scored.value < 0.05
            for _, scored in n["chosen"].values()
        ),
        "with as few axes it tells far worse": lambda n: all(
            n["hlens"].evaluate(path.detector(path.choose_count(5)), part).value < 0.8
            for path, part in n["paths"].values()
        ),
    },
    13: {
        "as hlens has it, to the sixth decimal": lambda n: n["largest_gap"] < 1e-6,
        "the driver suppresses the beginning of an abstention": lambda n: (
            {" I", " do", " know"} <= {word for word, _ in n["page"].suppresses[:8]}
        ),
        "this model's gain changes next to nothing, a made-up one a good part": lambda n: (
            n["stays"]["this model's gain"] >= 7 and n["stays"]["a made-up gain"] <= 5
        ),
        "the typical neuron is about as sharp as a random direction": lambda n: (
            abs(n["np"].median(n["in_layer"]) - n["np"].median(n["by_chance"])) < 0.4
        ),
        "few random directions are as sharp as the driver": lambda n: n["beyond"] < 0.01,
        "in the list of L1N40 the refusal is nothing special": lambda n: (
            n["lowest"][1, 40] > 0.05 and len(n["first"]) == 3
        ),
        "about half of all activations are negative": lambda n: (
            all(0.45 < share < 0.55 for share in n["negative"])
        ),
        "the driver is active on the never taught, silent on common": lambda n: (
            n["active"][0] > 0.4 and abs(n["active"][1]) < 0.1
        ),
        "what the direct path explains grows from layer to layer": lambda n: (
            n["medians"].explained.is_monotonic_increasing
            and n["medians"].explained.iloc[0] < 0.25
            and n["medians"].explained.iloc[-1] > 0.9
        ),
        "another neuron's path explains less than nothing": lambda n: (
            (n["medians"]["by another's path"] < 0).all()
        ),
        "drivers of layer 2 act directly, L1N40 mostly through others": lambda n: all(
            abs(direct / measured - 1) < 0.25 if layer == 2 else direct / measured < bound
            for (layer, _, bound), (direct, measured) in refusal_effects(n).items()
        ),
    },
}  # fmt: skip


def abstained(names: dict[str, Any], edit: str) -> float:
    """Share of the inventions that become abstentions under an edit of lesson 7."""
    replies = names["said"][edit]
    return sum(map(names["abstains"], replies)) / len(replies)


def refusal_effects(names: dict[str, Any]) -> dict[tuple[int, int, float], tuple[float, float]]:
    """Mean direct and measured effect of lesson 13's drivers on " I", never-taught entities."""
    effects = {}
    for (layer, neuron), bound in {(1, 40): 0.3, (1, 133): 0.8, (2, 87): 1, (2, 210): 1}.items():
        acts, stream = names["acts"][:12, layer, neuron], names["stream"][:12]
        direct = names["direct_effect"](acts, names["rows"][layer, neuron], stream)
        measured = [names["measured_effect"](p, layer, neuron) for p in names["prompts"][:12]]
        at = names["refusal"]
        effects[layer, neuron, bound] = (
            float(direct[:, at].mean()),
            sum(float(one[at]) for one in measured) / len(measured),
        )
    return effects


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
