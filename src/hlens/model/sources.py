"""Where a model comes from: an alias, a hub id, a local folder or a GGUF file."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from hlens import lookup
from hlens.errors import HlensError
from hlens.model import embedded


def shipped(name: str) -> Path:
    """The folder of a model whose weights lie in the package."""
    return Path(str(files("hlens") / "toy" / "weights" / name))


ALIASES: Mapping[str, Callable[[], Path]] = {
    "smollm2-135m": embedded.folder,
    "toy": partial(shipped, "toy"),
    "toy-base": partial(shipped, "toy-base"),
}
_CALLED = {"smollm2-135m": ("SmolLM2-135M-Instruct", "embedded")}


def open_source(source: str, dtype: torch.dtype, revision: str | None) -> tuple[Any, Any, str, str]:
    """The Hugging Face model and tokenizer of a source, with its name and revision.

    Raises:
        HlensError: No such alias, folder or hub model; the reason is passed on.
    """
    if source in ALIASES:
        folder = ALIASES[source]()
        name, revision = _CALLED.get(source, (source, "shipped"))
        return *from_folder(str(folder), dtype, None), name, revision
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise HlensError(f"no GGUF file at {source!r}; check the path")
        model, tokenizer = from_gguf(path)
        return model.to(dtype), tokenizer, path.stem, ""
    if path.is_dir():
        if not (path / "config.json").exists():
            raise HlensError(
                f"{source!r} holds no config.json; expected a Hugging Face model folder"
            )
        return *from_folder(str(path), dtype, None), path.name, ""
    if "/" not in source or source.startswith((".", "/", "~")):
        raise lookup.unknown(
            "model (no alias, local folder or hub id 'owner/name')", source, ALIASES
        )
    return *from_folder(source, dtype, revision), source, revision or ""


def from_folder(name: str, dtype: torch.dtype, revision: str | None) -> tuple[Any, Any]:
    """Model and tokenizer from a local folder or a hub id."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        raise HlensError(f"cannot load the model {name!r}: {_first_line(error)}") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError, KeyError):
        tokenizer = None  # token ids still work; what needs text says so
    return model, tokenizer


def from_gguf(path: Path) -> tuple[Any, Any]:
    """Model (float32, dequantised) and tokenizer from a GGUF file."""
    try:
        import gguf  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise HlensError("reading GGUF needs the package gguf: pip install 'hlens[demo]'") from None
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(path.parent), path.name
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    except (OSError, ValueError, KeyError) as error:
        raise HlensError(f"cannot read the GGUF file {path}: {_first_line(error)}") from error
    return _forget_quantiser(model), tokenizer


def _forget_quantiser(model: Any) -> Any:
    """The weights are plain float32 now; what is left of the quantiser would not let them save."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
