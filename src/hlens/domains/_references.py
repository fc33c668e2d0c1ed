"""Banks of references that exist: one JSONL file per field of study, `references/<field>.jsonl`.

A row is one paper, and the file is the source that people edit:

- ``id``: unique in its file, and the group of the paper's questions;
- ``about``: what the paper did, to follow "the paper that ...", without its title;
- ``titles``, ``authors``, ``years``, ``venues``, ``identifiers``: what is accepted, the best first;
  authors in their order, and ``others`` true where more follow; identifiers are arXiv numbers
  (``arXiv:...``) and DOIs, empty where none is sure;
- ``difficulty``: how well known the paper is, 1 (everybody) to 5 (specialists).

Each paper is asked for twice, by what it did and by its title; of the second the title is given and
not judged. The judge is `hlens.judges.citation`.
"""

from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from hlens.domains._bank import read_rows
from hlens.domains._groups import by_split
from hlens.types import Question

REFERENCES = files("hlens") / "domains" / "references"
GOLD = ("titles", "authors", "years", "venues", "identifiers")
REQUIRED = ("id", "about", *GOLD, "difficulty")
ASKED = 'Give the reference (authors, "title", venue, year, arXiv number or DOI) of the paper'
_MOST_NAMED = 3  # authors; more are "et al."


def reference_questions(field: str) -> Callable[..., Iterator[Question]]:
    """``questions(split="all")`` of the domain ``citations_FIELD``.

    >>> next(reference_questions("physics")()).group
    'citations_physics/gw150914'
    """
    return by_split(
        lambda: (question for row in read_references(field) for question in _ask(field, row))
    )


def read_references(field: str) -> Iterator[dict[str, Any]]:
    """The rows of a field of study as they are written, in the order of the file."""
    return read_rows(Path(str(REFERENCES / f"{field}.jsonl")), REQUIRED)


def write_reference(row: dict[str, Any]) -> str:
    """A paper's reference, as the questions ask for it.

    >>> write_reference({"authors": ["A", "B"], "titles": ["On C"], "venues": ["D"],
    ...                  "years": [1999], "identifiers": []})
    'A and B. "On C." D, 1999.'
    """
    names, title = row["authors"], row["titles"][0].replace('"', "'")
    if row.get("others") or len(names) > _MOST_NAMED:
        authors = f"{names[0]} et al"
    else:
        authors = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    ending = "" if title[-1] in "?!." else "."
    parts = [f'{authors}. "{title}{ending}" {row["venues"][0]}, {row["years"][0]}.']
    return " ".join([*parts, *(f"{one}." for one in row["identifiers"][:1])])


def _ask(field: str, row: dict[str, Any]) -> Iterator[Question]:
    """The questions about one paper: by what it did, and by its title."""
    name = f"citations_{field}"
    gold = {key: row[key] for key in (*GOLD, "others") if key in row}
    asked: dict[str, tuple[str, list[str]]] = {
        "about": (f"{ASKED} that {row['about']}.", []),
        "title": (f'{ASKED} "{row["titles"][0]}".', ["title"]),
    }
    for kind, (text, given) in asked.items():
        yield Question(
            id=f"{row['id']}-{kind}",
            domain=name,
            text=text,
            answers=(write_reference(row),),
            group=f"{name}/{row['id']}",
            meta={
                "format": "free_text",
                "judge": "citation",
                "kind": "reference",
                "difficulty": row["difficulty"],
                "given": given,
                "reference": gold,
            },
        )
