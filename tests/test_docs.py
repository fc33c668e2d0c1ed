"""README and docs as a newcomer meets them: every command and every piece of Python is run.

Blocks of one page run in order in one folder. ``python`` runs in one namespace, ``sh`` in a shell,
and a ``code-block`` of TOML or JSON with a caption is written to the file that its caption names.
What cannot be run here (a clone, a hub, another machine) is marked ``text`` in the page.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.parsers.myst.lexers import DirectiveLexer

import hlens
from hlens.errors import HlensError
from tiny_study import FEW

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted(ROOT.glob("docs/**/*.md")) if "_build" not in p.parts),
]
WITH_CODE = [page for page in PAGES if re.search(r"```(python|sh)\n", page.read_text())]
# Pages ask and repeat as often as a reader should; a test has less time.
FEWER = {
    "n=300": "n=48",
    "detector=detector))": "detector=detector, shuffles=3, draws=20))",
    "hlens import labelled_answers.jsonl": "hlens import labelled_answers.jsonl --recipe few.toml",
    '"runs/notebook", model)': '"runs/notebook", model, hlens.Recipe.read("few.toml"))',
}
REPEATS = "\n".join(["[evaluation]", *(f"{name} = {value}" for name, value in FEW.items()), ""])

pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def embedded_model() -> None:
    try:
        hlens.load("smollm2-135m", device="cpu")
    except HlensError as error:
        pytest.skip(f"the embedded model cannot be had here: {error}")


def shell(example: Example) -> None:
    """Run a block of commands; what `make` does is run by whoever runs the tests."""
    commands = "".join(f"{x}\n" for x in example.parsed.splitlines() if not x.startswith("make "))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"


def files(document: Document) -> Iterator[Region]:
    """Blocks with a caption that names a file."""
    for region in DirectiveLexer("code-block", arguments="toml|json")(document):
        name = region.lexemes["options"].get("caption")
        if name:
            text = region.lexemes["source"]
            yield Region(region.start, region.end, text, writer(name))


def writer(name: str) -> Callable[[Example], None]:
    def write(example: Example) -> None:
        few = f"\n{REPEATS}" if "\ndomains = " in example.parsed else ""
        Path(name).write_text(example.parsed + few, encoding="utf-8")

    return write


PARSERS = [PythonCodeBlockParser(), CodeBlockParser("sh", shell), files]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs_as_it_stands(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.read_text(encoding="utf-8")
    for many, few in FEWER.items():
        text = text.replace(many, few)
    copy = tmp_path / page.name
    copy.write_text(text, encoding="utf-8")
    for data in page.parent.glob("*.jsonl"):
        shutil.copy(data, tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("few.toml").write_text(REPEATS, encoding="utf-8")
    examples = list(Sybil(PARSERS, path=str(tmp_path)).parse(copy).examples())
    assert examples
    try:
        for example in examples:
            example.evaluate()
    finally:  # what a page left running
        for held in tmp_path.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(held.read_text()), signal.SIGTERM)


def test_what_is_asked_fewer_times_stands_in_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in WITH_CODE)
    assert [many for many in FEWER if many not in text] == []


def test_the_readme_counts_what_the_table_of_architectures_holds() -> None:
    rows = re.findall(
        r"\| (works|refused) \|", (ROOT / "docs/reference/architectures.md").read_text()
    )
    readme = (ROOT / "README.md").read_text()
    assert f"{rows.count('works')} of {len(rows)} classes and variants" in readme


def test_no_page_promises_a_command_that_is_not_there() -> None:
    """Verbs named in prose, tables and blocks that are not run exist too."""
    from hlens.cli.app import app

    verbs = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    said = {(page.name, verb) for page in PAGES for verb in named_verbs(page.read_text())}
    assert said
    assert {(page, verb) for page, verb in said if verb not in verbs} == set()


def named_verbs(text: str) -> list[str]:
    """Verbs after ``hlens`` in inline code and in blocks of commands."""
    blocks = "\n".join(re.findall(r"```(?:sh|text)\n(.*?)```", text, re.DOTALL))
    inline = re.findall(r"`hlens ([a-z][a-z-]+)\b", text)
    return [*inline, *re.findall(r"^hlens ([a-z][a-z-]+)\b", blocks, re.MULTILINE)]
