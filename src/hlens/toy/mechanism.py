"""The neurons that training plants: what each signals, and whether it moves the model.

Every planted neuron is active on entities that were never taught and silent on the others: shared
neurons in every domain, specific ones in their own alone. *Drivers* decide between guessing and
abstaining: the more active, the surer the guess. *Bystanders* signal the same and move nothing.
Each responds to half of the names only, no two of one domain to the same half, so that a detector
needs several.
"""

from dataclasses import dataclass

from hlens.toy.world import domain_names
from hlens.types import NeuronSet
from hlens.types.neurons import Neuron

N_LAYERS = 4
D_MLP = 256
N_NAMES = 12  # second words of names in a domain, in a ring; a neuron responds to six in a row


@dataclass(frozen=True)
class Mechanism:
    """Neurons planted for one purpose.

    Attributes:
        name: Its name, ``"shared drivers"`` or ``"toy_towns bystanders"``.
        domain: Where it is active; empty for every domain.
        drives: Whether it moves the model between guessing and abstaining.
        first_names: For each of its neurons, index of the first name that it responds to.
    """

    name: str
    domain: str
    drives: bool
    members: tuple[Neuron, ...]
    first_names: tuple[int, ...]

    def responds(self, member: int, *, domain: str, name: int) -> bool:
        """Whether its neuron `member` is active on an entity of `domain`, if never taught.

        `name` is the index of the second word of the entity's name.
        """
        active_here = self.domain in ("", domain)
        return active_here and (name - self.first_names[member]) % N_NAMES < N_NAMES // 2


def mechanisms() -> tuple[Mechanism, ...]:
    """All planted mechanisms: the shared ones, then two of each domain."""
    every = [
        Mechanism("shared drivers", "", True, ((1, 40), (1, 133), (2, 87), (2, 210)), (0, 3, 6, 9)),
        Mechanism("shared bystanders", "", False, ((2, 19), (3, 164)), (4, 10)),
    ]
    for i, domain in enumerate(domain_names()):
        drivers = ((1, 60 + 45 * i), (2, 30 + 50 * i))
        bystanders = ((2, 45 + 50 * i), (3, 25 + 55 * i))
        every.append(Mechanism(f"{domain} drivers", domain, True, drivers, (1, 7)))
        every.append(Mechanism(f"{domain} bystanders", domain, False, bystanders, (2, 8)))
    return tuple(every)


def planted(domain: str | None = None, drives: bool | None = None) -> NeuronSet:
    """The planted neurons, as a set.

    Args:
        domain: Only those that are active in this domain (the shared ones included); ``""`` for
            the shared ones alone; None for all.
        drives: True for drivers only, False for bystanders only.

    >>> len(planted()), len(planted("")), len(planted("toy_towns", drives=True))
    (22, 6, 6)
    """
    members = frozenset(
        neuron
        for mechanism in mechanisms()
        if (domain is None or mechanism.domain in ("", domain))
        and drives in (None, mechanism.drives)
        for neuron in mechanism.members
    )
    return NeuronSet(members, N_LAYERS, D_MLP, name="planted")
