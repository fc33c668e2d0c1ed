"""Each exercise's check takes what is right, refuses what is wrong, and says why in a sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import plotly.io as pio
import pytest

from lesson_answers import ANSWERS, Answer
from scripts import script

pytest.importorskip("jupytext")
build = script("notebooks/build.py", "notebooks_build")
HERE = Path(build.HERE)
LESSONS = [int(source.stem[:2]) for source in build.sources()]


@pytest.fixture(autouse=True)
def without_shape_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a student runs a lesson, who has none."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


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


TO_THE_END = (10, 11)  # lessons whose words speak of code behind their last exercise

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
    10: {
        "equal to hlens far below a millionth": lambda n: n["largest_gap"] < 5e-7,
        "a response has two tokens, and all but the longest rows are padded": lambda n: (
            {*n["spans"]} == {2} and 0.5 < n["padded"] < 1
        ),
        "what neurons write adds up to more than one": lambda n: n["total"] > 1,
        "the driver is active behind the name and at the question word, not between": lambda n: (
            n["words"][8].strip() == "Ormere"
            and (n["along"][9:] > 0.2 * n["along"].max()).all()
            and (n["along"][3:9] < 0.1 * n["along"].max()).all()
            and n["along"][2] > 0.5 * n["along"].max()
        ),
        "every mistake is far from CETT and none costs AUROC": lambda n: all(
            n["off"][name] > 0.15 and n["scored"][name].value > n["scored"]["by hand"].value - 0.03
            for name in n["mistakes"]
        ),
        "one of the measurements is CETT": lambda n: n["same"] == 1,
        "on other answers the right line names some five to eight of the same ten": lambda n: (
            4 <= min(n["again"]) < max(n["again"]) <= 9 and n["kept"]["by hand"] == 10
        ),
        "three mistakes name fewer, measured padding as many": lambda n: (
            sum(n["kept"][name] < min(n["again"]) for name in n["mistakes"]) == 3
            and n["kept"]["padding measured"] >= min(n["again"])
        ),
        "padding puts half of the numbers off by about a fifth or more": lambda n: (
            0.19 < n["off"]["padding measured"] < 0.25
        ),
    },
    11: {
        "the first steps lower the objective": lambda n: (
            n["fell"][1] < n["fell"][0] and n["fall"][0] > n["fall"][1] > n["fall"][2]
        ),
        "ever more slowly": lambda n: (
            n["fall"][0] - n["fall"][1] > n["fall"][1] - n["fall"][2] > 0
        ),
        "at lambda_max all weights may be zero, just below no longer": lambda n: (
            (n["at_top"] < 1e-12).all() and (n["below"] > 1e-12).any()
        ),
        "C and lambda are the same penalty": lambda n: abs(n["probe"].lambda_ratio_ - 0.1) < 1e-9,
        "hlens selects the same neurons along the path": lambda n: (
            n["on_path"]["the same"].all() and len(n["on_path"]) == 10
        ),
        "with the same objective to the sixth decimal": lambda n: (
            n["on_path"]["objective - hlens"].abs().max() < 1e-6
        ),
        "working sets come as near with far fewer updates": lambda n: n["saving"] > 10,
        "the slow run is many times as far from the minimum as its last cycle fell": lambda n: (
            n["reached"] > 8 * n["last_fall"] > 0
        ),
        "a cycle over all spends nearly everything on weights that stay": lambda n: (
            n["n_moved"] < 0.05 * n["X"].shape[1]
        ),
        "scale='feature' is standardising": lambda n: n["same_as_ours"],
    },
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
    14: {
        "one reply in seventeen is exactly an answer": lambda n: (
            16.5 < len(n["replies"]) / n["n_exact"] < 17.5
        ),
        "readers agree nearly perfectly, alias comes nearest, exact far behind": lambda n: (
            n["told"]["second reader"] > 0.95 > n["told"]["alias"] > n["told"]["substring"]
            and n["told"]["alias"] > n["told"]["exact"] + 0.4
        ),
        "exact finds all and is wrong about a third, alias the other way": lambda n: (
            by_hand(n, "exact")[1] == 1
            and abs(by_hand(n, "exact")[0] - 2 / 3) < 0.04
            and by_hand(n, "alias")[0] > 0.95 > 0.9 > by_hand(n, "alias")[1]
        ),
        "the meanings name other neurons": lambda n: (
            len({frozenset(one.selected) for one in n["found_by"].values()}) == 3
        ),
        "the formula holds of flipped test labels": lambda n: all(
            abs(seen - n["expected_auroc"](n["own"], p, n["clean"].mean())) < 0.02
            for p, seen in zip(n["rates"], n["seen"]["test labels flipped"], strict=True)
        ),
        "flipped training labels do no harm that is seen": lambda n: (
            min(n["seen"]["training labels flipped"]) > n["own"] - 0.01
        ),
        "the label's ceiling is about 0.9": lambda n: (
            abs(n["ceiling"](n["known"], n["called"]) - 0.92) < 0.03
        ),
    },
    15: {
        "nine answers, eight thoughts before them, one of which is empty": lambda n: (
            (n["n_answers"], n["n_empty"]) == (9, 1)
            and sum(bool(t) for t, answer in n["parted"] if answer is not None) == 7
        ),
        "six of ten verdicts change": lambda n: n["changed"] == 6,
        "of the third reply's tokens but a few answer": lambda n: (
            len(n["third"]) - n["start"] <= 0.2 * len(n["third"])
        ),
        "over the whole the neuron that knows fades": lambda n: (
            n["knows"][-1, 0] > 0.8 > 0.6 > n["knows"][-1, 1]
        ),
        "and the one that knows nothing becomes a detector of length": lambda n: (
            n["knows_not"][:, 1].max() > 0.75 > 0.55 > n["knows_not"][:, 0].max()
        ),
        "one in ten under 128 tokens, more than three in ten without a limit": lambda n: (
            abs(n["short"][1] - 0.1) < 0.02 and n["free"][1] > 0.3
        ),
    },
    16: {
        "1,478 scored answers about 434 facts": lambda n: (
            (len(n["scored"]), n["scored"].group.nunique()) == (1478, 434)
        ),
        "seven in ten are wrong, in both domains within their intervals": lambda n: (
            all(low < 0.7 < high for _, low, high in n["by_domain"].values())
        ),
        "the interval is a third or more wider than that of replies": lambda n: (
            1.3 < n["half"] / n["alone"] < 1.5
        ),
        "the numbers of the documentation": lambda n: (
            abs(n["detector"].value - 0.823) < 0.002
            and abs(n["found"]["probability"] - 0.792) < 0.002
            and abs(n["found"]["length"] - 0.570) < 0.002
        ),
        "the best alone do as well, and share 17 with the probe": lambda n: (
            n["table"].set_index("control").auroc["best 65 alone, refit"]
            > n["detector"].value - 0.02
            and ((n["neurons"].weight != 0) & (n["neurons"].best == 1)).sum() == 17
        ),
        "ahead by three hundredths, and the interval holds zero": lambda n: (
            abs(n["gain"] - 0.03) < 0.005 and lead_of(n)[1] < 0 < lead_of(n)[2]
        ),
        "a coin reads 0.7 by reply and nothing by fact": lambda n: (
            abs(n["coin_leak"] - 0.7) < 0.03 and abs(n["coin_kept"] - 0.5) < 0.06
        ),
        "random neurons read true labels well above a coin": lambda n: (
            min(n["cells"]["true labels", "facts"]) > 0.6
        ),
        "a quarter of the best 65 is found again, near 200 times chance": lambda n: (
            abs(n["again"] - 0.25) < 0.02 and 150 < n["again"] / n["luck"] < 200
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


def lead_of(names: dict[str, Any]) -> tuple[float, float, float]:
    """How far the detector of lesson 16 is ahead of the probability, with its interval."""
    test = names["test"]
    answers = (test.wrong.to_numpy(), test.group.to_numpy())
    return names["lead"](names["risk"], names["sure"], *answers)


def by_hand(names: dict[str, Any], judge: str) -> tuple[float, float]:
    """Of what a judge of lesson 14 calls hallucinated what is, and of what is what it finds."""
    verdicts = names["verdicts"]
    return names["checked_by_hand"](verdicts[judge], verdicts["first reader"])


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
    for cell in cells if lesson in TO_THE_END else cells[: last + 1]:
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
