"""Engines: what runs a model. The folder is the list.

Problem: a model of 70 billion parameters is not run by the library that a notebook uses; it is
split over devices by an engine of its own, which keeps modules, batches and caches to itself.

Idea: an engine gives a `Model`, and whatever takes a model takes it: `hlens.sample`,
`hlens.measure`, `hlens.monitor`, ``model.editing``. What an engine does otherwise it registers with
the function that does it (`generate_batch`, `job_of`, `score_tokens`, ...), so that nobody asks
which engine runs; what it cannot do it says in one line.

Worked example:

    >>> model = load("toy", device="cpu")
    >>> load("toy", device="cpu", engine="local").fingerprint == model.fingerprint
    True
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hlens import lookup
from hlens.kinds import explain_public
from hlens.metrics import Metric
from hlens.model import Model
from hlens.threads import asked_threads


def names() -> list[str]:
    """Names of the engines.

    >>> "local" in names()
    True
    """
    return lookup.names("engines")


def rounding_of(name: str, options: Mapping[str, Any]) -> str:
    """Whose rounding the numbers of an engine bear; empty where they are the local engine's.

    It decides what of a study is made again when another engine is taken.

    Raises:
        HlensError: There is no engine of that name, or it does not know one of the options.
    """
    return lookup.member("engines", name).rounding_of(options)


def check_measuring(name: str, options: Mapping[str, Any], metric: Metric) -> None:
    """Raise `HlensError` where an engine cannot measure this; nothing is loaded for it."""
    lookup.member("engines", name).check_measuring(options, metric)


def load(
    source: Any,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    name: str | None = None,
    template_options: Mapping[str, Any] | None = None,
    quantization: Any = None,
    device_map: str | Mapping[str, Any] | None = None,
    adapter: str | Path | None = None,
    engine: str = "local",
    engine_options: Mapping[str, Any] | None = None,
) -> Model:
    """Load a model and prove that its MLP neurons are what hlens takes them for.

    Args:
        source: An alias (``"smollm2-135m"``, ``"gemma3-270m"``), a hub id (``"owner/name"``), a
            local folder, a ``.gguf`` file (converted once, into the cache), a loaded
            `TransformerBridge`, or a pair (hf_model, tokenizer or None).
        device: Default: CUDA, else Apple's GPU, else the CPU. A loaded model stays where it is.
        dtype: Default: float32 on a CPU (bfloat16 is slower there), bfloat16 on a GPU.
        revision: Revision on the hub.
        name: Name in tables; default from the source.
        template_options: What the chat template is given beside the turns, such as
            ``{"enable_thinking": False}``, wherever hlens writes a chat prompt.
        quantization: How weights are quantised while they are loaded: a short name such as
            ``"bnb-4bit"`` (`hlens list quantizations`), or a configuration of transformers. What
            is quantised already needs none.
        device_map: What of the model goes to which device, as accelerate takes it: ``"auto"``, or a
            device, ``"cpu"`` or ``"disk"`` for each part. In place of `device`.
        adapter: A PEFT adapter, a folder or a hub id, that runs beside the weights, unmerged.
        engine: What runs the model: ``"local"``, this process, or another one of `names`.
        engine_options: Options of the engine's own, in its module.

    Raises:
        HlensError: The source cannot be opened, its neurons cannot be verified, its chat template
            does not know one of the options, the engine cannot run it, or ``HLENS_THREADS`` is no
            number.
    """
    asked_threads()
    loading = {
        "device": device,
        "dtype": dtype,
        "revision": revision,
        "name": name,
        "template_options": template_options,
        "quantization": quantization,
        "device_map": device_map,
        "adapter": adapter,
    }
    return lookup.member("engines", engine).open_model(source, engine_options or {}, **loading)


explain_public(globals())
