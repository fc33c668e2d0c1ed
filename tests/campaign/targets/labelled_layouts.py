"""Labelled answers in the eight published layouts: every record is rows, or is said to be lost."""

import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaign.labelled_checks import check_labelled, logged, one_model
from campaign.mutations import mutate_archive, mutate_bytes, mutate_file, mutate_json, write_json
from campaign.targets.labelled_files import records_of, written
from campaign.trials import RIGHT, Plan, WrongError
from hlens.errors import HlensError
from hlens.labelled import labelled, layouts
from layout_rows import (
    BIOGRAPHY,
    DIALOGUE,
    GENERAL,
    GRADED,
    LOG,
    MANAGER,
    QA,
    REFERENCES,
    SUMMARY,
    Row,
    entity,
    label,
    longfact,
    response,
    sample,
    sources,
)

SHARE = 2
KEEPS_INPUT = True
TARGETS = {"choices": ["No", "They hum", "Yes"], "labels": [1, 1, 0]}
EXPORTED = {
    **MANAGER,
    "gen_metrics": {"sequence Accuracy": [1.0, 0.0, 0.0]},
    "stats": {**MANAGER["stats"], "target_texts": [["bees"], ["bees"], ["here"]]},
}
# What a file of each layout holds, one record each; of lm-polygraph as a table.
RECORDS: dict[str, list[Row]] = {
    "ragtruth": [
        response(1, labels=[label("a mile"), label("Paris", "Subtle Baseless Info")]),
        response(2, "8"),
        response(3, "9", quality="incorrect_refusal"),
    ],
    "longfact": [
        longfact(entity("Ann Oak", 0), entity("Rome", 31, "Not Supported")),
        longfact(entity("Siena", None, None), model="n"),
    ],
    "halueval": [QA, DIALOGUE, SUMMARY, GENERAL],
    "truthfulqa": [REFERENCES, {**REFERENCES, "question": "Do wasps sing?"}],
    "simpleqa": [GRADED, {**GRADED, "problem": "Where?", "grade": "NOT_ATTEMPTED"}],
    "factscore": [BIOGRAPHY, {**BIOGRAPHY, "annotations": None}],
    "lm_polygraph": [
        {"input_texts": "Who?", "target_texts": "bees", "greedy_texts": said, "Accuracy": right}
        for said, right in (("bees", 1.0), ("wasps", 0.0))
    ],
    "inspect_ai": [
        sample(1),
        sample(2, value="I"),
        sample(3, scores=None, choices=["bees", "wasps"], target="A"),
        sample(4, error={"message": "no"}),
    ],
}
NUMBERED = ("longfact", "truthfulqa", "factscore")  # whose records have no ids of their own
# A record's rows: how many they are, where no record of the layout may be left out.
ROWS_OF: dict[str, Callable[[Row], int]] = {
    "ragtruth": lambda record: 1,
    "longfact": lambda record: 1,
    "halueval": lambda record: 1 if "user_query" in record and not _is_pair(record) else 2,
    "simpleqa": lambda record: 1,
    "factscore": lambda record: int(bool((record.get("output") or "").strip())),
    "lm_polygraph": lambda record: 1,
}
LEFT_OUT = re.compile(r"\b(\d+) \(")  # in what an Inspect log's reader says


def _is_pair(record: Row) -> bool:
    pairs = ("answer", "response", "summary")
    return any({f"right_{key}", f"hallucinated_{key}"} <= set(record) for key in pairs)


def prepare(home: Path) -> None:
    """The model, which all trials of a process share."""
    one_model()


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A file of one layout, damaged in a value, as JSON, as a table or archive, or in its bytes."""
    name = draw.choice(layouts.names())
    records: list[Row] = json.loads(json.dumps(RECORDS[name]))
    path, data, said = _damaged(draw, name, records)
    beside, damaged_beside = b"", b""
    if name == "ragtruth":
        beside = damaged_beside = written(sources(), ".jsonl")
        if draw.random() < 0.3:
            mutated = mutate_file(draw, "source_info.jsonl", beside)
            damaged_beside, said = mutated.data, f"source_info.jsonl: {mutated.said}"
            data = written(RECORDS[name], path.suffix)
    same = False
    if not said:
        mutated = _mutate(draw, path.name, data)
        (folder / "same").mkdir()
        (folder / "same" / path).write_bytes(data)
        data, said, same = mutated.data, mutated.said, mutated.harmless
    (folder / "set").mkdir()
    (folder / "set" / path).write_bytes(data)
    for kind, text in (("same", beside), ("set", damaged_beside)):
        if name == "ragtruth" and (folder / kind).is_dir():
            (folder / kind / "source_info.jsonl").write_bytes(text)
    unit = draw.choice(("span", "response", "token"))
    return {
        "said": f"{name}, {path.name}: {said}", "layout": name, "file": path.name,
        "same": same, "unit": unit, "rest": draw.choice(("ignore", "ignore", "correct")),
    }  # fmt: skip


def _damaged(draw: random.Random, name: str, records: list[Row]) -> tuple[Path, bytes, str]:
    """Name and content of a file, and what was done to one of its records, if anything."""
    said = ""
    if draw.random() < 0.6:
        at = draw.randrange(len(records))
        records[at], said = mutate_json(draw, records[at])
    if name == "inspect_ai":
        return _log(draw, records, said)
    if name == "lm_polygraph" and draw.random() < 0.4:
        held, said = mutate_json(draw, EXPORTED) if draw.random() < 0.6 else (EXPORTED, "")
        return Path("answers.json"), _encoded(held), said
    suffixes = (".jsonl", ".jsonl", ".json")
    if name in ("simpleqa", "lm_polygraph", "truthfulqa"):
        suffixes += (".csv", ".tsv")
    suffix = draw.choice((*suffixes, ".parquet") if name in ("longfact", "simpleqa") else suffixes)
    stem = "response" if name == "ragtruth" else "answers"
    path = Path(f"{stem}{suffix}")
    if name == "lm_polygraph" and suffix == ".json":
        path = path.with_suffix(".jsonl")
    if path.suffix in (".jsonl", ".json"):
        return path, "\n".join(_encoded(record).decode() for record in records).encode(), said
    plain = [record if isinstance(record, dict) else {} for record in records]
    try:
        return path, written(plain, suffix), said
    except (TypeError, ValueError):  # a record that no table holds
        return path, written(RECORDS[name], suffix), ""


def _log(draw: random.Random, samples: list[Row], said: str) -> tuple[Path, bytes, str]:
    if draw.random() < 0.5:
        return Path("log.json"), _encoded({**LOG, "samples": samples}), said
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
        file.writestr("header.json", json.dumps(LOG))
        for number, one in enumerate(samples):
            file.writestr(f"samples/{number}_epoch_1.json", _encoded(one))
    return Path("log.eval"), out.getvalue(), said


def _encoded(value: Any) -> bytes:
    return write_json(value).encode(errors="replace")


def _mutate(draw: random.Random, name: str, data: bytes) -> Any:
    if name.endswith(".eval"):
        return mutate_archive(draw, data)
    return mutate_file(draw, name, data) if draw.random() < 0.85 else mutate_bytes(draw, data)


def check(plan: Plan, home: Path, folder: Path) -> str:
    """Rows are as many as the records say, labels are the layout's, spans are in their response."""
    path = folder / "set" / plan["file"]
    layout = layouts.named(plan["layout"])
    with logged() as said:
        rows = list(layout(path))
    for row in rows:
        _check_row(row, set(layout.labels))
    if len({row["id"] for row in rows}) != len(rows) and plan["layout"] in NUMBERED:
        raise WrongError("ids: two rows share one")
    _check_number(plan["layout"], path, rows, said)
    options = {"layout": plan["layout"], "unit": plan["unit"], "rest": plan["rest"]}
    read = labelled(path, one_model(), **options)
    if len(read.responses) != len(rows):
        raise WrongError(f"rows lost: {len(read.responses)} of {len(rows)} are read")
    n_marks = sum(len(row.get("spans") or [0]) for row in rows)
    check_labelled(read, unit=plan["unit"], rest=plan["rest"], n_marks=n_marks)
    for row, judged in zip(rows, read.judgements, strict=True):
        if "verdict" in row and judged.verdict != layout.labels.get(row["verdict"]):
            raise WrongError(f"label: {judged.verdict} for {row['verdict']!r}")
        if row["response"] != judged.response.text:
            raise WrongError(f"response: {judged.response.text!r:.60} for {row['response']!r:.60}")
    if plan["same"]:
        try:
            alike = list(layout(folder / "same" / plan["file"]))
        except HlensError:  # refused either way is alike
            alike = []
        if alike != rows:
            raise WrongError("other rows: what must not matter changed them")
    return RIGHT


def _check_row(row: Row, known: set[str]) -> None:
    asked = [key for key in ("question", "messages", "prompt") if key in row]
    labels = [key for key in ("verdict", "correct", "spans") if key in row]
    if len(asked) != 1 or len(labels) > 1:
        raise WrongError(f"row: {asked} and {labels}")
    texts = (row["id"], row["group"], row["response"])
    if not all(isinstance(text, str) for text in texts) or not row["group"]:
        raise WrongError(f"texts: {texts!r:.200}")
    for start, stop, word in row.get("spans", ()):
        if not 0 <= start < stop <= len(row["response"]):
            raise WrongError(f"span: [{start}, {stop}) of {len(row['response'])} characters")
        if not isinstance(word, str):
            raise WrongError(f"label made up: {word!r} of {sorted(known)}")


def _check_number(name: str, path: Path, rows: list[Row], said: list[str]) -> None:
    """Raise `WrongError` where rows and what was said to be left out are not all records."""
    if name == "inspect_ai":
        lost = sum(int(n) for line in said for n in LEFT_OUT.findall(line))
        n = _samples(path)
        if len(rows) + lost != n:
            raise WrongError(f"samples lost: {len(rows)} rows and {lost} left out of {n}")
    elif name == "lm_polygraph" and path.suffix == ".json":
        n = len(json.loads(path.read_text("utf-8-sig"))["stats"]["input_texts"])
        if len(rows) != n:
            raise WrongError(f"answers lost: {len(rows)} of {n}")
    elif name in ROWS_OF:
        n = sum(map(ROWS_OF[name], records_of(path)))
        if len(rows) != n:
            raise WrongError(f"records lost: {len(rows)} rows of {n}")
    else:
        n = len(records_of(path))
        if len({row["id"].partition("-")[0] for row in rows}) != n:
            raise WrongError(f"records lost: rows of {len(rows)} answers, {n} records")


def _samples(path: Path) -> int:
    if path.suffix == ".json":
        return len(json.loads(path.read_text("utf-8-sig"))["samples"])
    with zipfile.ZipFile(path) as archive:
        return sum("samples/" in name.casefold() for name in archive.namelist())
