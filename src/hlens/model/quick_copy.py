"""A copy of a model that writes replies in bfloat16, where the processor multiplies that faster.

On a CPU with AMX or AVX512-BF16, sampling in bfloat16 takes a third to a half of the time. What is
rounded is another draw of nearly the same model, and a reply is only what is then measured: so
replies may be written in bfloat16, and neurons are still read in the model's own float32.
"""

import copy
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hlens.errors import HlensError
from hlens.model.dense import DenseBlock
from hlens.model.mlp import Mlp
from hlens.model.model import Model
from hlens.model.network import Clock, PrefixTrials
from hlens.model.weights import rounded

Precision = Literal["auto", "model"]
LEAST_PARAMETERS = 50_000_000  # of a smaller one the replies take no time, and stay as they are


def dtype_to_write_in(model: Model, precision: Precision) -> str:
    """In which dtype replies are written, where that is not the model's own; else empty.

    Raises:
        HlensError: There is no such precision.
    """
    if precision not in get_args(Precision):
        raise HlensError(
            f"precision={precision!r:.60}; expected one of {', '.join(get_args(Precision))}"
        )
    return "bfloat16" if precision == "auto" and _is_quicker_copied(model) else ""


def to_write_with(model: Model, precision: Precision) -> Model:
    """What replies are written with: the model or, with ``"auto"``, a copy where that is faster.

    The copy holds the weights again, in half of their memory, until it is let go.
    """
    return _in_bfloat16(model) if dtype_to_write_in(model, precision) else model


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies matrices of bfloat16 itself."""
    known = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(ask() for name in known if (ask := getattr(torch.cpu, name, None)) is not None)


def _is_quicker_copied(model: Model) -> bool:
    """Whether a copy in bfloat16 writes faster, and as the model itself would but for rounding."""
    if model.rounding or model.kept or model.experts:  # an engine's, packed, or a mixture
        return False
    hf = model.hf
    return (
        model.device.type == "cpu"
        and all(weight.dtype == torch.float32 for weight in hf.parameters())
        and sum(weight.numel() for weight in hf.parameters()) >= LEAST_PARAMETERS
        and multiplies_bfloat16()
        # An edit that is under way acts on the model's own modules, and on no copy.
        and not any(part._forward_hooks or part._forward_pre_hooks for part in hf.modules())
        # Some architectures say themselves what must not be rounded.
        and not any(getattr(hf, f"_keep_in_fp32_modules{kind}", None) for kind in ("", "_strict"))
    )


def _in_bfloat16(model: Model) -> Model:
    """The model with its weights rounded, in modules of its own."""
    paths = {id(module): path for path, module in model.hf.named_modules()}
    memo: dict[int, object] = {  # what deepcopy finds in it is taken instead of copied
        id(weight): _rounded(weight) for weight in rounded(model.hf)
    }
    hf = copy.deepcopy(model.hf, memo)
    mlps = [
        Mlp((DenseBlock(hf.get_submodule(paths[id(mlp.blocks[0].module)])),)) for mlp in model.mlps
    ]
    own = {"clock": Clock(), "prefix_trials": PrefixTrials()}
    # Its bridge would be one of other weights.
    return replace(model, hf=hf, bridge=None, mlps=mlps, bridge_mlps=[], **own)


def _rounded(weight: Tensor) -> Tensor:
    own = weight.detach().to(torch.bfloat16)
    is_parameter = isinstance(weight, nn.Parameter)
    return nn.Parameter(own, requires_grad=False) if is_parameter else own
