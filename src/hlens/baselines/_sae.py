"""Sparse autoencoders, from the files that SAELens writes.

SAELens (6.54) asks for TransformerLens before 4, and hlens for one behind it, so that they cannot
be installed together. An encoder is three tensors and a rule, so its files are read here.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.data_files import read_json
from hlens.errors import HlensError
from hlens.model import Model
from hlens.store.tensor_file import read_tensors

_SHAPES = {"W_enc": ("d_in", "d_sae"), "W_dec": ("d_sae", "d_in"), "b_enc": ("d_sae",),
           "b_dec": ("d_in",), "threshold": ("d_sae",)}  # fmt: skip
_MEND = "give a folder that SAELens wrote"


@dataclass(frozen=True, eq=False)
class Sae:
    """A sparse autoencoder of the residual stream behind one layer.

    Attributes:
        layer: The layer.
        W_enc: Weights of the encoder.
        b_enc: What is added behind them.
        W_dec: The direction that each feature writes.
        b_dec: What is written where no feature is active.
        threshold: Below which a feature is silent; 0 for a plain ReLU.
        k: How many features of a token are kept at most; 0 keeps all.
        centred: Whether `b_dec` is taken off before encoding.
        by_norm: Whether the k greatest are chosen, and given, times the norm of what they write.
    """

    layer: int
    W_enc: Float[Tensor, "d_model feature"]
    b_enc: Float[Tensor, " feature"]
    W_dec: Float[Tensor, "feature d_model"]
    b_dec: Float[Tensor, " d_model"]
    threshold: Float[Tensor, " feature"]
    k: int = 0
    centred: bool = True
    by_norm: bool = False

    def encode(self, states: Float[Tensor, "token d_model"]) -> Float[Tensor, "token feature"]:
        """Activation of each feature, in float32."""
        states = states.float().to(self.W_enc.device)
        before = (states - self.b_dec if self.centred else states) @ self.W_enc + self.b_enc
        if self.by_norm:
            before = before * self.W_dec.norm(dim=-1)
        active = before.relu() * (before > self.threshold)
        if not self.k:
            return active
        kept = active.topk(min(self.k, active.shape[1]), dim=1)
        return torch.zeros_like(active).scatter(1, kept.indices, kept.values)

    def check(self, model: Model) -> None:
        """Raise `HlensError` unless the model has that layer, and a stream of that width."""
        width = len(self.b_dec)
        if not 0 <= self.layer < model.n_layers or width != model.d_model:
            raise HlensError(
                f"the SAE reads layer {self.layer}, {width} wide; {model.name} has "
                f"{model.n_layers} layers, {model.d_model} wide; give an SAE of this model"
            )

    def explained(self, states: Float[Tensor, "token d_model"]) -> float:
        """Share of the variance of these states that the autoencoder gives back."""
        found = self.encode(states)
        back = (found / self.W_dec.norm(dim=-1) if self.by_norm else found) @ self.W_dec
        lost = (states.float() - back - self.b_dec).square().sum()
        return float(1 - lost / (states - states.mean(dim=0)).float().square().sum())


def load_sae(folder: str | Path, *, layer: int | None = None) -> Sae:
    """Read a sparse autoencoder that SAELens wrote (``cfg.json``, ``sae_weights.safetensors``).

    Args:
        folder: Where the two files are.
        layer: The layer behind which it reads; None takes it from the file's hook name.

    Raises:
        HlensError: A missing or foreign file, an autoencoder of another kind than standard,
            jumprelu or topk, or of something else than the residual stream.
    """
    folder = Path(folder)
    cfg = read_json(folder / "cfg.json")
    if not isinstance(cfg, dict):
        raise HlensError(f"{folder / 'cfg.json'} holds no object; {_MEND}")
    kind = str(cfg.get("architecture", "standard"))
    kind = "topk" if cfg.get("activation_fn_str", cfg.get("activation_fn")) == "topk" else kind
    normalised = cfg.get("normalize_activations", "none")
    if kind not in ("standard", "jumprelu", "topk") or normalised not in ("none", None, False):
        raise HlensError(
            f"{folder} holds an SAE of kind {kind!r:.40} with inputs normalised by "
            f"{normalised!r:.40}; hlens reads standard, jumprelu and topk without (SAELens folds "
            "the scaling in on request)"
        )
    k = cfg.get("k", (cfg.get("activation_fn_kwargs") or {}).get("k")) if kind == "topk" else 0
    if not isinstance(k, int) or k < (kind == "topk"):
        raise HlensError(f"{folder} keeps {k!r:.40} features of a token; {_MEND}")
    tensors = _tensors(folder / "sae_weights.safetensors", needs_threshold=kind == "jumprelu")
    return Sae(
        layer=_layer_of(cfg, folder) if layer is None else layer,
        k=k,
        centred=cfg.get("apply_b_dec_to_input", True) is True,
        by_norm=kind == "topk" and cfg.get("rescale_acts_by_decoder_norm") is True,
        **tensors,
    )


def _tensors(file: Path, *, needs_threshold: bool) -> dict[str, Tensor]:
    found = {name: value.float() for name, value in read_tensors(file, mend=_MEND)[0].items()}
    if not needs_threshold and "b_enc" in found:
        found["threshold"] = torch.zeros_like(found["b_enc"])
    sizes: dict[str, int] = {}
    for name, axes in _SHAPES.items():
        shape = tuple(found[name].shape) if name in found else None
        expected = tuple(
            sizes.setdefault(axis, n) for axis, n in zip(axes, shape or (), strict=False)
        )
        if shape is None or len(shape) != len(axes) or shape != expected:
            said = "is missing" if shape is None else f"has shape {shape}"
            raise HlensError(f"{file}: {name} {said}, expected ({', '.join(axes)}); {_MEND}")
    return {name: found[name] for name in _SHAPES}


def _layer_of(cfg: dict[str, Any], folder: Path) -> int:
    about = cfg.get("metadata")  # where versions before 6 keep nothing
    hook = str((cfg | about if isinstance(about, dict) else cfg).get("hook_name"))
    match = re.fullmatch(r"blocks\.([0-9]{1,4})\.hook_resid_(pre|post)", hook)
    layer = int(match[1]) - (match[2] == "pre") if match else -1  # behind the layer before it
    if layer < 0:
        raise HlensError(
            f"{folder} reads {hook!r:.60}; expected the residual stream behind a layer, such as "
            "blocks.7.hook_resid_post (or name the layer)"
        )
    return layer
