"""Labelled answers of a user's own: JSONL, JSON, CSV, TSV, Parquet and data frames.

As many rows are read as the file holds, each with the label that it says; every label is an
example or a counted loss; spans are the text that was marked.
"""

import csv
import io
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet

from campaign.labelled_checks import check_labelled, check_spans, one_model, verdict_of
from campaign.mutations import TEXTS, Mutated, hostile_value, mutate_bytes, mutate_file
from campaign.trials import RIGHT, Plan, WrongError
from hlens import labelled

SHARE = 2
KEEPS_INPUT = True
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
LABELS = {"wrong": "hallucinated", "ok": "correct", "skip": "unscored"}
TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who fell?"}]
SAID = "Ann 👩‍🔬 went to Rome in May."
ROWS: tuple[dict[str, Any], ...] = (
    {"id": "a", "question": "Who wrote Emma?", "response": "Jane Austen did.", "correct": True},
    {"question": "Who wrote Emma?", "response": "Ann Oak", "correct": False, "group": "emma"},
    {"question": "Wo?", "response": "Köln", "hallucinated": True, "context": "Am Rhein."},
    {"messages": TURNS, "response": "Nobody.", "verdict": "ok", "domain": "falls"},
    {"prompt": "Q: 2+2?\nA:", "response": " 5", "verdict": "wrong", "meta": {"seed": 3}},
    {"question": "Who went where?", "response": SAID,
     "spans": [[0, 3, "ok"], [16, 20, "wrong"], [24, 27, "wrong"]]},
    {"question": "Who stayed?", "response": SAID, "spans": []},
    {"question": "When?", "response": "I do not know.", "verdict": "refused", "system": "Be true."},
    {"question": "Where?", "response": "", "verdict": "skip"},
    {"question": "Is it wet?", "response": "It is.", "answers": ["yes", "it is"], "id": 0},
)  # fmt: skip
PLAIN = ("id", "question", "response", "correct", "group", "domain", "context", "answers")


def prepare(home: Path) -> None:
    """The model, which all trials of a process share."""
    one_model()


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A file of some rows, damaged in the way of its suffix or in one value."""
    suffix = draw.choice(SUFFIXES)
    rows = [json.loads(json.dumps(row)) for row in draw.sample(ROWS, draw.randint(2, len(ROWS)))]
    said, same = "", False
    way = draw.random()
    if way < 0.35:
        said = _damage(draw, rows)
    if way > 0.85:
        draw.choice(rows)["response"] = text = draw.choice(TEXTS)
        said, same = f"response = {text!r:.40}", False
    data = written(rows, suffix)
    name = f"answers{suffix}"
    (folder / f"same{suffix}").write_bytes(data)
    if not said:
        mutate = mutate_file if draw.random() < 0.85 else lambda d, _, held: mutate_bytes(d, held)
        mutated: Mutated = mutate(draw, name, data)
        data, said = mutated.data, mutated.said
        # In a cell, a line's end is text.
        same = mutated.harmless and not (suffix in (".csv", ".tsv") and "CR LF" in said)
    (folder / name).write_bytes(data)
    return {
        "said": f"{name}, {said}",
        "file": name,
        "same": same,
        "unit": draw.choice(("span", "response", "token")),
        "rest": draw.choice(("ignore", "ignore", "correct")),
        # Where a value is missing, a data frame has other types: 3.0 for 3.
        "frame": not same and draw.random() < 0.2,
    }


def _damage(draw: random.Random, rows: list[dict[str, Any]]) -> str:
    """One value of one row, or a key of it, set to what nobody expects."""
    row = draw.choice(rows)
    key = draw.choice(sorted({*row, *draw.sample(sorted(ALL_KEYS), 2)}))
    if key == "spans" and row.get("spans") and draw.random() < 0.7:
        span = draw.choice(row["spans"])
        at = draw.randrange(3)
        span[at] = draw.choice((*SPAN_PARTS, hostile_value(draw, span[at])))
        return f"a span is {span!r:.60}"
    row[key] = hostile_value(draw, row.get(key))
    return f"{key} = {row[key]!r:.40}"


ALL_KEYS = {key for row in ROWS for key in row} | {"token_ids", "n_prompt", "choices", "label"}
SPAN_PARTS = (5, 6, 28, 29, 10**6, 3.0, "0", "wrong", "ok", "Wrong", "refused", "unscored")


def written(rows: list[dict[str, Any]], suffix: str) -> bytes:
    """Rows as a file of a suffix; lists and objects are JSON in the cells of tables."""
    if suffix == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if suffix == ".json":
        return json.dumps(rows).encode()
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row[key]) if key in row else "" for key in keys] for row in rows]
    if suffix == ".parquet":
        return _parquet(rows, keys, cells)
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
    writer.writerows([keys, *cells])
    return text.getvalue().encode(errors="surrogatepass")


def _parquet(rows: list[dict[str, Any]], keys: list[str], cells: list[list[str]]) -> bytes:
    """A Parquet file with a column of its own type for each key where one type holds it."""
    columns = {}
    for at, key in enumerate(keys):
        try:
            column = pyarrow.array([row.get(key) for row in rows])
            pyarrow.parquet.write_table(pyarrow.table({key: column}), io.BytesIO())
        except (pyarrow.ArrowException, OverflowError, ValueError):
            column = pyarrow.array([line[at].encode(errors="replace").decode() for line in cells])
        columns[key] = column
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def check(plan: Plan, home: Path, folder: Path) -> str:
    """Every row is a response under its own label, every label an example or a counted loss."""
    path = folder / plan["file"]
    answers: Any = path
    if plan["frame"] and path.suffix == ".parquet":
        with suppress(Exception):  # pandas need not read what hlens must refuse
            answers = pd.read_parquet(path)
    model = one_model()
    options = {"labels": LABELS, "unit": plan["unit"], "rest": plan["rest"]}
    read = labelled(answers, model, **options)
    rows = held(path)
    if len(read.responses) != len(rows):
        raise WrongError(f"rows lost: {len(read.responses)} of {len(rows)} are read")
    n_marks = sum(len(row.get("spans") or [0]) for row in rows)
    check_labelled(read, unit=plan["unit"], rest=plan["rest"], n_marks=n_marks)
    for row, judged in zip(rows, read.judgements, strict=True):
        text = judged.response.text
        if row["response"] != text:
            raise WrongError(f"response: {text!r:.60} is read, {row['response']!r:.60} was given")
        verdict = verdict_of(row, LABELS)
        if verdict is None and "answers" not in row and "choices" not in row:
            raise WrongError(f"label made up: {judged.verdict} where the row has none")
        if verdict is not None and judged.verdict is not verdict:
            raise WrongError(f"label: {judged.verdict} for {verdict}")
    if plan["unit"] == "span" and plan["rest"] == "ignore":
        spans = [[[a, b, LABELS.get(c, c)] for a, b, c in row.get("spans", ())] for row in rows]
        marked = [{**row, "spans": own} for row, own in zip(rows, spans, strict=True)]
        check_spans(read, marked, model)
    if plan["same"]:
        alike = labelled(folder / f"same{path.suffix}", model, **options, domain="answers")
        if alike.digest != read.digest:
            raise WrongError("other answers: what must not matter changed them")
    return RIGHT


def held(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that hlens could read, by other code, without cells that are empty."""
    rows = records_of(path)
    if path.suffix == ".json" and len(rows) == 1 and "response" not in rows[0]:
        [rows] = [value for value in rows[0].values() if isinstance(value, list)]
    return [_filled(row) for row in rows]


def records_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, the items of a JSON list, or the objects of a file's lines."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix in (".csv", ".tsv"):
        csv.field_size_limit(10**7)
        delimiter = "\t" if path.suffix == ".tsv" else ","
        lines = filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        header = [name.strip() for name in next(lines, ())]
        return [dict(zip(header, row, strict=True)) for row in lines]
    try:
        whole = json.loads(text)
    except ValueError:
        lines = (line.strip("\ufeff \t\r\x0b\x0c") for line in text.split("\n"))
        return [json.loads(line) for line in lines if line]
    return whole if isinstance(whole, list) else [whole]


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """A row without empty cells, what stands as text in a table as what it says."""
    found = {
        key: value
        for key, value in row.items()
        if value is not None and value == value and (value != "" or key == "response")
    }
    for key in ("correct", "hallucinated"):
        if key in found:
            found[key] = str(found[key]).strip().lower() in ("true", "1", "1.0")
    if isinstance(found.get("spans"), str):
        found["spans"] = json.loads(found["spans"])
    found["spans"] = [
        [s["start"], s["stop"], s["label"]] if isinstance(s, dict) else list(s)
        for s in found.get("spans", ())
    ]
    if "spans" not in row or row["spans"] in (None, ""):
        del found["spans"]
    if "verdict" in found:
        found["verdict"] = _word(found["verdict"])
    return found


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
