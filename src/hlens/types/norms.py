"""The gain of a normalisation layer, read from what the layer does, not from how it is written."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

# So large that the layer's epsilon vanishes beside it, small enough for its square in float32.
_LARGE = 1e4


@dataclass(frozen=True, eq=False)
class NormGain:
    """What an RMSNorm or LayerNorm multiplies each coordinate by, its scale apart.

    The layer computes ``gain * (x - mean) / scale + bias``, without the mean for an RMSNorm. Gemma
    stores ``gain - 1`` as its weight and Llama ``gain``, so the layer is run on known vectors
    instead of reading its weight.
    """

    norm: nn.Module
    d_model: int

    def __call__(self, x: Float[Tensor, "*pos d_model"]) -> Float[Tensor, "*pos d_model"]:
        """The layer's output for `x`, without firing its hooks."""
        return self.norm.forward(x)

    @cached_property
    def _measured(self) -> tuple[Tensor, Tensor, Tensor]:
        """Gain, bias, and the output for a constant vector.

        A vector of alternating sign has mean zero, so centring leaves it alone; the half difference
        of its output and that of its negative is the gain, their half sum the bias.
        """
        weight = next(self.norm.parameters(), torch.zeros(()))
        # Weights that are fetched only when the layer runs are on the meta device until then.
        device = torch.device("cpu") if weight.is_meta else weight.device
        sign = torch.ones(self.d_model, device=device, dtype=torch.float32)
        constant = sign * _LARGE
        sign[1::2] = -1
        with torch.no_grad():
            probes = torch.stack([sign * _LARGE, -sign * _LARGE, constant]).to(weight.dtype)[None]
            plus, minus, flat = self(probes)[0].float().to(device)
        return (plus - minus) / 2 * sign, (plus + minus) / 2, flat

    @property
    def gain(self) -> Float[Tensor, " d_model"]:
        """Gain of each coordinate, float32."""
        return self._measured[0]

    @property
    def bias(self) -> Float[Tensor, " d_model"]:
        """Bias of each coordinate, float32; zeros for an RMSNorm."""
        return self._measured[1]

    @property
    def centred(self) -> bool:
        """True for a LayerNorm, which subtracts the mean: of a constant only its bias is left."""
        gain, bias, flat = self._measured
        return bool((flat - bias).norm() < 0.5 * gain.norm())

    def inverse_scale(
        self, x: Float[Tensor, "*pos d_model"], y: Float[Tensor, "*pos d_model"]
    ) -> Float[Tensor, "*pos"]:
        """One over the scale that turned `x` into `y`, the layer's output."""
        x = x.float() - (x.float().mean(-1, keepdim=True) if self.centred else 0)
        size = torch.linalg.vector_norm(x * self.gain, dim=-1)
        return torch.linalg.vector_norm(y.float() - self.bias, dim=-1) / size.clamp_min(1e-30)

    def pull_back(self, direction: Float[Tensor, "*pos d_model"]) -> Float[Tensor, "*pos d_model"]:
        """Gradient at the layer's input, its scale held at one, for a gradient at its output."""
        back = direction.float() * self.gain
        return back - back.mean(-1, keepdim=True) if self.centred else back


def post_mlp_norm(block: Any, d_model: int) -> NormGain | None:
    """The norm behind the MLP of a bridge's block (Gemma-2 and -3, OLMo-2), or None."""
    norm = getattr(block, "ln2_post", None)
    if norm is None:
        return None
    # A bridge wraps the model's own norm, and calling the wrapper would fire its hooks.
    return NormGain(getattr(norm, "original_component", None) or norm, d_model)
