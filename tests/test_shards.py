"""Shards: several processes do one study's sampling and measuring, and nothing tells how many."""

import itertools
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import hlens
from command_line import call
from hlens.contributions import results
from hlens.contributions.cut import Cut
from hlens.contributions.engine import Job
from hlens.contributions.regions import Ask
from hlens.contributions.results import Measuring, cut
from hlens.errors import HlensError
from hlens.locks import holding
from hlens.metrics import cett
from hlens.model import Model
from hlens.recipe import Recipe
from hlens.sampling import Sampling
from hlens.shards import Shard
from hlens.steps import answers, detection
from hlens.study import Study
from test_measure import begun, example, several, sharing
from tiny_study import question_file, saved_model, tiny_model, tiny_recipe

SAMPLED, MEASURED = "responses.jsonl", "contributions.safetensors"


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    questions = question_file(tmp_path_factory.mktemp("shards") / "questions.jsonl")
    # Twelve sequences at a time, so that there are several blocks to share.
    return tiny_recipe(questions, sampling={"n": 3, "max_new_tokens": 10, "rows": 12})


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "auto_tokens", lambda model: 64)


@pytest.fixture(scope="module")
def whole(model: Model, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, sampled and measured by one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "auto_tokens", lambda model: 64)
        study = Study(tmp_path_factory.mktemp("whole") / "study", recipe, model)
        study.contributions()
    return study.folder


def begin(folder: Path, recipe: Recipe, model: Model) -> Study:
    """What one process does before any shard begins."""
    study = Study(folder, recipe, model)
    study.questions()
    study[answers.worked]
    return study


def located(whole: Path, folder: Path, model: Model) -> Study:
    """A study of which only the measuring is left."""
    shutil.copytree(whole, folder)
    (folder / MEASURED).unlink()
    return Study(folder, model=model)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("of", [1, 3, 20])
def test_a_study_in_shards_is_that_of_one_process_to_the_bit(
    whole: Path, recipe: Recipe, model: Model, tmp_path: Path, of: int
) -> None:
    """In any order; of twenty shards some have nothing to do."""
    begin(tmp_path / "study", recipe, model)
    orders = random.Random(of)
    for step, file in ((answers.responses, SAMPLED), (detection.measured, MEASURED)):
        if step is detection.measured:
            Study(tmp_path / "study", model=model).examples()
        numbers = range(1, of + 1)
        blocks = [
            Study(tmp_path / "study", model=model).do_shard(step, Shard(number, of))
            for number in orders.sample(numbers, of)
        ]
        assert sum(blocks) > 8
        assert max(blocks) - min(blocks) <= 1
        assert Study(tmp_path / "study", model=model).gather() is step
        assert (tmp_path / "study" / file).read_bytes() == (whole / file).read_bytes()
    assert not list((tmp_path / "study").glob("*.parts"))
    assert Study(tmp_path / "study", model=model).has(detection.measured)


def test_shards_go_on_where_one_process_stopped_and_it_where_they_did(
    whole: Path, model: Model, tmp_path: Path
) -> None:
    study = located(whole, tmp_path / "study", model)
    seen: list[int] = []

    def stop(step: str, done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Study(study.folder, model=model, progress=stop).contributions()
    done = study.do_shard(detection.measured, Shard(1, 2))
    kept = content(study.folder / "contributions.parts")
    assert study.do_shard(detection.measured, Shard(1, 2)) == 0
    # The mark that the shard was started is written again, with nothing in it.
    assert content(study.folder / "contributions.parts") == kept
    assert done > 2
    study.contributions()
    assert (study.folder / MEASURED).read_bytes() == (whole / MEASURED).read_bytes()


def test_a_killed_shard_loses_the_block_in_flight(
    whole: Path, model: Model, tmp_path: Path
) -> None:
    study = located(whole, tmp_path / "study", model)
    seen: list[tuple[int, int]] = []

    def stop(step: str, done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Study(study.folder, model=model, progress=stop).do_shard(detection.measured, Shard(2, 2))
    n_examples = len(study.examples())
    assert all(done <= total < n_examples for done, total in seen)  # its own, not all
    blocks = len(list(study.folder.rglob("block-*.safetensors")))
    assert blocks == 3
    seen.clear()
    again = Study(study.folder, model=model, progress=lambda *at: seen.append(at[1:]))
    rest = again.do_shard(detection.measured, Shard(2, 2))
    assert len(seen) == rest
    assert seen[-1][0] == seen[-1][1]
    study.do_shard(detection.measured, Shard(1, 2))
    study.gather()
    assert (study.folder / MEASURED).read_bytes() == (whole / MEASURED).read_bytes()


def test_gathering_names_the_shards_that_are_missing_and_loses_nothing(
    whole: Path, recipe: Recipe, model: Model, tmp_path: Path
) -> None:
    study = begin(tmp_path / "sampled", recipe, model)
    with pytest.raises(HlensError, match=r"15 blocks are not done, and no shard was started"):
        study.gather()
    for number in (1, 3):
        study.do_shard(answers.responses, Shard(number, 4))
    kept = content(study.folder)
    with pytest.raises(HlensError, match="of shards 2/4, 4/4: run them again") as error:
        study.gather()
    assert "\n" not in str(error.value)
    assert content(study.folder) == kept
    study = located(whole, tmp_path / "measured", model)
    study.do_shard(detection.measured, Shard(1, 2))
    kept = content(study.folder)
    with pytest.raises(HlensError, match="of shard 2/2: run it again"):
        study.gather()
    assert content(study.folder) == kept


def test_a_shard_of_other_work_is_refused(whole: Path, model: Model, tmp_path: Path) -> None:
    study = located(whole, tmp_path / "study", model)
    study.do_shard(detection.measured, Shard(1, 2))
    kept = content(study.folder / "contributions.parts")
    recipe = study.recipe
    study.revise(replace(recipe, measure=replace(recipe.measure, reduce="max")))
    for work in (lambda: study.do_shard(detection.measured, Shard(2, 2)), study.gather):
        with pytest.raises(HlensError, match="holds blocks of another measurement"):
            work()
    assert content(study.folder / "contributions.parts") == kept
    study.revise(recipe)
    study.do_shard(detection.measured, Shard(2, 2))
    study.gather()
    assert (study.folder / MEASURED).read_bytes() == (whole / MEASURED).read_bytes()


def test_sampling_of_other_work_is_refused(recipe: Recipe, model: Model, tmp_path: Path) -> None:
    study = begin(tmp_path / "study", recipe, model)
    study.do_shard(answers.responses, Shard(1, 2))
    kept = content(study.folder / "responses.parts")
    study.revise(replace(recipe, sampling=replace(recipe.sampling, temperature=0.5)))
    for work in (lambda: study.do_shard(answers.responses, Shard(2, 2)), study.gather):
        with pytest.raises(HlensError, match="holds parts of other work"):
            work()
    assert content(study.folder / "responses.parts") == kept


def test_a_shard_makes_nothing_that_it_needs(
    whole: Path, recipe: Recipe, model: Model, tmp_path: Path
) -> None:
    study = Study(tmp_path / "new", recipe, model)
    with pytest.raises(HlensError, match=r"questions are not made.*`hlens ask .*` in one process"):
        study.do_shard(answers.responses, Shard(1, 2))
    with pytest.raises(HlensError, match=r"examples are not made.*`hlens locate .*` in one"):
        study.do_shard(detection.measured, Shard(1, 2))
    assert [path.name for path in study.folder.iterdir()] == ["recipe.toml"]
    with pytest.raises(HlensError, match="nothing to gather"):
        Study(whole, model=model).gather()
    assert Study(whole, model=model).do_shard(detection.measured, Shard(1, 2)) == 0


HOLDING = """
import sys, pathlib
from hlens.locks import holding
with holding(pathlib.Path(sys.argv[1]), beside=sys.argv[2] == "beside"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[list[subprocess.Popen]]:
    running: list[subprocess.Popen] = []
    yield running
    for process in running:
        process.kill()
        process.communicate()


def hold(folder: Path, how: str, holders: list[subprocess.Popen]) -> subprocess.Popen:
    """Another process that works on a study."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder), how],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    holders.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_shards_work_beside_one_another_and_beside_nothing_else(
    whole: Path, model: Model, tmp_path: Path, holders: list[subprocess.Popen]
) -> None:
    study = located(whole, tmp_path / "study", model)
    other = hold(study.folder, "beside", holders)
    hold(study.folder, "beside", holders)
    assert study.do_shard(detection.measured, Shard(1, 2))
    for work in (study.contributions, lambda: study.remake(detection.split)):
        with pytest.raises(HlensError, match="another process is working on"):
            work()
    for process in holders:
        process.kill()
        process.wait()
    hold(study.folder, "alone", holders)
    with pytest.raises(HlensError, match="another process is working on"):
        study.do_shard(detection.measured, Shard(2, 2))
    assert other.returncode


def test_a_process_that_shares_a_folder_makes_nothing_in_it(tmp_path: Path) -> None:
    with holding(tmp_path, beside=True) as outer, holding(tmp_path, beside=True) as inner:
        assert (outer, inner) == (True, False)
        with pytest.raises(HlensError, match="beside other processes"), holding(tmp_path):
            pass
    with holding(tmp_path), holding(tmp_path, beside=True) as inner:
        assert not inner


def test_the_first_shard_settles_the_cut_for_all(
    whole: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with more memory, or more processors, would cut and sum otherwise."""
    study = located(whole, tmp_path / "study", model)
    study.do_shard(detection.measured, Shard(1, 2))
    monkeypatch.setattr(results, "auto_tokens", lambda model: 1 << 20)
    torch.set_num_threads(2)
    study.do_shard(detection.measured, Shard(2, 2))
    assert torch.get_num_threads() == 2
    study.gather()
    assert (study.folder / MEASURED).read_bytes() == (whole / MEASURED).read_bytes()


@pytest.mark.parametrize("kind", ["shared prompts", "a common beginning", "prompts alone"])
def test_a_block_is_the_same_whoever_measures_it(kind: str) -> None:
    """Each by a process of its own, in any order: also what all rows begin with is run anew."""
    items = {
        "shared prompts": sharing(4),
        "a common beginning": [begun(item, 40) for item in several(12)],
        "prompts alone": [example(number, 12, 5) for number in range(12)],
    }[kind]
    asks = [Ask(cett, region) for region in ("answer", "prompt")]
    job = Job(tiny_model(), items, asks, batch_size=2)
    own = Measuring(job, cut(job, 64))
    assert len(own.cut.blocks) > 4
    assert any(one.length for one in own.cut.beginnings) == (kind == "a common beginning")
    expected = [own.run(number) for number in range(len(own.cut.blocks))]
    row = json.loads(json.dumps(own.cut.to_row()))
    for number in random.Random(0).sample(range(len(expected)), len(expected)):
        kept = Cut.from_row(row, n_rows=len(job.responses), where="here")
        members, values = Measuring(job, kept).maker()(tiny_model()).run(number)
        assert members == expected[number][0]
        assert torch.equal(values, expected[number][1])


def test_many_workers_find_a_block_each_in_a_small_measurement() -> None:
    job = Job(tiny_model(), several(24), [Ask(cett, "answer")], batch_size=1)
    assert len(cut(job, 64).blocks) == 24


def test_a_sampled_block_is_the_same_whoever_samples_it(model: Model, recipe: Recipe) -> None:
    questions = [
        hlens.Question(id=str(i), domain="d", text=f"Number {i}?", answers=("a",)) for i in range(6)
    ]
    asked = [(question, model.encode(question.text)) for question in questions]
    work = Sampling(model, asked, [[0, 1], [2, 3], [4, 5]], 2, 0, hlens.Settings(8))
    for number in (2, 0, 1):
        assert work.maker()(tiny_model()).run(number) == work.run(number)


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "x/4", "1 /4"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(HlensError, match="expected NUMBER/OF, as in 3/16"):
        Shard.parse(text)


def test_every_block_is_of_one_shard() -> None:
    for of in (1, 2, 7, 50):
        own = [Shard(number, of).own(range(40)) for number in range(1, of + 1)]
        assert sorted(itertools.chain(*own)) == list(range(40))


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards at the same time, each a process; then one binds them."""
    monkeypatch.chdir(tmp_path)
    questions = question_file(tmp_path / "questions.jsonl", n=12)
    recipe = tiny_recipe(questions, model=str(saved_model(tmp_path / "model")))
    (tmp_path / "tiny.toml").write_text(recipe.to_toml())

    def start(number: int) -> subprocess.Popen[str]:
        words = ["sample", "study", "--shard", f"{number}/2", "--json"]
        return subprocess.Popen(
            [sys.executable, "-m", "hlens.cli", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def end(process: subprocess.Popen[str]) -> dict:
        out, err = process.communicate()
        assert process.returncode == 0, err
        return json.loads(out)

    refused = call("sample", "tiny.toml", "--shard", "1/2")
    assert refused.code == 2
    assert "shards go with the folder of a study" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert json.loads(call("ask", "tiny.toml", "--out", "study", "--json").out)["n"] == 12
    assert sum(end(one)["blocks done"] for one in [start(1), start(2)]) == 1
    gathered = json.loads(call("gather", "study", "--json").out)
    assert (gathered["gathered"], gathered["n"]) == ("responses", 36)
