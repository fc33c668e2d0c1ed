"""Answers in a terminal, token by token, coloured by their risk."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from hlens.cli.show import err, out

SHADES = ((0.75, "red"), (0.5, "yellow"), (0.0, "green"))
ENDS = {"length": "cut at the token limit", "risk": "stopped there"}


@contextmanager
def growing(n: int) -> Iterator[Callable[[int, str, float], None]]:
    """Tokens as they are written, a line an answer on stderr; gone when `answers` tells them.

    Where stderr is no terminal, nothing is shown.
    """
    lines = [Text() for _ in range(n)]
    if not err.is_terminal:
        yield lambda row, text, probability: None
        return
    with Live(Group(*lines), console=err, auto_refresh=False, transient=True) as live:

        def tell(row: int, text: str, probability: float) -> None:
            lines[row].append_text(_token(text, probability))
            live.update(Group(*lines), refresh=True)

        yield tell


def answers(found: Mapping[str, Any]) -> None:
    """What was watched: each answer, its risk and its end, and how much was read."""
    for one in found["answers"]:
        out.print(f"[bold]{escape(one['question'])}[/]", soft_wrap=True)
        tokens = [_token(token["token"], token["probability"]) for token in one["tokens"]]
        out.print(Text.assemble("  ", *tokens) if tokens else "  (an empty answer)", soft_wrap=True)
        out.print(f"  {_fate(one)}\n", soft_wrap=True)
    how = "calibrated on held-out folds" if found["calibrated"] else "not calibrated"
    shades = "[green]below 0.5[/], [yellow]from 0.5[/], [red]from 0.75[/]"
    out.print(
        f"risk: probability of hallucination, read up to each token, {how}: {shades}",
        soft_wrap=True,
    )
    read = f"{found['neurons']} neurons at each token, {found['tokens x neurons read']:,} in all"
    out.print(f"read: {read}", soft_wrap=True)


def _fate(one: Mapping[str, Any]) -> str:
    """Risk of the whole answer, where it was flagged, and how it ended."""
    if one["probability"] is None:
        return "risk: none, nothing was written"
    told = [f"risk {one['probability']:.2f}"]
    if one["flagged_at"] is not None:
        told.append(f"flagged at token {one['flagged_at'] + 1}")
    return ", ".join([*told, *([ENDS[one["finish"]]] if one["finish"] in ENDS else [])])


def _token(text: str, probability: float) -> Text:
    shade = next(colour for least, colour in SHADES if probability >= least)
    return Text(text.replace("\n", "↵"), style=shade)
