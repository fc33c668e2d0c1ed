"""Whose rows are whose in a pass of vLLM, from the bridge of TransformerLens, which reads them."""

from functools import cache
from typing import Any


def segment_by_request(runner: Any) -> tuple[Any, list[str]]:
    """Where each request's rows begin in the pass of a vLLM model runner, and the requests.

    Returns:
        Offsets, one more than requests, on the CPU; and the requests' names, in the rows' order.
    """
    return _segmenting()(runner)


@cache
def _segmenting() -> Any:
    from transformer_lens.model_bridge.sources.vllm import internals

    return internals.segment_by_request
