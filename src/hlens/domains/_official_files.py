"""Read the files released with the official code of arXiv 2512.01797, and decode their tokens."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hlens.domains._groups import SPLITS
from hlens.domains.jsonl import BadLine, parse_object
from hlens.errors import HlensError

FIELDS = ("question", "response", "tokenized_response", "answer_tokens")
log = logging.getLogger("hlens")


@dataclass(frozen=True)
class Row:
    """One released response.

    Attributes:
        qid: Id of its question.
        question: As it was asked, the instruction included.
        response: Its text.
        pieces: Its tokens as vocabulary entries.
        answer_pieces: Those of the answer; empty where the official extraction failed.
        label: ``"t"``, ``"f"``, or empty for a response in neither set.
        split: ``"train"`` or ``"test"``.
    """

    qid: str
    question: str
    response: str
    pieces: tuple[str, ...]
    answer_pieces: tuple[str, ...]
    label: str
    split: str


@dataclass(frozen=True)
class Released:
    """What the files hold: rows, lines that could not be read, and ids that are in both sets."""

    rows: tuple[Row, ...]
    bad: tuple[BadLine, ...]
    conflicts: tuple[str, ...]


def read(prefix: str | Path, split: str = "all") -> Released:
    """Read the files of a model; bad lines and ids in both sets are logged and counted.

    Raises:
        HlensError: No files of that prefix, an unknown split, or ids that cannot be read.
    """
    prefix = Path(prefix).expanduser()
    if split not in SPLITS:
        raise HlensError(f"unknown split {split!r}; expected 'all', 'train' or 'test'")
    rows: list[Row] = []
    bad: list[BadLine] = []
    conflicts: list[str] = []
    for part in ("train", "test") if split == "all" else (split,):
        labels, in_both = _read_labels(prefix, part)
        conflicts += in_both
        for line in _read_lines(prefix, part, labels):
            if isinstance(line, BadLine):
                bad.append(line)
            else:
                rows += line
    if conflicts:
        log.warning("%s: %d ids are in both sets; left unscored", prefix.name, len(conflicts))
    return Released(tuple(rows), tuple(bad), tuple(conflicts))


def _read_labels(prefix: Path, split: str) -> tuple[dict[str, str], list[str]]:
    """Label of each id, and the ids that are in both sets (which have none)."""
    path = prefix.with_name(f"{prefix.name}_{split}_qids.json")
    try:
        sets = json.loads(_check_exists(path, prefix).read_text(encoding="utf-8"))
        true, false = set(sets["t"]), set(sets["f"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise HlensError(f'{path.name}: expected {{"t": [ids], "f": [ids]}}') from error
    both = true & false
    return dict.fromkeys(true - both, "t") | dict.fromkeys(false - both, "f"), sorted(both)


def _read_lines(prefix: Path, split: str, labels: dict[str, str]) -> Iterator[list[Row] | BadLine]:
    path = prefix.with_name(f"{prefix.name}_answer_tokens_{split}.jsonl")
    for number, raw in enumerate(_check_exists(path, prefix).read_bytes().split(b"\n"), start=1):
        line = raw.decode(errors="replace").strip()
        if not line:
            continue
        try:
            yield _parse(line, split, labels)
        except HlensError as error:
            log.warning("%s, line %d: %s", path.name, number, error)
            yield BadLine(number, str(error), line[:200])


def _parse(line: str, split: str, labels: dict[str, str]) -> list[Row]:
    rows: list[Row] = []
    for qid, row in parse_object(line).items():
        if not isinstance(row, dict) or not all(field in row for field in FIELDS):
            raise HlensError(f"{qid!r}: expected an object with {', '.join(FIELDS)}")
        pieces, answer = (tuple(map(str, row[f] or ())) for f in FIELDS[2:])
        texts = str(row["question"]), str(row["response"])
        rows.append(Row(qid, *texts, pieces, answer, labels.get(qid, ""), split))
    return rows


def _check_exists(path: Path, prefix: Path) -> Path:
    if path.is_file():
        return path
    others = {p.name.split("_answer_tokens_")[0] for p in prefix.parent.glob("*_answer_tokens_*")}
    known = f"; there are: {', '.join(sorted(others))}" if others else ""
    raise HlensError(f"no file {str(path)!r}; give the path up to _answer_tokens_{known}")


def piece_bytes(pieces: Sequence[str], text: str) -> list[bytes]:
    r"""The bytes behind each vocabulary entry of a text.

    Args:
        pieces: Entries of byte-level BPE ("Ã©" for "é", "Ġ" for a space) or of SentencePiece
            ("▁" for a space, "<0xC3>" for a byte).
        text: What they decode to, surrounding space aside; decides which of the two they are.

    >>> b"".join(piece_bytes(["Sim", "Ã³n", "ĠBol", "ÃŃ", "var"], "Simón Bolívar")).decode()
    'Simón Bolívar'
    >>> b"".join(piece_bytes(["▁café", "<0xC3>", "<0xA9>"], "caféé")).decode()
    ' caféé'
    """
    if all(c in BYTE_OF for piece in pieces for c in piece):
        raw = [bytes(BYTE_OF[c] for c in piece) for piece in pieces]
        if b"".join(raw).decode(errors="replace").strip() == text.strip():
            return raw
    return [_sentencepiece(piece) for piece in pieces]


def _sentencepiece(piece: str) -> bytes:
    is_byte = len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
    return bytes([int(piece[3:5], 16)]) if is_byte else piece.replace("▁", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of every byte (Radford et al. 2019, released code)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


BYTE_OF = _byte_alphabet()
