"""Drift: a test that holds its error rate, a power that is kept, and the neurons that moved."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind
from typer.testing import CliRunner, Result

import hlens
from hlens.cli import app
from hlens.errors import HlensError
from hlens.evaluation import find_shifts
from hlens.interventions import scale
from hlens.model import Model
from hlens.monitor import (
    Drift,
    drift,
    is_scores_file,
    measure_answers,
    read_scores,
    recalibrate,
    save_scores,
    score,
    tabulate_scores,
)
from hlens.store import load_detector, save_detector
from hlens.types import Detector, NeuronSet, ReadAnswers, ScoredAnswer
from tiny_study import saved_model

# Groups and answers of each, at home and live.
EQUAL, UNEQUAL, FEWER = (50, 3, 50, 3), (60, 4, 90, 1), (90, 1, 20, 5)
TRIES = 200
SIMULATED = 2.5 * (0.05 * 0.95 / TRIES) ** 0.5  # what so many tries leave open of a rate of 5 %


def drawn(
    draw: np.random.Generator, n_groups: int, each: int, k: int = 1, domains: str = "a"
) -> ReadAnswers:
    """Answers of which those of one group are alike, with skewed contributions of k neurons."""
    own = draw.normal(size=(n_groups, 1, k)) + 0.7 * draw.normal(size=(n_groups, each, k))
    neurons = np.exp(0.5 * own).reshape(-1, k)
    groups = np.repeat([f"g{i}" for i in range(n_groups)], each)
    names = np.repeat([domains[i % len(domains)] for i in range(n_groups)], each)
    kept = neurons if k > 1 else None
    return ReadAnswers(neurons.mean(axis=1), tuple(groups), tuple(names), kept)


def of_home(home: ReadAnswers) -> Detector:
    k = 1 if home.neurons is None else home.neurons.shape[1]
    return Detector(torch.full((1, k), 1 / k), 0.0, home=home)


def moved_by(read: ReadAnswers, size: float) -> ReadAnswers:
    return replace(read, scores=read.scores + size)


def tried(shape: tuple[int, ...], k: int = 1, domains: str = "a") -> list[Drift]:
    """Comparisons of answers between which there is no difference."""
    draw, found = np.random.default_rng(1), []
    for seed in range(TRIES):
        home, live = drawn(draw, *shape[:2], k, domains), drawn(draw, *shape[2:], k, domains)
        found.append(drift(of_home(home), live, permutations=199, seed=seed))
    return found


@pytest.mark.parametrize("shape", [EQUAL, UNEQUAL, FEWER])
def test_no_shift_is_found_at_the_promised_rate(shape: tuple[int, ...]) -> None:
    """Answers of a group are alike, and here and there a group has other numbers of them."""
    assert np.mean([one.shifted for one in tried(shape)]) <= 0.05 + SIMULATED


def test_the_rate_holds_for_all_domains_and_neurons_together() -> None:
    found = tried((60, 2, 40, 1), k=30, domains="abc")
    assert {len(one.scores) for one in found} == {4}  # all, and three domains
    assert np.mean([one.shifted for one in found]) <= 0.05 + SIMULATED
    moved = [one.neurons is not None and one.neurons["moved"].any() for one in found]
    assert np.mean(moved) <= 0.05 + SIMULATED


def test_answers_of_a_group_taken_as_independent_would_be_found_too_often() -> None:
    """The control: without groups the same answers raise alarms without a shift."""
    draw, found = np.random.default_rng(2), []
    for seed in range(60):
        home, live = drawn(draw, 40, 8), drawn(draw, 40, 8)
        home, live = (replace(one, groups=tuple(map(str, range(len(one))))) for one in (home, live))
        found.append(drift(of_home(home), live, permutations=199, seed=seed).shifted)
    assert np.mean(found) > 0.2


@pytest.mark.parametrize("shape", [EQUAL, UNEQUAL])
def test_the_promised_power_is_kept(shape: tuple[int, ...]) -> None:
    """A shift of the size that the sentence names is seen in 80 % of cases, half of it seldom."""
    draw, seen, half = np.random.default_rng(3), [], []
    for seed in range(TRIES):
        home, live = drawn(draw, *shape[:2]), drawn(draw, *shape[2:])
        options = {"permutations": 199, "seed": seed}
        promised = drift(of_home(home), live, **options).scores["smallest_seen"][0]
        size = promised * home.scores.std()
        seen.append(drift(of_home(home), moved_by(live, size), **options).shifted)
        half.append(drift(of_home(home), moved_by(live, size / 2), **options).shifted)
    assert 0.72 <= np.mean(seen) <= 0.9
    assert np.mean(half) < 0.5


def test_so_many_answers_as_it_asks_for_show_the_shift() -> None:
    draw, sought, seen = np.random.default_rng(4), 0.4, []
    for seed in range(TRIES):
        home, first = drawn(draw, 300, 2), drawn(draw, 60, 2)
        options = {"shift": sought, "permutations": 199, "seed": seed}
        pilot = drift(of_home(home), first, **options)
        needed = int(pilot.scores["needed"][0])
        if not pilot.shifted and needed > 120:
            assert f"after {needed - 120:,} more: {needed:,} can show 0.4" in pilot.in_words()[0]
        moved = moved_by(drawn(draw, needed // 2, 2), sought * home.scores.std())
        seen.append(drift(of_home(home), moved, **options).shifted)
    assert 0.72 <= np.mean(seen) <= 0.9


def test_the_interval_of_the_shift_holds_it() -> None:
    draw, held = np.random.default_rng(5), []
    for seed in range(TRIES):
        home, live = drawn(draw, 60, 4), drawn(draw, 90, 1)
        row = drift(of_home(home), moved_by(live, 0.3), permutations=99, seed=seed).scores.iloc[0]
        held.append(row["low"] * home.scores.std() <= 0.3 <= row["high"] * home.scores.std())
    assert np.mean(held) >= 0.95 - SIMULATED


def test_without_clusters_the_statistic_is_welch_s() -> None:
    draw = np.random.default_rng(6)
    home, live = draw.normal(size=(80, 2)), 2 * draw.normal(size=(30, 2)) + 0.4
    found = find_shifts(home, live, home_groups=np.arange(80), live_groups=np.arange(30))
    welch = ttest_ind(live, home, equal_var=False)
    assert found.statistic == pytest.approx(welch.statistic)
    ends = welch.confidence_interval()
    assert np.stack([found.low, found.high]) == pytest.approx(np.stack(ends))
    # A column that is one value up to rounding has no shift, however small its error.
    same = np.full((80, 1), 3.0), np.full((30, 1), 3.0 + 1e-9)
    assert find_shifts(*same, home_groups=np.arange(80), live_groups=np.arange(30)).p[0] == 1


def test_a_wider_spread_is_found_where_the_mean_stays() -> None:
    draw = np.random.default_rng(7)
    home, live = drawn(draw, 100, 1), drawn(draw, 100, 1)
    wide = replace(live, scores=home.scores.mean() + 3 * (live.scores - live.scores.mean()))
    found = drift(of_home(home), wide)
    assert found.shifted
    assert found.scores["spread_ratio"][0] == pytest.approx(3, rel=0.3)
    assert "recalibrate" in " ".join(found.in_words())


def test_domains_are_compared_with_their_own() -> None:
    draw = np.random.default_rng(8)
    home = drawn(draw, 90, 2, domains="abc")
    live = drawn(draw, 60, 2, domains="ab")
    apart = np.array([1.5 * (name == "b") for name in live.domains])
    found = drift(of_home(home), replace(live, scores=live.scores + apart))
    by_domain = found.scores.set_index("domain")
    assert by_domain["shifted"].to_dict() == {"": True, "a": False, "b": True}
    other = replace(live, domains=tuple("z" if name == "a" else name for name in live.domains))
    few = drift(of_home(home), other)
    assert few.not_compared == {"z": "it is no domain of home"}
    some = replace(
        live, domains=tuple("c" if i < 6 else name for i, name in enumerate(live.domains))
    )
    assert drift(of_home(home), some).not_compared == {
        "c": "it has 3 groups of questions live, and a comparison takes 10"
    }


def test_another_mix_of_unchanged_domains_is_said() -> None:
    draw = np.random.default_rng(9)
    home, live = drawn(draw, 100, 1, domains="ab"), drawn(draw, 100, 1, domains="abbbb")
    raised = {"a": 0.0, "b": 2.0}
    home, live = (
        replace(one, scores=one.scores + np.array([raised[name] for name in one.domains]))
        for one in (home, live)
    )
    found = drift(of_home(home), live)
    assert found.scores["shifted"].tolist() == [True, False, False]
    assert "perhaps their mix is another" in " ".join(found.in_words())


def test_too_few_permutations_for_so_many_domains_are_refused() -> None:
    home = drawn(np.random.default_rng(11), 120, 1, domains="abcdef")
    with pytest.raises(HlensError, match=r"permutations=99; 7 comparisons .* take at least 139"):
        drift(of_home(home), home, permutations=99)
    same = replace(home, scores=np.where(np.array(home.domains) == "a", 1.0, home.scores))
    assert drift(of_home(same), home).not_compared == {"a": "its scores at home are all the same"}


def test_few_answers_at_home_can_show_little_and_that_is_said() -> None:
    draw = np.random.default_rng(10)
    found = drift(of_home(drawn(draw, 20, 1)), drawn(draw, 20, 1), shift=0.1)
    assert found.scores["needed"].isna().all()
    assert "no number of live answers can show beside the 20 at home" in found.in_words()[0]


# --- with labelled answers, files and the command line


def answers(
    draw: np.random.Generator, n: int, shift: float = 0.0, domain: str = "law"
) -> list[ScoredAnswer]:
    def one(i: int) -> ScoredAnswer:
        wrong, own = i % 4 >= 2, shift + draw.normal()
        scores = own + draw.normal(size=5) + 1.5 * (i % 4 >= 2)
        key = f"{domain}/{i}"
        return ScoredAnswer(key, domain, f"{domain}/{i // 2}", tuple("abcde"), scores, (), wrong)

    return [one(i) for i in range(n)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recalibrated detector, and live scores: like those at home, shifted, and few."""
    tmp_path = tmp_path_factory.mktemp("scores")
    draw = np.random.default_rng(0)
    found = recalibrate(Detector(torch.tensor([[0.0, 1.0], [-2.0, 0.0]]), 0.0), answers(draw, 400))
    save_detector(found, tmp_path / "live")
    for name, n, shift in (("same", 300, 0.0), ("moved", 300, 0.8), ("few", 12, 0.0)):
        table = tabulate_scores(answers(draw, n, shift), found)
        save_scores(table, tmp_path / f"{name}.jsonl")
    return tmp_path


def run(*words: object) -> Result:
    done = CliRunner().invoke(app, ["drift", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_scores_are_compared_and_the_exit_code_says_what_was_found(folder: Path) -> None:
    same = run(folder / "live", folder / "same.jsonl", "--json")
    told = json.loads(same.stdout)
    assert (same.exit_code, told["shifted"], told["neurons"]) == (0, False, None)
    moved = run(folder / "live", folder / "moved.jsonl", "--json")
    told = json.loads(moved.stdout)
    assert (moved.exit_code, told["shifted"]) == (1, True)
    row = told["scores"][0]
    assert (row["live"], row["live_groups"], row["home_groups"]) == (300, 150, 200)
    assert row["low"] < 0.8 / 1.35 < row["high"]  # of home: its scores vary by some 1.35
    by_rate = {one["false_alarms"]: one for one in told["thresholds"]}
    detector = load_detector(folder / "live")
    assert detector.home is not None
    limit = next(one.score for one in detector.thresholds if one.false_alarms == 0.05)
    live = read_scores(folder / "moved.jsonl").scores
    assert by_rate[0.05]["live"] == pytest.approx((live >= limit).mean())
    assert by_rate[0.05]["home"] == pytest.approx((detector.home.scores >= limit).mean())
    assert by_rate[0.05]["live"] > by_rate[0.05]["home"]
    shown = run(folder / "live", folder / "same.jsonl").stdout
    assert "would have been seen in 80% of cases" in shown
    assert "share of all answers above each threshold" in shown


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scores_are_read_as_they_were_written(folder: Path, suffix: str) -> None:
    draw, detector = np.random.default_rng(1), load_detector(folder / "live")
    empty = ScoredAnswer("e", "law", "g", (), np.zeros(0))
    given = [*answers(draw, 30), empty]
    path = save_scores(tabulate_scores(given, detector), folder / f"scores{suffix}")
    assert is_scores_file(path)
    read, expected = read_scores(path), ReadAnswers.of(given)
    assert read.scores == pytest.approx(expected.scores, abs=1e-9)
    assert (read.groups, read.domains) == (expected.groups, expected.domains)


def test_scores_of_another_detector_are_refused(folder: Path) -> None:
    detector = load_detector(folder / "live")
    path = save_scores(
        tabulate_scores(answers(np.random.default_rng(1), 30), detector), folder / "own.csv"
    )
    recalibrated = replace(detector, thresholds=(), calibration=None, region="response")
    assert len(read_scores(path, recalibrated)) == 30
    with pytest.raises(HlensError, match="holds scores of the detector"):
        read_scores(path, replace(detector, bias=detector.bias + 1.0))


def test_scores_of_an_earlier_version_are_grouped_by_question(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "same.jsonl").read_text().splitlines()]
    old = "".join(json.dumps({k: v for k, v in row.items() if k != "group"}) + "\n" for row in rows)
    (folder / "old.jsonl").write_text(old)
    assert len(set(read_scores(folder / "old.jsonl").groups)) == 300


def test_a_mistake_is_one_line(folder: Path) -> None:
    live, same = folder / "live", folder / "same.jsonl"
    bare = save_detector(Detector(torch.eye(2), 0.0), folder / "bare")
    with pytest.raises(HlensError, match="keeps nothing of the answers at its home; recalibrate"):
        run(bare, same)
    with pytest.raises(HlensError, match="6 groups of questions live; a comparison takes at least"):
        run(live, folder / "few.jsonl")
    with pytest.raises(HlensError, match=r"--model goes with a file of answers; same\.jsonl holds"):
        run(live, same, "--model", "toy")
    with pytest.raises(HlensError, match="--question goes with a file of answers"):
        run(live, same, "--question", "q")
    with pytest.raises(HlensError, match=r"shift=0\.0; expected a number above 0"):
        run(live, same, "--shift", "0")
    with pytest.raises(HlensError, match=r"permutations=3; expected a whole number from 99"):
        run(live, same, "--permutations", "3")
    lines = same.read_text().splitlines(keepends=True)
    broken = json.loads(lines[0]) | {"score": "high"}
    (folder / "broken.jsonl").write_text(json.dumps(broken) + "\n" + "".join(lines[1:]))
    with pytest.raises(HlensError, match=r"broken\.jsonl, row 1: score='high'"):
        run(live, folder / "broken.jsonl")
    tokens = [line for line in lines if '"level":"token"' in line]
    (folder / "tokens.jsonl").write_text("".join(tokens))
    with pytest.raises(HlensError, match="holds no score of a whole answer"):
        run(live, folder / "tokens.jsonl")


def test_a_home_is_stored_without_names_of_questions(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    given = [*answers(draw, 60), *answers(draw, 60, domain="art")]
    detector = Detector(torch.tensor([[0.0, 1.0], [-2.0, 0.0]]), 0.0)
    found = recalibrate(detector, given, neurons=draw.normal(size=(120, 2)))
    path = save_detector(found, tmp_path / "live.v2")
    assert path.name == "live.v2.safetensors"
    for _ in range(2):  # the second is of what was read
        home = load_detector(path).home
        assert home is not None
        assert found.home is not None
        assert np.array_equal(home.scores, found.home.scores)
        assert home.domains == found.home.domains
        assert home.groups == tuple(str(i // 2) for i in range(120))
        assert home.neurons is not None
        assert found.home.neurons is not None
        assert np.array_equal(home.neurons, found.home.neurons)
        path = save_detector(load_detector(path), tmp_path / "again")
    assert b"law/1" not in path.read_bytes()
    assert "law/1" not in path.with_suffix(".json").read_text()
    with pytest.raises(HlensError, match="contributions of 2 neurons, and it has 1"):
        replace(found, weights=torch.tensor([[0.0, 1.0], [0.0, 0.0]]))


WORDS = ["stone", "river", "table", "lamp", "green", "cold", "letter", "water", "seven", "garden"]


def rows(draw: np.random.Generator, n: int, words: list[str]) -> list[dict[str, object]]:
    """Labelled answers, two to a question."""
    return [
        {
            "id": str(i),
            "question": f"What is {i // 2}?",
            "group": str(i // 2),
            "response": " ".join(draw.choice(words, 6)),
            "correct": i % 4 < 2,
        }
        for i in range(n)
    ]


def written(path: Path, given: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    """A model, a detector of it that was recalibrated on a file of answers, and live answers."""
    folder = tmp_path_factory.mktemp("drift")
    model = hlens.load(str(saved_model(folder / "model")))
    weights = torch.zeros(model.n_layers, model.d_mlp)
    weights[0, 3], weights[1, 9], weights[2, 7] = 20.0, -30.0, 10.0
    save_detector(Detector(weights, 0.1, provenance=model.provenance), folder / "found")
    draw = np.random.default_rng(0)
    labelled = written(folder / "labelled.jsonl", rows(draw, 120, WORDS))
    written(folder / "same.jsonl", rows(draw, 100, WORDS))
    written(folder / "other.jsonl", rows(draw, 100, [word.upper() for word in WORDS]))
    done = CliRunner().invoke(
        app,
        [
            "recalibrate", str(folder / "found"), str(labelled), "--to", str(folder / "live.v2"),
            "--model", str(folder / "model"), "--json",
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["to"] == str(folder / "live.v2.safetensors")
    return folder, model


def test_the_contributions_of_neurons_add_up_to_the_score(home: tuple[Path, Model]) -> None:
    folder, model = home
    detector = load_detector(folder / "live.v2")
    read = hlens.labelled(str(folder / "labelled.jsonl"), model)
    scores = [one.score for one in score(model, detector, read.judgements)]
    assert detector.home is not None
    assert detector.home.neurons is not None
    weights = detector.weights[detector.weights != 0].numpy()
    assert detector.home.scores == pytest.approx(scores, abs=1e-4)
    assert detector.home.neurons @ weights + detector.bias == pytest.approx(scores, abs=1e-4)


def test_answers_are_read_and_the_neurons_that_moved_are_named(home: tuple[Path, Model]) -> None:
    folder, _ = home
    model = ["--model", str(folder / "model")]
    same = run(folder / "live.v2", folder / "same.jsonl", *model, "--json")
    told = json.loads(same.stdout)
    assert (same.exit_code, len(told["neurons"])) == (0, 3)
    assert not any(one["moved"] for one in told["neurons"])
    assert told["in_words"][-1] == "None of the 3 neurons moved."
    other = run(folder / "live.v2", folder / "other.jsonl", *model)
    assert other.exit_code == 1
    assert "of 3 neurons moved, in standard deviations of home: L" in other.stdout
    assert "L2N7" in other.stdout


def test_one_neuron_that_moved_is_told_from_the_others(home: tuple[Path, Model]) -> None:
    """Live, one neuron of the last layer is twice as loud; it and no other is named."""
    folder, model = home
    detector = load_detector(folder / "live.v2")
    given = hlens.labelled(str(folder / "same.jsonl"), model).judgements
    one = NeuronSet(frozenset({(2, 7)}), *detector.weights.shape)

    def read() -> ReadAnswers:
        scored = score(model, detector, given)
        return ReadAnswers.of(scored, measure_answers(model, detector, given))

    assert not drift(detector, read()).shifted
    with model.editing(one, scale(2.0)):
        found = drift(detector, read())
    assert found.neurons is not None
    named = found.neurons.loc[found.neurons["moved"], "address"].tolist()
    assert named == ["L2N7"]
    top = found.neurons.iloc[0]
    assert top["shift"] > 0
    assert top["to_score"] > 0  # its weight is positive
    home_scores = detector.home.scores if detector.home else np.zeros(1)
    by_neuron = found.neurons["to_score"].sum() / home_scores.std()
    assert by_neuron == pytest.approx(found.scores["shift"][0], abs=0.01)
