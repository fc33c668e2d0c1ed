"""The notebooks: built alike each time, stubs that say so, solutions that run, figures offline."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

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
