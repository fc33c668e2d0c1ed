"""lm-polygraph (arXiv 2406.15627): answers of a benchmark run, with the metrics of their quality.

``UEManager.save`` of github.com/IINemo/lm-polygraph writes one file by ``torch.save``: a pickle of
metrics, gen_metrics, estimations and stats. A pickle can run code when it is read, so it is not
read here; lm-polygraph writes no other form. Export it where it was made, and read that::

    man = UEManager.load("ue_manager_seed1")
    stats = {key: man.stats[key] for key in ("input_texts", "target_texts", "greedy_texts")}
    metrics = {f"{level} {name}": [float(x) for x in values]
               for (level, name), values in man.gen_metrics.items() if level == "sequence"}
    json.dump({"stats": stats, "gen_metrics": metrics}, open("manager.json", "w"))

The same as a table is read too (CSV, Parquet or JSONL: one answer a row, a column for each text and
each metric). The names were looked up in the repository; the form of the export is hlens's own.

The label is the metric whose values are all 0 or 1 (Accuracy; 1 is correct). Several such metrics,
or metrics of which none is such, are an error: none is chosen, and no threshold is guessed. Without
any metric the answers are unlabelled, and the targets are their gold answers. The input is a bare
prompt either way, few-shot examples included, as the library has it before a chat template. Token
ids are not kept: the manager has those of the answer alone. Answers to one input are one group.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlens.data_files import naming, parse_object, read_text
from hlens.errors import HlensError
from hlens.labelled.layouts import layout
from hlens.labelled.layouts._reading import (
    Record,
    Row,
    group_of,
    list_of,
    read_records,
    text_of,
)

TEXTS = ("input_texts", "target_texts", "greedy_texts")
_PICKLES = (b"\x80", b"PK\x03\x04")  # of torch.save, and its zip


@layout(hub="", licence="MIT", labels={"1": "correct", "0": "hallucinated"})
def read_lm_polygraph(path: Path) -> Iterator[dict[str, Any]]:
    """One row for each answer of an exported manager."""
    _check_no_pickle(path)
    records = list(_from_manager(path) if path.suffix == ".json" else read_records(path))
    with naming(path.name):
        metric = _label_metric([record for _, record in records])
    for number, (where, record) in enumerate(records, start=1):
        with naming(where):
            row = _to_row(record, number, metric)
        yield row


def _check_no_pickle(path: Path) -> None:
    if not path.is_file():
        raise HlensError(f"no file {str(path)!r}; give the path of a file")
    with path.open("rb") as file:
        is_pickle = file.read(4).startswith(_PICKLES)
    if is_pickle:
        raise HlensError(
            f"{path.name} is a saved manager, a pickle, which could run code when read; export it "
            "as JSON where it was made (the reference page of layouts says how)"
        )


def _from_manager(path: Path) -> Iterator[tuple[str, Record]]:
    """The answers of a manager's lists, one record each."""
    text = read_text(path)
    with naming(path.name):
        held = parse_object(text)
        stats, metrics = (_object(held, key) for key in ("stats", "gen_metrics"))
        columns = {key: list_of(stats, key) for key in TEXTS}
        columns |= {key: list_of(metrics, key) for key in metrics}
        lengths = {key: len(column) for key, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise HlensError(f"lists of different lengths ({lengths}); expected one for all")
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        yield f"{path.name}, answer {number}", dict(zip(columns, values, strict=True))


def _object(held: Record, key: str) -> Record:
    value = held.get(key, {})
    if not isinstance(value, dict):
        raise HlensError(f"{key} is {value!r:.60}; expected an object of lists")
    return value


def _label_metric(records: list[Record]) -> str | None:
    """The one column of numbers that are all 0 or 1; None where no column has numbers.

    Raises:
        HlensError: Several such columns or none of several, or one that lacks a number: without it
            the answers would be judged anew, whatever their labels.
    """
    others = {key for record in records for key in record} - set(TEXTS)
    given = {
        key: [record[key] for record in records if record.get(key) not in (None, "")]
        for key in sorted(others)
    }
    numbers = {key: list(map(_number, values)) for key, values in given.items()}
    metrics = {key: values for key, values in numbers.items() if values and None not in values}
    labels = [key for key, values in metrics.items() if set(values) <= {0.0, 1.0}]
    if metrics and len(labels) != 1:
        raise HlensError(
            f"the metrics {', '.join(metrics)}, of which {', '.join(labels) or 'none'} are all 0 "
            "or 1; export the one that is the label, or no metric"
        )
    if not labels:
        return None
    if lacking := len(records) - len(metrics[labels[0]]):
        raise HlensError(
            f"{lacking} of {len(records)} answers have no {labels[0]!r}; give all, or leave it out"
        )
    return labels[0]


def _number(value: Any) -> float | None:
    """A number or truth value, or one written as text, as CSV has it."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return float(value.strip().lower() == "true")
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _to_row(record: Record, number: int, metric: str | None) -> Row:
    asked = text_of(record, "input_texts")
    row = {"id": str(number), "group": group_of(asked), "response": text_of(record, "greedy_texts")}
    if metric is None:
        return {**row, "prompt": asked, "answers": _targets(record)}
    verdict = str(int(_number(record[metric]) or 0))  # all have one, by `_label_metric`
    return {**row, "prompt": asked, "verdict": verdict, "meta": {"metric": metric}}


def _targets(record: Record) -> list[str]:
    """The gold answers: a text, or a list of them."""
    targets = record.get("target_texts")
    targets = [targets] if isinstance(targets, str) else targets
    if not isinstance(targets, list) or not targets or not all(isinstance(t, str) for t in targets):
        raise HlensError(f"target_texts is {targets!r:.60}; expected a text or texts")
    return targets
