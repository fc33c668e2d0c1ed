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
    answers = list(answers)
    groups: dict[object, tuple[str, str]] = {}
    # Groups that rows give come first: the order of rows decides nothing.
    for answer in sorted(answers, key=lambda answer: not answer.grouped):
        groups.setdefault(_put(answer.question), (answer.question.group, answer.where))
    found = []
    for answer in answers:
        one, put = answer.question, _put(answer.question)
        group, first = groups[put]
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
        if known.group != one.group:
            raise HlensError(
                f"{answer.where}: id {one.id!r} was used before, in the group {known.group!r}; "
                "give a question one group"
            )
        found.append(known)
    return found


def _put(question: Question) -> tuple[object, ...]:
    """What the model was asked, in whatever domain: answers to it share their group."""
    return question.text, question.context, question.choices, repr(asked_as(question))


def _tokenise(
    answer: Answer, question: Question, prompt: list[int], model: Model
) -> TokenisedAnswer:
    if answer.token_ids:
        model.check_prompts([[*answer.token_ids]])
        prompt = list(answer.token_ids[: answer.n_prompt])
        ids = list(answer.token_ids[answer.n_prompt :])
    else:
        ids = model.encode_words(answer.text)
    if not prompt:
        raise HlensError("the prompt has no token; nothing would predict the response's first")
    rest, thought = model.read_reply(prompt, ids)
    if answer.token_ids:
        _check_tokens(answer, ids, rest, model)
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


def _check_tokens(answer: Answer, ids: Sequence[int], rest: str, model: Model) -> None:
    """Raise `HlensError` where the tokens that are given are not the response's.

    They may hold a thought that the text leaves out, and `rest` is what stands behind it. A text
    that is a part of theirs is another response: every score would be a mean over other tokens.
    """
    said = model.tokenizer.decode(list(ids), skip_special_tokens=False)
    if answer.text.strip() not in {one.strip() for one in (said, model.decode(ids), rest)}:
        raise HlensError(
            f"token_ids decode to {said[:40]!r}, the response is {answer.text[:40]!r}; give those "
            "of this model, or leave token_ids and n_prompt out"
        )
