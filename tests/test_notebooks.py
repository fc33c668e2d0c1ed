"""The notebooks: built alike each time, stubs that say so, solutions that run, figures offline."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import plotly.io as pio
import pytest

import hlens
from hlens.errors import HlensError
from scripts import script

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")
HERE = Path(__file__).parents[1] / "notebooks"


build = script("notebooks/build.py", "notebooks_build")
SOURCES = build.sources()
EVERY = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def cells(notebook: Any, tag: str) -> list[Any]:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def test_the_series_is_whole() -> None:
    assert [path.stem[:2] for path in SOURCES] == [f"{n:02d}" for n in range(1, 17)]


def test_a_rebuild_is_the_same_to_the_byte(tmp_path: Path) -> None:
    first, again = build.build(tmp_path / "a"), build.build(tmp_path / "b")
    assert len(first) == 2 * len(SOURCES)
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@EVERY
def test_a_lesson_has_its_parts(source: Path) -> None:
    text = "\n".join(cell.source for cell in build.read(source).cells)
    for part in (
        "**You will be able to**",
        "Predict",
        "## A common mistake",
        "## What would falsify this?",
        "## Recap",
    ):
        assert part in text, part
    assert 3 <= len(re.findall(r"<summary>Answer</summary>", text)) <= 6
    assert len(re.findall(r"hlens\.figures\.\w+\(", text)) >= 1


@EVERY
def test_every_stub_raises_and_is_checked_next(source: Path) -> None:
    notebook = build.student(build.read(source))
    stubs = cells(notebook, "exercise")
    assert 3 <= len(stubs) <= 5
    for cell in stubs:
        following = notebook.cells[notebook.cells.index(cell) + 1]
        assert "check" in following.metadata.tags
        assert "assert" in following.source
        (function,) = [x for x in ast.parse(cell.source).body if isinstance(x, ast.FunctionDef)]
        found: dict[str, Any] = {}
        exec(cell.source, found)
        call = found[function.name]
        with pytest.raises(NotImplementedError):
            call(*(MagicMock() for _ in inspect.signature(call).parameters))


@EVERY
def test_an_exercise_says_what_it_takes_and_what_one_should_see(source: Path) -> None:
    notebook = build.read(source)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    exercises = re.split(r"^### Exercise \d+: .+\n", text, flags=re.MULTILINE)[1:]
    assert len(exercises) == len(cells(notebook, "exercise"))
    minutes = 0
    for number, said in enumerate(exercises, 1):
        head = re.match(r"\*Difficulty: [1-5] of 5 · (\d+) minutes\*\n", said)
        assert head, f"exercise {number}"
        minutes += int(head[1])
        assert "**You should see** " in said, f"exercise {number}"
        assert re.search(r"<summary>Hint 1</summary>\n\n\S", said), f"exercise {number}"
        assert said.count("<details>") == said.count("</details>"), f"exercise {number}"
    (time,) = re.findall(r"^Time: (\d+) minutes", text, flags=re.MULTILINE)
    assert minutes <= int(time), f"the exercises alone take {minutes} minutes"


@EVERY
def test_a_solution_is_folded_behind_its_check(source: Path) -> None:
    notebook = build.read(source)
    given, solutions = build.student(notebook), cells(build.solved(notebook), "exercise")
    for check, solution in zip(cells(given, "check"), solutions, strict=True):
        folded = given.cells[given.cells.index(check) + 1]
        assert folded.cell_type == "markdown"
        assert folded.source.startswith("<details><summary>Solution</summary>\n\n```python\n")
        assert solution.source in folded.source
    nbformat.validate(given)


def test_hlens_is_installed_where_it_is_missing_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("subprocess.run", lambda command, check: asked.append(command))
    (install,) = cells(
        build.student(build.read(SOURCES[0]), "git+https://example.org/x"), "install"
    )
    exec(install.source, {})
    assert not asked
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(install.source, {})
    assert [command[-3:] for command in asked] == [
        ["install", "--quiet", "git+https://example.org/x"]
    ]


@EVERY
def test_no_mark_and_no_solution_is_left(source: Path) -> None:
    notebook = build.read(source)
    given, solved = build.student(notebook), build.solved(notebook)
    for made in (given, solved):
        assert not re.search(r"# (end )?solution", "\n".join(c.source for c in made.cells))
    for before, after in zip(cells(solved, "exercise"), cells(given, "exercise"), strict=True):
        assert "NotImplementedError" in after.source
        assert "NotImplementedError" not in before.source
        body = ast.parse(after.source).body[-1].body  # type: ignore[attr-defined]
        assert len(body) == 2, "a docstring and the stub"


@pytest.mark.slow
@EVERY
def test_the_solutions_run(source: Path) -> None:
    ran = nbformat.read(build.executed(source), 4)
    outputs = [out for cell in ran.cells if cell.cell_type == "code" for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error"]
    said = "".join(out.text for out in outputs if out.output_type == "stream")
    done = len(cells(ran, "exercise"))
    assert [f"Exercise {n}: right" in said for n in range(1, done + 1)] == [True] * done
    pictures = [out.data for out in outputs if out.get("data")]
    assert any("text/html" in data for data in pictures)


# --- The homework of the instructors' page ----------------------------------------------------

PAGE = HERE.parent / "docs" / "learn" / "instructors.md"
FEWER = ("load(name, 100)", "load(name, 40)")  # questions, so that the test takes no minutes


def homework(lesson: int) -> list[tuple[str, str]]:
    """What the page says to write in the place of what, in a lesson."""
    row = rf"^\| {lesson} \| `([^`]+)` \| `([^`]+)` \|$"
    return re.findall(row, PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(("lesson", "exercises"), [(2, 4), (3, 3)])
def test_the_homework_runs_as_written(
    lesson: int, exercises: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        hlens.load("smollm2-135m")
    except HlensError as error:
        pytest.skip(f"the embedded model smollm2-135m cannot be had here: {error}")
    monkeypatch.setattr(pio.renderers, "default", pio.renderers.default)
    (source,) = build.sources([f"{lesson:02d}"])
    code = [cell for cell in build.solved(build.read(source)).cells if cell.cell_type == "code"]
    checks = [at for at, cell in enumerate(code) if "check" in cell.metadata.get("tags", [])]
    whole = "\n\n".join(cell.source for cell in code[: checks[exercises - 1] + 1])
    assert homework(lesson)
    for old, new in homework(lesson):
        assert old in whole, f"lesson {lesson} has no {old}"
        whole = whole.replace(old, new)
    exec(compile(whole.replace(*FEWER), f"lesson {lesson}", "exec"), {"__name__": "homework"})
    said = capsys.readouterr().out
    assert [f"Exercise {n}: right" in said for n in range(1, exercises + 1)] == [True] * exercises
