"""Language models whose MLP neurons can be read and edited; the only door to TransformerLens.

Problem: the activation of every MLP neuron must be read at every answer token, some neurons must be
changed while the model runs, and none of this may slow down sampling or leave a trace.

Idea: one set of parameters under two sets of modules. The plain Hugging Face model samples and is
measured, with a few hooks of our own; a `TransformerBridge` serves notebooks and caches. Loading
proves that the neurons hlens measures are those that make the MLP's output. The path, file by file:

    pretrained, checkpoint     open a model, whose weights must be whole
    loading -> proof           bridge its twin, prove its neurons
    saving                     write one that other software reads alike
    chat_template, user_text   its options; a user's text stays text
    network                    modules, weights and tokens of the loaded model
    own_thread, widening       hooks of one thread; float64 where a device has it
    quantised, adapters        matrices that are packed, or that something is added to
    weights, projection        all weights wherever they lie; rows of W_out
    mlp, dense, experts        where a layer's neurons are read and changed, dense or of experts
    prefix, hooks              run rows that share a beginning; read residual stream and attention
    token_batch -> editing     which tokens a pass reads; change neurons at some of them
    generation -> model        sample repeatably; `Model` is what users hold
    quick_copy                 a copy in bfloat16, which writes replies faster
    request_rows               whose rows are whose in a batch of vLLM (`hlens.engines`)

Example, with the model that hlens ships:

    >>> import hlens
    >>> model = hlens.load("toy", device="cpu")
    >>> neurons = hlens.NeuronSet(frozenset({(0, 1)}), model.n_layers, model.d_mlp)
    >>> with model.editing(neurons, hlens.interventions.scale(0.0)) as receipt:
    ...     _ = model.generate("Where was Anna born?", max_new_tokens=4)
    >>> receipt.touched > 0
    True
"""

from hlens.kinds import explain_public
from hlens.model.adapters import attached as attached
from hlens.model.continuations import Continuations as Continuations
from hlens.model.continuations import continuation_logprobs as continuation_logprobs
from hlens.model.continuations import reading_as as reading_as
from hlens.model.continuations import stepwise_logprobs as stepwise_logprobs
from hlens.model.dense import DenseBlock as DenseBlock
from hlens.model.editing import ALL as ALL
from hlens.model.editing import Columns as Columns
from hlens.model.editing import Edit as Edit
from hlens.model.editing import Elementwise as Elementwise
from hlens.model.editing import Pairs as Pairs
from hlens.model.editing import Receipt as Receipt
from hlens.model.editing import ReceiptEntry as ReceiptEntry
from hlens.model.editing import Scope as Scope
from hlens.model.editing import Site as Site
from hlens.model.editing import check_edit as check_edit
from hlens.model.editing import check_neurons as check_neurons
from hlens.model.editing import check_touched as check_touched
from hlens.model.editing import pair_up as pair_up
from hlens.model.experts import ExpertBlock as ExpertBlock
from hlens.model.fingerprints import fingerprint_weights as fingerprint_weights
from hlens.model.gates import Decide as Decide
from hlens.model.gates import Gate as Gate
from hlens.model.gates import GatedAnswer as GatedAnswer
from hlens.model.generation import EndOfReply as EndOfReply
from hlens.model.generation import Generation as Generation
from hlens.model.generation import SeededSampler as SeededSampler
from hlens.model.generation import Settings as Settings
from hlens.model.generation import draw_uniforms as draw_uniforms
from hlens.model.generation import finish as finish
from hlens.model.generation import generate_batch as generate_batch
from hlens.model.generation import mix_seed as mix_seed
from hlens.model.generation import pick_tokens as pick_tokens
from hlens.model.hooks import capturing as capturing
from hlens.model.hooks import layer_blocks as layer_blocks
from hlens.model.hooks import lens_logits as lens_logits
from hlens.model.hooks import next_token_logprobs as next_token_logprobs
from hlens.model.hooks import stopping_after as stopping_after
from hlens.model.hooks import unembedding_at as unembedding_at
from hlens.model.loading import load as load
from hlens.model.mlp import Block as Block
from hlens.model.mlp import BlockActs as BlockActs
from hlens.model.mlp import Mlp as Mlp
from hlens.model.mlp import MlpActs as MlpActs
from hlens.model.mlp import Read as Read
from hlens.model.mlp import split_index as split_index
from hlens.model.model import Model as Model
from hlens.model.own_thread import hook_input as hook_input
from hlens.model.own_thread import hook_output as hook_output
from hlens.model.prefix import Prefix as Prefix
from hlens.model.prefix import can_share_prefixes as can_share_prefixes
from hlens.model.prefix import common_length as common_length
from hlens.model.prefix import run_with_prefixes as run_with_prefixes
from hlens.model.pretrained import ALIASES as ALIASES
from hlens.model.pretrained import checkpoint_of as checkpoint_of
from hlens.model.projection import rows_of as rows_of
from hlens.model.quantised import QUANTIZATIONS as QUANTIZATIONS
from hlens.model.request_rows import segment_by_request as segment_by_request
from hlens.model.saving import save_pretrained as save_pretrained
from hlens.model.token_batch import RowSpans as RowSpans
from hlens.model.token_batch import TokenBatch as TokenBatch
from hlens.model.token_batch import tracking_tokens as tracking_tokens
from hlens.model.user_text import encode_text as encode_text
from hlens.model.user_text import encode_turns as encode_turns
from hlens.model.widening import widen as widen

explain_public(globals())
