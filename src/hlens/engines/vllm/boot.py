"""Boot vLLM with hlens's hooks and sampler, and prove that it runs the checkpoint's neurons."""

import os
from collections.abc import Mapping
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

import hlens.engines.vllm.editing  # which registers what it does, as the next four do
import hlens.engines.vllm.measuring
import hlens.engines.vllm.sampling
import hlens.engines.vllm.serving
import hlens.engines.vllm.watching  # noqa: F401
from hlens.engines.vllm.model import Share, VllmModel, in_one_line, refuse_to_run
from hlens.engines.vllm.options import is_eager
from hlens.engines.vllm.wire import unpack
from hlens.errors import HlensError
from hlens.model import Model, checkpoint_of
from hlens.model import load as load_local

# How far what vLLM computes may be off neurons times W_out, relative to its size.
PRECISION = {torch.float32: 1e-3, torch.bfloat16: 3e-2, torch.float16: 1e-2}
PROOF = 6  # tokens of the prompt of the proof


def boot(source: Any, options: Mapping[str, Any], **loading: Any) -> VllmModel:
    """A model that vLLM runs; see `hlens.engines.vllm.open_model`."""
    if not isinstance(source, str | os.PathLike):
        raise HlensError(
            f"vLLM opens a model itself, and got a {type(source).__name__}; give an alias, a hub "
            "id, a folder or a .gguf file"
        )
    _check_loading(loading)
    if find_spec("vllm") is None:
        raise HlensError(
            "the engine vllm needs the package vllm: pip install 'hlens[vllm]' (for a CPU see "
            "docs/howto/larger_than_one_machine.md)"
        )
    dtype = loading["dtype"] or ("bfloat16" if torch.cuda.is_available() else "float32")
    names = ("revision", "name", "template_options")
    # Without its weights: what is asked of them is fetched from the checkpoint.
    local = load_local(
        os.fspath(source),
        dtype=dtype,
        device_map={"": "disk"},
        **{name: loading[name] for name in names},
    )
    if local.experts:
        raise HlensError(
            f"{local.name} is a mixture of experts, whose neurons are no module's input in vLLM; "
            'take engine = "local"'
        )
    where = checkpoint_of(os.fspath(source))
    llm = _boot(where, local.dtype, options, loading["revision"], local.n_trained_positions)
    own = {f.name: getattr(local, f.name) for f in fields(Model) if f.init}
    model = VllmModel(**own, llm=llm, options=dict(options))
    if is_eager(options):
        model.shares = _attach(model)
        _prove(model)
    refuse_to_run(model)
    return model


def _check_loading(loading: Mapping[str, Any]) -> None:
    for name in ("device", "device_map", "quantization", "adapter"):
        if loading.get(name) is not None:
            raise HlensError(
                f"{name}= is not taken by the engine vllm, which places a checkpoint's weights "
                'itself; leave it out, or take engine = "local"'
            )


def _boot(
    where: str,
    dtype: torch.dtype,
    options: Mapping[str, Any],
    revision: str | None,
    positions: int | None,
) -> Any:
    """The engine, with hlens's part of its workers and of its sampler."""
    _set_environment(options)
    chosen = {"enforce_eager": True, "async_scheduling": False, **options}
    if options.get("enable_lora") and not torch.cuda.is_available():
        # On a CPU rows without an adapter are run with the one in the last place (vLLM's pull
        # request 48421): it stays empty.
        chosen["max_loras"] = options.get("max_loras", 1) + 1
    with in_one_line(f"vLLM cannot boot {where}"):
        from vllm import LLM  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

        return LLM(
            model=where,
            dtype=str(dtype).removeprefix("torch."),
            revision=revision,
            worker_extension_cls="hlens.engines.vllm.worker.HlensWorker",
            logits_processors=["hlens.engines.vllm.draws:SeededDraws"],
            seed=0,
            **chosen,
        )


def _set_environment(options: Mapping[str, Any]) -> None:
    """What vLLM reads from its environment, wherever the caller has not set it."""
    wanted = {
        # The scheduler runs in this process; workers that hold a share of a model do not.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # The runner whose books `passes` reads.
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_CONFIGURE_LOGGING": "1",
    }
    if not torch.cuda.is_available():
        wanted["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        if "gpu_memory_utilization" not in options:
            wanted["VLLM_CPU_KVCACHE_SPACE"] = "2"
        if is_eager(
            options
        ):  # a helper of the sampler would be compiled for a minute on the first request
            wanted["TORCH_COMPILE_DISABLE"] = "1"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def _attach(model: VllmModel) -> tuple[Share, ...]:
    """Hook the down projections of all workers, which together must hold every neuron."""
    paths = {id(module): path for path, module in model.hf.named_modules()}
    wanted = [paths[id(down)] for down in model.down_projections]
    with in_one_line(f"vLLM's {model.name} cannot be hooked"):
        held = model.call("attach", wanted)
    shares = tuple(Share(tuple(one["layers"]), one["start"], one["width"]) for one in held)
    for layer, path in enumerate(wanted):
        reached = sum(share.width for share in shares if layer in share.layers)
        if reached != model.d_mlp:
            raise HlensError(
                f"vLLM's {model.name} has {reached} of {model.d_mlp} neurons at {path}; its "
                'modules are named otherwise than the checkpoint\'s: take engine = "local"'
            )
    return shares


def _prove(model: VllmModel) -> None:
    """Raise `HlensError` unless each layer's output is its neurons times the checkpoint's W_out."""
    from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

    ids = torch.arange(PROOF) * 7919 % model.n_tokens
    params = SamplingParams(max_tokens=1, temperature=0.0, skip_reading_prefix_cache=True)
    model.call("keep_whole", True)
    with in_one_line(f"vLLM cannot run {model.name}"):
        model.run([ids.tolist()], [params])
    held = model.call("keep_whole", False)
    precision = PRECISION[model.dtype]
    for layer, mlp in enumerate(model.mlps):
        act, out = _joined(model, held, layer)
        bias = mlp.blocks[0].bias(None) if _has_bias(mlp.blocks[0].module) else None
        made = act @ mlp.rows().float() + (0 if bias is None else bias.float())
        apart = float((made - out).norm() / out.norm().clamp_min(1e-30))
        if not apart < precision:
            raise HlensError(
                f"layer {layer} of vLLM's {model.name} writes something else than its neurons "
                f"times W_out (off by {apart:.2g} of its size); it is no MLP that hlens can read "
                'here: take engine = "local"'
            )


def _has_bias(down: Any) -> bool:
    return getattr(down, "bias", None) is not None


def _joined(model: VllmModel, held: list[Any], layer: int) -> tuple[Tensor, Tensor]:
    """Neurons of all workers at one token, and what the layer wrote there."""
    act, out = torch.zeros(model.d_mlp), torch.zeros(0)
    for share, of_worker in zip(model.shares, held, strict=True):
        if str(layer) in of_worker:
            own, packed = of_worker[str(layer)]
            act[share.start : share.start + share.width] = unpack(own)
            out = unpack(packed)
    return act, out
