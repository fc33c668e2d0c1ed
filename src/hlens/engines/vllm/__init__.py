"""vLLM, as it is: samples, measures, watches and edits models that are split over devices.

Problem: vLLM batches requests as they come, cuts their prompts into chunks, keeps the beginnings of
prompts and spreads a layer's neurons over devices. Its activations are too many to leave it.

Idea: a class that vLLM mixes into its own workers (``worker_extension_cls``) hooks each layer's
down projection there. Which rows of a pass belong to which request, vLLM knows itself; what is to
be read of a request travels with the request. Only sums of the asked regions leave a worker. In
this process lies no weight: geometry, fingerprint and norms are read from the checkpoint.

By file, first of this process:

    options, metrics           what it is told, and which metrics it can sum
    boot                       boot the engine, prove its neurons
    model                      `VllmModel`, which takes the place of a `Model`
    sampling                   prompts and seeds to replies, drawn as `hlens.sample` draws
    measuring                  examples to contributions
    watching                   scores of tokens, while they are written or afterwards
    serving                    requests that come and go
    editing                    doses, set between two requests
    adapters                   doses that each request chooses

and of a worker:

    worker                     the methods that this process calls, and the hooks
    passes                     whose rows of a pass are whose
    sums, tokens, doses        what is read of, and done to, a layer's neurons
    draws                      the sampler, with each request's own random numbers

Example: two requests in one pass of five rows, a chunk of the first and all of the second::

    rows           0 1 2 | 3 4
    request        A A A | B B        positions 4 5 6 of A, 0 1 of B
    answer         . * * | . *        A's answer begins at 5, B's at 1
    sums of A      rows 1 and 2, each |a| times ||w|| over its own ||h||, by the answer's length
"""

from collections.abc import Mapping
from typing import Any

from hlens.engines.vllm.metrics import check_metric
from hlens.engines.vllm.options import check_eager, check_options
from hlens.metrics import Metric
from hlens.model import Model


def rounding_of(options: Mapping[str, Any]) -> str:
    """Whose rounding its numbers bear: vLLM's."""
    check_options(options)
    return "vllm"


def check_measuring(options: Mapping[str, Any], metric: Metric) -> None:
    """Raise `HlensError` for a metric that its workers cannot sum, or a compiled engine."""
    check_eager(options, "measuring")
    check_metric(metric)


def open_model(source: Any, options: Mapping[str, Any], **loading: Any) -> Model:
    """A model that vLLM runs.

    Args:
        source: An alias, a hub id, a folder or a ``.gguf`` file.
        options: Of vLLM, such as ``{"tensor_parallel_size": 2, "max_model_len": 2048}``; see
            `hlens.engines.vllm.options.OPTIONS`.
        **loading: What `hlens.engines.load` is given; device, device_map, quantization and adapter
            are not taken.

    Raises:
        HlensError: vLLM is not installed, does not boot, or runs other neurons than those of the
            checkpoint; a mixture of experts; or an option that is not taken.
    """
    check_options(options)
    from hlens.engines.vllm.boot import boot  # which needs vLLM

    return boot(source, options, **loading)
