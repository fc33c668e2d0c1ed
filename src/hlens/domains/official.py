"""Reader of the data released with the official code of arXiv 2512.01797 (thunlp/H-Neurons).

Two files a split: ``<PREFIX>_answer_tokens_<split>.jsonl``, a line each
``{"qid": {"question", "response", "tokenized_response", "answer_tokens"}}``, and
``<PREFIX>_<split>_qids.json``, ``{"t": [ids of true], "f": [ids of false]}``.

    judged = official.judgements("data/Llama33_TriviaQA", model)
    examples = hlens.locate(judged, model)

The tokens are vocabulary entries: byte-level BPE ("Ã©" for "é") or SentencePiece ("▁the",
"<0xC3>"). They are decoded to bytes here, so that answers beyond ASCII are located too, and an
answer is found by the position of its tokens, since its text may occur twice.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hlens.data_files import parse_object, read_json
from hlens.domains._groups import SPLITS
from hlens.domains._rows import BAD_ROW, explain_bad_row, unique_texts
from hlens.domains.jsonl import BadLine, read_lines
from hlens.errors import HlensError
from hlens.model import encode_text, encode_turns
from hlens.types import Judgement, Question, Response, Verdict
from hlens.undecoded import check_decoded

INSTRUCTION = "Respond with the answer only, without any explanation."
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
        path = _check_exists(prefix.with_name(f"{prefix.name}_answer_tokens_{part}.jsonl"), prefix)
        lines, unread = read_lines(path, partial(_parse, split=part, labels=labels))
        rows += [row for line in lines for row in line]
        bad += unread
    if conflicts:
        log.warning("%s: %d ids are in both sets; left unscored", prefix.name, len(conflicts))
    return Released(tuple(rows), tuple(bad), tuple(conflicts))


def judgements(prefix: str | Path, model: Any = None, split: str = "all") -> list[Judgement]:
    """The released responses with their labels and answers, ready for `hlens.locate`.

    Args:
        prefix: Path up to ``_answer_tokens_``, such as ``"data/Llama33_TriviaQA"``.
        model: A model of `hlens.load` or a tokenizer, by which prompts and responses become token
            ids; None leaves the ids empty.
        split: ``"all"``, ``"train"`` or ``"test"``.

    Returns:
        One per response; those in neither set, or in both, are unscored. A question in both splits
        has two samples, and one group.
    """
    seen: Counter[str] = Counter()
    judged: list[Judgement] = []
    rows = read(prefix, split).rows
    check_decoded((row.response for row in rows), "responses")
    for row in rows:
        span = answer_span(row)
        ids, n_prompt = _token_ids(row, model)
        response = Response(
            _to_question(row, span), row.response, ids, n_prompt, sample=seen[row.qid]
        )
        seen[row.qid] += 1
        verdict = {"t": Verdict.CORRECT, "f": Verdict.HALLUCINATED}.get(row.label)
        reason = "released label" if verdict else "no label"
        reason += "" if span else "; no answer found, the whole response is taken"
        judged.append(Judgement(response, verdict or Verdict.UNSCORED, reason, span))
    return judged


def questions_from(path: Path, split: str = "all") -> Iterator[Question]:
    """The questions whose answer the data knows: those with a response labelled true."""
    seen: set[str] = set()
    for row in read(path, split).rows:
        if row.label == "t" and row.qid not in seen:
            seen.add(row.qid)
            yield _to_question(row, answer_span(row))


def answer_span(row: Row) -> tuple[int, int] | None:
    """Characters ``[start, stop)`` of the answer in the response, or None where there is none.

    The first run of tokens that is the answer; where the answer's tokens are not contiguous (a
    list without its commas), from the first of them to the last, in order.

    >>> row = Row("1", "q", "Mel Tormé.", ("Mel", "ĠT", "orm", "Ã©", "."), ("ĠT", "orm", "Ã©"),
    ...           "t", "train")
    >>> row.response[slice(*answer_span(row))]
    'Tormé'
    """
    run = _find_run(row.pieces, row.answer_pieces) or _find_hull(row.pieces, row.answer_pieces)
    if run is None:
        return None
    parts = _piece_bytes(row.pieces, row.response)
    decoded, response = b"".join(parts), row.response.encode()
    if response.strip() not in decoded:  # tokens and response disagree: go by the answer's text
        answer = b"".join(parts[slice(*run)]).decode(errors="ignore").strip()
        start = row.response.find(answer)
        return (start, start + len(answer)) if answer and start >= 0 else None
    # Tokens may carry space that the response has not, and the other way round.
    shift = decoded.find(response.strip()) - (len(response) - len(response.lstrip()))
    first, last = (len(b"".join(parts[:end])) - shift for end in run)
    start, stop = _count_chars(response, first), _count_chars(response, last, round_up=True)
    inner = row.response[start:stop]
    start += len(inner) - len(inner.lstrip())
    stop -= len(inner) - len(inner.rstrip())
    return (start, stop) if start < stop else None


def _count_chars(text: bytes, offset: int, *, round_up: bool = False) -> int:
    """Characters before a byte; a character that the byte cuts counts with `round_up`."""
    head = text[: max(0, offset)]
    whole = head.decode(errors="ignore")
    return len(whole) + (round_up and whole.encode() != head)


def _find_run(pieces: tuple[str, ...], answer: tuple[str, ...]) -> tuple[int, int] | None:
    """The first place where the answer's tokens are contiguous."""
    size = len(answer)
    runs = ((i, i + size) for i in range(len(pieces) - size + 1) if size)
    return next((run for run in runs if pieces[slice(*run)] == answer), None)


def _find_hull(pieces: tuple[str, ...], answer: tuple[str, ...]) -> tuple[int, int] | None:
    """From the first to the last of the answer's tokens, where they occur in order."""
    places: list[int] = []
    for piece in answer:
        after = places[-1] + 1 if places else 0
        if piece not in pieces[after:]:
            return None
        places.append(after + pieces[after:].index(piece))
    return (places[0], places[-1] + 1) if places else None


def _to_question(row: Row, span: tuple[int, int] | None) -> Question:
    answer = row.response[slice(*span)] if span else row.response.strip()
    is_known = row.label == "t" and bool(answer)
    text = row.question.removesuffix(INSTRUCTION).strip()
    meta = {"format": "short_answer", "judge": "alias", "dataset": "official"}
    meta |= {"instruction": INSTRUCTION} if row.question.endswith(INSTRUCTION) else {}
    return Question(
        id=row.qid,
        domain="triviaqa",
        text=text,
        answers=(answer,) if is_known else (),
        group=f"triviaqa/{row.qid}",
        meta=meta,
    )


def _token_ids(row: Row, model: Any) -> tuple[tuple[int, ...], int]:
    """Prompt and response as token ids, and the prompt's length."""
    if model is None:
        return (), 0
    tokenizer = getattr(model, "tokenizer", model)
    prompt = (
        model.encode(row.question) if model is not tokenizer else _encode_prompt(row, tokenizer)
    )
    ids = tokenizer.convert_tokens_to_ids(list(row.pieces))
    is_known = None not in ids and tokenizer.unk_token_id not in ids
    if not is_known or tokenizer.decode(ids).strip() != row.response.strip():
        ids = encode_text(tokenizer, row.response, add_special_tokens=False)
    return (*prompt, *ids), len(prompt)


def _encode_prompt(row: Row, tokenizer: Any) -> list[int]:
    if not getattr(tokenizer, "chat_template", None):
        return encode_text(tokenizer, row.question)
    turns = [{"role": "user", "content": row.question}]
    return encode_turns(tokenizer, turns, "the tokenizer", {})


def _read_labels(prefix: Path, split: str) -> tuple[dict[str, str], list[str]]:
    """Label of each id, and the ids that are in both sets (which have none)."""
    path = prefix.with_name(f"{prefix.name}_{split}_qids.json")
    sets = read_json(_check_exists(path, prefix))
    try:
        true, false = (set(unique_texts(sets[key])) for key in "tf")
    except BAD_ROW as error:
        raise HlensError(
            f'{path.name}: expected {{"t": [ids], "f": [ids]}} ({explain_bad_row(error)})'
        ) from None
    both = true & false
    return dict.fromkeys(true - both, "t") | dict.fromkeys(false - both, "f"), sorted(both)


def _parse(line: str, _number: int, *, split: str, labels: dict[str, str]) -> list[Row]:
    rows: list[Row] = []
    for qid, row in parse_object(line).items():
        if not isinstance(row, dict) or not all(field in row for field in FIELDS):
            raise HlensError(f"{qid!r}: expected an object with {', '.join(FIELDS)}")
        question, response = (_typed(row, qid, name, str) for name in FIELDS[:2])
        pieces, answer = (tuple(_typed(row, qid, name, list)) for name in FIELDS[2:])
        label = labels.get(qid, "")
        rows.append(Row(qid, question, response, pieces, answer, label, split))
    return rows


def _typed(row: Mapping[str, Any], qid: str, name: str, kind: type) -> Any:
    """A text, or a list of texts; the official code writes null for tokens that it did not find."""
    value = [] if row[name] is None and kind is list else row[name]
    if not isinstance(value, kind) or not all(isinstance(one, str) for one in value):
        expected = "a list of texts" if kind is list else "a text"
        raise HlensError(f"{qid!r}: {name} is {value!r:.60}; expected {expected}")
    return value


def _check_exists(path: Path, prefix: Path) -> Path:
    if path.is_file():
        return path
    others = {p.name.split("_answer_tokens_")[0] for p in prefix.parent.glob("*_answer_tokens_*")}
    known = f"; there are: {', '.join(sorted(others))}" if others else ""
    raise HlensError(f"no file {str(path)!r}; give the path up to _answer_tokens_{known}")


def _piece_bytes(pieces: Sequence[str], text: str) -> list[bytes]:
    r"""The bytes behind each vocabulary entry of a text.

    What the text decodes to, surrounding space aside, decides between byte-level BPE ("Ã©" for "é",
    "Ġ" for a space) and SentencePiece ("▁" for a space, "<0xC3>" for a byte).

    >>> b"".join(_piece_bytes(["Sim", "Ã³n", "ĠBol", "ÃŃ", "var"], "Simón Bolívar")).decode()
    'Simón Bolívar'
    >>> b"".join(_piece_bytes(["▁café", "<0xC3>", "<0xA9>"], "caféé")).decode()
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
