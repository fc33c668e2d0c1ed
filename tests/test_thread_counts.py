"""How many threads there may be: what is set is left, what a container allows is followed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hlens.errors import HlensError
from hlens.threads import READ, cores, quota, settle_threads


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_max", ".max").replace("_cfs", ".cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [("150000 100000", 2), ("100000 100000", 1), ("50000 100000", 1), ("max 100000", None),
     ("", None), ("1 0", None), ("nonsense", None)],
)  # fmt: skip
def test_a_container_has_what_its_quota_says(
    text: str, expected: int | None, tmp_path: Path
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert quota(tmp_path) == (cores() if expected is None else expected)


@pytest.mark.parametrize(("allowed", "expected"), [("200000", 2), ("-1", None)])
def test_an_older_container_has_two_files(
    allowed: str, expected: int | None, tmp_path: Path
) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(f"{allowed}\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert quota(tmp_path) == (cores() if expected is None else expected)


def test_without_a_container_there_are_all_cores(tmp_path: Path) -> None:
    assert quota(tmp_path) == cores()


def test_what_the_user_set_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hlens.threads.quota", lambda: 1)
    monkeypatch.setattr("hlens.threads.cores", lambda: 8)
    own = {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "ACTIVE"}
    settle_threads(own)
    assert own["OMP_NUM_THREADS"] == "5"
    assert own["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "MKL_NUM_THREADS" not in own  # which torch would follow before the other
    none: dict[str, str] = {}
    settle_threads(none)
    assert {none[name] for name in READ} == {"1"}
    asked = {"HLENS_THREADS": "3", "OMP_NUM_THREADS": "5"}
    monkeypatch.setitem(sys.modules, "torch", None)
    settle_threads(asked)
    assert {asked[name] for name in READ} == {"3"}


def test_where_no_container_limits_us_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hlens.threads.quota", lambda: 8)
    monkeypatch.setattr("hlens.threads.cores", lambda: 8)
    own: dict[str, str] = {}
    settle_threads(own)
    assert own == {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize("given", ["0", "-1", "two", "1e3", "99999", "²"])
def test_a_number_that_is_none_is_one_line(given: str) -> None:
    with pytest.raises(HlensError, match=r"HLENS_THREADS=.+; expected a whole number from 1"):
        settle_threads({"HLENS_THREADS": given})


def test_torch_takes_the_number() -> None:
    script = "import hlens, torch; print(torch.get_num_threads())"
    own = {name: value for name, value in os.environ.items() if name not in READ}
    done = subprocess.run(
        [sys.executable, "-c", script], env=own | {"HLENS_THREADS": "1"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "1\n"


def test_the_command_line_says_a_wrong_number_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hlens.cli", "list"], env={**os.environ, "HLENS_THREADS": "no"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
