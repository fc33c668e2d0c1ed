"""What holds of labelled answers however they were damaged: nothing is lost or made up."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from campaign.trials import WrongError
from hlens.labelled import Labelled
from hlens.model import Model
from hlens.spans import LABELS
from hlens.types import Verdict
from tiny_study import tiny_model

_MODELS: dict[str, Model] = {}


def one_model() -> Model:
    """The tiny model, opened once in a process."""
    if not _MODELS:
        _MODELS["tiny"] = tiny_model()
    return _MODELS["tiny"]


def check_labelled(read: Labelled, *, unit: str, rest: str, n_marks: int) -> None:
    """Raise `WrongError` unless judgements, examples and losses agree with each other.

    Args:
        read: What was read.
        unit: What one example is.
        rest: What becomes of what is not marked.
        n_marks: How many labels the file holds: its spans, and its responses that have none.
    """
    responses = [judged.response for judged in read.judgements]
    if responses != read.responses:
        raise WrongError("judgements: not one to each response")
    known = {(q.domain, q.id): q for q in read.questions}
    if any(known.get((r.question.domain, r.question.id)) != r.question for r in responses):
        raise WrongError("questions: a response is to none of them")
    keys = {(r.question.domain, r.question.id, r.sample): r for r in responses}
    if len(keys) != len(responses):
        raise WrongError("samples: two responses share a place")
    for example in read.examples:
        response = keys.get((example.domain, example.question_id, example.sample))
        if response is None or response.question.group != example.group:
            raise WrongError("examples: one is of no response")
        first = response.n_prompt + response.n_thought
        if not first <= example.start < example.stop <= len(response.token_ids):
            raise WrongError(f"span: tokens [{example.start}, {example.stop}) leave the response")
    _check_counts(read, unit=unit, rest=rest, n_marks=n_marks)
    if unit == "response":
        _check_whole(read, keys)


def _check_counts(read: Labelled, *, unit: str, rest: str, n_marks: int) -> None:
    """As many labels kept and lost as the file holds."""
    losses = read.losses
    expected = len(read.responses) if unit == "response" else n_marks
    if rest == "ignore" and int(losses["n"].sum()) != expected:
        raise WrongError(f"labels lost: {losses['n'].sum()} of {expected} are counted")
    located = losses[losses["reason"] == "located"]
    for verdict, label in LABELS.items():
        counted = int(located.loc[located["verdict"] == verdict.value, "n"].sum())
        found = sum(example.hallucinated is label for example in read.examples)
        if unit != "token" and counted != found:
            raise WrongError(f"labels: {counted} {verdict} located, {found} examples")


def _check_whole(read: Labelled, keys: dict[Any, Any]) -> None:
    verdicts = {
        (j.response.question.domain, j.response.question.id, j.response.sample): j.verdict
        for j in read.judgements
    }
    for example in read.examples:
        verdict = verdicts[example.domain, example.question_id, example.sample]
        if LABELS.get(verdict) is not example.hallucinated:
            raise WrongError(f"labels: an example of {verdict} is {example.hallucinated}")


def verdict_of(row: dict[str, Any], labels: dict[str, str]) -> Verdict | None:
    """What a row's own label says, read by other code than hlens's; None where it has none."""
    if "verdict" in row:
        return Verdict(labels.get(row["verdict"], row["verdict"]))
    for name, wrong in (("correct", False), ("hallucinated", True)):
        if name in row:
            return Verdict.HALLUCINATED if row[name] is wrong else Verdict.CORRECT
    if "spans" not in row:
        return None
    found = [Verdict(labels.get(label, label)) for *_, label in row["spans"]]
    if Verdict.HALLUCINATED in found:
        return Verdict.HALLUCINATED
    return found[0] if found and Verdict.CORRECT not in found else Verdict.CORRECT


def check_spans(read: Labelled, rows: Sequence[dict[str, Any]], model: Model) -> None:
    """Raise `WrongError` unless each example of a marked row is the text of a mark of its label.

    The tokens of the tiny model are bytes, so that they hold no more than it.
    """
    texts: dict[tuple[str, bool], set[str]] = {}
    for row, response in zip(rows, read.responses, strict=True):
        for start, stop, label in row.get("spans", ()):
            key = f"{response.question.id}/{response.sample}", label == "hallucinated"
            texts.setdefault(key, set()).add(row["response"][start:stop].strip())
    marked = {key for key, _ in texts}
    for example in read.examples:
        place = f"{example.question_id}/{example.sample}"
        if place not in marked:
            continue
        said = model.decode(example.token_ids[example.start : example.stop].tolist()).strip()
        if said not in texts.get((place, example.hallucinated), set()):
            raise WrongError(f"span: {said!r:.60} was not marked so")


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collects what hlens says in its log."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("hlens")
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)
