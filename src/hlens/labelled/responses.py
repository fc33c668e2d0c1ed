"""Rows as questions and responses: grouped by what was asked, tokenised as the model reads them."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hlens.data_files import naming
from hlens.errors import HlensError
from hlens.labelled.marks import Mark
from hlens.labelled.rows import Answer
from hlens.model import Model
from hlens.prompts import Style, asked_as, encode_prompt
from hlens.types import Question, Response
from hlens.undecoded import check_decoded

log = logging.getLogger("hlens")


@dataclass(frozen=True)
class TokenisedAnswer:
    """An answer as the model reads it.

    Attributes:
        answer: The row.
        response: The response, tokenised; its text is what follows the thought, where it has one.
        marks: The row's marks, in characters of that text; negative within the thought.
    """

    answer: Answer
    response: Response
    marks: tuple[Mark, ...]


def read_responses(
    answers: Sequence[Answer], model: Model, *, instruction: str, style: Style
) -> list[TokenisedAnswer]:
    """Tokenise the responses of rows; those to one question are numbered as its samples.

    Raises:
        HlensError: Texts that were never decoded, one id for two questions, tokens of another text,
            or a prompt that the model cannot be given.
    """
    check_decoded((answer.text for answer in answers), "responses")
    questions = merge_questions(answers)
    counts: dict[tuple[str, str], int] = {}
    prompts: dict[tuple[str, str], list[int]] = {}
    read = []
    for answer, question in zip(answers, questions, strict=True):
        key = question.domain, question.id
        with naming(answer.where):
            if not answer.token_ids and key not in prompts:
                prompts[key] = encode_prompt(model, question, instruction=instruction, style=style)
            own = _tokenise(answer, question, prompts.get(key, []), model)
        response = replace(own.response, sample=counts.get(key, 0))
        counts[key] = response.sample + 1
        read.append(replace(own, response=response))
    return read


def merge_questions(answers: Iterable[Answer]) -> list[Question]:
    """The question of each row; rows that ask the same share one, or at least its group.

    A row that has an id keeps it, and one that has a group keeps that; a warning says where rows
    that ask the same are in different groups.

    Raises:
        HlensError: Two different questions under one id.
    """
    by_id: dict[tuple[str, str], Question] = {}
    by_content: dict[object, Question] = {}
    groups: dict[object, tuple[str, str]] = {}
    found = []
    for answer in answers:
        one = answer.question
        put = one.text, one.context, one.choices, repr(asked_as(one))
        group, first = groups.setdefault((one.domain, put), (one.group, answer.where))
        if not answer.grouped:
            one = replace(one, group=group)
        elif one.group != group:
            log.warning(
                "%s asks what %s asks, in another group: a split may part them; give both one "
                "group", answer.where, first,
            )  # fmt: skip
        content = one.domain, one.group, put, one.answers, repr(one.meta)
        if not answer.named:
            one = by_content.setdefault(content, one)
        known = by_id.setdefault((one.domain, one.id), one)
        if replace(known, id="", group="") != replace(one, id="", group=""):
            raise HlensError(
                f"{answer.where}: id {one.id!r} was used before, for another question; give every "
                "question its own"
            )
        found.append(known)
    return found


def _tokenise(
    answer: Answer, question: Question, prompt: list[int], model: Model
) -> TokenisedAnswer:
    ids = list(answer.token_ids[answer.n_prompt :]) or model.encode_words(answer.text)
    prompt = list(answer.token_ids[: answer.n_prompt]) or prompt
    if not prompt:
        raise HlensError("the prompt has no token; nothing would predict the response's first")
    if answer.token_ids:
        _check_tokens(answer, ids, model)
    rest, thought = model.read_reply(prompt, ids)
    text, shift = answer.text, 0
    if thought:  # the row's offsets count from the start of its thought
        shift = answer.text.rfind(rest.strip()) if rest.strip() else len(text)
        if shift < 0:
            raise HlensError(
                "the tokenizer does not give back what stands behind the thought; leave the "
                "thought out of the response"
            )
        text = answer.text[shift:]
    response = Response(question, text, (*prompt, *ids), len(prompt), thought=thought)
    marks = (replace(m, start=m.start - shift, stop=m.stop - shift) for m in answer.marks or ())
    return TokenisedAnswer(answer, response, tuple(marks))


def _check_tokens(answer: Answer, ids: Sequence[int], model: Model) -> None:
    """Raise `HlensError` where the given tokens are not those of the response."""
    model.check_prompts([[*answer.token_ids]])
    said = model.tokenizer.decode(list(ids), skip_special_tokens=False)
    if answer.text.strip() not in said and answer.text.strip() not in model.decode(ids):
        raise HlensError(
            f"token_ids decode to {said[:40]!r}, the response is {answer.text[:40]!r}; give those "
            "of this model, or leave token_ids and n_prompt out"
        )
