"""Examples to contributions: vLLM runs them, its workers sum, this process puts together."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hlens.contributions import Ask
from hlens.contributions.engine import Job, Progress, job_of
from hlens.contributions.plan import Batch
from hlens.contributions.rows import Row
from hlens.contributions.schedule import Beginning
from hlens.engines.vllm.metrics import check_metric
from hlens.engines.vllm.model import VllmModel, in_one_line
from hlens.engines.vllm.wire import pack, unpack
from hlens.metrics import Metric, factors_of
from hlens.types import Example, MlpTrace

# Of the sums that all workers together hold for one batch.
_BATCH_BYTES = 1 << 28


class VllmJob(Job):
    """A measurement that vLLM runs. Only the asked sums leave its workers."""

    model: VllmModel

    @cached_property
    def read(self) -> list[Ask]:
        """The asks; routed to a neuron's expert is, of a dense model, every token."""
        return [replace(a, reduce="mean") if a.reduce == "routed" else a for a in self.asks]

    def batches(self, tokens: int) -> list[Batch]:
        """The responses, the longest first, as many at a time as a worker has room for sums."""
        per_example = 4 * len(self.asks) * self.model.n_layers * self.model.d_mlp
        most = self.batch_size or max(1, _BATCH_BYTES // per_example)
        order = sorted(range(len(self.responses)), key=lambda i: -len(self.rows[self.first(i)]))
        found: list[list[int]] = []
        size = 0
        for number in order:
            own = len(self.responses[number])
            if not found or size + own > most:
                found.append([])
                size = 0
            found[-1].append(number)
            size += own
        return [Batch(tuple((number,) for number in own), shared=False) for own in found]

    def begun(self) -> list[Beginning]:
        """Nothing is run before: vLLM shares what it shares itself."""
        return [Beginning(tuple(range(len(self.responses))), 0)]

    def first(self, response: int) -> int:
        """The longest row of a response, which is run for all of them."""
        return self.responses[response][0]

    def results(self, batches: Sequence[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Run the batches: ``[ask, example, layer, neuron]`` of each."""
        for batch in batches:
            yield batch, self._run(batch)

    def _run(self, batch: Batch) -> Tensor:
        members = self.members(batch)
        gains = {str(layer): pack(gain) for layer, gain in self.model.gains.items()}
        asks = [[ask.name, ask.reduce] for ask in self.read]
        self.model.call("sum", {"asks": asks, "slots": len(members), "gains": gains})
        slots = {index: slot for slot, index in enumerate(members)}
        prompts, params = [], []
        for name, number in enumerate(batch.members):
            own = [[slots[index], _asked(self.rows[index])] for index in self.responses[number]]
            prompts.append(self.rows[self.first(number)].token_ids.tolist())
            params.append(run_once(sums=own, id=name))
        try:
            with in_one_line(f"vLLM cannot measure {self.model.name}"):
                self.model.run(prompts, params)
        finally:
            summed = self.model.call("summed")
        return self._weighted(self._joined(summed, len(members)))

    def _joined(self, summed: list[Any], n: int) -> Tensor:
        """What all workers summed, each its layers and its neurons."""
        shape = (len(self.read), n, self.model.n_layers, self.model.d_mlp)
        whole = torch.empty(shape)
        for share, packed in zip(self.model.shares, summed, strict=True):
            values, own = unpack(packed), slice(share.start, share.start + share.width)
            for place, layer in enumerate(share.layers):
                whole[:, :, layer, own] = values[:, place]
        return whole

    def _weighted(self, whole: Tensor) -> Tensor:
        for number, by_neuron in self._by_neuron.items():
            whole[number] *= by_neuron
        return whole

    @cached_property
    def _by_neuron(self) -> dict[int, Tensor]:
        """Factor of each neuron, ``[layer, neuron]``, for the asks that have one."""
        found, known = {}, {}
        for number, ask in enumerate(self.read):
            factors = factors_of(ask.metric)
            assert factors is not None  # job_of refuses others
            if factors.neuron is not None:
                if ask.metric not in known:
                    known[ask.metric] = neuron_factors(self.model, ask.metric)
                found[number] = known[ask.metric]
        return found


def _asked(row: Row) -> list[Any]:
    """For each ask the runs of positions that are read, and the weight of one."""
    pairs = zip(row.positions, row.weights, strict=True)
    return [[runs_of(positions), weight] for positions, weight in pairs]


def runs_of(positions: np.ndarray) -> list[list[int]]:
    """Ascending positions as runs ``[start, stop)``.

    >>> runs_of(np.array([2, 3, 4, 7]))
    [[2, 5], [7, 8]]
    """
    if not len(positions):
        return []
    parts = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    return [[int(part[0]), int(part[-1]) + 1] for part in parts]


def run_once(**hlens: Any) -> Any:
    """What vLLM is asked for a text that is read and not continued, all its tokens anew."""
    from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        ignore_eos=True,
        detokenize=False,
        skip_reading_prefix_cache=True,
        extra_args={"hlens": hlens},
    )


def neuron_factors(model: VllmModel, metric: Metric) -> Tensor:
    """What a metric multiplies each neuron by, whatever the token: ``[layer, neuron]``."""
    factors = factors_of(metric)
    assert factors is not None
    assert factors.neuron is not None
    made = []
    for layer, norms in enumerate(model.w_norms):
        shape = model.d_mlp, model.d_model
        rows = model.w_out(layer) if factors.rows else torch.empty(shape, device="meta")
        act, out = torch.zeros(1, shape[0]), torch.zeros(1, shape[1])
        gain = model.gains.get(layer)
        trace = MlpTrace(act, out, rows, row_norms=norms, post_gain=gain)
        made.append(factors.neuron(trace).float().cpu())
    return torch.stack(made)


@job_of.register
def vllm_job(
    model: VllmModel,
    examples: Sequence[Example],
    asks: Sequence[Ask],
    *,
    dtype: torch.dtype = torch.float32,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Job:
    """A measurement by vLLM.

    Raises:
        HlensError: A metric that its workers cannot sum, a text that is too long for it, or a
            compiled engine.
    """
    model.need_eager("measuring")
    for ask in asks:
        check_metric(ask.metric)
    model.check_prompts([example.token_ids.tolist() for example in examples], new=1)
    return VllmJob(model, examples, asks, dtype, batch_size, progress)
