"""Worked examples: questions shown with their answer before the one that is asked.

Each domain has its own (`worked/NAME.jsonl`, in the schema of `hlens.domains.jsonl`), about facts
that its questions do not ask for. A domain without any, and a format that its own lack, takes those
of `worked/any_domain.jsonl`. In a user's file the lines marked ``"worked": true`` are examples.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hlens.checks import check_whole
from hlens.domains.jsonl import read_worked, words_of
from hlens.errors import HlensError
from hlens.types import Question

WORKED = files("hlens") / "domains" / "worked"
ANY_DOMAIN = "any_domain"


@cache
def shipped_worked(domain: str) -> tuple[Question, ...]:
    """The worked examples that ship for a domain; none for most domains of a hub."""
    path = Path(str(WORKED / f"{domain}.jsonl"))
    return read_worked(path, domain) if path.is_file() else ()


def choose_worked(
    question: Question, shots: int, *, own: Sequence[Question] = ()
) -> tuple[Question, ...]:
    """The worked examples to show before a question, in the order in which they are shown.

    Examples of the question's domain and answer format; the caller's before those that ship with
    hlens. Where the answer is one of a few labels, the examples have the same labels. None is about
    the question's own fact.

    Args:
        question: The question that is asked.
        shots: How many to choose; 0 chooses none.
        own: The caller's examples, of any domains.

    Raises:
        HlensError: Fewer than `shots` fit.

    >>> asked = Question("1", "general", "Who wrote Emma?", ("Jane Austen",))
    >>> len(choose_worked(asked, 4))
    4
    """
    if not check_whole("shots", shots):
        return ()
    ranked = sorted(own, key=lambda example: example.domain != question.domain)
    of_others = {question.domain, ANY_DOMAIN}
    candidates = (
        *(example for example in ranked if example.domain in of_others),
        *shipped_worked(question.domain),
        *shipped_worked(ANY_DOMAIN),
    )
    # By what they ask: a study keeps the examples it showed, some of which ship with hlens.
    fitting: dict[tuple[str, str, str], Question] = {}
    for example in candidates:
        if _fits(example, question):
            fitting.setdefault(_asks(example), example)
    if len(fitting) < shots:
        labels = f" with the labels {', '.join(question.choices)}" if _has_labels(question) else ""
        raise HlensError(
            f"{len(fitting)} worked examples for domain {question.domain!r} and format "
            f'{_format(question)!r}{labels}, {shots} asked for; add lines with "worked": true to '
            "its file, pass worked=, or set shots lower"
        )
    return tuple(list(fitting.values())[:shots])


def _asks(question: Question) -> tuple[str, str, str]:
    return question.context, question.text, "\n".join(question.choices)


@lru_cache
def _words(texts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(words_of(text) for text in texts)


def _fits(example: Question, question: Question) -> bool:
    # By words: the same question with another comma has the same answer.
    is_other = example.group != question.group and _words(_asks(example)) != _words(_asks(question))
    same_labels = not _has_labels(question) or _labels(example) == _labels(question)
    # An answer to abstain from and an answer to give are asked for in the same way.
    return is_other and same_labels and _format(example) == _format(question)


def _format(question: Question) -> Any:
    return question.meta.get("format", "short_answer")


def _has_labels(question: Question) -> bool:
    return _format(question) == "label"


def _labels(question: Question) -> set[str]:
    return {choice.casefold() for choice in question.choices}
