"""Options of vLLM that a recipe may set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hlens.data_files import read_json
from hlens.errors import HlensError
from hlens.lookup import unknown

# Those of ``vllm.LLM`` that decide where and how fast a model runs. What decides what is computed
# (dtype, template, seeds) is in the recipe; hooks and sampler are hlens's own.
OPTIONS: Mapping[str, type] = {
    "tensor_parallel_size": int,
    "pipeline_parallel_size": int,
    "max_model_len": int,
    "max_num_seqs": int,
    "max_num_batched_tokens": int,
    "gpu_memory_utilization": float,
    "kv_cache_memory_bytes": int,
    "cpu_offload_gb": float,
    "block_size": int,
    "enforce_eager": bool,
    "enable_prefix_caching": bool,
    "enable_chunked_prefill": bool,
    "disable_custom_all_reduce": bool,
    "distributed_executor_backend": str,
    # Room for adapters that requests may name (`hlens.engines.vllm.adapters`).
    "enable_lora": bool,
    "max_loras": int,
    "max_lora_rank": int,
    "lora_target_modules": list,
}
# Ranks that vLLM keeps room for. An adapter may have any rank up to that.
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `HlensError` for an option that there is not, or a value of another type."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise unknown("option of the engine vllm", str(name), OPTIONS)
        kind = OPTIONS[name]
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise HlensError(
                f"option {name} of the engine vllm is {value!r:.60}; expected {kind.__name__}"
            )
        if kind in (int, float) and value <= 0 and name != "cpu_offload_gb":
            raise HlensError(f"option {name} of the engine vllm is {value!r}; expected above 0")
        if name == "max_lora_rank" and value not in LORA_RANKS:
            raise HlensError(
                f"option {name} of the engine vllm is {value!r}; expected one of "
                f"{', '.join(map(str, LORA_RANKS))}"
            )


def check_eager(options: Mapping[str, Any], what: str) -> None:
    """Raise `HlensError` where vLLM is to be compiled: its graph has no hooks."""
    if not is_eager(options):
        raise HlensError(
            f"{what} needs hooks, which a compiled vLLM does not run; leave enforce_eager = false "
            "out of the engine's options (sampling alone may be compiled)"
        )


def is_eager(options: Mapping[str, Any]) -> bool:
    """Whether vLLM runs modules one by one, where hooks see them; so unless it is told not to."""
    return bool(options.get("enforce_eager", True))


def options_for_adapters(folders: Sequence[str | Path]) -> dict[str, Any]:
    """Options that make room for these adapters, each in PEFT's layout.

    Raises:
        HlensError: A folder without an adapter of PEFT, or one of a rank that vLLM does not take.
    """
    ranks = [_rank_of(Path(folder)) for folder in folders]
    room = next((rank for rank in LORA_RANKS if rank >= max(ranks)), None)
    if room is None:
        raise HlensError(f"an adapter of rank {max(ranks)}; vLLM takes {LORA_RANKS[-1]} at most")
    return {"enable_lora": True, "max_loras": len(ranks), "max_lora_rank": room}


def _rank_of(folder: Path) -> int:
    path = folder / "adapter_config.json"
    config = read_json(path) if path.is_file() else None
    if not isinstance(config, Mapping) or not isinstance(rank := config.get("r"), int):
        raise HlensError(f"no adapter in {folder}; give a folder with an adapter_config.json")
    return rank
