"""Pairs of prompts for patching studies: a clean one, and one that calls for another answer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch

from hlens.errors import HlensError
from hlens.model import Model

FIELDS = ("id", "clean", "corrupted", "answer", "foil")
LEAST = 0.5  # logits: pairs that the model hardly tells apart have shares of next to nothing


@dataclass(frozen=True)
class Pair:
    """Two prompts and the two tokens that tell them apart.

    Attributes:
        id: Name of the pair.
        clean: Token ids of the prompt whose activations are taken.
        corrupted: Token ids of the prompt that is patched.
        answer: First token of what the clean prompt calls for.
        foil: First token of what the corrupted prompt calls for.
    """

    id: str
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    answer: int
    foil: int


def pair(model: Model, id: str, clean: str, corrupted: str, answer: str, foil: str) -> Pair:
    """A pair from texts: plain prompts, to be continued with the answer's and the foil's words.

    Tokens that both words begin with (a space, where it is a token of its own) go to the prompts.

    Raises:
        HlensError: Answer and foil are not told apart by a token.
    """
    ids = [tuple(model.encode(text, chat=False)) for text in (clean, corrupted)]
    words = [model.encode(f"{corrupted} {word}", chat=False) for word in (answer, foil)]
    said = list(zip(*(word[len(ids[1]) :] for word in words), strict=False))
    at = next((place for place, (a, b) in enumerate(said) if a != b), None)
    if at is None:
        raise HlensError(f"pair {id!r}: {answer!r} and {foil!r} begin alike; change one of them")
    shared = tuple(token for token, _ in said[:at])
    return Pair(id, ids[0] + shared, ids[1] + shared, *said[at])


def pairs(model: Model, path: str | Path | None = None) -> list[Pair]:
    """The pairs that ship with hlens (true and false premise, known and invented entity), or a
    file's: one JSON object a line with the texts ``id, clean, corrupted, answer, foil``.

    Raises:
        HlensError: No such file, no pair in it, or a line that lacks a field.
    """
    place = Path(path) if path else Path(str(files("hlens") / "effects" / "banks" / "pairs.jsonl"))
    if not place.is_file():
        raise HlensError(f"no file {str(place)!r}; expected JSONL with {', '.join(FIELDS)}")
    found = []
    for number, line in enumerate(place.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append(pair(model, *(str(row[field]) for field in FIELDS)))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            why = f"no field {error}" if isinstance(error, KeyError) else "not a JSON object"
            raise HlensError(f"{place.name}, line {number}: {why}; expected {FIELDS}") from None
    if not found:
        raise HlensError(f"{place} holds no pair; expected one JSON object a line")
    return found


def told_apart(model: Model, pairs: Sequence[Pair], least: float = LEAST) -> list[Pair]:
    """The pairs on which the model leans to the answer by `least` logits more when it is clean."""
    ends = [differences(model, one) for one in pairs]
    return [one for one, (clean, bad) in zip(pairs, ends, strict=True) if clean - bad >= least]


def differences(model: Model, one: Pair) -> tuple[float, float]:
    """Logit difference answer - foil after the clean and after the corrupted prompt."""
    values = []
    for ids in (one.clean, one.corrupted):
        with torch.inference_mode():
            row = torch.tensor([ids], device=model.device)
            logits = model.hf(input_ids=row, use_cache=False).logits[0, -1].float()
        values.append(float(logits[one.answer] - logits[one.foil]))
    return values[0], values[1]


def ends(model: Model, one: Pair) -> tuple[float, float]:
    """As `differences`.

    Raises:
        HlensError: They are the same, so that there is nothing to restore.
    """
    clean, corrupted = differences(model, one)
    if abs(clean - corrupted) < 1e-4:
        raise HlensError(
            f"pair {one.id!r}: both prompts give the same logit difference ({clean:.3f}), "
            "there is nothing to restore; choose prompts that the model tells apart"
        )
    return clean, corrupted
