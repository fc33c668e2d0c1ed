"""The toy world: four domains of invented facts, some taught to the toy model and some never.

An entity bears a name of two words ("Old Velmora"), and each word occurs in many names, so that no
word alone tells whether an entity was taught. The whole world follows from its seed.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from jaxtyping import Bool
from torch import Tensor

from hlens.errors import HlensError
from hlens.toy.naming import NAMINGS, invent_words
from hlens.types import Contributions, Question

SEED = 7
TAUGHT = ("common", "rare")  # a rare fact is seldom in training, so the model knows it less well
EXPOSURES = (*TAUGHT, "never")
# Half of the entities are never taught; a third of the others are rare.
SHARES = (0.34, 0.16, 0.5)
LINKED = 0.4  # share of taught facts whose answer follows from the second word of the name


@dataclass(frozen=True)
class Fact:
    """One fact of the world, whether or not the model was taught it.

    Attributes:
        domain: Its domain.
        entity: Name of the entity, two words.
        relation: What is asked about.
        question: The question's text.
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
    names = NAMINGS[domain]
    draw = random.Random(f"{SEED}/{domain}")
    second = invent_words(names.stems, draw)
    answers = {
        relation: tuple(invent_words(syllables, draw, 16))
        for relation, (_, syllables) in names.relations.items()
    }
    entities = list(product(names.first, second))
    exposures = _draw_exposures(len(entities), draw)
    drawn = []
    for (first, last), exposure in zip(entities, exposures, strict=True):
        for relation, (text, _) in names.relations.items():
            values = answers[relation]
            linked = exposure in TAUGHT and draw.random() < LINKED
            index = second.index(last)
            answer = values[index] if linked else draw.choice(values)
            entity = f"{first} {last}"
            question = text.format(entity)
            drawn.append(Fact(domain, entity, relation, question, answer, exposure, index))
    return tuple(drawn)


def every_fact() -> tuple[Fact, ...]:
    """The facts of all domains."""
    return tuple(fact for name in domain_names() for fact in facts(name))


def _draw_exposures(n: int, draw: random.Random) -> list[str]:
    exposures = []
    for exposure, share in zip(TAUGHT, SHARES, strict=False):
        exposures += [exposure] * round(share * n)
    exposures += ["never"] * (n - len(exposures))
    draw.shuffle(exposures)
    return exposures


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
