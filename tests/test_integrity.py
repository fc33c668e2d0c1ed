"""A study reads what it wrote, replaces what is its own, and one process works in it at a time."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

import architectures
import hlens
from command_line import call
from hlens import locks, store
from hlens.cli import app
from hlens.errors import HlensError
from hlens.model import pretrained
from hlens.recipe import Recipe
from hlens.steps import Runner, all_steps, answers, detection, second_judge
from hlens.store import stamps as sealing
from hlens.store.atomic import writing
from hlens.store.checked import parse_json, read_rows
from hlens.store.jsonl import (
    load_examples,
    load_judgements,
    load_questions,
    load_responses,
    save_responses,
    save_rows,
)
from hlens.store.resumable import RowParts
from hlens.study import Study
from tiny_study import VOCAB, byte_tokenizer, question_file, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with every step that tells of its answers and its detector."""
    home = tmp_path_factory.mktemp("integrity")
    first, second = question_file(home / "a.jsonl"), question_file(home / "b.jsonl")
    recipe = tiny_recipe(
        first,
        domains=[f"jsonl:{first}", f"jsonl:{second}"],
        labels={"judge": "substring", "second": "alias"},
        sampling={"n": 2, "max_new_tokens": 6},
        intervene={"behaviours": ["plain_qa"], "items": 2, "alphas": [0, 1], "capability": False},
    )
    study = Study(home / "study", recipe, tiny_model())
    study.make_report_data()
    study.transfer()
    study.halves()
    study.outcomes()
    study.report()
    return study


@pytest.fixture
def study(made: Study, tmp_path: Path) -> Study:
    """A copy that no model can be loaded for."""
    return Study(shutil.copytree(made.folder, tmp_path / "study"))


def other_model(seed: int = 1) -> Any:
    """The tiny model with other weights, under the same name."""
    torch.manual_seed(seed)
    hf = architectures.llama(vocab_size=VOCAB, max_position_embeddings=512)
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.mul_(1.01)
    return hlens.load((hf, byte_tokenizer()), name="tiny")


def stamped_files(folder: Path) -> dict[str, str]:
    stamps = json.loads((folder / "stamps.json").read_text())
    return {place: name for name, stamp in stamps.items() for place in stamp["files"]}


def flip(path: Path, at: float = 0.6) -> None:
    """Change one bit of a file, and nothing else of it."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)


# --- What is read is what was stamped --------------------------------------------------------

NOT_STAMPED = {"recipe.toml", "report.html", "stamps.json"}


def test_every_file_of_a_study_belongs_to_one_stamp(made: Study) -> None:
    """A step whose storage writes a file that it does not declare is found here."""
    files = {p.relative_to(made.folder).as_posix() for p in made.folder.rglob("*") if p.is_file()}
    files = {place for place in files if ".parts/" not in place}
    assert files - NOT_STAMPED == set(stamped_files(made.folder))
    names = stamped_files(made.folder)
    assert names["losses.parquet"] == "examples"
    assert names["contributions.digests.txt"] == "contributions"
    assert set(made.verify().values()) == {""}


def test_every_altered_file_is_named_and_stays(study: Study) -> None:
    steps = {one.name: one for one in all_steps() if one.storage}
    tried = 0
    for place, name in stamped_files(study.folder).items():
        path = study.folder / place
        if name not in steps or not path.stat().st_size:
            continue
        before = path.read_bytes()
        flip(path)
        altered = path.read_bytes()
        with pytest.raises(HlensError, match="is not the file that hlens wrote") as error:
            Study(study.folder)[steps[name]]
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
        assert path.read_bytes() == altered
        states = Study.verify(study)
        assert [one for one, state in states.items() if state] == [name]
        path.write_bytes(before)
        tried += 1
    assert tried > 20
    assert set(study.verify().values()) == {""}


def test_an_altered_value_of_a_tensor_is_seen(study: Study) -> None:
    path = study.folder / "contributions.safetensors"
    with safe_open(path, framework="pt") as file:
        start = path.stat().st_size - file.get_tensor("values").nbytes
    for at in (0, 40, 4000):
        data = bytearray(path.read_bytes())
        data[start + at + 3] ^= 0x10
        altered = study.folder.parent / "altered"
        altered.mkdir(exist_ok=True)
        (altered / "contributions.safetensors").write_bytes(data)
        with pytest.raises(HlensError, match="is damaged: checksum"):
            store.load_contributions(altered / "contributions")
        shutil.copy(path, altered / "kept")
        path.write_bytes(data)
        with pytest.raises(HlensError, match="SHA-256"):
            Study(study.folder).contributions()
        shutil.copy(altered / "kept", path)
    Study(study.folder).contributions()


def test_a_large_file_is_hashed_where_it_was_touched(
    made: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "LARGE", 10)
    path = write(tmp_path / "a.txt", "some large content")
    stamps = sealing.Stamps(tmp_path)
    stamps.set("a", sealing.Stamp("key", files=stamps.seal([path])))
    hashed: list[Path] = []
    own = sealing.hash_file
    monkeypatch.setattr(sealing, "hash_file", lambda one: hashed.append(one) or own(one))
    stamps.check("a")
    assert not hashed
    times = path.stat()
    write(path, "some large CONTENT")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had been written
    with pytest.raises(HlensError, match="is not the file that hlens wrote"):
        stamps.check("a")
    assert hashed


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


SWAPPED: dict[str, Any] = {
    "judgements.jsonl": answers.judgements,
    "contributions.safetensors": detection.measured,
    "detector.safetensors": detection.detector,
}


def test_a_file_of_another_study_is_refused(study: Study, tmp_path: Path) -> None:
    recipe = replace(study.recipe, seed=5)
    other = Study(tmp_path / "other", recipe, tiny_model())
    other.detector()
    for name in SWAPPED:
        copy = Path(shutil.copytree(study.folder, tmp_path / f"swapped-{name}"))
        shutil.copy(other.folder / name, copy / name)
        with pytest.raises(HlensError, match=f"{name} is not the file that hlens wrote"):
            Study(copy)[SWAPPED[name]]


def test_what_was_altered_is_not_replaced_when_options_change(study: Study) -> None:
    path = study.folder / "scores.parquet"
    flip(path)
    altered = path.read_bytes()
    study.revise(replace(study.recipe, evaluation=replace(study.recipe.evaluation, n_boot=21)))
    with pytest.raises(HlensError, match=r"scores\.parquet is not the file that hlens wrote"):
        study.scores()
    assert path.read_bytes() == altered
    path.unlink()
    assert len(study.scores())


def test_an_artefact_that_is_a_link_is_refused_before_the_work(study: Study) -> None:
    """People link large files elsewhere. Refused after the work, the old one lost its stamp."""
    path, elsewhere = study.folder / "scores.parquet", study.folder.parent / "elsewhere.parquet"
    want = study.scores()
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    pd.testing.assert_frame_equal(Study(study.folder).scores(), want)
    recipe = study.recipe
    other = Study(study.folder, replace(recipe, evaluation=replace(recipe.evaluation, n_boot=21)))
    with pytest.raises(HlensError, match="is a link, and only plain files are written"):
        other.scores()
    pd.testing.assert_frame_equal(Study(study.folder, recipe).scores(), want)


def test_again_does_not_replace_what_was_altered(study: Study) -> None:
    path = study.folder / "scores.parquet"
    flip(path)
    done = CliRunner().invoke(app, ["evaluate", str(study.folder), "--again"])
    assert isinstance(done.exception, HlensError)
    study.remake(detection.scores)
    with pytest.raises(HlensError, match="is not the file that hlens wrote"):
        study.scores()


def test_a_file_beside_the_table_that_is_gone_is_made_anew(study: Study) -> None:
    before = (study.folder / "losses.parquet").read_bytes()
    (study.folder / "losses.parquet").unlink()
    assert not Study(study.folder).has(answers.located)
    again = Study(study.folder, model=tiny_model())
    assert len(again.losses())
    assert (study.folder / "losses.parquet").read_bytes() == before


def test_the_command_line_says_which_files_are_whole(study: Study) -> None:
    whole = call("verify-study", str(study.folder))
    assert whole.code == 0, whole.err
    assert "scores  as it was written" in whole.out
    flip(study.folder / "scores.parquet")
    (study.folder / "path.parquet").unlink(missing_ok=True)
    harmed = call("verify-study", str(study.folder), "--json")
    assert harmed.code == 2
    assert "scores.parquet: SHA-256" in json.loads(harmed.out)["scores"]
    (line,) = harmed.err.strip().splitlines()
    assert "artefacts differ from what was written" in line


def test_a_study_without_hashes_gets_them_when_it_is_read(study: Study) -> None:
    path = study.folder / "stamps.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps({n: {k: v for k, v in r.items() if k != "files"}
                                for n, r in rows.items()}))  # fmt: skip
    states = Study(study.folder).verify()
    assert states["scores"] == sealing.NO_HASH
    Study(study.folder).scores()
    assert Study(study.folder).verify()["scores"] == ""
    flip(study.folder / "scores.parquet")
    with pytest.raises(HlensError, match="is not the file"):
        Study(study.folder).scores()


# --- Rows ------------------------------------------------------------------------------------

HARMS = {
    "a word": ('"sample": 0', '"sample": "x"', "sample is 'x', expected a whole number"),
    "a verdict": ('"verdict": "', '"verdict": "x', "verdict is 'x"),
    "a dropped key": ('"sample": 0, ', "", "sample is missing"),
    "a huge number": ('"sample": 0', '"sample": 1' + "0" * 5000, "too long a number"),
    "too large": ('"sample": 0', '"sample": 1' + "0" * 30, "expected a whole number"),
    "a truth value": ('"sample": 0', '"sample": true', "sample is true"),
    "null": ('"domain": "', '"domain": null, "d": "', "domain is None, expected a text"),
    "another question": ('"question_id": "', '"question_id": "zz', "'zz"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("file", ["responses", "judgements", "examples"])
def test_a_row_that_does_not_fit_is_named(
    made: Study, tmp_path: Path, harm: str, file: str
) -> None:
    old, new, said = HARMS[harm]
    text = (made.folder / f"{file}.jsonl").read_text()
    first = text.partition("\n")[0]
    at = len(first) + 1 if old not in first else 0
    if old not in text:
        pytest.skip("no such field")
    path = write(tmp_path / "rows.jsonl", text[:at] + text[at:].replace(old, new, 1))
    if path.read_text() == text or (file == "examples" and harm == "another question"):
        pytest.skip("an example names no other row")
    line = next(i for i, (a, b) in enumerate(zip(text.split("\n"), path.read_text().split("\n"),
                                                 strict=True), 1) if a != b)  # fmt: skip
    with pytest.raises(HlensError) as error:
        load(made, file, path)
    assert f"rows.jsonl, line {line}: " in str(error.value)
    assert said in str(error.value)


def load(made: Study, file: str, path: Path) -> Any:
    readers = {
        "responses": lambda: load_responses(path, made.questions()),
        "judgements": lambda: load_judgements(path, made.responses()),
        "examples": lambda: load_examples(path),
        "questions": lambda: load_questions(path),
    }
    return readers[file]()


@pytest.mark.parametrize("file", ["responses", "judgements", "examples", "questions"])
@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe{}\n", b"[" * 100_000 + b"\n", b"null\n", b"{\n", b"\x00\n", b'{"a": 1}\n', b"\n"],
)
def test_no_row_at_all_is_named(made: Study, tmp_path: Path, content: bytes, file: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(HlensError, match=r"rows\.jsonl, line 1: ") as error:
        load(made, file, path)
    assert "\n" not in str(error.value)


def test_only_a_newline_ends_a_row(tmp_path: Path) -> None:
    texts = ["one\u2028two", "one\u0085two", "one\x0btwo\x1e", "plain"]
    rows = [{"question": text} for text in texts]
    save_rows(rows, tmp_path / "rows.jsonl")
    assert read_rows(tmp_path / "rows.jsonl", dict) == rows


def test_a_shape_names_the_place() -> None:
    assert parse_json(b'{"a": [[1, 2.5]]}', "f", shape=dict[str, list[tuple[int, float]]])
    for text, said in (
        (b'{"a": [[1, "x"]]}', "f: 'a'[0][1] is 'x', expected a finite number; "),
        (b'{"a": [[1]]}', "f: 'a'[0] is [1], expected a list of 2; "),
        (b'{"a": [[1, NaN]]}', "f: 'a'[0][1] is nan, expected a finite number; "),
    ):
        with pytest.raises(HlensError) as error:
            parse_json(text, "f", shape=dict[str, list[tuple[int, float]]])
        assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"find": null}', '{"find": {"key": 1}}', '{"a": {"key": "k"}}', "[" * 100_000,
     '{"a": {"key": "k", "options": "", "note": {}, "files": {"a": {"size": "x"}}}}'],
)  # fmt: skip
def test_damaged_stamps_are_one_line_and_nothing_is_lost(study: Study, content: str) -> None:
    before = {p: p.read_bytes() for p in study.folder.rglob("*") if p.is_file()}
    write(study.folder / "stamps.json", content)
    with pytest.raises(HlensError, match=r"stamps\.json is damaged: ") as error:
        Study(study.folder).scores()
    assert "\n" not in str(error.value)
    del before[study.folder / "stamps.json"]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_damaged_part_of_unfinished_work_is_named(tmp_path: Path) -> None:
    parts = RowParts(tmp_path / "x.parts", "key")
    parts.save(1, [{"a": 1.5}])
    assert parts.load(1) == [{"a": 1.5}]
    flip(tmp_path / "x.parts" / "part-000001.json", 0.99)
    with pytest.raises(HlensError, match=r"part-000001\.json is damaged"):
        parts.load(1)


def test_responses_that_are_read_are_those_that_were_sampled(made: Study, tmp_path: Path) -> None:
    sampled = replace(made.responses()[0], logprobs=(-0.123456789012345, -1e-12))
    save_responses([sampled], tmp_path / "responses.jsonl")
    assert load_responses(tmp_path / "responses.jsonl", made.questions()) == [sampled]


# --- What is replaced is hlens's own ---------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    ["responses.jsonl", "questions.jsonl", "judgements.jsonl", "losses.parquet",
     "contributions.index.jsonl", "detector.json", "scores.parquet"],
)  # fmt: skip
def test_a_file_of_ones_own_is_refused_and_untouched(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    own = write(folder / file, '{"text": "my own"}\n' * 20)
    recipe = tiny_recipe(question_file(tmp_path / "q.jsonl"))
    with pytest.raises(HlensError, match="was not written by hlens, so it is not replaced") as e:
        Study(folder, recipe, tiny_model()).scores()
    assert str(own) in str(e.value)
    assert own.read_text() == '{"text": "my own"}\n' * 20


def test_a_folder_of_ones_own_is_refused_and_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    own = folder / "audit" / "evidence" / "notes.txt"
    own.parent.mkdir(parents=True)
    write(own, "mine")
    recipe = tiny_recipe(question_file(tmp_path / "q.jsonl"))
    study = Study(folder, recipe, tiny_model())
    with pytest.raises(HlensError, match=r"notes\.txt was not written by hlens"):
        study.audit()
    assert own.read_text() == "mine"


def test_a_recipe_of_ones_own_is_not_replaced(tmp_path: Path) -> None:
    recipe = tiny_recipe(question_file(tmp_path / "q.jsonl"))
    own = write(tmp_path / "recipe.toml", "# my thoughts\n" + recipe.to_toml())
    Study(tmp_path, recipe)
    assert own.read_text().startswith("# my thoughts\n")
    with pytest.raises(HlensError, match="which hlens did not write"):
        Study(tmp_path, replace(recipe, seed=3))
    assert own.read_text().startswith("# my thoughts\n")
    study = Study(tmp_path / "study", recipe)
    Study(tmp_path / "study", replace(recipe, seed=3))
    assert Recipe.read(study.folder / "recipe.toml").seed == 3


@pytest.mark.parametrize("content", ["", "\n \n", "# nothing\n"])
def test_an_empty_recipe_in_a_study_is_refused(tmp_path: Path, content: str) -> None:
    write(tmp_path / "recipe.toml", content)
    for recipe in (None, Recipe(seed=1)):
        with pytest.raises(HlensError, match=r"recipe\.toml is empty"):
            Study(tmp_path, recipe)
    assert (tmp_path / "recipe.toml").read_text() == content


# --- One model, one process ------------------------------------------------------------------


def test_another_model_does_not_get_the_stored_scores(made: Study, study: Study) -> None:
    pd.testing.assert_frame_equal(Study(study.folder, model=tiny_model()).scores(), made.scores())
    with pytest.raises(HlensError, match="was made with other weights") as error:
        Study(study.folder, model=other_model()).scores()
    assert made.model.fingerprint[:12] in str(error.value)
    with pytest.raises(HlensError, match="was made with other weights"):
        Study(study.folder, replace(study.recipe, seed=7), other_model())
    assert Recipe.read(study.folder / "recipe.toml") == made.recipe
    Study(study.folder, replace(study.recipe, model="another name"), other_model()).questions()


HOLDING = """
import sys, pathlib
from hlens.locks import holding
with holding(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(study: Study) -> Iterator[subprocess.Popen]:
    """Another process that works on the study."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(study.folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_two_processes_do_not_work_on_one_study(study: Study, holder: subprocess.Popen) -> None:
    beside = Study(study.folder, study.recipe)
    assert len(beside.scores())  # what is there may be read
    beside.report()
    assert set(beside.verify().values()) == {""}
    (study.folder / "scores.parquet").unlink()
    files = {p: p.read_bytes() for p in study.folder.rglob("*") if p.is_file()}
    for work in (
        lambda: Study(study.folder).scores(),
        lambda: Study(study.folder, replace(study.recipe, seed=9)),
        lambda: beside.remake(detection.probe),
    ):
        with pytest.raises(HlensError, match="another process is working on") as error:
            work()
        assert "\n" not in str(error.value)
    assert all(path.read_bytes() == content for path, content in files.items())
    holder.kill()
    holder.wait()
    assert len(Study(study.folder).scores())  # the lock died with it


def test_what_killed_runs_left_is_swept_and_nothing_else(study: Study) -> None:
    left = [
        study.folder / ".scores.parquet.1.partial",
        study.folder / "halves/.a.parquet.9.partial",
    ]
    for path in left:
        write(path, "half")
    folder = study.folder / ".responses.parts.abc.partial"
    folder.mkdir()
    parts = study.folder / "responses.parts"
    parts.mkdir()
    write(parts / "saved", "")
    unfinished = study.folder / "judgements.parts"
    unfinished.mkdir()
    own = write(study.folder / "mine.partial", "a file of the user's")
    with writing(study.folder / "being-written.txt") as file:
        file.write(b"whole")
        study.remake(detection.scores)
        assert len(list(study.folder.glob(".being-written.txt.*"))) == 1
    assert (study.folder / "being-written.txt").read_bytes() == b"whole"
    assert not any(path.exists() for path in [*left, folder, parts])
    assert unfinished.exists()
    assert own.exists()


def test_a_conversion_that_was_killed_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HLENS_CACHE", str(tmp_path))
    left, living = tmp_path / "models" / "making-left", tmp_path / "models" / "making-living"
    for folder in (left, living):
        folder.mkdir(parents=True)
        write(folder / "model.gguf", "half")

    def fail(scratch: Path) -> Path:
        raise OSError("no network")

    with locks.using(living), pytest.raises(HlensError, match="no network"):
        pretrained._converted_once("some", "0" * 64, fail)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["making-living"]


def test_a_lock_is_taken_again_by_its_process(tmp_path: Path) -> None:
    with locks.holding(tmp_path) as outer, locks.holding(tmp_path) as inner:
        assert (outer, inner) == (True, False)
    with locks.holding(tmp_path) as outer:
        assert outer


# --- A kill, with every step -----------------------------------------------------------------

OTHER_OPTION = {  # another value of an option that each kind of step reads
    "sampling": {"temperature": 0.5},
    "labels": {"keep": "consistent"},
    "measure": {"reduce": "max"},
    "probe": {"C": 1.0},
    "evaluation": {"test": 0.4},
}


@pytest.mark.parametrize("section", OTHER_OPTION)
def test_a_kill_between_saving_and_stamping_leaves_no_other_options_artefact(
    made: Study, tmp_path: Path, section: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step that reads the option is killed there; then the recipe is restored."""
    other = replace(
        made.recipe, **{section: replace(getattr(made.recipe, section), **OTHER_OPTION[section])}
    )
    want = {p.name: p.read_bytes() for p in made.folder.glob("*.*") if p.is_file()}
    folder = Path(shutil.copytree(made.folder, tmp_path / "study"))
    Study(folder, other, made.model)
    own = Runner._make

    class Killed(BaseException):
        pass

    def kill(run: Runner, step: Any) -> None:
        def die(name: str, stamp: Any) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(run.stamps, "set", die)
            own(run, step)

    killed: list[Any] = [answers.responses, answers.located, detection.measured]
    killed += [detection.detector, detection.scores, second_judge.second_judge]
    for step in killed:
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "_make", kill)
            study = Study(folder, other, made.model)
            if not study.has(step):
                with pytest.raises(Killed):
                    study[step]
    restored = Study(folder, made.recipe, made.model)
    for step in killed:
        assert restored[step] is not None
    for name in (*SWAPPED, "responses.jsonl", "examples.jsonl", "scores.parquet",
                 "second_judge.parquet"):  # fmt: skip
        assert (folder / name).read_bytes() == want[name], name
