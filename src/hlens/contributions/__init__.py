"""measure: from examples to the contribution of every neuron to each of them.

The problem: an example has hundreds of tokens, and a model has hundreds of thousands of neurons at
each of them. Cached as a whole they fill the memory, and nearly all of it is thrown away when the
answer's tokens are averaged.

The idea: reduce each layer while the forward pass is in it. A hook on the down projection sees the
activations and the output, takes the few positions that are asked for, and leaves one number a
neuron (`reducing`). Most formulas come apart into an activation, a position and a neuron
(`hlens.metrics.Factors`), so that a mean over positions is one small matrix product.

An example goes through these modules, in this order:

1. `regions`: an `Ask` (metric, region, reduction) says which of its positions are read.
2. `rows`: a `Row` is the example cut behind the last such position, with a weight for each ask.
3. `plan`, `schedule`: rows are run in batches, of similar length and with a shared prompt; `cut`
   puts these into blocks, which several workers may share.
4. `passes`: a batch is run in pieces, so that no stretch of tokens that rows share is run twice.
5. `reducing`: a `Readout` has weights over the positions of a pass; their product with the neurons
   is the result.
6. `results`: values in memory or in a folder become `Contributions`, neuron-major.

For example, four answers to one prompt of 40 tokens, measured on their answer tokens: the prompt is
one sequence of a first pass in which nothing is read, the four answers are sequences of a second
that reads its keys and values; each answer's positions have the weight one over their number, and
the product of these weights with ``|a|``, divided by ``||h||`` and multiplied by ``||w||``, is the
mean CETT of every neuron.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from hlens import lookup, metrics
from hlens.checks import check_whole
from hlens.contributions.checks import (
    check_metrics,
    check_not_empty,
    check_tokens,
    distinct_asks,
)
from hlens.contributions.engine import Progress, job_of
from hlens.contributions.official import closed, import_thunlp, official_asks
from hlens.contributions.regions import REGIONS, Ask
from hlens.contributions.results import InMemory, chunks, measure_stored
from hlens.errors import HlensError
from hlens.kinds import explain_public
from hlens.metrics import Metric
from hlens.model import Model
from hlens.types import Contributions, Example

__all__ = ["REGIONS", "Ask", "import_thunlp", "measure", "measure_many"]


def measure(
    model: Model,
    examples: Sequence[Example],
    *,
    metric: Metric | None = None,
    region: str = "answer",
    reduce: str = "mean",
    position: str = "read",
    dtype: torch.dtype = torch.float32,
    batch_size: int | None = None,
    store: str | Path | None = None,
    progress: Progress | None = None,
    drop_empty: bool = False,
    compat: str | None = None,
) -> Contributions:
    """What each neuron contributed to each example.

    Args:
        model: The model that the examples' tokens are run through.
        examples: Labelled token sequences, from `hlens.locate`.
        metric: Formula, from `hlens.metrics` or a function of your own on an `MlpTrace`;
            `signed_cett` when None, which `hlens.find` reads by default, and with
            ``compat="thunlp"`` `cett`.
        region: Tokens to take: ``answer``, ``response`` (without the thought of a model that thinks
            aloud), ``thought``, ``prompt``, ``other`` (all but the answer), ``response_other``,
            ``last_prompt`` or ``first_answer``; or one token by its number: ``answer+2`` is the
            third of the answer, ``answer-1`` the one before it, ``prompt-1`` the last of the
            prompt.
        reduce: How several tokens become one number: ``mean``, ``max``, ``last``, ``first``, or
            ``routed``, a mean over the tokens that a mixture routes to the neuron's expert.
        position: ``read`` takes the neurons where a token is the input (arXiv 2512.01797),
            ``predicted`` one position earlier, where it is the output.
        dtype: Of the result, float32 or float16; sums are float32 always.
        batch_size: Examples at a time; None fits them to the memory.
        store: Folder to measure into; a run that was killed goes on where it stopped, and the
            values come memory-mapped. None keeps them in memory.
        progress: Called with the number of examples done and of all.
        drop_empty: Leave out examples in which the region has no token, instead of raising.
        compat: ``"thunlp"`` takes the formula and the regions of the paper's official code; the
            result uses its names of the regions (``answer_tokens``, ...).

    Raises:
        HlensError: No examples, an unknown region, reduction or position, a region without
            tokens, or a model whose neurons cannot be measured.
    """
    if metric is None:
        metric = metrics.cett if compat else metrics.signed_cett
    check_metrics([metric])
    (data,) = measure_many(
        model,
        examples,
        metrics=[metric],
        regions=[region],
        reduce=reduce,
        position=position,
        dtype=dtype,
        batch_size=batch_size,
        store=store,
        progress=progress,
        drop_empty=drop_empty,
        compat=compat,
    ).values()
    return data


def measure_many(
    model: Model,
    examples: Sequence[Example],
    *,
    metrics: Sequence[Metric],
    regions: Sequence[str] = ("answer",),
    reduce: str = "mean",
    position: str = "read",
    dtype: torch.dtype = torch.float32,
    batch_size: int | None = None,
    store: str | Path | None = None,
    progress: Progress | None = None,
    drop_empty: bool = False,
    compat: str | None = None,
) -> dict[tuple[str, str], Contributions]:
    """Each of several metrics over each of several regions, in one forward pass.

    All other options are those of `measure`; `store` holds one file for each metric and region.

    Returns:
        Contributions by (name of the metric, region).
    """
    if compat not in (None, "thunlp"):
        raise lookup.unknown("compat", compat, ["thunlp"])
    check_metrics(metrics)
    if isinstance(regions, str):
        raise HlensError(
            f"regions of measure_many: got the text {regions!r:.60}; give a list of texts"
        )
    examples = list(examples)
    if compat:
        examples = closed(model, examples)
        asks = official_asks(model, metrics, regions=regions, reduce=reduce, position=position)
    else:
        asks = [
            Ask(metric, region, reduce=reduce, position=position)
            for metric in metrics
            for region in regions
        ]
    if not examples or not asks:
        raise HlensError("nothing to measure: give at least one example, metric and region")
    asks = distinct_asks(asks)
    if batch_size is not None:
        check_whole("batch_size", batch_size, least=1)
    if dtype not in (torch.float32, torch.float16):
        raise HlensError(f"cannot keep contributions as {dtype}; use torch.float32 or float16")
    check_tokens(model, examples)
    check_not_empty(asks, examples, drop_empty=drop_empty)
    job = job_of(model, examples, asks, dtype=dtype, batch_size=batch_size, progress=progress)
    if store is not None:
        return measure_stored(job, Path(store))
    _ = model.fingerprint  # hashing takes memory of its own: not while the values lie there, too
    memory = InMemory(model, examples, asks)
    for chunk in chunks(job):
        memory.take(*chunk)
    return {ask.key: memory.contributions(number, job.kept(ask)) for number, ask in enumerate(asks)}


explain_public(globals())
