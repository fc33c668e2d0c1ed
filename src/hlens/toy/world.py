"""The toy world: four domains of invented facts, some taught to the toy model and some never.

An entity bears a name of two words ("Old Velmora"), and each word occurs in many names, so that no
word alone tells whether an entity was taught. What the world holds follows from its seed.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from hlens.errors import HlensError
from hlens.toy.words import PLACES, Names, invented
from hlens.types import Question

SEED = 7
TAUGHT = ("common", "rare")  # a rare fact comes up seldom in training, so the model knows it less
EXPOSURES = (*TAUGHT, "never")
# Half of the entities are never taught; a third of the others are rare.
SHARES = (0.34, 0.16, 0.5)
LINKED = 0.4  # share of taught facts that go with the second word of the name


@dataclass(frozen=True)
class Fact:
    """One fact of the world, whether or not the model is ever told it.

    Attributes:
        domain: Its domain.
        entity: Name of the entity, two words.
        relation: What is asked about.
        question: The question's text.
        answer: The true answer, one word.
        exposure: ``"common"``, ``"rare"`` or ``"never"``: how often training tells it.
        second: Index of the name's second word among those of the domain.
    """

    domain: str
    entity: str
    relation: str
    question: str
    answer: str
    exposure: str
    second: int

    @property
    def taught(self) -> bool:
        """Whether training tells it at all."""
        return self.exposure in TAUGHT


def domain_names() -> tuple[str, ...]:
    """The domains of the toy world.

    >>> domain_names()
    ('toy_towns', 'toy_people', 'toy_beasts', 'toy_minerals')
    """
    return tuple(PLACES)


@cache
def facts(domain: str) -> tuple[Fact, ...]:
    """All facts of a domain, in a fixed order: two of each of 144 entities.

    >>> len(facts("toy_towns")), sum(fact.taught for fact in facts("toy_towns"))
    (288, 144)
    """
    if domain not in PLACES:
        raise HlensError(
            f"the toy world has no domain {domain!r}; expected one of {', '.join(PLACES)}"
        )
    names = PLACES[domain]
    draw = random.Random(f"{SEED}/{domain}")
    second = invented(names.stems, draw)
    answers = {
        relation: tuple(invented(syllables, draw, 16))
        for relation, (_, syllables) in names.relations.items()
    }
    entities = list(product(names.first, second))
    exposures = _exposures(len(entities), draw)
    found = []
    for (first, last), exposure in zip(entities, exposures, strict=True):
        for relation, (text, _) in names.relations.items():
            values = answers[relation]
            linked = exposure in TAUGHT and draw.random() < LINKED
            at = second.index(last)
            answer = values[at] if linked else draw.choice(values)
            entity = f"{first} {last}"
            asked = text.format(entity)
            found.append(Fact(domain, entity, relation, asked, answer, exposure, at))
    return tuple(found)


def _exposures(n: int, draw: random.Random) -> list[str]:
    counts = [round(share * n) for share in SHARES[:-1]]
    kinds = [EXPOSURES[0]] * counts[0] + [EXPOSURES[1]] * counts[1]
    kinds += [EXPOSURES[2]] * (n - len(kinds))
    draw.shuffle(kinds)
    return kinds


def questions(domain: str) -> Iterator[Question]:
    """The facts of a domain as questions; an entity is a group.

    ``meta["taught"]`` is the ground truth that real models lack: whether training ever told the
    answer. ``meta["exposure"]`` tells how often (`EXPOSURES`).
    """
    for fact in facts(domain):
        name = fact.entity.replace(" ", "-").lower()
        yield Question(
            id=f"{name}-{fact.relation}",
            domain=domain,
            text=fact.question,
            answers=(fact.answer,),
            group=f"{domain}/{name}",
            meta={
                "format": "short_answer",
                "judge": "alias",
                "relation": fact.relation,
                "taught": fact.taught,
                "exposure": fact.exposure,
            },
        )


def vocabulary() -> list[str]:
    """Every word of the world's questions and answers, in a fixed order, as it is written."""
    found: dict[str, None] = {}
    for name in domain_names():
        for fact in facts(name):
            found |= dict.fromkeys([*fact.question.rstrip("?").split(), fact.answer])
    return list(found)


__all__ = ["EXPOSURES", "SEED", "Fact", "Names", "domain_names", "facts", "questions", "vocabulary"]
