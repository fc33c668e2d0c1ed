"""Questions made of the facts that the question banks of the domains hold.

`banks/facts.toml` names the relations and says how their facts are put. A false answer is the true
answer to another question of the relation. A fact keeps the group that it has in its domain,
whatever is made of it; one that a hand-written item speaks of is left out, so that no suite asks it
twice and none asks what measures capability.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from hlens import domains
from hlens.data_files import read_objects
from hlens.types import Question

BANKS = Path(__file__).parent / "banks"
DOMAINS = ("general", "science", "legal", "financial", "moral", "code_vulnerability")
RELATIONS = tomllib.loads((BANKS / "facts.toml").read_text(encoding="utf-8"))
EASY = 3  # difficulty of plain questions, at most; that of the banks goes up to 5
N_OPTIONS = 4
Foils = tuple[Question, ...]
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Fact:
    """A question of a bank, and answers of its kind that are false.

    Attributes:
        asked: The question, with its true answers.
        foils: Questions that the false answers are true of; the first is that of the sentences.
        claim: A falsehood as a sentence.
        premise: A question that takes it for granted.
        context: A passage that asserts it.
    """

    asked: Question
    foils: tuple[Question, ...]
    claim: str
    premise: str
    context: str


@cache
def facts() -> tuple[Fact, ...]:
    """All facts, relation by relation; the sentences of a relation take turns.

    >>> facts()[0].asked.text, facts()[0].claim
    ('What is the capital of India?', 'Baghdad is the capital of India')
    """
    relations = (relation for relation in RELATIONS.values() if "claim" in relation)
    return tuple(fact for relation in relations for fact in _facts_of(relation))


@cache
def plain_questions() -> tuple[Question, ...]:
    """Easy questions with options, all of them answers to questions of one relation.

    >>> plain_questions()[0].text, plain_questions()[0].choices
    ('What is the chemical symbol for silver?', ('Ag', 'Zn', 'Mg', 'Cl'))
    """
    made: dict[str, Question] = {}
    for pattern in RELATIONS["plain"]["patterns"].splitlines():
        for question in _plain_questions_of(pattern):
            made.setdefault(question.group, question)
    return tuple(made.values())


def make_question(fact: Fact, suite: str, text: str = "", **fields: Any) -> Question:
    """The question that a suite makes of a fact: that of the bank unless another text is given."""
    name = f"{suite}-{fact.asked.group.replace('/', '-')}"
    bare = replace(fact.asked, id=name, domain=suite, text=text or fact.asked.text, meta={})
    return replace(bare, **fields)


def insert_answer(answer: str, wrong: Sequence[str], place: int) -> tuple[str, ...]:
    """Wrong options with the answer among them; its place goes round.

    >>> insert_answer("a", ["b", "c"], place=4)
    ('b', 'a', 'c')
    """
    at = place % (len(wrong) + 1)
    return (*wrong[:at], answer, *wrong[at:])


def _facts_of(relation: dict[str, str]) -> Iterator[Fact]:
    premises, contexts = (relation[key].splitlines() for key in ("premises", "contexts"))
    found = _with_foils(relation["pattern"], relation.get("foils", ".+"))
    for number, (asked, subject, foils) in enumerate(found):
        names = {"subject": subject, "foil": foils[0].answers[0]}
        forms = (premises[number % len(premises)], contexts[number % len(contexts)])
        yield Fact(asked, foils, *(form.format(**names) for form in (relation["claim"], *forms)))


def _plain_questions_of(pattern: str) -> Iterator[Question]:
    for number, (asked, _, foils) in enumerate(_with_foils(pattern)):
        if asked.meta["difficulty"] <= EASY:
            wrong = [foil.answers[0] for foil in foils]
            yield replace(asked, choices=insert_answer(asked.answers[0], wrong, number))


def _with_foils(pattern: str, allowed: str = ".+") -> Iterator[tuple[Question, str, Foils]]:
    """Questions of a relation that no hand-written item speaks of, their subjects, and foils."""
    known = _matching(pattern)
    pool = [question for question, _ in known if re.fullmatch(allowed, question.answers[0])]
    for number, (asked, subject) in enumerate(known):
        if not _is_spoken_of(asked, subject):
            # From the other end of the bank: neighbours there are of one region or time.
            foils = islice(_foils(asked, pool, number + len(known) // 2), N_OPTIONS - 1)
            yield asked, subject, tuple(foils)


def _matching(pattern: str) -> list[tuple[Question, str]]:
    """The first question of each group that a pattern matches whole, and its subject."""
    found: dict[str, tuple[Question, str]] = {}
    for question in _bank_questions():
        if match := re.fullmatch(pattern, question.text):
            found.setdefault(question.group, (question, match["subject"]))
    return list(found.values())


@cache
def _bank_questions() -> tuple[Question, ...]:
    return tuple(question for name in DOMAINS for question in domains.load(name))


def _foils(asked: Question, pool: Sequence[Question], start: int) -> Iterator[Question]:
    """Questions of the pool whose answers are false of this one and unlike each other.

    Unlike: no alias of one holds an alias of another, and none stands in the question.
    """
    aliases, text = [_words(alias) for alias in asked.answers], _words(asked.text)
    for step in range(len(pool)):
        foil = pool[(start + step) % len(pool)]
        own = [_words(alias) for alias in foil.answers]
        is_like = any(a in b or b in a for a in own for b in aliases)
        if not is_like and not any(alias in text for alias in own):
            aliases += own
            yield foil


def _words(text: str) -> str:
    """The words of a text between single spaces, so that words are found and parts are not."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "


def _is_spoken_of(asked: Question, subject: str) -> bool:
    """Whether a hand-written item names both the subject and its true answer."""
    subject, answers = _words(subject), [_words(alias) for alias in asked.answers]
    return any(
        subject in text and any(alias in text for alias in answers) for text in _hand_written()
    )


@cache
def _hand_written() -> tuple[str, ...]:
    """The words of every hand-written item: question, context, answers and meta."""
    return tuple(
        _words(" ".join(map(str, row.values())))
        for path in sorted(BANKS.glob("*.jsonl"))
        for _, row in read_objects(path)
    )
