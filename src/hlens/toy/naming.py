"""How the names of the toy world are made: from syllables, each domain with its own sound."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

Syllables = tuple[tuple[str, ...], tuple[str, ...]]  # beginnings, endings


@dataclass(frozen=True)
class Naming:
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


def invent_words(syllables: Syllables, draw: random.Random, n: int = 12) -> list[str]:
    """`n` different words, one beginning and one ending each.

    >>> invent_words((("Vel",), ("mora", "dane")), random.Random(0), 2)
    ['Velmora', 'Veldane']
    """
    words = [begin + end for begin in syllables[0] for end in syllables[1]]
    draw.shuffle(words)
    return words[:n]


def _naming(first: str, stems: str, **relations: tuple[str, str]) -> Naming:
    asked = {name: (text, _syllables(parts)) for name, (text, parts) in relations.items()}
    return Naming(tuple(first.split()), _syllables(stems), asked)


def _syllables(parts: str) -> Syllables:
    beginnings, endings = parts.split("/")
    return tuple(beginnings.split()), tuple(endings.split())


NAMINGS = {
    "toy_towns": _naming(
        "Upper Lower Old High Long Great Little Stone Cold Green Far White",
        "Vel Bras Tarn Or Quill Hast Mer Dun / mora holm wick ford mere by",
        river=("Which river runs through {}?", "Is Ar Yl Thes Om Lun / enna ola iver esk ume"),
        founder=(
            "Who founded the town of {}?",
            "Ced Ald Ber Hild Os Wulf / ric gard mund wyn bald",
        ),
    ),
    "toy_people": _naming(
        "Tamsin Ilya Noor Bram Edda Kofi Lucan Maren Petra Ravi Sunna Tove",
        "Oko Hal Ber Zan Mirk Tol Ves Ade / ro vorsen wick dari nen lund",
        craft=(
            "Which craft did {} learn?",
            "glim tess cor bel fran wim / ning dry wright lery ving",
        ),
        birthplace=("Where was {} born?", "Kar Sim Pol Ulm Jas Dor / ak ovia essa und itz"),
    ),
    "toy_beasts": _naming(
        "crested horned spotted striped tufted grey lesser marsh river desert snow cave",
        "vel grum snar pik lof murr tan zib / pin bat dle kin ter fox",
        food=("What does the {} eat?", "plo bry sed nut mos fen / berry wort root leaf cap"),
        lair=("Where does the {} sleep?", "hol bur cren thick rift mud / low vice den hole bank"),
    ),
    "toy_minerals": _naming(
        "pale dark blue red clear cloudy smoky banded soft hard heavy false",
        "orr zyl bas kern tav lux hem dro / inite ite erite onite aline adite",
        solvent=("What dissolves {}?", "vi aqua oxy cal nit alk / trol line rade rose mine"),
        discoverer=(
            "Who first described {}?",
            "Sten Hox Bru Lor Wen Fal / ner ley chard mann dorf",
        ),
    ),
}
