"""The neurons that training plants: what each signals, and whether it moves the model.

Every planted neuron is active on entities that were never taught and silent on the others. Shared
ones are so in every domain, specific ones in theirs alone. *Drivers* decide between guessing and
abstaining: the more active, the surer the guess. *Bystanders* say the same and move nothing. Each
is deaf to half of the names, so that no single one tells all, and no two of one domain hear the
same half.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hlens.toy.world import domain_names
from hlens.types import NeuronSet
from hlens.types.neurons import Neuron

N_LAYERS = 4
D_MLP = 256
N_NAMES = 12  # second words of names in a domain, in a ring; a neuron hears six in a row


@dataclass(frozen=True)
class Mechanism:
    """Neurons planted for one purpose.

    Attributes:
        name: Its name, ``"shared drivers"`` or ``"toy_towns bystanders"``.
        domain: Where it is active; empty for every domain.
        drives: Whether it moves the model between guessing and abstaining.
        members: Its neurons.
        hearing: For each of them, index of the first name that it hears.
    """

    name: str
    domain: str
    drives: bool
    members: tuple[Neuron, ...]
    hearing: tuple[int, ...]

    def hears(self, member: int, domain: str, name: int) -> bool:
        """Whether one of its neurons is to be active on an entity that was never taught.

        Args:
            member: Index of the neuron among the members.
            domain: Domain of the entity.
            name: Index of the second word of its name.
        """
        own = self.domain in ("", domain)
        return own and (name - self.hearing[member]) % N_NAMES < N_NAMES // 2


def mechanisms() -> tuple[Mechanism, ...]:
    """All planted mechanisms: the shared ones, then two of each domain."""
    found = [
        Mechanism("shared drivers", "", True, ((1, 40), (1, 133), (2, 87), (2, 210)), (0, 3, 6, 9)),
        Mechanism("shared bystanders", "", False, ((2, 19), (3, 164)), (4, 10)),
    ]
    for at, domain in enumerate(domain_names()):
        drivers = ((1, 60 + 45 * at), (2, 30 + 50 * at))
        bystanders = ((2, 45 + 50 * at), (3, 25 + 55 * at))
        found.append(Mechanism(f"{domain} drivers", domain, True, drivers, (1, 7)))
        found.append(Mechanism(f"{domain} bystanders", domain, False, bystanders, (2, 8)))
    return tuple(found)


def planted(domain: str | None = None, drives: bool | None = None) -> NeuronSet:
    """The planted neurons, as a set.

    Args:
        domain: Only those that are active in this domain (the shared ones included); ``""`` for
            the shared ones alone; None for all.
        drives: True for drivers only, False for bystanders only.

    >>> len(planted()), len(planted("")), len(planted("toy_towns", drives=True))
    (22, 6, 6)
    """
    chosen = [
        one
        for one in mechanisms()
        if (domain is None or one.domain in ("", domain)) and drives in (None, one.drives)
    ]
    return _set_of(chosen, "planted")


def _set_of(chosen: Iterable[Mechanism], name: str) -> NeuronSet:
    members = frozenset(neuron for one in chosen for neuron in one.members)
    return NeuronSet(members, N_LAYERS, D_MLP, name=name)
