"""A language model as every way of running it sees it: modules, weights, tokens, identity.

`hlens.model.Model` adds what is done with it: generating and editing.
"""

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import cache, cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from threading import local
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad

from hlens.errors import HlensError
from hlens.model.chat_template import check_options
from hlens.model.fingerprints import (
    Remembered,
    fingerprint_tokenizer,
    fingerprint_weights,
    sum_words,
)
from hlens.model.mlp import Mlp
from hlens.model.projection import rows_of
from hlens.model.quantised import PLAIN
from hlens.model.user_text import encode_text, encode_turns
from hlens.model.weights import device_of, kept_otherwise, named_weights
from hlens.thoughts import find_thought
from hlens.types import Experts, Provenance, Thought
from hlens.work import HERE, Workers

log = logging.getLogger("hlens")

PACKAGES = ("hlens", "torch", "transformers", "transformer-lens", "scikit-learn")


@dataclass
class PrefixTrials(local):
    """What was found out about rows that share keys and values, in each thread for itself.

    Attributes:
        known: For each row length tried, whether they may.
        running: Whether a trial is under way, to which edits do not apply.
    """

    known: dict[int, bool] = field(default_factory=dict)
    running: bool = False


@dataclass
class Clock(local):
    """Which token is being read while an answer is generated; edits of some tokens look here.

    Each thread has its own.
    """

    generated: int | None = None  # -1 in the prompt, then index in the answer; None: not generating
    ended: Tensor | None = None  # True at rows whose answer has ended and which now read padding
    holds: int = 0  # blocks that know rows by their place in the batch, so that none may leave it

    @contextmanager
    def holding_rows(self) -> Iterator[None]:
        """Rows stay in the batch though their answers have ended."""
        self.holds += 1
        try:
            yield
        finally:
            self.holds -= 1

    def end(self, rows: Tensor) -> None:
        """Mark rows as ended, in addition to those that ended before."""
        self.ended = rows if self.ended is None else self.ended | rows

    def stop(self) -> None:
        """Generation is over."""
        self.generated = self.ended = None


@dataclass(eq=False, repr=False)
class Network:
    """A language model with verified MLP neurons.

    Attributes:
        hf: The plain Hugging Face model, which samples and is measured.
        bridge: A `TransformerBridge` sharing its parameters, for notebooks, caches and hooks.
        tokenizer: The tokenizer, or None when only token ids are used.
        name: Name in tables and figures.
        revision: Revision on the hub, or where else the weights are from.
        mlps: The MLP of each layer, where its neurons are read and changed.
        bridge_mlps: The same of the bridge's own modules; none where it runs those of `hf`.
        template_options: What the chat template is given beside the turns, such as
            ``{"enable_thinking": False}``.
        clock: Which token is being read during generation.
        prefix_trials: For each row length tried, whether rows may share keys and values (see
            `hlens.model.prefix.can_share_prefixes`).
        workers: Who samples and measures: this process, or others that have the model, too.
    """

    hf: Any
    bridge: Any
    _: KW_ONLY
    tokenizer: Any
    mlps: list[Mlp]
    bridge_mlps: list[Mlp] = field(default_factory=list)
    name: str
    revision: str = ""
    template_options: Mapping[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    prefix_trials: PrefixTrials = field(default_factory=PrefixTrials)
    workers: Workers = HERE
    _remembered: Remembered = field(default_factory=Remembered, init=False)

    def __post_init__(self) -> None:
        if self.template_options:
            check_options(self.tokenizer, self.template_options, self.name)

    def __repr__(self) -> str:
        shape = f"{self.n_layers} layers x {self.d_mlp} neurons"
        if self.experts:
            n, width, _ = max(self.experts)
            shape = f"{self.n_layers} layers x {n} experts x {width} neurons"
        return f"Model({self.name!r}, {shape}, {self.dtype}, {self.device})"

    @property
    def n_layers(self) -> int:
        return len(self.mlps)

    @cached_property
    def d_mlp(self) -> int:
        """Neurons of a layer; of the widest, where a mixture has others."""
        return max(mlp.width for mlp in self.mlps)

    @cached_property
    def experts(self) -> Experts:
        """For each layer of a mixture: experts, neurons of each, neurons beside them; else none."""
        layers = tuple(mlp.experts for mlp in self.mlps)
        return layers if any(n for n, _, _ in layers) else ()

    @cached_property
    def d_model(self) -> int:
        return self.mlps[0].rows(torch.zeros(1, dtype=torch.long)).shape[1]

    @property
    def rounding(self) -> str:
        """The engine whose rounding numbers of this model bear; empty for the local one."""
        return ""

    def rows_at_once(self, rows: int) -> int:
        """How many sequences to hand over at a time, where `rows` were asked for."""
        return rows

    def need_modules(self, what: str) -> None:
        """Raise `HlensError` where an engine keeps the modules that `what` needs to itself.

        Said before any work; what needs them all the same is refused when it runs them.
        """

    @property
    def kept(self) -> str:
        """How weights are kept, where that is not in memory as they are: else empty."""
        return kept_otherwise(self.hf)

    @property
    def copies_rows(self) -> bool:
        """Whether rows of W_out are made when they are asked for, at some cost."""
        return any(mlp.copies_rows for mlp in self.mlps)

    def running(self, layer: int) -> list[Mlp]:
        """The MLP of a layer in each set of modules that may run it: the model's, its bridge's."""
        return [self.mlps[layer], *(self.bridge_mlps[layer : layer + 1])]

    @property
    def down_projections(self) -> list[nn.Module]:
        """The module of each layer whose input is the neurons; of a mixture its experts."""
        return [mlp.blocks[0].module for mlp in self.mlps]

    @property
    def device(self) -> torch.device:
        return device_of(self.hf.get_input_embeddings())

    @property
    def dtype(self) -> torch.dtype:
        kinds = (parameter.dtype for parameter in self.hf.parameters())
        return next(kind for kind in kinds if kind in PLAIN)  # quantised weights compute in another

    @property
    def unembedding(self) -> Float[Tensor, "token d_model"]:
        """The matrix that makes logits."""
        return rows_of(self.hf.get_output_embeddings()).T

    @property
    def unembedding_size(self) -> int:
        """How many tokens it makes logits of."""
        return int(self.hf.get_output_embeddings().weight.shape[0])

    @property
    def body(self) -> nn.Module:
        """The model without its unembedding."""
        return self.hf.base_model

    def w_out(self, layer: int) -> Float[Tensor, "neuron d_model"]:
        """Rows of W_out of a layer, one a neuron: a view of the weights, or a copy (`copies_rows`).

        Of a mixture they are copied, and of quantised weights unpacked.
        """
        return self.mlps[layer].rows()

    @property
    def w_norms(self) -> Float[Tensor, "layer neuron"]:
        """Euclidean norm of each neuron's row of W_out, float32, on the CPU; of the weights now."""
        return self._remembered.value_of("w_norms", self._state_of_weights(), self._norm_rows)

    def _norm_rows(self) -> Float[Tensor, "layer neuron"]:
        norms = [mlp.row_norms() for mlp in self.mlps]
        # A mixture's layers may differ in width; there is no neuron behind the last of each.
        return torch.stack([pad(own, (0, self.d_mlp - len(own))) for own in norms])

    @property
    def fingerprint(self) -> str:
        """Hash over all weights as they are now; computed anew only when they have changed.

        A write in place, also through a view, and a parameter that was exchanged are always seen.
        Of a write through ``.data`` torch keeps no count: it is seen in W_out, which is read for
        that (a few per cent of one token's pass), unless it only exchanges values; not elsewhere,
        and not in what is offloaded.
        """
        make = partial(fingerprint_weights, self.hf)
        return self._remembered.value_of("fingerprint", self._state_of_weights(), make)

    def _state_of_weights(self) -> tuple[object, ...]:
        """Differs when a weight was written in place, or exchanged; see `fingerprint`."""
        held = tuple(
            (name, weight.data_ptr(), 0 if weight.is_inference() else weight._version)
            for name, weight in named_weights(self.hf).items()
        )
        tensors = [tensor for mlp in self.mlps for tensor in mlp.tensors()]
        sums = [sum_words(tensor) for tensor in tensors if not tensor.is_meta]
        # Brought together first: one wait for a device, not one a layer.
        read = torch.stack([one.to(sums[0].device) for one in sums]).tolist() if sums else []
        return (*held, *read)

    @property
    def provenance(self) -> Provenance:
        return Provenance(
            model=self.name,
            fingerprint=self.fingerprint,
            revision=self.revision,
            tokenizer=self._remembered.value_of(
                "tokenizer",
                (id(self.tokenizer), str(getattr(self.tokenizer, "chat_template", ""))),
                partial(fingerprint_tokenizer, self.tokenizer),
            ),
            experts=self.experts,
            versions=package_versions(),
        )

    @property
    def n_tokens(self) -> int:
        """How many tokens the model has an embedding of; a tokenizer may know more."""
        return int(self.hf.get_input_embeddings().weight.shape[0])

    @property
    def n_trained_positions(self) -> int | None:
        """How many tokens of a row the model was made for, or None where its config says none."""
        config = self.hf.config.get_text_config()
        names = ["max_position_embeddings", "max_seq_len"]  # the second is MPT's
        limits = [getattr(config, name, None) for name in names]
        if _rotates_by_length(config):
            limits.append(config.rope_parameters.get("original_max_position_embeddings"))
        return min((n for n in limits if isinstance(n, int) and n > 0), default=None)

    @cached_property
    def n_positions(self) -> int | None:
        """How many tokens of a row the model can read; None where its positions do not end.

        Those that are looked up in a table end, and MPT's; rotary ones do not, but where their
        frequencies change with the length of a batch.
        """
        limit, tokens = self.n_trained_positions, self.hf.get_input_embeddings().weight
        config = self.hf.config.get_text_config()
        if hasattr(config, "max_seq_len") or _rotates_by_length(config):
            return limit
        for name, table in chain(self.body.named_parameters(), self.body.named_buffers()):
            looked_up = table.dim() == 2 and ("pos" in name or "wpe" in name)
            # OPT's table begins with two unused rows.
            if limit and looked_up and table is not tokens and len(table) in (limit, limit + 2):
                return limit
        return None

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a response."""
        config = getattr(self.hf, "generation_config", None)
        ends = getattr(config, "eos_token_id", None)
        own = getattr(self.tokenizer, "eos_token_id", None)
        known = [*(ends if isinstance(ends, list | tuple) else [ends]), own]
        # Some configs write -1 for none, some tokenizers name a token that the model has not.
        return frozenset(id for id in known if isinstance(id, int) and 0 <= id < self.n_tokens)

    @property
    def pad_id(self) -> int:
        """Token that pads a batch; always masked, so any token will do that has an embedding."""
        own = getattr(self.tokenizer, "pad_token_id", None)
        if isinstance(own, int) and 0 <= own < self.n_tokens:
            return own
        return min(self.stop_ids, default=0)

    def check_prompts(self, prompts: Sequence[Sequence[int]], *, new: int = 0) -> None:
        """Check that the model can read these rows of token ids, and `new` tokens after each.

        Where it can but was not made for so many, that is said in the log, once.

        Raises:
            HlensError: A row that is empty or no token ids, a token that the model has not, or more
                tokens than it has positions.
        """
        n_tokens = self.n_tokens
        for number, prompt in enumerate(prompts):
            if isinstance(prompt, str) or not len(prompt) or isinstance(prompt[0], str):
                raise HlensError(
                    f"prompt {number} is {prompt!r:.60}; expected one or more token ids, as "
                    "model.encode(text) gives them"
                )
            low, high = min(prompt), max(prompt)
            if low < 0 or high >= n_tokens:
                raise HlensError(
                    f"prompt {number} holds token {low if low < 0 else high}, {self.name} has an "
                    f"embedding of tokens 0 to {n_tokens - 1}; use the tokenizer that the model "
                    "was trained with"
                )
        longest, limit = max(map(len, prompts), default=0), self.n_trained_positions
        if limit is None or longest + new <= limit:
            return
        n_long = sum(len(prompt) + new > limit for prompt in prompts)
        said = (
            f"{n_long} of {len(prompts)} prompts are too long for the {limit} positions of "
            f"{self.name} (max_position_embeddings): up to {longest} tokens"
            f"{f', and {new} new ones' if new else ''}; shorten them"
            f"{', or ask for fewer new tokens' if new else ''}"
        )
        if self.n_positions is not None:
            raise HlensError(said)
        warn = partial(log.warning, "%s: past them it was not trained", said)
        self._remembered.value_of("positions", limit, warn)

    @cached_property
    def _takes_positions(self) -> bool:
        return "position_ids" in inspect.signature(self.body.forward).parameters

    def position_kwargs(self, positions: Int[Tensor, "batch pos"]) -> dict[str, Tensor]:
        """``position_ids`` for the body, where its architecture takes them."""
        return {"position_ids": positions} if self._takes_positions else {}

    def encode(self, text: str, system: str | None = None, chat: bool | None = None) -> list[int]:
        """Token ids of a prompt.

        What stands for a control token in a text, such as the template's end of a turn, stays text;
        to write a template by hand, ask the tokenizer itself.

        Args:
            text: The user's turn, or the text to be continued.
            system: A system message, for a chat prompt.
            chat: Use the chat template; None uses it where the tokenizer has one.

        Raises:
            HlensError: No tokenizer, a chat prompt without a chat template, or one that the
                template refuses.
        """
        tokenizer = self._need_tokenizer()
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if chat and not has_template:
            raise HlensError(
                f"{self.name} has no chat template; use chat=False for a completion prompt"
            )
        if chat is False or not has_template:
            return encode_text(tokenizer, text)
        turns = [{"role": "system", "content": system}] if system else []
        return self.encode_chat([*turns, {"role": "user", "content": text}])

    def encode_chat(self, turns: Sequence[dict[str, str]]) -> list[int]:
        """Token ids of a conversation, open for the assistant's next turn.

        Raises:
            HlensError: No tokenizer, or the chat template refuses these turns.
        """
        return encode_turns(self._need_tokenizer(), turns, self.name, self.template_options)

    def encode_words(self, text: str) -> list[int]:
        """Token ids of a text alone, without what the tokenizer puts around every text."""
        return encode_text(self._need_tokenizer(), text, add_special_tokens=False)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of tokens, special tokens left out."""
        return self._need_tokenizer().decode(list(token_ids), skip_special_tokens=True)

    def read_reply(self, prompt: Sequence[int], reply: Sequence[int]) -> tuple[str, Thought | None]:
        """Text of a reply behind its thought, and the thought; empty without a tokenizer."""
        if self.tokenizer is None:
            return "", None
        thought = find_thought(self.tokenizer, prompt, reply)
        return self.decode(reply[thought.n_tokens if thought else 0 :]), thought

    def _need_tokenizer(self) -> Any:
        if self.tokenizer is None:
            raise HlensError(f"{self.name} was loaded without a tokenizer; pass token ids instead")
        return self.tokenizer


def _rotates_by_length(config: Any) -> bool:
    """Whether rotary frequencies change beyond a length, for all rows of a batch by the longest.

    There a token's numbers would depend on what it is run beside, and after.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    of_layers = [of_kind for of_kind in rope.values() if isinstance(of_kind, dict)]
    return any(one.get("rope_type") in ("dynamic", "longrope") for one in [rope, *of_layers])


@cache
def package_versions() -> tuple[tuple[str, str], ...]:
    """Versions of the packages that every number depends on."""
    versions = []
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # run from a source tree that was not installed
            versions.append((package, version(package)))
    return tuple(versions)
