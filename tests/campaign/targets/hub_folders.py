"""Data sets of the hub in local folders: Parquet, JSONL, JSON, CSV and TSV files."""

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from campaign.mutations import hostile_value, mutate_file
from campaign.trials import RIGHT, Plan, WrongError
from hlens import domains, lookup
from hlens.errors import HlensError

SHARE = 1.2
KEEPS_INPUT = True
ROWS = 3


def prepare(home: Path) -> None:
    """Nothing: each domain brings an example of its rows."""


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A folder of one data set, one of its files damaged."""
    name = draw.choice(_names())
    example = lookup.member("domains", name).EXAMPLE
    files = sorted(example)
    damaged = draw.choice(files)
    said, same = "", False
    for file in files:
        suffix = draw.choice((Path(file).suffix, ".jsonl", ".csv", ".json", ".parquet", ".tsv"))
        path = folder / "set" / Path(file).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [_row(example[file], number) for number in range(ROWS)]
        if file == damaged and suffix == ".parquet" and draw.random() < 0.5:
            row = draw.choice(rows)
            key = draw.choice(sorted(row))
            row[key] = hostile_value(draw, row[key])
            said = f"{key} = {row[key]!r:.40}"
        data = _written(rows, suffix)
        if file == damaged and not said:
            mutated = mutate_file(draw, path.name, data)
            same, said, written = mutated.harmless, f"{path.name}: {mutated.said}", mutated.data
            if same:
                again = folder / "same" / path.relative_to(folder / "set")
                again.parent.mkdir(parents=True, exist_ok=True)
                again.write_bytes(data)
        else:
            written = data
        path.write_bytes(written)
    return {"said": f"{name}, {said}", "domain": name, "same": same and len(files) == 1}


def _names() -> list[str]:
    members = ((name, lookup.member("domains", name)) for name in domains.names())
    return [name for name, member in members if hasattr(member, "EXAMPLE")]


def _row(row: Any, number: int) -> dict[str, Any]:
    """The example, or one like it under another id and other words."""
    changed = {}
    for key, value in dict(row).items():
        is_text = isinstance(value, str) and (key in ("id", "question") or key.endswith("id"))
        changed[key] = f"{value} {number}" if is_text and number else value
        if isinstance(value, int) and key == "id":
            changed[key] = value + number
    return changed


def _written(rows: list[dict[str, Any]], suffix: str) -> bytes:
    if suffix == ".parquet":
        out = io.BytesIO()
        try:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
        except (pyarrow.ArrowException, OverflowError):  # values that no column holds
            texts = [{key: f"text {value}" for key, value in row.items()} for row in rows]
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(texts), out)
        return out.getvalue()
    if suffix in (".csv", ".tsv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter="," if suffix == ".csv" else "\t")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().replace("\r\n", "\n").encode()
    if suffix == ".json":
        return json.dumps(rows).encode()
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def check(plan: Plan, home: Path, folder: Path) -> str:
    """Every question has a text, an id of its own and a gold answer."""
    alike = None
    if plan["same"]:
        try:
            alike = domains.load(f"{plan['domain']}:{folder / 'same'}")
        except HlensError:  # CSV holds only texts, which not every set can be read from
            plan["same"] = False
    questions = domains.load(f"{plan['domain']}:{folder / 'set'}")
    if len({question.id for question in questions}) != len(questions):
        raise WrongError("ids: two questions share one")
    for question in questions:
        texts = [question.text, *question.answers, *question.choices]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise WrongError(f"no text: {question!r:.200}")
        if not question.answers:
            raise WrongError(f"no gold answer: {question!r:.200}")
        json.dumps(dict(question.meta))
        # A text of that name is an answer like others; a value that is none is not.
        none = [one for one in question.answers if one.casefold() in ("nan", "none", "inf")]
        if any(f"'{answer}'" not in plan["said"] for answer in none):
            raise WrongError(f"no answer: {question.answers!r:.100} is taken for one")
    if alike is not None and [vars(one) for one in alike] != [vars(one) for one in questions]:
        raise WrongError("other questions: what must not matter changed them")
    return RIGHT
