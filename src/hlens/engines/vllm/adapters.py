"""Adapters that vLLM holds beside the model, so that each request may name one: a dose of its own.

vLLM puts a layer of its own around each projection that an adapter may reach; it keeps the name of
the projection, so hooks stay where they are. What they read under an adapter: the neurons as they
fire, before the adapter scales what they write, and the MLP's output with what it adds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hlens.data_files import read_json
from hlens.engines.vllm.model import VllmModel
from hlens.errors import HlensError
from hlens.interventions import is_adapter
from hlens.store.checkpoints import RECORD, load_adapter_record
from hlens.types import same_fingerprint


def adapter_request(model: VllmModel, folder: str | Path) -> Any:
    """What vLLM takes as ``lora_request``, of a request that is to run under an adapter.

    The same folder gives the same one; vLLM reads it at its first request. A dose that hlens wrote
    must have been made from this model; any other adapter is taken as it is.

    Args:
        model: Booted with ``enable_lora``.
        folder: In PEFT's layout.

    Raises:
        HlensError: The engine holds no adapters, or no more; no LoRA in the folder, one of another
            model, of a larger rank, or on projections that the engine leaves out.
    """
    folder = Path(folder).resolve()
    held = model.adapters
    if folder in held:
        return held[folder]
    if not model.options.get("enable_lora"):
        raise HlensError(
            f"vLLM was booted without adapters, and {folder.name} is one; give the engine "
            "enable_lora = true, max_loras and max_lora_rank"
        )
    _check_fits(model, folder)
    places = model.options.get("max_loras", 1)
    if len(held) >= places:
        raise HlensError(
            f"vLLM was booted for {places} adapters, and {folder.name} is one more; give the "
            "engine a larger max_loras"
        )
    from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

    held[folder] = LoRARequest(f"{len(held) + 1}:{folder.name}", len(held) + 1, str(folder))
    return held[folder]


def _check_fits(model: VllmModel, folder: Path) -> None:
    if not is_adapter(folder):
        raise HlensError(f"no adapter in {folder}; give a folder with an adapter_config.json")
    config = read_json(folder / "adapter_config.json")
    rank = config.get("r") if isinstance(config, Mapping) else None
    if not isinstance(rank, int) or config.get("peft_type") != "LORA":
        raise HlensError(f"{folder} is no LoRA of PEFT, and vLLM takes no other kind of adapter")
    if (folder / RECORD).is_file():
        _, record = load_adapter_record(folder)
        if not same_fingerprint(model.fingerprint, record["base_fingerprint"]):
            raise HlensError(
                f"{folder} was made from {record['base']} ({record['base_fingerprint'][:12]}), not "
                f"from {model.name} ({model.fingerprint[:12]}); export it from this model"
            )
    largest = model.options.get("max_lora_rank", 16)
    if rank > largest:
        raise HlensError(
            f"{folder} has rank {rank}, and vLLM was booted for {largest}; give the engine a "
            "larger max_lora_rank"
        )
    reached = model.options.get("lora_target_modules")
    wanted = config.get("target_modules")
    names = wanted if isinstance(wanted, list) else [wanted]
    left_out = [name for name in names if str(name).rpartition(".")[2] not in (reached or names)]
    if reached and left_out:
        raise HlensError(
            f"{folder} acts on {left_out[0]}, which vLLM was told to leave out; add it to the "
            "engine's lora_target_modules"
        )
