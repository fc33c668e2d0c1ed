"""Measure what was not measured before: an example that stands keeps its column."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from hlens import metrics, store
from hlens.contributions import measure
from hlens.model import Model
from hlens.recipe import MeasureRecipe, key_of
from hlens.types import Contributions, Example


def measure_again(
    model: Model,
    examples: Sequence[Example],
    how: MeasureRecipe,
    before: Contributions | None,
    known: Sequence[str],
    progress: Callable[[int, int], None],
    parts: Path,
) -> Contributions:
    """Contributions of all examples; columns that stand in `before` are taken from there.

    Args:
        model: The model.
        examples: What is measured.
        how: Metric, region and the like.
        before: Contributions that were measured alike, or None.
        known: Digest of each example of `before`, in order (`digests`).
        progress: Called with (examples done, examples in all).
        parts: Folder of what is measured on the way, so that a run that was killed goes on where
            it stopped; to be removed (`store.remove_folder`) once the result is saved.
    """

    def plain(some: Sequence[Example], which: list[str]) -> Contributions:
        own = parts / key_of([vars(how), model.fingerprint, str(model.dtype), which])[:16]
        store.remove_folder(parts, but=own.name)  # of a run that will not go on
        return measure(
            model,
            some,
            metric=metrics.by_name(how.metric),
            region=how.region,
            reduce=how.reduce,
            position=how.position,
            dtype=getattr(torch, how.dtype),
            progress=progress,
            store=own,
        )

    wanted = digests(examples)
    if before is None or len(before) != len(known):
        return plain(examples, wanted)
    if before.provenance.fingerprint != model.fingerprint:
        return plain(examples, wanted)
    column = {digest: at for at, digest in enumerate(known)}
    new = [e for e, digest in zip(examples, wanted, strict=True) if digest not in column]
    if not new:
        return before.select([column[digest] for digest in wanted])
    missing = [digest for digest in wanted if digest not in column]
    fresh = plain(new, missing)
    if len(fresh) != len(new):  # a region that some examples do not have
        return plain(examples, wanted)
    ahead = {digest: len(before) + at for at, digest in enumerate(missing)}
    whole = replace(Contributions.concatenate([before, fresh]), provenance=fresh.provenance)
    return whole.select([(column | ahead)[digest] for digest in wanted])


def digests(examples: Sequence[Example]) -> list[str]:
    """A hash of each example: its tokens, span and label, and whose they are."""
    return [
        key_of([
            e.domain, e.question_id, e.group, e.sample, e.token_ids.tolist(), e.n_prompt, e.start,
            e.stop, e.hallucinated,
        ])
        for e in examples
    ]  # fmt: skip
