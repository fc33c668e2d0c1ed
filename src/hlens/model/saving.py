"""Folders of models that other software reads as hlens does.

transformers 5 writes names that transformers 4, and engines grown beside it, do not know. They
ignore them in silence: a model whose `rope_theta` they miss runs on 10,000, and writes nonsense. So
every name that moved is written in both spellings, and the older one is proved: transformers 5
still reads it, and must find the same in it.
"""

import copy
import json
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from hlens.errors import HlensError, first_line

Fields = dict[str, Any]

# What transformers 4 calls: the base of the rotary positions, the share of a head that is rotated,
# and the base of the layers that attend within a window. Most models; GPT-NeoX; ModernBERT.
OLDER_NAMES = (
    ("rope_theta", "partial_rotary_factor", "rope_local_base_freq"),
    ("rotary_emb_base", "rotary_pct", ""),
    ("global_rope_theta", "", "local_rope_theta"),
)
# Fields of the tokenizer's configuration that say how it was opened here, not what it is.
OF_THIS_MACHINE = ("backend", "is_local", "local_files_only")


def save_pretrained(hf: Any, tokenizer: Any, folder: str | Path) -> Path:
    """Write model and tokenizer (or None) as a folder that `hlens.load` and other engines read.

    Raises:
        HlensError: A model inside a TransformerBridge, which cannot be saved.
    """
    folder = Path(folder)
    _save_model(hf, folder)
    _rewrite(folder / "config.json", lambda fields: _both_spellings(hf.config, fields))
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
        _rewrite(
            folder / "tokenizer_config.json", lambda fields: _tokenizer_fields(tokenizer, fields)
        )
    return folder


def _save_model(hf: Any, folder: Path) -> None:
    """Weights and configurations; how the model's makers want it sampled is kept as it is."""
    from transformers import GenerationConfig

    kept = getattr(hf, "generation_config", None)
    try:
        # transformers reads settings that contradict each other, but refuses to write them.
        if kept is not None:
            hf.generation_config = GenerationConfig()
        hf.save_pretrained(folder)
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise HlensError(
            f"{type(hf).__name__} cannot be saved ({first_line(error)}); load the plain "
            "model with hlens.load instead of passing a TransformerBridge"
        ) from error
    finally:
        if kept is not None:
            hf.generation_config = kept
    if kept is not None:
        kept.to_json_file(folder / "generation_config.json")


def _rewrite(path: Path, change: Callable[[Fields], Fields]) -> None:
    fields = change(json.loads(path.read_text(encoding="utf-8")))
    path.write_text(
        json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _both_spellings(config: Any, fields: Fields) -> Fields:
    """The fields of a configuration, and of those inside it, with the older names beside them."""
    for name in config.sub_configs:
        if isinstance(fields.get(name), dict):
            fields[name] = _both_spellings(getattr(config, name), fields[name])
    if "dtype" in fields:
        fields["torch_dtype"] = fields["dtype"]
    if fields.get("rope_parameters"):
        fields |= _older_rope(type(config), fields)
    return fields


def _older_rope(kind: Any, fields: Fields) -> Fields:
    """How transformers 4 calls a model's rotary positions.

    Where it has no words for them its names hold None: it fails then, instead of guessing.
    """
    meant = fields["rope_parameters"]
    rest = {name: value for name, value in fields.items() if name != "rope_parameters"}
    for names, inside in product(OLDER_NAMES, (False, True)):
        older = _spell(meant, *names, inside=inside)
        # Reading a configuration changes what is inside its fields.
        read = kind.from_dict(copy.deepcopy(rest | older)).rope_parameters
        if _known(read) == _known(meant):
            return older
    return {names[0]: None for names in OLDER_NAMES}


def _spell(meant: Mapping[str, Any], base: str, share: str, local: str, *, inside: bool) -> Fields:
    """The rotary positions in the given older names.

    The length before "longrope" is read outside; most models keep it `inside` the scaling, too, but
    Phi-3 allows three fields there, of which one is the type by its oldest name.
    """
    nested = isinstance(meant.get("full_attention"), dict)
    whole = dict(meant["full_attention"] if nested else meant)
    older = {base: whole.pop("rope_theta", None), share: whole.pop("partial_rotary_factor", None)}
    if nested:
        older[local] = (meant.get("sliding_attention") or {}).get("rope_theta")
    if whole.get("rope_type") == "longrope":
        length = "original_max_position_embeddings"
        older[length] = whole.get(length) if inside else whole.pop(length, None)
        whole["type"] = whole.pop("rope_type")
    older = {name: value for name, value in older.items() if name and value is not None}
    scaled = whole.get("rope_type", "") != "default"
    return older | {"rope_scaling": whole if scaled else None}


def _known(rope: Any) -> Any:
    """Rotary positions without the second name of their type."""
    if not isinstance(rope, dict):
        return rope
    return {name: _known(value) for name, value in rope.items() if name != "type"}


def _tokenizer_fields(tokenizer: Any, fields: Fields) -> Fields:
    """The tokenizer's configuration in names that transformers 4 and 5 both know."""
    fields = {name: value for name, value in fields.items() if name not in OF_THIS_MACHINE}
    if tokenizer.is_fast:
        # tokenizer.json holds all of it; other classes may put their own rules over that file.
        fields["tokenizer_class"] = "PreTrainedTokenizerFast"
        fields["model_input_names"] = list(tokenizer.model_input_names)
        fields["clean_up_tokenization_spaces"] = bool(tokenizer.clean_up_tokenization_spaces)
    extra = fields.pop("extra_special_tokens", None)
    if extra:
        # A list under the newer name stops transformers 4.
        fields["additional_special_tokens"] = extra
    if isinstance(tokenizer.chat_template, str):
        # It lies in a file of its own, too, which older engines do not look for.
        fields["chat_template"] = tokenizer.chat_template
    return fields
