"""Questions about things that do not exist: the right answer is to abstain.

People, places, books, compounds, court cases, companies, CVE numbers and functions are invented
from the tables of syllables in `banks/nonexist.toml`, for the six domains of the question banks.
None of them is a word of 23 languages. The CVE numbers carry years before the list began (1999).

The set plays the role of NonExist in arXiv 2512.01797 and contains none of its questions.
"""

import random
import re
import tomllib
from collections.abc import Iterator
from itertools import product

from hlens.checks import check_whole
from hlens.domains._bank import BANKS
from hlens.domains._groups import by_split
from hlens.types import Question

DISPLAY = "invented things"

SIZE = 300
LIMIT = 3000  # far below what the tables can build, so that drawing a new thing stays quick
TABLES = tomllib.loads((BANKS / "nonexist.toml").read_text(encoding="utf-8"))
START, MIDDLE, FIRST = (tuple(TABLES[key].split()) for key in ("start", "middle", "first_names"))
ENDINGS = {kind: tuple(text.split()) for kind, text in TABLES["endings"].items()}
REAL = frozenset(TABLES["real"].split())
TEMPLATES = {domain: tuple(text.splitlines()) for domain, text in TABLES["templates"].items()}
# Things that share the endings of another kind, and things that are written small.
KINDS = {"other": "surname", "library": "brand"}
SMALL = frozenset({"element", "substance", "creature", "library"})


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
    return _generate(check_whole("n", n, least=1, most=LIMIT), seed)


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
        things = {field: _invent_thing(rng, field) for field in fields}
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
        yield from map("".join, product(START, MIDDLE, endings))


def _invent_word(rng: random.Random, kind: str) -> str:
    while True:
        word = _pick(rng, START) + _pick(rng, MIDDLE) + _pick(rng, ENDINGS[kind])
        if word.casefold() not in REAL:
            return word


def _pick(rng: random.Random, options: tuple[str, ...]) -> str:
    # Of all methods only random() is promised to give the same draws in every version of Python.
    return options[int(rng.random() * len(options))]


def _invent_thing(rng: random.Random, field: str) -> str:
    if field == "cve":
        year, number = 1985 + int(rng.random() * 14), int(rng.random() * 10_000)
        return f"CVE-{year}-{number:04d}"
    if field == "person":
        return f"{_pick(rng, FIRST)} {_invent_word(rng, 'surname')}"
    word = _invent_word(rng, KINDS.get(field, field))
    return word.lower() if field in SMALL else word
