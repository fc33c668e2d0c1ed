"""Language models whose MLP neurons can be read and edited; the only door to TransformerLens.

Problem: the activation of every MLP neuron must be read at every answer token, some neurons must be
changed while the model runs, and none of this may slow down sampling or leave a trace.

Idea: one set of parameters under two sets of modules. The plain Hugging Face model samples and is
measured, with a few hooks of our own; a `TransformerBridge` serves notebooks and caches. Loading
proves that the neurons hlens measures are those that make the MLP's output. The path, file by file:

    pretrained -> loading      open a model, bridge its twin, prove its neurons
    network                    modules, weights and tokens of the loaded model
    prefix, hooks              run rows that share a beginning; read residual stream and attention
    token_batch -> editing     which tokens a pass reads; change neurons at some of them
    generation -> model        sample repeatably; `Model` is what users hold

Example, with the model that hlens ships:

    >>> import hlens
    >>> model = hlens.load("toy", device="cpu")
    >>> neurons = hlens.NeuronSet(frozenset({(0, 1)}), model.n_layers, model.d_mlp)
    >>> with model.editing(neurons, hlens.interventions.scale(0.0)) as receipt:
    ...     _ = model.generate("Where was Anna born?", max_new_tokens=4)
    >>> receipt.touched > 0
    True
"""

from hlens.model.editing import (
    ALL,
    Columns,
    Edit,
    Pairs,
    Receipt,
    Scope,
    Site,
    check_edit,
    pair_up,
)
from hlens.model.generation import Generation, SeededSampler, Settings, generate_batch, mix_seed
from hlens.model.hooks import (
    capturing,
    layer_blocks,
    next_token_logprobs,
    stopping_after,
    unembedding_at,
)
from hlens.model.loading import load
from hlens.model.model import Model
from hlens.model.network import fingerprint_weights
from hlens.model.prefix import Prefix, can_share_prefixes, run_with_prefixes
from hlens.model.pretrained import ALIASES
from hlens.model.token_batch import RowSpans, TokenBatch, tracking_tokens

__all__ = [
    "ALIASES",
    "ALL",
    "Columns",
    "Edit",
    "Generation",
    "Model",
    "Pairs",
    "Prefix",
    "Receipt",
    "RowSpans",
    "Scope",
    "SeededSampler",
    "Settings",
    "Site",
    "TokenBatch",
    "can_share_prefixes",
    "capturing",
    "check_edit",
    "fingerprint_weights",
    "generate_batch",
    "layer_blocks",
    "load",
    "mix_seed",
    "next_token_logprobs",
    "pair_up",
    "run_with_prefixes",
    "stopping_after",
    "tracking_tokens",
    "unembedding_at",
]
