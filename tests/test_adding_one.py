"""Adding one thing means adding one file, as CONTRIBUTING.md promises: tried on a copy.

Each row of `ADDITIONS` is what a contributor would write: one new file below ``src/hlens`` (for a
metric, one function at the end of its module), and its bank where it has one. All of them are
written into one copy of the package and of the unchanged tests, each twice: as `brand_new_KIND`,
and as `faulty_KIND` with one fault. One run of pytest in the copy then gives the verdicts: every
law must hold for the new member, and a law must fail for the faulty one, with a message that tells
its author what to do.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts import ROOT

PACKAGE = ROOT / "src" / "hlens"
COPIED = ("pyproject.toml", "src/hlens", "tests", "docs/reference", "docs/gallery/hlens_gallery.py")


@dataclass(frozen=True)
class Addition:
    """One thing to add; NAME in its texts is its name.

    Attributes:
        kind: What is added, in one word.
        file: Its file below ``src/hlens``; a file that exists is appended to.
        text: What is written.
        laws: The test files that must hold a law for it.
        fault: A part of `text` or `bank`, and what the faulty member has instead.
        complaint: What the failure of the faulty member says.
        bank: The questions that it ships, below ``src/hlens``.
    """

    kind: str
    file: str
    text: str
    laws: tuple[str, ...]
    fault: tuple[str, str]
    complaint: str
    bank: tuple[str, str] = ("", "")

    def write(self, package: Path, name: str, *, faulty: bool = False) -> None:
        for file, text in ((self.file, self.text), self.bank):
            if file:
                text = text.replace(*self.fault) if faulty else text
                with (package / file.replace("NAME", name)).open("a", encoding="utf-8") as opened:
                    opened.write(text.replace("NAME", name))


def existing(file: str, name: str) -> str:
    """The text of a member that exists, under a new name."""
    return (PACKAGE / file).read_text(encoding="utf-8").replace(name, "NAME")


def rows(n: int, question: str, **fields: object) -> str:
    """A bank of `n` questions about different things."""
    lines = [
        {
            "id": f"NAME-{i}",
            "question": question.format(f"Zanta{chr(97 + i % 26)}{i}"),
            "answers": [f"gold {i}"],
            "difficulty": i % 5 + 1,
            **{key: str(value).format(i) for key, value in fields.items()},
        }
        for i in range(n)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


JUDGE = '''"""For short answers: correct if the response begins with an accepted answer."""

from hlens.types import Judgement, Response, Verdict


def judge(response: Response) -> Judgement:
    """Judge the beginning of a response."""
    text = response.text.strip()
    if not text:
        return Judgement(response, Verdict.UNSCORED, "empty")
    is_right = text.startswith(response.question.answers)
    return Judgement(response, Verdict.CORRECT if is_right else Verdict.HALLUCINATED, "beginning")
'''

DOMAIN = '''"""Sums of two numbers."""

from collections.abc import Iterator

from hlens.domains import select_split
from hlens.types import Question


def questions(split: str = "all") -> Iterator[Question]:
    """Sums up to 9 + 9."""
    meta = {"format": "numeric", "judge": "numeric"}
    sums = (
        Question(f"{a}+{b}", "NAME", f"{a} + {b}?", (str(a + b),), group=f"NAME/{a}", meta=meta)
        for a in range(10)
        for b in range(10)
    )
    return select_split(sums, split)
'''

BANK = '''"""Made-up towns.

Written for hlens; the rows are in `banks/NAME.jsonl`.
"""

from hlens.domains._bank import bank_questions

questions = bank_questions("NAME")
'''

REFERENCES = '''"""References to made-up papers.

Written for hlens; the rows are in `references/NAME.jsonl`.
"""

from hlens.domains._references import reference_questions

questions = reference_questions("NAME")
'''

PAPERS = "".join(
    json.dumps(
        {
            "id": f"NAME-{i}",
            "about": f"found the moon of Zanta{chr(97 + i)}",
            "titles": [f"A NAME of Orbit {chr(97 + i)}{i}"],
            "authors": ["Ann Bo"],
            "years": [1950 + i],
            "venues": ["Nature"],
            "identifiers": [],
            "difficulty": i % 5 + 1,
        }
    )
    + "\n"
    for i in range(25)
)

LAYOUT = '''"""Answers of a team, one a line; the layout was looked up at their desk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlens.labelled.layouts import layout
from hlens.labelled.layouts._reading import Record, read_each, text_of


@layout(hub="somebody/NAME", licence="MIT", labels={"good": "correct", "bad": "hallucinated"})
def read_answers(path: Path) -> Iterator[dict[str, Any]]:
    """One row for each answer."""

    def to_rows(record: Record, number: int) -> Iterator[dict[str, Any]]:
        asked, said = text_of(record, "asked"), text_of(record, "said")
        yield {"question": asked, "response": said, "verdict": text_of(record, "mark")}

    yield from read_each(path, to_rows)
'''

HUB = '''"""Riddles of the hub.

Hub: ``somebody/riddles``, split test. MIT. Somebody et al. 2026. Short answers.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, alias_fields, group_name
from hlens.types import Question

HUB = Hub("NAME", "somebody/riddles", "test")
EXAMPLE = {"data/test.jsonl": {"riddle": "What has teeth and cannot eat?", "solution": "a comb"}}


def _to_question(row: Row, config: str, number: int) -> Question:
    return Question(
        id=str(number),
        domain="NAME",
        text=row["riddle"],
        group=group_name("NAME", row["riddle"]),
        **alias_fields(row["solution"]),
    )


questions, questions_from = readers(HUB, _to_question)
'''

METRIC = '''

@metric()
def NAME(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """``2 |a| ||w||``: twice the norm of what a neuron writes.

    >>> w_out = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> NAME(MlpTrace(torch.tensor([[-1.0, 2.0]]), torch.zeros(1, 2), w_out))
    tensor([[10.,  4.]])
    """
    return 2 * mlp.act.float().abs() * mlp.w_norm
'''

SECTION = '''"""How many answers were measured."""

from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import detection

HEADING = "NAME?"
NEEDS = (detection.split,)


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    train, test = tables[detection.split]
    return Section(HEADING, f"{len(train)} answers to learn from, {len(test)} to test on.")
'''

STEP = '''"""How often each domain is wrong."""

import pandas as pd

from hlens.steps.answers import examples
from hlens.steps.step import TABLE, step
from hlens.types import Example


@step(needs=(examples,), options=("evaluation.folds",), storage=TABLE)
def NAME(examples: list[Example], *, folds: int) -> pd.DataFrame:
    """Share of hallucinated answers in each domain that has enough for every fold."""
    table = pd.DataFrame({"domain": e.domain, "wrong": e.hallucinated} for e in examples)
    return table.groupby("domain").filter(lambda own: len(own) >= folds)
'''

ADDITIONS = [
    Addition(
        kind="judge",
        file="judges/NAME.py",
        text=JUDGE,
        laws=("test_judges.py", "test_laws.py"),
        fault=("if not text:", "if text is None:"),
        complaint="must leave an empty response unscored",
    ),
    Addition(
        kind="domain",
        file="domains/NAME.py",
        text=DOMAIN,
        laws=("test_domains.py", "test_laws.py"),
        fault=('group=f"NAME/{a}"', 'group=f"sums/{a}"'),
        complaint="the group begins with the domain's name",
    ),
    Addition(
        kind="bank",
        file="domains/NAME.py",
        text=BANK,
        laws=("test_banks.py", "test_domains.py", "test_laws.py"),
        fault=('"difficulty": 5', '"difficulty": 1'),
        complaint="difficulty",
        bank=(
            "domains/banks/NAME.jsonl",
            rows(60, "In which land is NAME {}?", group="town {}", kind="place"),
        ),
    ),
    Addition(
        kind="references",
        file="domains/citations_NAME.py",
        text=REFERENCES,
        laws=("test_citations.py", "test_domains.py", "test_laws.py"),
        fault=('"difficulty": 5', '"difficulty": 1'),
        complaint="each difficulty occurs",
        bank=("domains/references/NAME.jsonl", PAPERS),
    ),
    Addition(
        kind="layout",
        file="labelled/layouts/NAME.py",
        text=LAYOUT,
        laws=("test_layouts.py",),
        fault=('"bad": "hallucinated"', '"bad": "wrong"'),
        complaint="its labels mean one of",
    ),
    Addition(
        kind="hub_domain",
        file="domains/NAME.py",
        text=HUB,
        laws=("test_hub.py", "test_laws.py"),
        fault=("EXAMPLE = ", "SAMPLE = "),
        complaint="needs EXAMPLE = {file in the hub's layout: one row of it}",
    ),
    Addition(
        kind="metric",
        file="metrics.py",
        text=METRIC,
        laws=("test_metrics.py", "test_laws.py", "metrics.py"),
        fault=("* mlp.w_norm", "+ mlp.w_norm"),
        complaint="Expected",
    ),
    Addition(
        kind="rival",
        file="baselines/NAME.py",
        text=existing("baselines/min_logprob.py", "min_logprob"),
        laws=("test_baselines.py", "test_laws.py"),
        fault=("misleads", "errs"),
        complaint="needs 'It misleads where ...'",
    ),
    Addition(
        kind="behaviour",
        file="behaviours/NAME.py",
        text=existing("behaviours/fabricated_entities.py", "fabricated_entities"),
        laws=("test_effects.py", "test_laws.py"),
        fault=('"id": "NAME-0"', '"id": "NAME-1"'),
        complaint="'faulty_behaviour-1' was used before; give every line its own",
        bank=("behaviours/banks/NAME.jsonl", rows(60, "In which land is NAME {}?")),
    ),
    Addition(
        kind="figure",
        file="figures/NAME.py",
        text=existing("figures/losses.py", "losses"),
        laws=("test_figures.py", "test_laws.py"),
        fault=("def example()", "def sample()"),
        complaint="a function example() that returns made data",
    ),
    Addition(
        kind="section",
        file="report/sections/NAME.py",
        text=SECTION,
        laws=("test_report.py",),
        fault=("NEEDS = (detection.split,)", "NEEDS = (detection.scores,)"),
        complaint="is not among the section's NEEDS",
    ),
    Addition(
        kind="step",
        file="steps/NAME.py",
        text=STEP,
        laws=("test_steps.py",),
        fault=('options=("evaluation.folds",), ', ""),
        complaint="the declaration and the function do not agree",
    ),
]
EVERY_ADDITION = pytest.mark.parametrize("added", ADDITIONS, ids=lambda added: added.kind)
# Name of a member -> the law that was run on it -> what was wrong, or "".
Verdicts = Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    copy = tmp_path_factory.mktemp("copy")
    for path in COPIED:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, copy / path)
        else:
            shutil.copy2(ROOT / path, copy / path)
    for added in ADDITIONS:
        assert added.fault[0] in added.text + added.bank[1], (
            f"{added.kind}: its fault changes nothing"
        )
        added.write(copy / "src" / "hlens", f"brand_new_{added.kind}")
        added.write(copy / "src" / "hlens", f"faulty_{added.kind}", faulty=True)
    files = sorted({place(copy, law) for added in ADDITIONS for law in added.laws})
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    options += ["--doctest-modules", "--junitxml=out.xml", "-k", "brand_new_ or faulty_"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
    )
    assert (copy / "out.xml").exists(), done.stdout + done.stderr
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for case in ElementTree.parse(copy / "out.xml").iter("testcase"):
        name, classname = case.get("name", ""), case.get("classname", "")
        problem = "".join(part.get("message", "") for part in case if part.tag != "system-out")
        for member in re.findall(r"(?:brand_new|faulty)_[a-z_]+", name):
            found[member][f"{classname}.{name}"] = problem
    assert found, done.stdout + done.stderr
    return found


def place(copy: Path, law: str) -> str:
    """The path of a file of laws: a test, or a module whose examples run."""
    path = copy / "tests" / law
    return str(path if path.exists() else copy / "src" / "hlens" / law)


@EVERY_ADDITION
def test_one_new_file_keeps_every_law(added: Addition, verdicts: Verdicts) -> None:
    laws = verdicts[f"brand_new_{added.kind}"]
    assert {name: problem for name, problem in laws.items() if problem} == {}
    for law in added.laws:
        ran = any(law.removesuffix(".py") in re.split(r"[.\[]", name) for name in laws)
        assert ran, f"{law} has no law for it: {sorted(laws)}"


@EVERY_ADDITION
def test_a_fault_is_found_and_its_author_told_what_to_do(
    added: Addition, verdicts: Verdicts
) -> None:
    problems = [problem for problem in verdicts[f"faulty_{added.kind}"].values() if problem]
    assert any(added.complaint in problem for problem in problems), problems
