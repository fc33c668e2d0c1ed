"""Pairs of prompts for patching studies: a clean one, and one that calls for another answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hlens.data_files import naming, read_objects
from hlens.errors import HlensError
from hlens.interventions import Activations, align, capture
from hlens.model import Model

FIELDS = ("id", "clean", "corrupted", "answer", "foil")
MIN_DIFFERENCE = 0.5  # logits; below it, shares restored are shares of next to nothing


@dataclass(frozen=True)
class Pair:
    """Two prompts, and the two tokens between which they decide.

    Attributes:
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


def make_pair(model: Model, *, id: str, clean: str, corrupted: str, answer: str, foil: str) -> Pair:
    """A pair from texts: plain prompts, to be continued with the words of the answer or the foil.

    Tokens that both words begin with (a space, where it is a token of its own) go to the prompts.

    Raises:
        HlensError: Answer and foil begin with the same tokens.
    """
    clean_ids, corrupted_ids = (tuple(model.encode(t, chat=False)) for t in (clean, corrupted))
    texts = [model.encode(f"{corrupted} {word}", chat=False) for word in (answer, foil)]
    words = list(zip(*(ids[len(corrupted_ids) :] for ids in texts), strict=False))
    first_difference = next((i for i, (a, b) in enumerate(words) if a != b), None)
    if first_difference is None:
        raise HlensError(f"pair {id!r}: {answer!r} and {foil!r} begin alike; change one of them")
    shared = tuple(token for token, _ in words[:first_difference])
    return Pair(id, clean_ids + shared, corrupted_ids + shared, *words[first_difference])


def load_pairs(model: Model, path: str | Path | None = None) -> list[Pair]:
    """The pairs of a JSONL file, one object a line with the texts of `FIELDS`.

    Without a file, those that ship with hlens: true and false premise, known and invented entity.

    Raises:
        HlensError: No such file, no pair in it, or a line that lacks a field.
    """
    file = Path(path) if path else Path(__file__).parent / "banks" / "pairs.jsonl"
    pairs = []
    for number, row in read_objects(file):
        if bad := [name for name in FIELDS if not _is_text(row.get(name), name)]:
            raise HlensError(
                f"{file.name}, line {number}: {bad[0]} is {row.get(bad[0])!r:.60}; expected texts "
                f"under {', '.join(FIELDS)}"
            )
        with naming(f"{file.name}, line {number}"):
            pairs.append(make_pair(model, **{name: str(row[name]) for name in FIELDS}))
    if not pairs:
        raise HlensError(f"{file} holds no pair; expected one JSON object a line")
    return pairs


def _is_text(value: object, name: str) -> bool:
    """Whether a value is a text with words; an id may be a number."""
    return (isinstance(value, str) and bool(value.strip())) or (name == "id" and type(value) is int)


def distinguished_pairs(
    model: Model, pairs: Sequence[Pair], *, min_difference: float = MIN_DIFFERENCE
) -> list[Pair]:
    """The pairs whose clean prompt has a logit difference larger by `min_difference` or more.

    On others, which the model does not distinguish, a patch has nothing to restore.
    """
    model.need_modules("patching")
    distinguished = []
    for pair in pairs:
        clean, corrupted = logit_differences(model, pair)
        if clean - corrupted >= min_difference:
            distinguished.append(pair)
    return distinguished


def logit_differences(model: Model, pair: Pair) -> tuple[float, float]:
    """Logit difference answer - foil after the clean and after the corrupted prompt."""
    differences = []
    for ids in (pair.clean, pair.corrupted):
        with torch.inference_mode():
            row = torch.tensor([ids], device=model.device)
            logits = model.hf(input_ids=row, use_cache=False).logits[0, -1].float()
        differences.append(float(logits[pair.answer] - logits[pair.foil]))
    return differences[0], differences[1]


@dataclass(frozen=True, eq=False)
class PairRun:
    """Both runs of a pair: what a patch takes from the clean one, and how far they differ."""

    model: Model
    pair: Pair
    source: Activations  # of the clean run
    places: dict[int, int]  # shared token of the corrupted prompt -> that of the clean one
    clean: float  # logit difference answer - foil after the clean prompt
    corrupted: float  # the same after the corrupted prompt

    @classmethod
    def start(cls, model: Model, pair: Pair) -> "PairRun":
        """Run both prompts; `HlensError` where they give the same: shares would divide by zero."""
        clean, corrupted = logit_differences(model, pair)
        if abs(clean - corrupted) < 1e-4:
            raise HlensError(
                f"pair {pair.id!r}: both prompts give the same logit difference ({clean:.3f}), "
                "there is nothing to restore; choose prompts that the model distinguishes"
            )
        source, places = capture(model, pair.clean), align(pair.corrupted, pair.clean)
        return cls(model, pair, source, places, clean, corrupted)
