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

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hlens.domains._official_files import Released, Row, piece_bytes, read
from hlens.types import Judgement, Question, Response, Verdict

__all__ = ["Released", "Row", "answer_span", "judgements", "questions_from", "read"]

INSTRUCTION = "Respond with the answer only, without any explanation."


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
    for row in read(prefix, split).rows:
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
    parts = piece_bytes(row.pieces, row.response)
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


def _find_run(pieces: Sequence[str], answer: Sequence[str]) -> tuple[int, int] | None:
    """The first place where the answer's tokens are contiguous."""
    size = len(answer)
    places = range(len(pieces) - size + 1)
    first = next((i for i in places if tuple(pieces[i : i + size]) == tuple(answer)), None)
    return None if first is None or not size else (first, first + size)


def _find_hull(pieces: Sequence[str], answer: Sequence[str]) -> tuple[int, int] | None:
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
        ids = tokenizer.encode(row.response, add_special_tokens=False)
    return (*prompt, *ids), len(prompt)


def _encode_prompt(row: Row, tokenizer: Any) -> list[int]:
    if not getattr(tokenizer, "chat_template", None):
        return list(tokenizer(row.question).input_ids)
    turns = [{"role": "user", "content": row.question}]
    encoded = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])
