"""Sphinx directives that read a family's folder, so that a new member needs no line in the docs.

``.. family:: judges`` documents every member as ``automodule`` does, and passes on the options of
``automodule`` that it is given. ``.. rivals::`` is the table of the rival detectors,
``.. layouts::`` that of the layouts of labelled answers.
"""

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

from hlens import baselines, lookup
from hlens.labelled import layouts

K = 7  # samples of a made study, written as "k" in the table


def reference(family: str, options: dict[str, str]) -> list[str]:
    """The lines that document every member of a family."""
    given = [f"   :{name}: {value}" for name, value in {"members": "", **options}.items()]
    return [
        line
        for name in lookup.names(family)
        for line in (f".. automodule:: hlens.{family}.{name}", *given, "")
    ]


def rivals_table() -> list[str]:
    """The rivals as a list-table: what each reads, costs and learns, and where it comes from."""
    heads = ("rival", "sign of hallucination", "reads", "forward passes", "further samples",
             "learns", "source")  # fmt: skip
    return _table([heads, *(_rival_row(name) for name in baselines.names())])


def layouts_table() -> list[str]:
    """The layouts of labelled answers as a list-table: whose, where, and what their words mean."""
    heads = ("layout", "what it holds", "hub", "licence", "what its label words mean")
    return _table([heads, *(_layout_row(name) for name in layouts.names())])


def _layout_row(name: str) -> tuple[str, ...]:
    own = layouts.named(name)
    title = (lookup.member("labelled.layouts", name).__doc__ or "").split("\n")[0]
    words = {
        meant: [w for w, v in own.labels.items() if v == meant] for meant in own.labels.values()
    }
    said = (f"{meant}: " + ", ".join(f"``{w}``" for w in ws) for meant, ws in words.items())
    hub = f"``{own.hub}``" if own.hub else ""
    return f"``{name}``", title, hub, own.licence, "; ".join(said)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        first, *others = row
        lines += [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in others)]
    return [*lines, ""]


def _rival_row(name: str) -> tuple[str, ...]:
    rival = baselines.named(name)
    made = SimpleNamespace(samples=[[""] * K], has=lambda reading: True)
    cost: Any = rival.cost(made)  # type: ignore[arg-type]
    passes, samples = ("k" if n == K else str(n) for n in (cost.passes, cost.samples))
    text = " ".join((lookup.member("baselines", name).__doc__ or "").split())
    source = re.search(r"\b[A-Z]\w+(?: et al\.| and [A-Z]\w+)? \d{4}\b(?!\.\d)", text)
    return (
        f"``{name}``",
        rival.says,
        ", ".join(sorted(rival.needs)),
        passes,
        samples,
        "yes" if rival.learns else "no",
        source[0] if source else "",
    )


class _Generated(SphinxDirective):
    """A directive that expands to generated reStructuredText, rebuilt every time."""

    def parse_lines(self, lines: list[str]) -> list[nodes.Node]:
        self.env.note_reread()
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, StringList(lines, "hlens"), node)
        return node.children


class _Family(_Generated):
    required_arguments = 1
    option_spec: ClassVar[Any] = {"exclude-members": str}

    def run(self) -> list[nodes.Node]:
        return self.parse_lines(reference(self.arguments[0], self.options))


class _Rivals(_Generated):
    def run(self) -> list[nodes.Node]:
        return self.parse_lines(rivals_table())


class _Layouts(_Generated):
    def run(self) -> list[nodes.Node]:
        return self.parse_lines(layouts_table())


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("family", _Family)
    app.add_directive("layouts", _Layouts)
    app.add_directive("rivals", _Rivals)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
