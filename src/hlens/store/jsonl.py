"""Questions, responses, judgements and examples as JSONL: one object per line."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch

from hlens.errors import HlensError
from hlens.store.atomic import write_text
from hlens.store.checked import Row, read_rows
from hlens.types import Example, Judgement, Question, Response, Thought, Verdict
from hlens.undecoded import check_decoded

_QUESTION = {"text": "question"}  # fields that have another name in a row
_RESPONSE = ("sample", "text", "token_ids", "n_prompt", "logprobs", "finish_reason", "seed")
_EXAMPLE = ("question_id", "domain", "group", "sample", "hallucinated", "n_prompt", "start", "stop")

_RARE = ("n_thought", "span")  # fields of an example that are written where they are not 0


class _QuestionRow(TypedDict):
    id: str
    domain: str
    question: str
    answers: list[str]
    choices: list[str]
    context: str
    group: str
    meta: dict


class _ThoughtRow(TypedDict):
    text: str
    n_tokens: int
    finished: bool


class ResponseRow(TypedDict):
    """A line of ``responses.jsonl``."""

    question_id: str
    domain: str
    sample: int
    text: str
    token_ids: list[int]
    n_prompt: int
    logprobs: list[float]
    finish_reason: str
    seed: int
    thought: NotRequired[_ThoughtRow | None]
    written_in: NotRequired[str]


class _JudgementRow(TypedDict):
    question_id: str
    domain: str
    sample: int
    verdict: str
    reason: str
    answer: tuple[int, int] | None


class _ExampleRow(TypedDict):
    question_id: str
    domain: str
    group: str
    sample: int
    hallucinated: bool
    n_prompt: int
    start: int
    stop: int
    token_ids: list[int]
    n_thought: NotRequired[int]
    span: NotRequired[int]


def save_rows(rows: Iterable[Mapping[str, Any]], path: str | Path) -> None:
    """Write rows as JSONL, whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def save_questions(questions: Iterable[Question], path: str | Path) -> None:
    """Write questions as JSONL."""
    save_rows(map(question_to_row, questions), path)


def load_questions(path: str | Path) -> list[Question]:
    """Read what `save_questions` wrote."""
    return read_rows(path, question_from_row, _QuestionRow)


def question_to_row(question: Question) -> Row:
    """A question as plain JSON values."""
    row = {_QUESTION.get(name, name): value for name, value in vars(question).items()}
    return row | {"meta": dict(question.meta)}


def question_from_row(row: Mapping[str, Any]) -> Question:
    """The question of a row."""
    names = [field.name for field in fields(Question)]
    values: Row = {name: row[_QUESTION.get(name, name)] for name in names}
    values |= {name: tuple(values[name]) for name in ("answers", "choices")}
    return Question(**values)


def response_to_row(response: Response) -> Row:
    """A response as plain JSON values; its question by id."""
    row: Row = {"question_id": response.question.id, "domain": response.question.domain}
    row |= {name: getattr(response, name) for name in _RESPONSE}
    # Nothing is rounded: what is made of responses that were read is then what is made of new ones.
    row |= {"thought": asdict(response.thought)} if response.thought else {}
    return row | ({"written_in": response.written_in} if response.written_in else {})


def response_from_row(
    row: Mapping[str, Any], questions: Mapping[tuple[str, str], Question]
) -> Response:
    """The response of a row, its question looked up by (domain, id)."""
    values: Row = {name: row[name] for name in _RESPONSE}
    values |= {name: tuple(row[name]) for name in ("token_ids", "logprobs")}
    thought = Thought(**row["thought"]) if row.get("thought") else None
    key = row["domain"], row["question_id"]
    if key not in questions:
        raise HlensError(f"question_id is {key[1]!r}, no question of domain {key[0]!r} has it")
    if not 0 <= row["n_prompt"] <= len(row["token_ids"]):
        raise HlensError(f"n_prompt is {row['n_prompt']}, of {len(row['token_ids'])} token_ids")
    written_in = row.get("written_in", "")
    return Response(questions[key], thought=thought, written_in=written_in, **values)


def questions_by_id(questions: Iterable[Question]) -> dict[tuple[str, str], Question]:
    """Questions by (domain, id)."""
    return {(question.domain, question.id): question for question in questions}


def save_responses(responses: Iterable[Response], path: str | Path) -> None:
    """Write responses as JSONL, without their questions."""
    save_rows(map(response_to_row, responses), path)


def load_responses(path: str | Path, questions: Sequence[Question]) -> list[Response]:
    """Read what `save_responses` wrote."""
    known = questions_by_id(questions)
    responses = read_rows(path, lambda row: response_from_row(row, known), ResponseRow)
    check_decoded((response.text for response in responses), f"responses of {path}")
    return responses


def save_judgements(judgements: Iterable[Judgement], path: str | Path) -> None:
    """Write judgements as JSONL, without their responses."""
    rows = (
        {
            "question_id": judged.response.question.id,
            "domain": judged.response.question.domain,
            "sample": judged.response.sample,
            "verdict": str(judged.verdict),
            "reason": judged.reason,
            "answer": judged.answer,
            "text": judged.response.text,  # for people; not read back
        }
        for judged in judgements
    )
    save_rows(rows, path)


def load_judgements(path: str | Path, responses: Sequence[Response]) -> list[Judgement]:
    """Read what `save_judgements` wrote."""
    known = {(r.question.domain, r.question.id, r.sample): r for r in responses}

    def build(row: Row) -> Judgement:
        key = row["domain"], row["question_id"], row["sample"]
        if key not in known:
            raise HlensError(f"there is no sample {key[2]} of question_id {key[1]!r} to judge")
        if row["verdict"] not in list(Verdict):
            raise HlensError(f"verdict is {row['verdict']!r}, expected {', '.join(Verdict)}")
        answer = tuple(row["answer"]) if row["answer"] else None
        return Judgement(known[key], Verdict(row["verdict"]), row["reason"], answer)

    return read_rows(path, build, _JudgementRow)


def save_examples(examples: Iterable[Example], path: str | Path) -> None:
    """Write examples as JSONL."""
    rows = (
        {name: getattr(example, name) for name in _EXAMPLE}
        | {name: getattr(example, name) for name in _RARE if getattr(example, name)}
        | {"token_ids": example.token_ids.tolist()}
        for example in examples
    )
    save_rows(rows, path)


def load_examples(path: str | Path) -> list[Example]:
    """Read what `save_examples` wrote."""
    names = (*_EXAMPLE, *_RARE)

    def build(row: Row) -> Example:
        values = {name: row[name] for name in names if name in row}
        return Example(token_ids=torch.tensor(row["token_ids"], dtype=torch.long), **values)

    return read_rows(path, build, _ExampleRow)
