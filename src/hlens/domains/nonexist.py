"""Questions about things that do not exist: the right answer is to abstain.

People, places, books, compounds, court cases, companies, CVE numbers and functions are invented
from tables of syllables, for the six domains of the question banks. Every word that the tables can
build was looked up in the word lists of 23 languages (package wordfreq); the four that occur there
are in `REAL` and are never used. The CVE numbers carry years before the list began (1999).

The set plays the role of NonExist in arXiv 2512.01797 and contains none of its questions.
"""

import random
import re
from collections.abc import Callable, Iterator

from hlens.domains._groups import by_split
from hlens.errors import HlensError
from hlens.types import Question

SIZE = 300
LIMIT = 3000  # far below what the tables can build, so that drawing a new thing stays quick


def _table(entries: str) -> tuple[str, ...]:
    return tuple(entries.split())


START = _table(
    "Brel Corv Drem Fald Grun Hulb Jorn Keld Lumb Mevr Narv Ostr Pril Quel Ruzn Stav Tulv Ulm Vorn "
    "Wexl Yarb Zelt"
)
MIDDLE = _table("al am an ar el em en er il in ol on or os um un")
ENDINGS = {
    "place": _table("wold mere burgh stad grad haven ov eth"),
    "surname": _table("sky mann worth ley sson ardi enko quist"),
    "brand": _table("ix exa oda ant ura is eon alto"),
    "element": _table("ium on ine"),
    "substance": _table("ene ol ane ide ite ate"),
    "creature": _table("ik ou bok tal uma rel osh ip"),
}
FIRST = _table(
    "Adrian Beatrice Conrad Daria Edmund Flora Gustav Helena Ivan Judith Konrad Lydia Martin Nadia "
    "Oscar Paula Rupert Sylvia Tobias Vera"
)
REAL = frozenset({"lumbalis", "narvanou", "quelonis", "ulmanis"})

TEMPLATES: dict[str, tuple[str, ...]] = {
    "general": (
        "In which country is the town of {place}?",
        "On which river does the town of {place} lie?",
        "Who won the Battle of {place}?",
        "Which is the highest mountain on the island of {place}?",
        "In what year was the painter {person} born?",
        "Which instrument did the composer {person} play?",
        'Who wrote the novel "The Lanterns of {place}"?',
        'Who directed the film "The Last Train to {place}"?',
    ),
    "science": (
        "What is the boiling point of {substance}?",
        "What color are crystals of {element} sulfate?",
        "What is the chemical symbol of the element {element}?",
        "Who discovered the {surname} effect in physics?",
        "What unit does the {surname} constant have?",
        "On which continent does the {creature} live?",
        "What does the {creature} beetle feed on?",
        "For which discovery is the chemist {person} known?",
    ),
    "legal": (
        "In what year did the US Supreme Court decide {surname} v. {other}?",
        "Which right did the court recognize in {surname} v. {other}?",
        "Who won the case of {surname} v. {other}?",
        "What does the {surname} Act regulate?",
        "Which country passed the {surname} Act?",
        "To which field of law does the {surname} doctrine belong?",
        "In which city did the Treaty of {place} set up a court?",
        "Which law school did Justice {person} attend?",
    ),
    "financial": (
        "Who founded the company {brand} Holdings?",
        "In which city does {brand} Capital have its headquarters?",
        "What does the company {brand} Industries sell?",
        "Which country uses the {brand} as its currency?",
        "For which theory is the economist {person} known?",
        "What does the {surname} ratio measure?",
        "In what year did the bank {surname} & Sons fail?",
        "On which stock exchange is {brand} Group listed?",
    ),
    "moral": (
        "Which ethical theory did the philosopher {person} found?",
        "In which country was the moral philosopher {person} born?",
        "Which two choices does the {surname} dilemma offer?",
        "What does the {surname} principle of ethics forbid?",
        'Who wrote the moral treatise "The {place} Dialogues"?',
        "What virtue did the monks of {place} value most?",
        "Which psychologist ran the {place} obedience experiment?",
        "What did the {surname} paradox of ethics show?",
    ),
    "code_vulnerability": (
        "Which program is affected by {cve}?",
        "What kind of weakness is {cve}?",
        "In which version of lib{library} was the heap overflow fixed?",
        "Which argument of the Python function {library}.load is unsafe?",
        "What does the C function {library}_copy return on error?",
        "Which operating system did the {brand} worm infect?",
        "Which software had the {brand} vulnerability?",
        "Who wrote the {brand} virus?",
    ),
}


def generate(n: int, seed: int = 0) -> Iterator[Question]:
    """Questions about `n` different things that do not exist, the six domains in turn.

    Their answers are empty, ``meta["resembles"]`` names the domain, and the group is the thing, so
    a thing drawn under two seeds is one group. A longer set begins with the shorter one of the same
    seed.

    Args:
        n: How many, from 1 to 3000.
        seed: Seed of the draw; the same seed gives the same questions on every machine.

    Raises:
        HlensError: `n` is out of range.

    >>> [q.text for q in generate(2)][1]
    'What is the boiling point of tulvalide?'
    """
    if not 1 <= n <= LIMIT:
        raise HlensError(f"n={n} questions about nonexistent things; expected 1 to {LIMIT}")
    return _generate(n, seed)


questions = by_split(lambda: generate(SIZE))


def _generate(n: int, seed: int) -> Iterator[Question]:
    rng = random.Random(f"nonexist {seed}")
    domains = tuple(TEMPLATES)
    used: set[str] = set()
    for number in range(n):
        domain = domains[number % len(domains)]
        template, things = _invent(rng, domain, used)
        yield Question(
            id=f"nonexist-{seed}-{number + 1:04d}",
            domain="nonexist",
            text=template.format(**things),
            answers=(),
            group="nonexist/" + " ".join(things.values()).casefold(),
            meta={"format": "short_answer", "judge": "abstain", "resembles": domain},
        )


def _invent(rng: random.Random, domain: str, used: set[str]) -> tuple[str, dict[str, str]]:
    """A template and unused things to fill it with; adds them to `used`."""
    while True:
        template = _pick(rng, TEMPLATES[domain])
        fields = re.findall(r"{(\w+)}", template)
        things = {field: INVENT[field](rng) for field in fields}
        names = {thing.casefold().split()[-1] for thing in things.values()}
        if len(names) == len(things) and not names & used:
            used |= names
            return template, things


def invented_words() -> Iterator[str]:
    """Every word that the tables can build, the real ones included.

    >>> next(invented_words())
    'Brelalwold'
    """
    for endings in ENDINGS.values():
        for start in START:
            for middle in MIDDLE:
                yield from (start + middle + ending for ending in endings)


def _invent_word(rng: random.Random, kind: str) -> str:
    while True:
        word = _pick(rng, START) + _pick(rng, MIDDLE) + _pick(rng, ENDINGS[kind])
        if word.casefold() not in REAL:
            return word


def _pick(rng: random.Random, options: tuple[str, ...]) -> str:
    # Of all methods only random() is promised to give the same draws in every version of Python.
    return options[int(rng.random() * len(options))]


def _cve(rng: random.Random) -> str:
    year, number = 1985 + int(rng.random() * 14), int(rng.random() * 10_000)
    return f"CVE-{year}-{number:04d}"


INVENT: dict[str, Callable[[random.Random], str]] = {
    "place": lambda rng: _invent_word(rng, "place"),
    "surname": lambda rng: _invent_word(rng, "surname"),
    "other": lambda rng: _invent_word(rng, "surname"),
    "person": lambda rng: f"{_pick(rng, FIRST)} {_invent_word(rng, 'surname')}",
    "brand": lambda rng: _invent_word(rng, "brand"),
    "element": lambda rng: _invent_word(rng, "element").lower(),
    "substance": lambda rng: _invent_word(rng, "substance").lower(),
    "creature": lambda rng: _invent_word(rng, "creature").lower(),
    "library": lambda rng: _invent_word(rng, "brand").lower(),
    "cve": _cve,
}
