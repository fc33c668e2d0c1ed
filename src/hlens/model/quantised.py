"""Quantised weights: the plain matrix behind a projection, and what rounding does to it.

Problem: transformers keeps quantised weights in as many ways as there are packages. All of them
say what they compute (a module with an input and an output); few say which matrix they multiply by,
and some round what they read as well as what they hold.

Idea: a `Scheme` is one such way, and knows its own matrix. Of a scheme that is not known here,
column j is what the module writes for a neuron of activation one among silent ones. Either way the
proof at load holds the matrix to what the module does, within what the scheme rounds.

Example: what bitsandbytes, torchao, compressed-tensors or GPTQ run is read as a Linear is::

    matrix_of(layer.mlp.down_proj)     # [d_model, neuron], dequantised, one layer at a time
    rounding_of(layer.mlp.down_proj)   # 0.1 where activations are rounded to 8 bits, too
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hlens import lookup
from hlens.errors import HlensError

PLAIN = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
# Relative to the largest output: kernels of packed weights compute in half precision, and an
# activation of 8 bits is one of 255 (fp8: 1 + 1/8 of the next) steps of its token's largest.
HALF, EIGHT_BITS = 3e-2, 1e-1
_UNITS = 1024  # neurons at a time of which a module is asked for its matrix


@dataclass(frozen=True)
class Scheme:
    """One way to keep a projection's weights.

    Attributes:
        fits: Whether a module's weights are kept so.
        matrix: The dequantised matrix of such a module, ``[out, in]``; None asks the module.
        rounds: Whether such a module rounds what it reads, too.
    """

    fits: Callable[[Any], bool]
    matrix: Callable[[Any], Tensor] | None
    rounds: Callable[[Any], bool]


def is_plain(module: Any) -> bool:
    """Whether a module's weights are a plain matrix of floating-point numbers."""
    weight = getattr(module, "weight", None)
    plain = isinstance(weight, Tensor) and not _is_packing(weight) and weight.dtype in PLAIN
    return plain and not _is_compressed(module)


def matrix_of(module: Any) -> Float[Tensor, "out in"]:
    """The plain matrix of a quantised module; a copy.

    Raises:
        HlensError: A module that does not say how many inputs it has.
    """
    scheme = _scheme_of(module)
    matrix = columns_of(module).T if scheme.matrix is None else scheme.matrix(module)
    return matrix.detach()


def rounding_of(module: Any) -> float:
    """How far what a module writes may be off its matrix times what it reads, relative."""
    if is_plain(module):
        return 0.0
    return EIGHT_BITS if _scheme_of(module).rounds(module) else HALF


def columns_of(
    module: Any, index: Int[Tensor, " neuron"] | None = None
) -> Float[Tensor, "neuron out"]:
    """What a module writes for one input of one, all others zero, its bias apart."""
    n, (device, dtype) = width_of(module), _reads(module)
    index = torch.arange(n) if index is None else index.cpu()
    parts = []
    with torch.no_grad():
        bias = silent_output(module)
        for some in index.split(_UNITS):
            units = torch.zeros(len(some), n, dtype=dtype)
            units[torch.arange(len(some)), some] = 1.0
            parts.append(module.forward(units.to(device)) - bias)
    return torch.cat(parts) if parts else bias[None][:0]


def silent_output(module: Any) -> Float[Tensor, " out"]:
    """What a module writes when all that it reads is zero."""
    device, dtype = _reads(module)
    with torch.no_grad():
        # Not called, so that no hook sees it.
        return module.forward(torch.zeros(1, width_of(module), dtype=dtype, device=device))[0]


def width_of(module: Any) -> int:
    """How many inputs a projection has; GPT-2's Conv1D says so by its weight alone."""
    if isinstance(n := getattr(module, "in_features", None), int):
        return n
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        raise HlensError(
            f"{type(module).__name__} does not say how many neurons it reads (no in_features); "
            "use weights that are quantised in another way"
        )
    return weight.shape[0] if type(module).__name__ == "Conv1D" else weight.shape[1]


def parts_of(module: Any) -> dict[str, Tensor]:
    """All tensors that a quantised module keeps its weights in, by name.

    The names of one that rounds what it reads say so: with the same weights it is another model.
    """
    parts: dict[str, Tensor] = {}
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        parts |= _plain_parts(name, value.data if isinstance(value, nn.Parameter) else value)
        parts |= _attributes(f"{name}.quant_state", getattr(value, "quant_state", None))
    parts |= _attributes("state", getattr(module, "state", None))
    rounds = not is_plain(module) and _scheme_of(module).rounds(module)
    return {f"rounded.{name}": part for name, part in parts.items()} if rounds else parts


def quantised_modules(hf: nn.Module) -> dict[str, nn.Module]:
    """The modules of a model whose weights are quantised, by name."""
    return {name: module for name, module in hf.named_modules() if _is_quantised(module)}


def _scheme_of(module: Any) -> Scheme:
    return next(scheme for scheme in _SCHEMES if scheme.fits(module))


def _is_quantised(module: Any) -> bool:
    """Whether a module has quantised weights of its own."""
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    odd = any(_is_packing(each) or _is_packed(each.dtype) for each in own)
    named = isinstance(getattr(module, "in_features", None), int)  # not a mask, or a counter
    return named and not hasattr(module, "base_layer") and (odd or _is_compressed(module))


def _is_packing(weight: Tensor) -> bool:
    """Whether a tensor is of a kind of its own, made of others."""
    return type(weight.data) is not Tensor and hasattr(weight.data, "__tensor_flatten__")


def _is_packed(dtype: torch.dtype) -> bool:
    return dtype not in PLAIN and dtype is not torch.bool


def _is_compressed(module: Any) -> bool:
    return getattr(module, "quantization_scheme", None) is not None


def _is_bitsandbytes(module: Any) -> bool:
    return type(getattr(module, "weight", None)).__name__ in ("Int8Params", "Params4bit")


def _is_subclass(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and _is_packing(weight)


def _bitsandbytes_matrix(module: Any) -> Tensor:
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    state = getattr(module.weight, "quant_state", None)
    if getattr(state, "packing_format_for_cpu", False):  # laid out for one kernel alone
        return columns_of(module).T
    return dequantize_bnb_weight(module.weight, getattr(module, "state", None))


def _rounds_subclass(module: Any) -> bool:
    """Whether torchao, or quanto, rounds activations beside this weight."""
    names = ("act_quant_kwargs", "activation_quantization", "activation_qtype")
    return any(getattr(module.weight, name, None) for name in names)


_SCHEMES = (
    # LLM.int8() rounds activations; 4 bits are for weights alone.
    Scheme(_is_bitsandbytes, _bitsandbytes_matrix, lambda m: m.weight.dtype is torch.int8),
    # torchao, quanto: tensors of a kind of their own, which unpack themselves.
    Scheme(_is_subclass, lambda m: m.weight.dequantize(), _rounds_subclass),
    # compressed-tensors unpacks its weights when a model first runs.
    Scheme(
        lambda m: _is_compressed(m) and getattr(m, "weight", None) is not None,
        lambda m: m.weight,
        lambda m: m.quantization_scheme.input_activations is not None,
    ),
    # GPTQ, AWQ, HQQ, FP8 and all others: only the module itself knows.
    Scheme(lambda m: True, None, lambda m: True),
)


def _reads(module: Any) -> tuple[torch.device, torch.dtype]:
    """The device of a module's weights, and a dtype that it can read."""
    tensors = [*module.parameters(), *module.buffers()]
    dtypes = [each.dtype for each in tensors if each.dtype in PLAIN]
    device = next((each.device for each in tensors), torch.device("cpu"))
    return device, next(iter(dtypes), torch.get_default_dtype())


def _plain_parts(name: str, value: Any) -> dict[str, Tensor]:
    """A tensor, or the plain tensors that one of a kind of its own is made of."""
    if not _is_packing(value):
        return {name: value}
    parts: dict[str, Tensor] = {}
    for inner in value.__tensor_flatten__()[0]:
        parts |= _plain_parts(f"{name}.{inner}", getattr(value, inner))
    return parts


def _attributes(name: str, holder: Any) -> dict[str, Tensor]:
    """What bitsandbytes keeps beside a weight: its scales, which may be quantised in their turn."""
    names = ("SCB", "absmax", "code", "offset")
    held = {f"{name}.{key}": getattr(holder, key, None) for key in names}
    parts = {key: value for key, value in held.items() if isinstance(value, Tensor)}
    inner = getattr(holder, "state2", None)
    return parts | (_attributes(f"{name}.state2", inner) if inner is not None else {})


def _bnb(**options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(**options)

    return make


def _torchao(kind: str, *, group: int = 0) -> Callable[[], Any]:
    """A configuration of torchao; in groups of so many weights, for 4 bits."""

    def make() -> Any:
        import torchao.quantization as ao  # pyright: ignore[reportMissingImports]
        from transformers import TorchAoConfig

        own = {"granularity": ao.PerGroup(group), "weight_dtype": torch.int4} if group else {}  # pyright: ignore
        return TorchAoConfig(getattr(ao, kind)(**own))

    return make


# Short names of ways to quantise weights while they are loaded.
QUANTIZATIONS: Mapping[str, tuple[str, Callable[[], Any]]] = {
    "bnb-8bit": ("bitsandbytes", _bnb(load_in_8bit=True)),
    "bnb-4bit": ("bitsandbytes", _bnb(load_in_4bit=True, bnb_4bit_quant_type="nf4")),
    "torchao-int8": ("torchao", _torchao("Int8WeightOnlyConfig")),
    "torchao-int8-dynamic": ("torchao", _torchao("Int8DynamicActivationInt8WeightConfig")),
    "torchao-int4": (
        "torchao",
        _torchao("IntxWeightOnlyConfig", group=32),
    ),
    "torchao-fp8": ("torchao", _torchao("Float8WeightOnlyConfig")),
}


def config_of(quantization: Any) -> Any:
    """The configuration that transformers takes: made of a short name, or as it is given.

    Raises:
        HlensError: A name that is not one, or a package that is not installed.
    """
    if not isinstance(quantization, str):
        return quantization
    if quantization not in QUANTIZATIONS:
        raise lookup.unknown("quantization", quantization, QUANTIZATIONS)
    package, make = QUANTIZATIONS[quantization]
    _need(package, f"quantization {quantization!r}")
    return make()


# Of each method that a checkpoint may name, the package that reads it.
_PACKAGES = {
    "bitsandbytes": "bitsandbytes",
    "torchao": "torchao",
    "compressed-tensors": "compressed_tensors",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "quanto": "optimum.quanto",
    "hqq": "hqq",
}


def check_readable(config: Any, where: str) -> None:
    """Raise `HlensError` where a checkpoint's quantised weights need a package that is not here."""
    own = getattr(config, "quantization_config", None)
    if own is None:
        return
    method = own.get("quant_method") if isinstance(own, Mapping) else own.quant_method
    method = str(getattr(method, "value", method))
    if method in _PACKAGES:
        _need(_PACKAGES[method], f"{where!r}, quantised by {method}")


def _need(package: str, what: str) -> None:
    from importlib.util import find_spec

    missing = [one for one in ("accelerate", package.partition(".")[0]) if find_spec(one) is None]
    if missing:
        names = " and ".join(missing).replace("_", "-")
        raise HlensError(
            f"{what} needs {names}: pip install 'hlens[quant]', or pip install {missing[-1]}"
        )
