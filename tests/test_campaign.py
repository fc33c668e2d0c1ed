"""The campaign of hostile inputs, small: a few of each thing that hlens reads, under a fixed seed.

`make campaign` runs it large.
"""

import random
from pathlib import Path

import pytest

from campaign import trials
from campaign.mutations import mutate_file, mutate_json, write_json
from campaign.trials import FAILED, Plan, WrongError
from hlens.errors import HlensError

INPUTS = {
    "study_files": 12,
    "command_lines": 16,
    "model_folders": 12,
    "endpoints": 16,
    "labelled_commands": 10,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("campaign")
    (home / "small").touch()
    return home


@pytest.mark.filterwarnings("ignore")  # what others say of hostile files
@pytest.mark.parametrize("name", trials.names())
def test_hostile_inputs_are_read_rightly_or_refused_in_one_line(name: str, home: Path) -> None:
    outcomes = [
        trials.run(name, 0, number, home=home, failures=None)
        for number in range(INPUTS.get(name, 40))
    ]
    failed = [f"{o.name}: {o.said}: {o.kind}: {o.seen}" for o in outcomes if o.result == FAILED]
    assert not failed, "\n".join(failed)


class Reader:
    """A target whose readings are given."""

    KEEPS_INPUT = True

    def __init__(self, said: Exception | str) -> None:
        self.said = said

    def check(self, plan: Plan, home: Path, folder: Path) -> str:
        if plan.get("lose"):
            (folder / "mine").unlink()
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


@pytest.mark.parametrize(
    ("said", "plan", "result"),
    [
        ("right", {}, "right"),
        (HlensError("no file; give one"), {}, "refused"),
        (HlensError("no file; give one"), {"same": True}, "failed"),
        (HlensError("two\nlines, \x1b[31mred" + "x" * 5000), {}, "refused"),  # which it mends
        (KeyError("fit"), {}, "failed"),
        (WrongError("bias: nan"), {}, "failed"),
        ("right", {"lose": True}, "failed"),
    ],
)
def test_what_passes(
    said: Exception | str,
    plan: Plan,
    result: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "mine").touch()
    assert trials.read("reader", 0, 0, Reader(said), plan).result == result  # type: ignore[arg-type]


@pytest.mark.parametrize("words", ["", "two\nlines", "\x1b[31mred", "x" * 5000])
def test_what_is_no_clear_line(words: str) -> None:
    with pytest.raises(WrongError):
        trials.check_line(words)


def test_inputs_are_those_of_their_seed(home: Path) -> None:
    data = b'{"a": [1, {"b": "text"}], "c": null}\n' * 3
    for name in ("a.jsonl", "a.toml", "a.bin"):
        first, again = (
            [mutate_file(random.Random(f"{seed}"), name, data) for seed in range(30)]
            for _ in range(2)
        )
        assert first == again
        assert len({one.data for one in first}) > 15


def test_json_is_changed_in_one_place() -> None:
    changed, said = mutate_json(random.Random(3), {"a": [1, 2], "b": {"c": "text"}})
    assert said
    assert write_json(changed) != '{"a": [1, 2], "b": {"c": "text"}}'
