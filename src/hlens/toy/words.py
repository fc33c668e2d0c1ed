"""Words of the toy world: names are put together from syllables, each domain with its own sound."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

Syllables = tuple[tuple[str, ...], tuple[str, ...]]  # beginnings, endings


@dataclass(frozen=True)
class Names:
    """How the names of a domain are made.

    Attributes:
        first: First words of an entity's name.
        stems: Syllables of its second word.
        relations: For each relation the question (``{}`` is the entity) and the syllables of its
            answers.
    """

    first: tuple[str, ...]
    stems: Syllables
    relations: Mapping[str, tuple[str, Syllables]]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _parts(beginnings: str, endings: str) -> Syllables:
    return tuple(beginnings.split()), tuple(endings.split())


def invented(syllables: Syllables, draw: random.Random, n: int = 12) -> list[str]:
    """`n` different words, one beginning and one ending each.

    >>> invented((("Vel",), ("mora", "dane")), random.Random(0), 2)
    ['Velmora', 'Veldane']
    """
    words = [begin + end for begin in syllables[0] for end in syllables[1]]
    draw.shuffle(words)
    return words[:n]


PLACES: dict[str, Names] = {
    "toy_towns": Names(
        _words("Upper Lower Old High Long Great Little Stone Cold Green Far White"),
        _parts("Vel Bras Tarn Or Quill Hast Mer Dun", "mora holm wick ford mere by"),
        {
            "river": (
                "Which river runs through {}?",
                _parts("Is Ar Yl Thes Om Lun", "enna ola iver esk ume"),
            ),
            "founder": (
                "Who founded the town of {}?",
                _parts("Ced Ald Ber Hild Os Wulf", "ric gard mund wyn bald"),
            ),
        },
    ),
    "toy_people": Names(
        _words("Tamsin Ilya Noor Bram Edda Kofi Lucan Maren Petra Ravi Sunna Tove"),
        _parts("Oko Hal Ber Zan Mirk Tol Ves Ade", "ro vorsen wick dari nen lund"),
        {
            "craft": (
                "Which craft did {} learn?",
                _parts("glim tess cor bel fran wim", "ning dry wright lery ving"),
            ),
            "birthplace": (
                "Where was {} born?",
                _parts("Kar Sim Pol Ulm Jas Dor", "ak ovia essa und itz"),
            ),
        },
    ),
    "toy_beasts": Names(
        _words("crested horned spotted striped tufted grey lesser marsh river desert snow cave"),
        _parts("vel grum snar pik lof murr tan zib", "pin bat dle kin ter fox"),
        {
            "food": (
                "What does the {} eat?",
                _parts("plo bry sed nut mos fen", "berry wort root leaf cap"),
            ),
            "lair": (
                "Where does the {} sleep?",
                _parts("hol bur cren thick rift mud", "low vice den hole bank"),
            ),
        },
    ),
    "toy_minerals": Names(
        _words("pale dark blue red clear cloudy smoky banded soft hard heavy false"),
        _parts("orr zyl bas kern tav lux hem dro", "inite ite erite onite aline adite"),
        {
            "solvent": (
                "What dissolves {}?",
                _parts("vi aqua oxy cal nit alk", "trol line rade rose mine"),
            ),
            "discoverer": (
                "Who first described {}?",
                _parts("Sten Hox Bru Lor Wen Fal", "ner ley chard mann dorf"),
            ),
        },
    ),
}
