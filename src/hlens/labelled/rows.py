"""Rows of labelled answers as people keep them: JSONL, JSON, CSV, TSV, Parquet, or mappings.

Problem: everybody's file has other columns, label words and ways to write a list in a cell, and a
reader that guesses among them gives labels that nobody gave.

Idea: one set of columns. A file with others says so in a mapping, or it is an error that says how;
each row is checked by itself, and an error names its line.

A row has

- exactly one of ``question`` (a text), ``messages`` (all turns before the response) and ``prompt``
  (a text without a template); optionally ``choices`` and ``answers`` or ``answer``, the gold
  answers; beside a question also ``system`` and ``context``;
- ``response``, a text; optionally ``token_ids`` and ``n_prompt``, as they were generated;
- at most one of ``verdict`` (a word), ``correct``, ``hallucinated`` (true or false) and ``spans``
  (a list of ``[start, stop, label]``, characters of the response); a row with none is judged;
- optionally ``id``, ``group``, ``domain`` and ``meta``.

Example: a CSV with the columns ``input``, ``output`` and ``grade``, the last of them "ok" or
"wrong", is read with ::

    columns={"question": "input", "response": "output", "verdict": "grade"}
    labels={"ok": "correct", "wrong": "hallucinated"}
"""

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hlens import data_files
from hlens.data_files import naming
from hlens.domains import BAD_ROW, explain_bad_row, read_rows
from hlens.domains.jsonl import to_question
from hlens.errors import HlensError
from hlens.labelled import layouts
from hlens.labelled.marks import Mark
from hlens.lookup import unknown
from hlens.prompts import check_turns
from hlens.store.jsonl import question_to_row
from hlens.types import Question, Verdict

log = logging.getLogger("hlens")
ASKED = ("question", "messages", "prompt")
BESIDE = ("system", "context", "choices", "answers", "answer")  # what may go with them
LABELS = ("verdict", "correct", "hallucinated", "spans")
COLUMNS = (*ASKED, *BESIDE, "response", "token_ids", "n_prompt", *LABELS)
COLUMNS += ("id", "group", "domain", "meta")
_JSON = ("messages", "choices", "token_ids", "spans", "meta")  # written as JSON in a cell of text
# Truth values as CSV and data frames write them.
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Answer:
    """A row as it was read.

    Attributes:
        where: The file and the line, for errors.
        question: What was asked; ``meta["asked_as"]`` holds messages, a prompt or a system message.
        text: The response.
        named: Whether the row has an id of its own.
        grouped: Whether it has a group of its own.
        token_ids: Prompt and response, where the row has them.
        n_prompt: How many of them are prompt.
        verdict: Of the whole response; None where the row gives none.
        marks: Labelled stretches; None where the row has no spans, empty where its list is empty.
        judgeable: Whether the row says what is right, so that a response can be judged by it.
    """

    where: str
    question: Question
    text: str
    named: bool
    grouped: bool
    token_ids: tuple[int, ...] = ()
    n_prompt: int = 0
    verdict: Verdict | None = None
    marks: tuple[Mark, ...] | None = None
    judgeable: bool = False

    @property
    def is_labelled(self) -> bool:
        return self.verdict is not None or self.marks is not None


def read_answers(
    answers: str | Path | Iterable[Mapping[str, Any]],
    *,
    layout: str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Mapping[Any, str] | None = None,
    domain: str | None = None,
) -> list[Answer]:
    """Read rows, all columns and label words checked; see `hlens.labelled.labelled`.

    Raises:
        HlensError: Whatever cannot be read as it stands, with the line and how to mend it.
    """
    name = "rows" if not isinstance(answers, str | Path) else Path(answers).name
    rows = list(_located(answers, layout))
    if not rows:
        raise HlensError(f"{name} holds no row; expected one labelled answer or more")
    known = layouts.named(layout).labels if layout else {}
    words = _Words({**known, **(labels or {})})
    rows = _renamed(name, rows, columns or {}, is_layout=layout is not None)
    words.check(name, rows)
    stem = domain or ("answers" if not isinstance(answers, str | Path) else Path(answers).stem)
    found = []
    for number, (where, row) in enumerate(rows, start=1):
        with naming(where):
            found.append(_answer_of(row, where, number, stem, words))
    return found


def _located(
    answers: str | Path | Iterable[Mapping[str, Any]], layout: str | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with its place in the file."""
    if not isinstance(answers, str | Path):
        if layout:
            raise HlensError(f"layout {layout!r} is that of a file; give its path")
        for number, row in enumerate(answers, start=1):
            if not isinstance(row, Mapping):
                raise HlensError(f"row {number} is {row!r:.60}; expected a mapping")
            yield f"row {number}", row
        return
    path = Path(answers).expanduser()
    if not path.exists():
        raise HlensError(f"no file {str(path)!r}; give the path of labelled answers")
    if layout:
        read: Iterable[Mapping[str, Any]] = layouts.named(layout)(path)
    elif path.is_dir():
        raise HlensError(f"{str(path)!r} is a folder; give a file of it, or the layout that it has")
    elif path.suffix == ".jsonl":
        yield from ((f"{path.name}, line {n}", row) for n, row in data_files.read_objects(path))
        return
    elif path.suffix in (".csv", ".tsv"):
        read = data_files.read_csv(path, every_row=True)
    elif path.suffix in SUFFIXES:
        read = read_rows(path)
    else:
        raise HlensError(
            f"{path.name} has an unknown suffix {path.suffix!r}; expected {', '.join(SUFFIXES)}"
        )
    number = 0
    try:
        for number, row in enumerate(read, start=1):
            yield f"{path.name}, row {number}", row
    except HlensError:
        raise
    except BAD_ROW as error:  # of a layout's reader
        said = explain_bad_row(error)
        raise HlensError(
            f"{path.name}, row {number + 1}: {said}; expected the layout {layout!r}"
        ) from None


def _renamed(
    name: str,
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    columns: Mapping[str, str],
    *,
    is_layout: bool,
) -> list[tuple[str, dict[str, Any]]]:
    """The rows under the names of `COLUMNS`, without empty cells; the log names columns not read.

    `columns` is ours to the file's, an empty name for a column that is left out.
    """
    held = dict.fromkeys(key for _, row in rows for key in row)  # columns of the file, in order
    for ours, theirs in columns.items():
        if ours not in COLUMNS:
            raise unknown("column", ours, COLUMNS)
        if theirs and theirs not in held:
            raise HlensError(
                f"{name} has no column {theirs!r}, which should be the {ours}; it has "
                f"{_listed(held)}"
            )
    mapped = {theirs: ours for ours, theirs in columns.items() if theirs}
    if len(mapped) < sum(map(bool, columns.values())):
        raise HlensError("one column is mapped twice; map each to one name")
    dropped = {ours for ours, theirs in columns.items() if theirs != ours} - {*mapped}
    names = {key: mapped.get(key, key) for key in held if key not in dropped}
    _check_columns(name, names, held)
    unread = [key for key in names.values() if key not in COLUMNS]
    if not is_layout and not {*names.values(), *columns} & {*LABELS}:
        _check_unread(name, unread)
    if unread and not is_layout:
        log.warning("%s: columns that are not read: %s", name, _listed(unread))
    return [
        (
            where,
            {
                names[key]: value
                for key, value in row.items()
                if names.get(key) in COLUMNS and not _is_absent(names[key], value)
            },
        )
        for where, row in rows
    ]


def _check_columns(name: str, names: Mapping[str, str], held: Iterable[str]) -> None:
    """Raise `HlensError` where a column is missing or looks misspelt."""
    ours = set(names.values())
    for key in ours - {*COLUMNS}:
        near = set(get_close_matches(str(key), COLUMNS, n=1, cutoff=0.8)) - ours
        if near:
            raise HlensError(
                f"{name} has a column {key!r}; did you mean {min(near)!r}? Rename it, or map it: "
                f"columns={{{min(near)!r}: {key!r}}}, --{min(near)} {key}"
            )
    for needed in (ASKED, ("response",)):
        if not ours & {*needed}:
            wanted = " or ".join(map(repr, needed))
            raise HlensError(
                f"{name} has no column {wanted}; it has {_listed(held)}; name yours: "
                f"columns={{{needed[0]!r}: ...}}, --{needed[0]} ..."
            )


def _check_unread(name: str, unread: Iterable[str]) -> None:
    """Raise `HlensError` where a judge would answer what a column that is not read has labelled."""
    for key in unread:
        if "label" in str(key).casefold():
            raise HlensError(
                f"{name} has a column {key!r}, and none that is read as a label; map it: "
                f"columns={{'verdict': {key!r}}}, --verdict {key}, or, where it is no label, "
                "columns={'verdict': ''}, --verdict ''"
            )


def _listed(names: Iterable[object]) -> str:
    """Names as text; of many, the first twelve."""
    names = [f"{name!s:.40}" for name in names]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def _is_absent(name: str, value: Any) -> bool:
    """Whether a cell is empty, as CSV and data frames write it; an empty response is a response."""
    if isinstance(value, str):
        return not value and name != "response"
    return value is None or (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True)
class _Words:
    """What label words mean."""

    meaning: Mapping[Any, str]

    def __post_init__(self) -> None:
        for word, verdict in self.meaning.items():
            if verdict not in list(Verdict):
                raise unknown(f"meaning of label {word!r}:", str(verdict), list(Verdict))
        named = {_word(word): verdict for word, verdict in self.meaning.items()}
        object.__setattr__(self, "meaning", named)

    def verdict(self, word: Any) -> Verdict | None:
        """The verdict of a word, a number or a truth value; None where it is unknown."""
        own = _word(word)
        meant = self.meaning.get(own, own)
        return Verdict(meant) if meant in list(Verdict) else None

    def check(self, name: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Raise `HlensError` where words of the file have no meaning; it names all of them."""
        unknowns: Counter[str] = Counter()
        for _, row in rows:
            words = [row["verdict"]] if "verdict" in row else []
            with suppress(HlensError):  # which the row's own reading reports
                words += [span[2] for span in _spans(row.get("spans", []))]
            unknowns.update(f"{_word(word):.60}" for word in words if self.verdict(word) is None)
        if unknowns:
            said = ", ".join(f"{word!r} ({n})" for word, n in unknowns.most_common(8))
            first = next(iter(unknowns))
            raise HlensError(
                f"{name}: unknown label words {said}; say what they mean "
                f"({', '.join(Verdict)}): labels={{{first!r}: 'hallucinated'}}, "
                f"--label '{first}=hallucinated'"
            )


def _word(value: Any) -> str:
    """A label as a word: that of a truth value is JSON's, whoever wrote it.

    >>> _word(False), _word(1), _word("Correct")
    ('false', '1', 'Correct')
    """
    value = _unpacked(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer_of(row: Mapping[str, Any], where: str, number: int, stem: str, words: _Words) -> Answer:
    """A row read; `number` is its id where it has none, `stem` its domain where it names none."""
    text = row.get("response")
    if not isinstance(text, str):
        raise HlensError(f"response is {text!r:.60}; expected a text")
    given = [name for name in LABELS if name in row]
    if len(given) > 1:
        raise HlensError(
            f"both {given[0]!r} and {given[1]!r}; keep one, or map the other away: "
            f"columns={{{given[1]!r}: ''}}, --{given[1]} ''"
        )
    marks = None
    if "spans" in row:
        marks = tuple(_mark(span, words) for span in _spans(row["spans"]))
    question = _question_of(row, number, stem)
    _check_storable(question, text)
    ids, n_prompt = _tokens(row)
    return Answer(
        where,
        question,
        text,
        named="id" in row,
        grouped="group" in row or "group" in question.meta,
        token_ids=ids,
        n_prompt=n_prompt,
        verdict=_verdict(row, words),
        marks=marks,
        judgeable="judge" in question.meta,
    )


def _question_of(row: Mapping[str, Any], number: int, stem: str) -> Question:
    """The question of a row; its meta says how it was asked, where that was not as a question."""
    asked = [name for name in ASKED if name in row]
    if len(asked) != 1:
        said, mend = "neither question nor prompt", ""
        if asked:
            said = f"both {asked[0]!r} and {asked[1]!r}"
            mend = f"; map the other away: columns={{{asked[1]!r}: ''}}, --{asked[1]} ''"
        raise HlensError(f"{said}; expected exactly one of {', '.join(ASKED)}{mend}")
    [how] = asked
    if how != "question" and (beside := [name for name in ("system", "context") if name in row]):
        raise HlensError(f"{beside[0]!r} beside {how!r}, which should hold it; leave it out")
    value = _plain(row, how)
    asked_as: dict[str, Any] | None = None
    text = value
    if how == "messages":
        check_turns(value)
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in value]
        asked_as, text = {"messages": turns}, turns[-1]["content"]
    elif not isinstance(value, str) or not value.strip():
        raise HlensError(f"{how} is {value!r:.60}; expected a text")
    elif how == "prompt":
        asked_as = {"prompt": value}
    elif "system" in row:
        if not isinstance(row["system"], str):
            raise HlensError(f"system is {row['system']!r:.60}; expected a text")
        asked_as = {"system": row["system"]}
    fields = {
        key: _plain(row, key)
        for key in ("context", "choices", "answers", "answer", "id", "group", "domain", "meta")
        if key in row
    }
    question, _ = to_question({"question": text, **fields}, number, stem)
    meta = {**question.meta, **({"asked_as": asked_as} if asked_as else {})}
    names_judge = "judge" in (fields.get("meta") or {})
    if not names_judge and not {"answers", "answer", "choices"} & set(row):
        del meta["judge"]  # nothing says what is right, least of all that the model should abstain
    return replace(question, meta=meta)


def _check_storable(question: Question, text: str) -> None:
    """Raise `HlensError` for what no file of a study could hold, before a tokenizer meets it."""
    try:
        json.dumps([question_to_row(question), text], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise HlensError("half of a character (\\ud800 to \\udfff alone)") from None
    except TypeError as error:
        raise HlensError(
            f"meta holds what is no JSON ({error}); make it text, or leave it out: "
            "columns={'meta': ''}, --meta ''"
        ) from None


def _verdict(row: Mapping[str, Any], words: _Words) -> Verdict | None:
    """The verdict of a row; None where it has spans, or no label at all."""
    if "verdict" in row:
        return words.verdict(row["verdict"])
    for name, verdicts in (
        ("correct", (Verdict.HALLUCINATED, Verdict.CORRECT)),
        ("hallucinated", (Verdict.CORRECT, Verdict.HALLUCINATED)),
    ):
        if name in row:
            truth = _TRUTH.get(str(row[name]).strip().lower())
            if truth is None:
                raise HlensError(f"{name} is {row[name]!r:.60}; expected true or false")
            return verdicts[truth]
    return None


def _plain(row: Mapping[str, Any], name: str) -> Any:
    """A value; of a cell of text in a column of lists or objects, what its JSON says."""
    value: Any = row.get(name)
    if isinstance(value, str) and (name in _JSON or (name == "answers" and value[:1] == "[")):
        with naming(name):
            return data_files.parse_json(value)
    return _unpacked(value)


def _unpacked(value: Any) -> Any:
    """A value with arrays (as data frames read Parquet) and tuples made lists."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, tuple) else value


def _spans(value: Any) -> list[tuple[int, int, Any]]:
    """``[start, stop, label]`` of each span."""
    value = _plain({"spans": value}, "spans")
    if not isinstance(value, list):
        raise HlensError(f"spans is {value!r:.60}; expected a list of [start, stop, label]")
    return list(map(_span, value))


def _span(value: Any) -> tuple[int, int, Any]:
    if isinstance(value, Mapping) and {*value} >= {"start", "stop", "label"}:
        value = [value["start"], value["stop"], value["label"]]
    value = _unpacked(value)
    if not isinstance(value, list) or len(value) != 3:
        raise HlensError(f"a span is {value!r:.60}; expected [start, stop, label]")
    start, stop, label = value
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (start, stop))
    if not whole or start > stop or start < 0:
        raise HlensError(
            f"a span is [{start!r:.20}, {stop!r:.20}, ...]; expected two ascending offsets in "
            "characters"
        )
    if not isinstance(label, str | int | float):
        raise HlensError(f"the label of a span is {label!r:.60}; expected a word")
    return start, stop, label


def _mark(span: tuple[int, int, Any], words: _Words) -> Mark:
    verdict = words.verdict(span[2])
    assert verdict is not None  # all words were checked before
    return Mark(span[0], span[1], verdict)


def _tokens(row: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """Token ids as they were generated, and how many are prompt."""
    ids, n_prompt = _plain(row, "token_ids"), row.get("n_prompt")
    if ids is None and n_prompt is None:
        return (), 0
    if ids is None or n_prompt is None:
        raise HlensError("token_ids and n_prompt go together; give both, or neither")
    if not isinstance(ids, list) or not all(type(one) is int and one >= 0 for one in ids):
        raise HlensError(f"token_ids is {ids!r:.60}; expected a list of whole numbers")
    with suppress(ValueError, TypeError):
        if not isinstance(n_prompt, bool) and 0 < int(n_prompt) == float(n_prompt) <= len(ids):
            return tuple(ids), int(n_prompt)
    raise HlensError(f"n_prompt is {n_prompt!r:.20}; expected 1 to {len(ids)}, of its token_ids")
