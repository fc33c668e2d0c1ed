"""Units: what one example is, a response, a labelled span of it or a token.

Unmarked stretches are examples of the true class where whoever labelled the file marked all that is
false: between the marks, as tokens::

    response   Emma was written by Jane Austen in 1920, at Chawton.
    marks                                        ^^^^ hallucinated
    unmarked   ------------------------------       ----------- correct (``rest="correct"``)
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import pandas as pd
import torch

from hlens.labelled.marks import TWICE, losses_of
from hlens.labelled.responses import Read
from hlens.model import Model
from hlens.spans import LABELS, locate_with_losses, token_span
from hlens.types import Example, Judgement, Response, Verdict

Unit = Literal["span", "response", "token"]
Rest = Literal["ignore", "correct"]
LOCATED = "located"
THOUGHT = "within the thought"


@dataclass(frozen=True)
class Place:
    """Tokens ``[start, stop)`` of a response, prompt included, with a label; or why there are none.

    Attributes:
        verdict: The label.
        reason: `LOCATED`, or why it is lost.
        start: First token.
        stop: One past the last.
    """

    verdict: Verdict
    reason: str
    start: int = 0
    stop: int = 0


def examples_of(
    judged: Iterable[tuple[Read, Judgement]], model: Model, *, unit: Unit, rest: Rest
) -> tuple[list[Example], pd.DataFrame]:
    """The examples of labelled responses, and a table of what became of their labels.

    Returns:
        The examples, and a table with columns ``verdict``, ``reason`` (``located``, or why not),
        ``n`` and ``share`` (of the verdict's), as `hlens.spans.locate_with_losses` gives it. It
        counts spans, and responses where the unit is the response or an answer has no spans.
    """
    examples: list[Example] = []
    counts: Counter[tuple[str, str]] = Counter()
    for read, judgement in judged:
        places = _places(read, judgement, model, unit=unit, rest=rest)
        n, longest = len(read.response.token_ids), model.n_positions
        if longest is not None and n > longest:
            places = [Place(p.verdict, f"longer than the model's {longest} tokens") for p in places]
        counts.update((place.verdict.value, place.reason) for place in places)
        kept = [place for place in places if place.reason == LOCATED]
        examples += _examples(read.response, _by_token(kept) if unit == "token" else kept)
    return examples, _table(counts)


def _places(
    read: Read, judgement: Judgement, model: Model, *, unit: Unit, rest: Rest
) -> list[Place]:
    """Where the examples of a response are, or why they are lost; at least one of either."""
    if unit == "response" or read.answer.marks is None:
        return [_whole(judgement, model, span="response" if unit == "response" else "answer")]
    first = read.response.n_prompt + read.response.n_thought
    places = _marked(read, model, first)
    if rest == "correct":
        places += _unmarked(places, read, model, first)
    return places or [Place(Verdict.CORRECT, "nothing marked")]


def _whole(judgement: Judgement, model: Model, *, span: str) -> Place:
    """A response as a whole, or what its judge takes for the answer."""
    found, losses = locate_with_losses([judgement], model, span=span)
    if not found:
        return Place(judgement.verdict, losses["reason"].iloc[0])
    return Place(judgement.verdict, LOCATED, found[0].start, found[0].stop)


def _marked(read: Read, model: Model, first: int) -> list[Place]:
    """Where the marks of a response are; `first` is its first token behind the thought."""
    text, ids = read.response.text, read.response.token_ids[first:]
    places = []
    for mark, lost in zip(read.marks, losses_of(read.marks, text), strict=True):
        lost = THOUGHT if mark.start < 0 else lost
        answer = mark.start, mark.stop
        span = None if lost else token_span(text, ids, answer=answer, tokenizer=model.tokenizer)
        if span is None:
            places.append(Place(mark.verdict, lost or "span not found"))
            continue
        reason = LOCATED if mark.verdict in LABELS else mark.verdict.value
        places.append(Place(mark.verdict, reason, first + span[0], first + span[1]))
    return places


def _unmarked(places: Sequence[Place], read: Read, model: Model, first: int) -> list[Place]:
    """The stretches between places that hold a word; none where a place is not known."""
    if any(place.stop == 0 and place.reason not in (TWICE, THOUGHT) for place in places):
        return [Place(Verdict.CORRECT, "unmarked, beside a lost span")]
    ids = read.response.token_ids
    marked = {at for place in places for at in range(place.start, place.stop)}
    found = []
    for before, behind in pairwise([first - 1, *sorted(marked), len(ids)]):
        words = model.decode(ids[before + 1 : behind])
        if any(character.isalnum() for character in words):
            found.append(Place(Verdict.CORRECT, LOCATED, before + 1, behind))
    return found


def _by_token(places: Sequence[Place]) -> list[Place]:
    """Each token of the places once; one of several labels is hallucinated."""
    labels: dict[int, Verdict] = {}
    for place in places:
        for at in range(place.start, place.stop):
            if labels.get(at) is not Verdict.HALLUCINATED:
                labels[at] = place.verdict
    return [Place(label, LOCATED, at, at + 1) for at, label in sorted(labels.items())]


def _examples(response: Response, places: Sequence[Place]) -> list[Example]:
    question = response.question
    token_ids = torch.tensor(response.token_ids, dtype=torch.long)  # one for all spans
    return [
        Example(
            token_ids=token_ids,
            n_prompt=response.n_prompt,
            start=place.start,
            stop=place.stop,
            hallucinated=LABELS[place.verdict],
            question_id=question.id,
            group=question.group,
            domain=question.domain,
            sample=response.sample,
            n_thought=response.n_thought,
            span=number,
        )
        for number, place in enumerate(places)
    ]


def _table(counts: Counter[tuple[str, str]]) -> pd.DataFrame:
    totals: Counter[str] = Counter()
    for (verdict, _), n in counts.items():
        totals[verdict] += n
    rows = [(*pair, n, n / totals[pair[0]]) for pair, n in sorted(counts.items())]
    return pd.DataFrame(rows, columns=["verdict", "reason", "n", "share"])
