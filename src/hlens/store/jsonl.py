"""Questions, responses, judgements and examples as JSONL: one object per line."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from hlens.errors import HlensError
from hlens.store.atomic import write_text
from hlens.types import Example, Judgement, Question, Response, Thought, Verdict
from hlens.undecoded import check_decoded

Row = dict[str, Any]
_QUESTION = {"text": "question"}  # fields that have another name in a row
_RESPONSE = ("sample", "text", "token_ids", "n_prompt", "logprobs", "finish_reason", "seed")
_EXAMPLE = ("question_id", "domain", "group", "sample", "hallucinated", "n_prompt", "start", "stop")


def save_rows(rows: Iterable[Mapping[str, Any]], path: str | Path) -> None:
    """Write rows as JSONL, whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def load_rows(path: str | Path) -> list[Row]:
    """Rows of a JSONL file; an error names the line that is not a JSON object."""
    path = Path(path)
    if not path.is_file():
        raise HlensError(f"no file {path}; run the step that makes it first")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise HlensError(
                f"{path}, line {number}: not JSON ({error.msg}); mend it or make the file again"
            ) from None
        if not isinstance(row, dict):
            raise HlensError(f"{path}, line {number}: expected a JSON object, got {line[:40]!r}")
        rows.append(row)
    return rows


def save_questions(questions: Iterable[Question], path: str | Path) -> None:
    """Write questions as JSONL."""
    save_rows(map(question_to_row, questions), path)


def load_questions(path: str | Path) -> list[Question]:
    """Read what `save_questions` wrote."""
    return [question_from_row(row) for row in load_rows(path)]


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
    row |= {"thought": asdict(response.thought)} if response.thought else {}
    return row | {"logprobs": [round(value, 6) for value in response.logprobs]}


def response_from_row(
    row: Mapping[str, Any], questions: Mapping[tuple[str, str], Question]
) -> Response:
    """The response of a row, its question looked up by (domain, id)."""
    values: Row = {name: row[name] for name in _RESPONSE}
    values |= {name: tuple(row[name]) for name in ("token_ids", "logprobs")}
    thought = Thought(**row["thought"]) if row.get("thought") else None
    return Response(questions[row["domain"], row["question_id"]], thought=thought, **values)


def questions_by_id(questions: Iterable[Question]) -> dict[tuple[str, str], Question]:
    """Questions by (domain, id)."""
    return {(question.domain, question.id): question for question in questions}


def save_responses(responses: Iterable[Response], path: str | Path) -> None:
    """Write responses as JSONL, without their questions."""
    save_rows(map(response_to_row, responses), path)


def load_responses(path: str | Path, questions: Sequence[Question]) -> list[Response]:
    """Read what `save_responses` wrote."""
    known = questions_by_id(questions)
    responses = [response_from_row(row, known) for row in load_rows(path)]
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
    return [
        Judgement(
            response=known[row["domain"], row["question_id"], row["sample"]],
            verdict=Verdict(row["verdict"]),
            reason=row["reason"],
            answer=tuple(row["answer"]) if row["answer"] else None,
        )
        for row in load_rows(path)
    ]


def save_examples(examples: Iterable[Example], path: str | Path) -> None:
    """Write examples as JSONL."""
    rows = (
        {name: getattr(example, name) for name in _EXAMPLE}
        | ({"n_thought": example.n_thought} if example.n_thought else {})
        | {"token_ids": example.token_ids.tolist()}
        for example in examples
    )
    save_rows(rows, path)


def load_examples(path: str | Path) -> list[Example]:
    """Read what `save_examples` wrote."""
    return [
        Example(**{**row, "token_ids": torch.tensor(row["token_ids"])}) for row in load_rows(path)
    ]
