"""The only door to TransformerLens and transformers."""

from hlens.model.editing import ALL, Columns, Edit, Receipt, Scope, Site
from hlens.model.generation import Clock, Generation, Settings, generate_batch, mix_seed
from hlens.model.lens import Model
from hlens.model.loading import load
from hlens.model.parts import (
    blocks,
    ending_behind,
    listening,
    next_token_logprobs,
    unembedding_at,
)
from hlens.model.reading import Marks, Reading, tracking
from hlens.model.sources import ALIASES

__all__ = [
    "ALIASES",
    "ALL",
    "Clock",
    "Columns",
    "Edit",
    "Generation",
    "Marks",
    "Model",
    "Reading",
    "Receipt",
    "Scope",
    "Settings",
    "Site",
    "blocks",
    "ending_behind",
    "generate_batch",
    "listening",
    "load",
    "mix_seed",
    "next_token_logprobs",
    "tracking",
    "unembedding_at",
]
