"""Units: what one example is, a response, a labelled span of it or a token.

Problem: labels are in characters of a response, examples in tokens, and where only what is false
was marked there is no example of what is true.

Idea: each label becomes a `Place`, its tokens or the reason why it has none, so that nothing is
lost uncounted. With ``rest="correct"`` what lies between the marks is true: right where whoever
labelled the file marked everything false.

Example::

    response   Emma was written by Jane Austen in 1920, at Chawton.
    marks                                        ^^^^ hallucinated
    unmarked   ------------------------------       ----------- correct (``rest="correct"``)

are three examples of the unit ``"span"``, one of ``"response"`` (hallucinated), and one for each
underlined token of ``"token"``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import pandas as pd
import torch

from hlens.labelled.marks import TWICE, losses_of
from hlens.labelled.responses import TokenisedAnswer
from hlens.model import Model
from hlens.spans import LABELS, locate_with_losses, token_span
from hlens.types import Example, Judgement, Response, Verdict

Unit = Literal["span", "response", "token"]
Rest = Literal["ignore", "correct"]
LOCATED = "located"
THOUGHT = "within the thought"


@dataclass(frozen=True)
class Place:
    """Where a label lies in tokens, or why it is lost.

    Attributes:
        verdict: The label.
        reason: `LOCATED`, or why it is lost.
        start: First token, counted from the start of the prompt.
        stop: One past the last; 0 where the label has no tokens.
    """

    verdict: Verdict
    reason: str
    start: int = 0
    stop: int = 0


def examples_of(
    judged: Iterable[tuple[TokenisedAnswer, Judgement]], model: Model, *, unit: Unit, rest: Rest
) -> tuple[list[Example], pd.DataFrame]:
    """The examples of labelled responses, and a table of what became of their labels.

    Returns:
        The examples, and a table with columns ``verdict``, ``reason`` (``located``, or why not),
        ``n`` and ``share`` (of the labels with that verdict), as `hlens.spans.locate_with_losses`
        gives it. It counts spans, unmarked stretches that became examples, and responses where the
        unit is the response or a row has no spans; never single tokens.
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
    read: TokenisedAnswer, judgement: Judgement, model: Model, *, unit: Unit, rest: Rest
) -> list[Place]:
    """Where the labels of a response are, or why they are lost; at least one place."""
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


def _marked(read: TokenisedAnswer, model: Model, first: int) -> list[Place]:
    """Where the marks of a response are; `first` is the first token after its thought."""
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


def _unmarked(
    places: Sequence[Place], read: TokenisedAnswer, model: Model, first: int
) -> list[Place]:
    """The stretches between marks that hold a word; none where a mark's place is not known."""
    if any(place.stop == 0 and place.reason not in (TWICE, THOUGHT) for place in places):
        return [Place(Verdict.CORRECT, "unmarked, beside a lost span")]
    ids = read.response.token_ids
    marked = {at for place in places for at in range(place.start, place.stop)}
    found = []
    for before, after in pairwise([first - 1, *sorted(marked), len(ids)]):
        words = model.decode(ids[before + 1 : after])
        if any(character.isalnum() for character in words):
            found.append(Place(Verdict.CORRECT, LOCATED, before + 1, after))
    return found


def _by_token(places: Sequence[Place]) -> list[Place]:
    """Each token of the places once; a token with both labels is hallucinated."""
    labels: dict[int, Verdict] = {}
    for place in places:
        for at in range(place.start, place.stop):
            if labels.get(at) is not Verdict.HALLUCINATED:
                labels[at] = place.verdict
    return [Place(label, LOCATED, at, at + 1) for at, label in sorted(labels.items())]


def _examples(response: Response, places: Sequence[Place]) -> list[Example]:
    question = response.question
    token_ids = torch.tensor(response.token_ids, dtype=torch.long)  # shared by all spans
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
    """Counts by verdict and reason, with their share of the verdict."""
    totals: Counter[str] = Counter()
    for (verdict, _), n in counts.items():
        totals[verdict] += n
    rows = [(*pair, n, n / totals[pair[0]]) for pair, n in sorted(counts.items())]
    return pd.DataFrame(rows, columns=["verdict", "reason", "n", "share"])
