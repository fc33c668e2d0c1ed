"""What the command line shows: progress and words on stderr, results on stdout."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from hlens.cli.forms import Form
from hlens.errors import one_line
from hlens.visible import harmless

if TYPE_CHECKING:
    import pandas as pd

    from hlens.steps.audit import Audit
    from hlens.study import Study


class Screen(Console):
    """A console that obeys nothing in the text that it shows: no markup, no terminal sequence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=harmless(segment.text))


err = Screen(stderr=True)
out = Screen()


def say(label: str, words: object = "", style: str = "bold", *, to: Console = out) -> None:
    """One line: a label in a style, and words."""
    gap = "  " if label and words != "" else ""
    to.print(Text.assemble((label, style), gap, str(words)), soft_wrap=True)


def error(message: str) -> None:
    """One clear line on stderr."""
    err.print(Text.assemble(("hlens:", "bold red"), " ", one_line(message)), soft_wrap=True)


def warnings_to_stderr() -> None:
    """Show what hlens logs (lost lines, halved batches) as plain lines on stderr."""
    handler = RichHandler(console=err, show_time=False, show_path=False, markup=False)
    logger = logging.getLogger("hlens")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A callback (label, done, total) that draws a bar a step; plain lines when not a terminal."""
    columns = (
        TextColumn("{task.description:<26}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def update(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
                if not err.is_terminal:
                    err.print(f"{step} …")
            bars.update(tasks[step], completed=done, total=max(total, done))

        yield update


def result(facts: Mapping[str, Any], as_json: bool) -> None:
    """Facts by name: a plain list, or JSON."""
    if as_json:
        write(facts)
        return
    for name, value in facts.items():
        words = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        say(str(name), words)


def scores(study: "Study", table: "pd.DataFrame", path: Path | None, form: Form) -> None:
    """The detector beside its controls, what that says in words, and where the report lies."""
    if form:
        report = str(path) if path else None
        facts = {"scores": table, "in_words": study.in_words(), "report": report}
        write(facts, form, study=study)
        return
    shown = Table(title=f"{study.recipe.model}: held-out AUROC beside its controls")
    for name in ("what", "AUROC", "95 % interval", "n", "neurons", "note"):
        shown.add_column(name, justify="left" if name in ("what", "note") else "right")
    for row in table.to_dict("records"):
        measured = row["auroc"] == row["auroc"]
        interval = f"{row['low']:.3f} – {row['high']:.3f}" if measured else "–"
        neurons = "" if row["neurons"] != row["neurons"] else f"{row['neurons']:.0f}"
        auroc, n = f"{row['auroc']:.3f}" if measured else "–", str(row["n"])
        shown.add_row(row["control"], auroc, interval, n, neurons, row["note"])
    out.print(shown)
    if "accuracy" in table:  # scores of an earlier version hold none
        out.print(_accuracies(table))
    for line in study.in_words():
        out.print(f"• {line}", soft_wrap=True)
    if seconds := study.seconds():
        say("took", took(seconds))
    if path:
        say("report", path)


def took(seconds: Mapping[str, float]) -> str:
    """What took long, and all together.

    >>> took({"responses": 102.3, "scores": 21.6, "worked": 0.1})
    '124 s: responses 102, scores 22'
    """
    total = sum(seconds.values())
    longest = sorted(seconds.items(), key=lambda one: -one[1])
    named = [f"{what.replace('_', ' ')} {n:.0f}" for what, n in longest if n > 0.03 * total]
    return f"{total:.0f} s: {', '.join(named)}"


def _accuracies(table: "pd.DataFrame") -> Table:
    """Accuracy of what calls an answer true or false, at the threshold fixed in training."""
    shown = Table(title="accuracy, at the threshold that was fixed in training")
    for name in ("what", "accuracy", "balanced accuracy"):
        shown.add_column(name, justify="left" if name == "what" else "right")
    for row in table.loc[table["accuracy"].notna()].to_dict("records"):
        shown.add_row(row["control"], f"{row['accuracy']:.1%}", f"{row['balanced_accuracy']:.1%}")
    return shown


def tables(
    shown: Mapping[str, "pd.DataFrame"],
    changed: list[str] | None,
    study: "Study | None",
    form: Form,
) -> None:
    """Several tables; `changed` names those that differ after a recomputation, if there was one.

    The scores of a study are shown with what they say in words.
    """
    if form:
        facts: dict[str, Any] = dict(shown)
        facts |= {"in_words": study.in_words()} if study and "scores" in shown else {}
        facts |= {} if changed is None else {"recomputed": True, "changed": changed}
        write(facts, form, study=study)
        return
    for name, frame in shown.items():
        if name == "scores" and study:
            scores(study, frame, None, form)
        else:
            table(name.replace("_", " "), frame)
    if changed is not None:
        words = f"changed: {', '.join(changed)}" if changed else "the numbers are the same"
        say("recomputed", words)


def rows(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """A table as JSON rows."""
    return json.loads(table.to_json(orient="records", double_precision=15) or "[]")


def audit(audited: "Audit", study: "Study", path: Path, form: Form) -> None:
    """The card: for each claim its verdict and what decided it; or all tables in another form."""
    if form == Form.JSON:
        write({**audited.to_dict(), "page": str(path)})
        return
    if form:
        from hlens.steps.audit import across

        captions = {"card": f"Audit: {audited.card.about.rstrip('.')}.", "across": across.help}
        write(audited.tables(), form, study=study, captions=captions)
        return
    shown = Table(title=f"Audit of {audited.card.model}", show_lines=True)
    for name in ("claim", "verdict", "because"):
        shown.add_column(name)
    for claim in audited.card.claims:
        style = {"supported": "bold blue", "not supported": "bold red"}.get(claim.verdict, "dim")
        under = f"\nunder {claim.under}" if claim.under else ""
        because = Text.assemble(claim.because, (under, "dim"))
        shown.add_row(claim.name, Text(claim.verdict, style), because)
    out.print(shown)
    say("card", path)


def write(
    facts: Mapping[str, Any],
    form: Form = Form.JSON,
    *,
    study: "Study | None" = None,
    captions: Mapping[str, str] | None = None,
) -> None:
    """Facts on stdout, tables among them, as JSON or LaTeX; no text of theirs steers a terminal.

    `study` is whose they are, for LaTeX, and `captions` those of tables that no step is named for.
    """
    if form == Form.LATEX:
        from hlens.cli.latex import latex_of

        text = latex_of(facts, study, captions or {})
    else:
        text = json.dumps(facts, indent=1, default=_plain, ensure_ascii=False)
    sys.stdout.write(harmless(text) + "\n")


def _plain(value: Any) -> Any:
    return rows(value) if hasattr(value, "to_json") else str(value)


def table(name: str, frame: "pd.DataFrame") -> None:
    """Any table: an interval in one column, and no number is ever cut short.

    Where a terminal is too narrow, the last columns are left out and named; a file gets all.
    """
    from hlens.display import display_table  # pandas, and seldom needed

    columns = _columns(display_table(frame))
    wide = Screen(width=10_000)
    left_out: list[str] = []
    while out.is_terminal and len(columns) > 2 and _width(wide, columns) > out.width:
        left_out.insert(0, columns.popitem()[0])
    page = out if out.is_terminal else Screen(width=max(80, _width(wide, columns)))
    page.print(_drawn(columns, name))
    if left_out:
        said = f"not shown for want of width: {', '.join(left_out)}; --json has all"
        say(said, style="dim")


def _columns(frame: "pd.DataFrame") -> dict[str, list[str]]:
    """The cells of each column; ``low`` and ``high`` are one, and empty columns none."""
    cells = {str(name): [_cell(value) for value in frame[name]] for name in frame.columns}
    shown: dict[str, list[str]] = {}
    for name, values in cells.items():
        upper = cells.get(name[: -len("low")] + "high") if name.endswith("low") else None
        lower = cells.get(name[: -len("high")] + "low") if name.endswith("high") else None
        if upper is not None:
            pairs = zip(values, upper, strict=True)
            name = (name[: -len("low")] + "interval").replace("_", " ")
            values = [f"{low} - {high}" if low or high else "" for low, high in pairs]
        if lower is None and any(values):
            shown[name] = values
    return shown


def _drawn(columns: Mapping[str, list[str]], title: str | None = None) -> Table:
    drawn = Table(title=title)
    for name, values in columns.items():
        words = any(value and not _is_number(value) for value in values)
        drawn.add_column(name, justify="left" if words else "right", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        drawn.add_row(*row)
    return drawn


def _width(console: Console, columns: Mapping[str, list[str]]) -> int:
    return console.measure(_drawn(columns)).maximum


def _is_number(cell: str) -> bool:
    return cell.replace(" - ", "").lstrip("-")[:1].isdigit()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}"
    return "" if value is None else str(value)
