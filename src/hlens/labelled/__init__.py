"""Labelled answers of your own: responses that are there already, with labels, as examples.

Problem: whoever wants to look for neurons mostly has answers and labels already: a labelled
evaluation set, a benchmark with marked spans. To sample and judge again would answer another
question.

Idea: what is given replaces the first half of the pipeline (ask, sample, judge, locate); the rest
runs as it always does. Nothing is guessed: a column, a label word or an offset that makes no sense
is an error or a counted loss.

    file -> rows (`rows`) -> questions and tokenised responses (`responses`)
         -> judgements; marks in characters (`marks`) -> examples (`units`)

Example: the row ::

    {"question": "Who wrote Emma?", "response": "Jane Austen wrote Emma in 1920.",
     "spans": [[0, 11, "correct"], [26, 30, "hallucinated"], [40, 44, "hallucinated"]]}

becomes one question, one response judged hallucinated and two examples, the tokens of "Jane Austen"
and of "1920"; the third span lies beyond the text, which `Labelled.losses` counts.

Published files are read in their authors' layout by `layouts`.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from hlens import judges
from hlens.data_files import hash_file
from hlens.errors import HlensError
from hlens.judges import Judge
from hlens.kinds import explain_public, explains_kinds
from hlens.labelled import layouts
from hlens.labelled.responses import TokenisedAnswer, read_responses
from hlens.labelled.rows import COLUMNS, Answer, read_answers
from hlens.labelled.units import LOCATED, Rest, Unit, examples_of
from hlens.lookup import unknown
from hlens.model import Model
from hlens.prompts import Style
from hlens.store.jsonl import question_to_row, response_to_row
from hlens.types import Example, Judgement, Question, Response, Verdict

GIVEN = "given"  # how the reason of a judgement begins where the row itself holds the label
log = logging.getLogger("hlens")

__all__ = ["COLUMNS", "GIVEN", "Labelled", "Rest", "Unit", "content_of", "labelled", "layouts"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled answers, in the form in which a study would have made them itself.

    Attributes:
        questions: What was asked.
        responses: What was answered, tokenised.
        judgements: One for each response. A response with marked spans is hallucinated where any
            span is, and correct where none is.
        examples: Labelled token sequences; several for a response with several spans.
        losses: What became of the labels: columns ``verdict``, ``reason`` (``located`` or why not),
            ``n`` and ``share`` (of the labels with that verdict).
    """

    questions: list[Question]
    responses: list[Response]
    judgements: list[Judgement]
    examples: list[Example]
    losses: pd.DataFrame

    @property
    def digest(self) -> str:
        """A hash of what was asked, answered and labelled."""
        digest = hashlib.sha256(json.dumps(list(map(question_to_row, self.questions))).encode())
        for judged in self.judgements:
            row = response_to_row(judged.response)
            digest.update(json.dumps([row, judged.verdict, judged.answer]).encode())
        for one in self.examples:
            place = one.domain, one.question_id, one.sample, one.start, one.stop, one.hallucinated
            digest.update(json.dumps(place).encode())
        return digest.hexdigest()


def labelled(
    answers: str | Path | pd.DataFrame | Iterable[Mapping[str, Any]],
    model: Model,
    *,
    layout: str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Mapping[Any, str] | None = None,
    unit: Unit = "span",
    rest: Rest = "ignore",
    judge: str | Judge | None = None,
    domain: str | None = None,
    instruction: str = "",
    style: Style = "chat",
) -> Labelled:
    """Read labelled answers: from a file or rows to examples.

    Args:
        answers: A file (.jsonl, .json, .csv, .tsv, .parquet), a data frame, or rows as mappings;
            `hlens.labelled.rows` says what a row holds.
        model: The model that is to be measured; its template and tokenizer tokenise the answers.
        layout: The published layout of the file, one of `hlens.labelled.layouts.names`.
        columns: Where columns have other names: ours to the file's, such as ``{"response":
            "output"}``; an empty name leaves a column out.
        labels: What label words mean, each a word of `Verdict`: ``{"wrong": "hallucinated"}``.
        unit: What one example is: ``"span"``, a labelled span, or the whole response where it has
            no spans; ``"response"``, each response, hallucinated where any span is; or ``"token"``,
            each token of a span, or of a response without spans.
        rest: ``"correct"`` makes correct examples of what is not marked in responses with spans:
            right where everything false is marked. It does nothing where the unit is the response.
        judge: Judges the responses without a label: a name, or a function of a response; None takes
            the judge that each question names, which needs gold answers.
        domain: Domain of the rows that name none; by default the file's name.
        instruction: The text that followed each question when it was asked. Messages, prompts and
            questions in the style of a completion have none.
        style: How questions were asked: ``"chat"``, or ``"completion"`` as text to be continued.

    Returns:
        Questions, responses, judgements and examples; what was lost is counted, and logged.

    Raises:
        HlensError: What cannot be read, with its line and how to mend it: no labels at all, missing
            or misspelt columns, unknown label words, tokens of another text, ...
    """
    for what, given, known in (("unit", unit, get_args(Unit)), ("rest", rest, get_args(Rest))):
        if given not in known:
            raise unknown(what, str(given), known)
    if isinstance(answers, pd.DataFrame):
        try:
            answers = answers.to_dict("records")
        except UnicodeDecodeError as error:  # columns of Arrow's texts are decoded only here
            raise HlensError(f"the data frame holds a text that is no UTF-8 ({error})") from None
    read_from = "rows" if not isinstance(answers, str | Path) else Path(answers).name
    rows = read_answers(answers, layout=layout, columns=columns, labels=labels, domain=domain)
    _check_labelled(rows, judge, read_from)
    read = read_responses(rows, model, instruction=instruction, style=style)
    judgements = _judge(read, judges.named(judge) if isinstance(judge, str) else judge)
    pairs = zip(read, judgements, strict=True)
    examples, losses = examples_of(pairs, model, unit=unit, rest=rest)
    lost = losses[losses["reason"] != LOCATED]
    if len(lost):
        counts = zip(lost["n"], lost["verdict"], lost["reason"], strict=True)
        said = (f"{n} {verdict} ({reason})" for n, verdict, reason in counts)
        log.warning("%s: %d examples; lost: %s", read_from, len(examples), ", ".join(said))
    responses = [one.response for one in read]
    questions = {(r.question.domain, r.question.id): r.question for r in responses}
    return Labelled([*questions.values()], responses, judgements, examples, losses)


def content_of(path: str | Path) -> str:
    """A hash of a file, or of all files of a folder, which changes whenever any of it does.

    Raises:
        HlensError: There is no such file, or it cannot be read.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise HlensError(f"no file {str(path)!r}; give the path of labelled answers")
    digest = hashlib.sha256()
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in filter(Path.is_file, inside):
        digest.update(f"{file.relative_to(path).as_posix()}\0{hash_file(file)}".encode())
    return digest.hexdigest()


def _check_labelled(rows: list[Answer], judge: str | Judge | None, name: str) -> None:
    """Raise `HlensError` where a row has neither a label nor anything to judge it by."""
    if judge is not None:
        return
    bare = [row for row in rows if not row.is_labelled and not row.judgeable]
    if bare:
        raise HlensError(
            f"{name}: {len(bare)} of {len(rows)} rows have no label, such as {bare[0].where}; give "
            "each verdict, correct, hallucinated or spans, or answers to judge it by, or a judge; "
            "columns of other names are mapped: columns={'correct': ...}, --correct ..."
        )


def _judge(read: list[TokenisedAnswer], judge: Judge | None) -> list[Judgement]:
    """The judgement of each response: what its row says, or the judge's where it says nothing."""
    bare = [one.response for one in read if not one.answer.is_labelled]
    judged = iter(judges.judge(bare, judge))
    return [_given(one) if one.answer.is_labelled else next(judged) for one in read]


def _given(read: TokenisedAnswer) -> Judgement:
    """The label of a row as a judgement; where no span counts, the first one's verdict."""
    if read.answer.verdict is not None:
        return Judgement(read.response, read.answer.verdict, GIVEN)
    verdicts = [mark.verdict for mark in read.marks]
    wrong = verdicts.count(Verdict.HALLUCINATED)
    verdict = Verdict.HALLUCINATED if wrong else Verdict.CORRECT
    if verdicts and not {*verdicts} & {Verdict.HALLUCINATED, Verdict.CORRECT}:
        verdict = verdicts[0]
    reason = f"{GIVEN}: {wrong} of {len(verdicts)} spans hallucinated"
    return Judgement(read.response, verdict, reason)


class _CallablePackage(ModuleType):
    """Makes the package callable: ``hlens.labelled(...)`` beside ``hlens.labelled.layouts``."""

    def __call__(self, *args: Any, **options: Any) -> Labelled:
        return explains_kinds(labelled)(*args, **options)


if not TYPE_CHECKING:
    sys.modules[__name__].__class__ = _CallablePackage

explain_public(globals())
