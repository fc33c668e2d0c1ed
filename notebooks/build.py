"""Build the notebooks: a student and a solution version of each source, byte-identical each time.

    python notebooks/build.py                  # _built/student and _built/solutions
    python notebooks/build.py --execute        # and _built/executed: solutions with outputs
    python notebooks/build.py --execute 01 04  # only these
    python notebooks/build.py --install-from git+https://...   # what a hosted notebook installs

A source is a jupytext percent script, ``NN_name.py``. In a cell tagged ``exercise`` the lines
between ``# solution`` and ``# end solution`` are the solution; in the student's notebook one line
replaces them: ``raise NotImplementedError``, and behind the check they stand folded. A student's
notebook begins with a cell that installs hlens where it is missing, as in a hosted notebook.
"""

import argparse
import copy
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from filelock import FileLock

HERE = Path(__file__).parent
BUILT = HERE / "_built"
MARKED = re.compile(r"^([ \t]*)# solution\n(.*?)^[ \t]*# end solution\n?", re.DOTALL | re.MULTILINE)
MATHJAX = re.compile(r"<script[^>]*mathjax[^>]*>\s*</script>", re.IGNORECASE)
INSTALL_FROM = "hlens"  # what pip is given where hlens is missing
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sources(wanted: Iterable[str] = ()) -> list[Path]:
    """The sources in the order of the series; only those that begin so, where any are wanted."""
    found = sorted(HERE.glob("[0-9][0-9]_*.py"))
    begins = tuple(wanted)
    return [path for path in found if not begins or path.stem.startswith(begins)]


def read(path: Path) -> Any:
    """A source as a notebook, solutions still marked; ids and metadata depend on nothing else."""
    notebook = jupytext.read(path)
    notebook.metadata = nbformat.from_dict(copy.deepcopy(METADATA))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for at, cell in enumerate(notebook.cells):
        cell.id = f"{path.stem[:2]}-{at:03d}"
        cell.metadata.pop("lines_to_next_cell", None)
    return notebook


def student(notebook: Any, install_from: str = INSTALL_FROM) -> Any:
    """The notebook with a stub for each solution, which stands folded behind its check."""
    made = _changed(notebook, lambda m: f'{m[1]}raise NotImplementedError("your turn")\n')
    solutions = [cell for cell in solved(notebook).cells if _is(cell, "exercise")]
    cells = made.cells[:1] + [_install_cell(made.cells[0].id, install_from)]
    for cell in made.cells[1:]:
        cells.append(cell)
        if _is(cell, "check"):
            cells.append(_folded(solutions.pop(0)))
    made.cells = cells
    return made


def _is(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _install_cell(first: str, install_from: str) -> Any:
    """A cell that does nothing where hlens is there."""
    code = f"""# Installs hlens where it is missing, as in a hosted notebook.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("hlens") is None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "{install_from}"], check=True)"""
    return nbformat.v4.new_code_cell(code, id=f"{first}-install", metadata={"tags": ["install"]})


def _folded(cell: Any) -> Any:
    """A solution as text that opens when it is asked for."""
    opens, closes = "<details><summary>Solution</summary>", "</details>"
    text = f"{opens}\n\n```python\n{cell.source}\n```\n\n{closes}"
    return nbformat.v4.new_markdown_cell(text, id=f"{cell.id}-solution")


def solved(notebook: Any) -> Any:
    """The notebook with its solutions, the marks taken away."""
    return _changed(notebook, lambda m: m[2])


def _changed(notebook: Any, stand_in: Any) -> Any:
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if _is(cell, "exercise"):
            cell.source = MARKED.sub(stand_in, cell.source + "\n").rstrip("\n")
    return made


def execute(notebook: Any) -> Any:
    """The notebook with its outputs, run in a kernel of its own."""
    from nbclient import NotebookClient

    made = copy.deepcopy(notebook)
    NotebookClient(
        made,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
        # A page of the site can be light or dark, so both are drawn.
        extra_arguments=["--IPKernelApp.exec_lines=import both_themes"],
    ).execute()
    for cell in made.cells:
        cell.metadata.pop("execution", None)  # when it ran is no part of what it shows
        for output in cell.get("outputs", []):
            html = output.get("data", {}).get("text/html")
            if html:  # plotly asks a host for MathJax, which no figure here needs
                output["data"]["text/html"] = MATHJAX.sub("", html)
    return made


def executed(path: Path, out: Path = BUILT) -> Path:
    """The executed notebook of a source; run only where the source or hlens has changed since."""
    made = out / "executed" / f"{path.stem}.ipynb"
    made.parent.mkdir(parents=True, exist_ok=True)
    state = _state(path)
    with FileLock(f"{made}.lock"):  # tests and docs may ask for it at the same time
        if not made.exists() or nbformat.read(made, 4).metadata.get("hlens") != state:
            ran = execute(solved(read(path)))
            ran.metadata["hlens"] = state
            write(ran, made)
    return made


def _state(path: Path) -> str:
    """A hash over all that decides what a notebook shows."""
    seen = hashlib.sha256(path.read_bytes() + Path(__file__).read_bytes())
    files = [*(HERE.parent / "src").rglob("*"), *(HERE / "data").rglob("*")]  # weights, too
    files.append(HERE / "both_themes.py")
    for file in sorted(files):
        if file.is_file() and "__pycache__" not in file.parts:
            seen.update(file.read_bytes())
    return seen.hexdigest()[:16]


def write(notebook: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return path


def build(
    out: Path = BUILT,
    wanted: Iterable[str] = (),
    run: bool = False,
    install_from: str = INSTALL_FROM,
) -> list[Path]:
    """Write the notebooks; returns the paths, in the order of the series."""
    made = []
    for path in sources(wanted):
        notebook = read(path)
        made.append(write(student(notebook, install_from), out / "student" / f"{path.stem}.ipynb"))
        made.append(write(solved(notebook), out / "solutions" / f"{path.stem}.ipynb"))
        if run:
            made.append(executed(path, out))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "wanted", nargs="*", help="numbers of the notebooks, such as 01; all if none"
    )
    parser.add_argument("--out", type=Path, default=BUILT)
    parser.add_argument("--execute", action="store_true", help="run the solutions too")
    parser.add_argument(
        "--install-from", default=INSTALL_FROM, help="what pip installs where hlens is missing"
    )
    given = parser.parse_args()
    for path in build(given.out, given.wanted, given.execute, given.install_from):
        print(path)


if __name__ == "__main__":
    main()
