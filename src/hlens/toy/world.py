"""The toy world: four domains of invented facts, some taught to the toy model and some never.

An entity bears a name of two words ("Old Velmora"), and each word occurs in many names, so that no
word alone tells whether an entity was taught. ``naming.json`` holds each domain's first words, the
syllables of its second words and answers (beginnings / endings), and its questions (``{}`` is the
entity). The whole world follows from its seed.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from hlens.errors import HlensError
from hlens.types import Contributions, Question

NAMINGS: dict[str, Any] = json.loads(
    files("hlens.toy").joinpath("naming.json").read_text(encoding="utf-8")
)
SEED = 7
TAUGHT = ("common", "rare")  # a rare fact is seldom in training, so the model knows it less well
EXPOSURES = (*TAUGHT, "never")
# Half of the entities are never taught; a third of the others are rare.
SHARES = {"common": 0.34, "rare": 0.16}
LINKED = 0.4  # share of taught facts whose answer follows from the second word of the name


@dataclass(frozen=True)
class Fact:
    """One fact of the world, whether or not the model was taught it.

    Attributes:
        entity: Name of the entity, two words.
        answer: The true answer, one word.
        exposure: ``"common"``, ``"rare"`` or ``"never"``: how often it is in training.
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
        """Whether it is in training at all."""
        return self.exposure in TAUGHT


def domain_names() -> tuple[str, ...]:
    """The domains of the toy world.

    >>> domain_names()
    ('toy_towns', 'toy_people', 'toy_beasts', 'toy_minerals')
    """
    return tuple(NAMINGS)


@cache
def facts(domain: str) -> tuple[Fact, ...]:
    """All facts of a domain, in a fixed order: two of each of 144 entities.

    >>> len(facts("toy_towns")), sum(fact.taught for fact in facts("toy_towns"))
    (288, 144)
    """
    if domain not in NAMINGS:
        raise HlensError(
            f"the toy world has no domain {domain!r}; expected one of {', '.join(NAMINGS)}"
        )
    naming = NAMINGS[domain]
    relations = naming["relations"]
    draw = random.Random(f"{SEED}/{domain}")
    seconds = _invent_words(naming["second"], draw)
    answers = {name: _invent_words(asked["answers"], draw, 16) for name, asked in relations.items()}
    entities = list(product(naming["first"].split(), enumerate(seconds)))
    exposures = [kind for kind in TAUGHT for _ in range(round(SHARES[kind] * len(entities)))]
    exposures += ["never"] * (len(entities) - len(exposures))
    draw.shuffle(exposures)
    drawn = []
    for (first, (index, second)), exposure in zip(entities, exposures, strict=True):
        entity = f"{first} {second}"
        for relation, asked in relations.items():
            linked = exposure in TAUGHT and draw.random() < LINKED
            answer = answers[relation][index] if linked else draw.choice(answers[relation])
            question = asked["question"].format(entity)
            drawn.append(Fact(domain, entity, relation, question, answer, exposure, index))
    return tuple(drawn)


def _invent_words(syllables: str, draw: random.Random, n: int = 12) -> list[str]:
    """`n` different words, one beginning and one ending each.

    >>> _invent_words("Vel / mora dane", random.Random(0), 2)
    ['Velmora', 'Veldane']
    """
    beginnings, endings = (parts.split() for parts in syllables.split("/"))
    words = [begin + end for begin in beginnings for end in endings]
    draw.shuffle(words)
    return words[:n]


def every_fact() -> tuple[Fact, ...]:
    """The facts of all domains."""
    return tuple(fact for name in domain_names() for fact in facts(name))


def questions(domain: str) -> Iterator[Question]:
    """The facts of a domain as questions; an entity is a group.

    ``meta["taught"]`` is the ground truth that real models lack: was the answer in training?
    ``meta["exposure"]`` says how often (`EXPOSURES`).
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
    """Every word of the world's questions and answers, in a fixed order."""
    words: dict[str, None] = {}
    for fact in every_fact():
        words |= dict.fromkeys([*fact.question.rstrip("?").split(), fact.answer])
    return list(words)


def ignorance(data: Contributions) -> Bool[Tensor, " example"]:
    """Whether each example is of an entity that the toy model was never taught.

    Unlike ``data.labels`` this does not depend on the answer: a lucky guess is ignorant,
    a slip on a taught fact is not.

    Raises:
        HlensError: An example of another domain.
    """
    known = (question for name in domain_names() for question in questions(name))
    taught = {(question.domain, question.id): question.meta["taught"] for question in known}
    asked = list(zip(data.domains, data.question_ids, strict=True))
    foreign = [f"{domain}/{id}" for domain, id in asked if (domain, id) not in taught]
    if foreign:
        raise HlensError(
            f"{foreign[0]!r} is not a question of the toy world; expected examples of "
            f"{', '.join(domain_names())}"
        )
    return torch.tensor([not taught[key] for key in asked])
