"""FActScore (arXiv 2305.14251): biographies whose atomic claims people have checked.

Published at github.com/shmsw25/FActScore (``data/labeled/NAME.jsonl`` of its download): input,
output, topic, cat and ``annotations``, one for each sentence with text, is-relevant and
``human-atomic-facts``, each with text and label: S (supported), NS (not supported) or IR
(irrelevant). The fields were looked up in the repository's README and in code that reads the data;
for the data no licence of their own is stated, the repository's is MIT.

A claim is a paraphrase, not a copy, so it has no place of its own in the text. Here its place is
the shortest stretch of its sentence that has all of its words except those of the topic and small
words ("Ann was born in 1950" is "born in 1950" in "Ann (born in 1950) paints"). A claim with a word
that its sentence lacks is left out, and so are claims of one place with different labels; claims of
one place with one label are one span. ``meta`` has the number of claims and of spans, and a warning
the sums. What remains is a biased choice: the plainly worded claims. Outputs without annotations
are unscored, empty ones are left out. All models' texts about one topic are one group.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlens.labelled.layouts import layout
from hlens.labelled.layouts._reading import (
    Record,
    Row,
    group_of,
    objects_of,
    read_each,
    text_of,
)

log = logging.getLogger("hlens")
_WORD = re.compile(r"[^\W_]+")
_SMALL = re.compile(
    r"""(?x) an? | and | are | as | at | be | been | by | did | do | does | for | from | had | has
    | have | he | her | his | in | is | it | its | of | on | or | she | that | the | their | there
    | they | this | to | was | were | which | who | whose | with"""
)


@layout(
    hub="",
    licence="MIT",
    labels={
        "S": "correct",
        "NS": "hallucinated",
        "IR": "unscored",
        "not annotated": "unscored",
    },
)
def read_factscore(path: Path) -> Iterator[dict[str, Any]]:
    """One row for each output, with those of its claims that have a place."""
    counts: Counter[str] = Counter()

    def to_rows(record: Record, number: int) -> Iterator[Row]:
        topic, output = text_of(record, "topic"), text_of(record, "output", or_empty=True)
        if not output.strip():
            counts["empty"] += 1
            return
        row = {
            "id": str(number),
            "group": group_of(topic),
            "question": text_of(record, "input"),
            "response": output,
        }
        if record.get("annotations") is None:
            yield {**row, "verdict": "not annotated", "meta": {"topic": topic}}
            return
        spans, n_claims = _spans(objects_of(record, "annotations"), output, topic)
        counts.update(claims=n_claims, spans=len(spans))
        meta = {"topic": topic, "claims": n_claims, "spans": len(spans)}
        yield {**row, "spans": spans, "meta": meta}

    yield from read_each(path, to_rows)
    if counts["claims"] > counts["spans"] or counts["empty"]:
        log.warning(
            "%s: %d claims have %d places of their own; %d empty outputs left out",
            path.name,
            counts["claims"],
            counts["spans"],
            counts["empty"],
        )


def _spans(sentences: list[Record], output: str, topic: str) -> tuple[list[list[Any]], int]:
    """The claims that have a place, in the order of the text, and the number of all claims."""
    labels: dict[tuple[int, int], set[str]] = {}
    searched = n_claims = 0  # sentences are looked for in order, each after the one before
    for sentence in sentences:
        said = text_of(sentence, "text", or_empty=True)
        start = output.find(said, searched) if said.strip() else -1
        searched = start + len(said) if start >= 0 else searched
        facts = sentence.get("human-atomic-facts")
        claims = [] if facts is None else objects_of(sentence, "human-atomic-facts")
        for claim in claims:
            n_claims += 1
            text, label = text_of(claim, "text"), text_of(claim, "label")
            place = place_of(text, said, topic=topic) if start >= 0 else None
            if place is not None:
                at = start + place[0], start + place[1]
                labels.setdefault(at, set()).add(label)
    spans = [[*at, *given] for at, given in sorted(labels.items()) if len(given) == 1]
    return spans, n_claims


def place_of(claim: str, sentence: str, *, topic: str = "") -> tuple[int, int] | None:
    """Characters of the shortest stretch of a sentence that has all words of a claim.

    Words of the topic and small words need not be there; None where another word is missing.

    >>> sentence = "Ann (born in 1950) is a painter."
    >>> start, stop = place_of("Ann was born in 1950.", sentence, topic="Ann")
    >>> sentence[start:stop]
    'born in 1950'
    """
    wanted = {word for word in _words(claim) - _words(topic) if not _SMALL.fullmatch(word)}
    best: tuple[int, int] | None = None
    last: dict[str, int] = {}  # where each wanted word began last
    for match in _WORD.finditer(sentence):
        word = match[0].casefold()
        if word not in wanted:
            continue
        last[word] = match.start()
        start, stop = min(last.values()), match.end()
        if len(last) == len(wanted) and (best is None or stop - start < best[1] - best[0]):
            best = start, stop
    return best


def _words(text: str) -> set[str]:
    return {match[0].casefold() for match in _WORD.finditer(text)}
