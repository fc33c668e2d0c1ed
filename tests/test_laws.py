"""Laws of all families: a member holds what its family promises, is listed and is documented."""

import json
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hlens import lookup, metrics
from hlens.cli.app import app
from scripts import ROOT, script

# What a member's file defines; only a file with the first of the names is chosen by its own name.
DEFINES = {
    "baselines": ("rival",),
    "behaviours": ("SUITE",),
    "domains": ("questions", "questions_from"),
    "figures": ("draw",),
    "judges": ("judge", "judge_by"),
}
MEMBERS = [(family, name) for family in DEFINES for name in lookup.names(family)]
EVERY_MEMBER = pytest.mark.parametrize(("family", "name"), MEMBERS)


@cache
def listed(family: str) -> list[str]:
    done = CliRunner().invoke(app, ["list", family, "--json"])
    return json.loads(done.stdout)[family]


@EVERY_MEMBER
def test_a_member_defines_what_its_family_promises(family: str, name: str) -> None:
    module = lookup.member(family, name)
    names = DEFINES[family]
    assert any(hasattr(module, one) for one in names), (
        f"{family}/{name}.py must define {' or '.join(names)}"
    )
    assert module.__doc__, f"{family}/{name}.py needs a docstring: it is the reference page"
    assert (name in listed(family)) == hasattr(module, names[0])


@pytest.mark.parametrize("name", metrics.names())
def test_a_metric_is_listed_and_documented(name: str) -> None:
    assert name in listed("metrics")
    assert metrics.by_name(name).__doc__, f"the metric {name} needs a docstring"


@pytest.mark.parametrize("family", DEFINES)
def test_the_reference_has_a_page_for_every_family(family: str) -> None:
    pages = Path(ROOT, "docs/reference/api").glob("*.md")
    assert f".. family:: {family}\n" in "".join(page.read_text() for page in pages)


@EVERY_MEMBER
def test_the_reference_documents_a_member(family: str, name: str) -> None:
    pytest.importorskip("sphinx")
    directives = script("docs/reference/hlens_families.py", "hlens_families")
    assert f".. automodule:: hlens.{family}.{name}" in directives.reference(family, {})
