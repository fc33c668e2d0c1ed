"""The model as hlens sees it: a plain Hugging Face model and its TransformerLens bridge."""

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hlens.errors import HlensError
from hlens.model import fingerprint
from hlens.model.editing import Edit, Pairs, Receipt, editing
from hlens.model.generation import Clock, Generation, Settings, generate_batch, mix_seed
from hlens.model.reading import Marks
from hlens.types import NeuronSet, Provenance


class Model:
    """A language model with verified MLP neurons. Made by `hlens.load`.

    Attributes:
        hf: The plain Hugging Face model: it samples and is measured.
        bridge: A `TransformerBridge` sharing its parameters: for notebooks, caches and hooks.
        tokenizer: The tokenizer, or None when only token ids are used.
        name: What tables and figures call it.
        down_projections: Module of each layer whose input are the neurons' activations and whose
            output is the MLP's output, its bias included.
        clock: Which token is being read during generation.
        served: For lengths of rows that were tried, whether rows may read keys and values that were
            run for others (see `hlens.model.stretches.serves`).
    """

    def __init__(
        self,
        hf: nn.Module,
        bridge: Any,
        tokenizer: Any,
        down_projections: list[nn.Module],
        name: str,
        revision: str = "",
    ) -> None:
        self.hf: Any = hf
        self.bridge = bridge
        self.tokenizer = tokenizer
        self.down_projections = down_projections
        self.name = name
        self.revision = revision
        self.clock = Clock()
        self.served: dict[int, bool] = {}

    def __repr__(self) -> str:
        shape = f"{self.n_layers} layers x {self.d_mlp} neurons"
        return f"Model({self.name!r}, {shape}, {self.dtype}, {self.device})"

    @property
    def n_layers(self) -> int:
        return len(self.down_projections)

    @cached_property
    def d_mlp(self) -> int:
        return self.w_out(0).shape[0]

    @cached_property
    def d_model(self) -> int:
        return self.w_out(0).shape[1]

    @property
    def device(self) -> torch.device:
        return next(self.hf.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.hf.parameters()).dtype

    @property
    def body(self) -> nn.Module:
        """The model without its unembedding."""
        return self.hf.base_model

    def w_out(self, layer: int) -> Float[Tensor, "neuron d_model"]:
        """Down projection of a layer, one row a neuron; a view of the weights, not a copy."""
        module: Any = self.down_projections[layer]
        weight = module.weight.detach()
        # GPT-2's Conv1D keeps [in, out]; a Linear keeps [out, in].
        return weight if type(module).__name__ == "Conv1D" else weight.T

    @cached_property
    def w_norms(self) -> Float[Tensor, "layer neuron"]:
        """Euclidean norm of each neuron's row of W_out, float32, on the CPU; computed once."""
        rows = [
            torch.linalg.vector_norm(self.w_out(layer).float(), dim=1).cpu()
            for layer in range(self.n_layers)
        ]
        return torch.stack(rows)

    @cached_property
    def fingerprint(self) -> str:
        """Hash over the weights as they were when first asked for."""
        return fingerprint.of_weights(self.hf)

    @cached_property
    def provenance(self) -> Provenance:
        return Provenance(
            model=self.name,
            fingerprint=self.fingerprint,
            revision=self.revision,
            tokenizer=fingerprint.of_tokenizer(self.tokenizer),
            versions=fingerprint.versions(),
        )

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a response."""
        config = getattr(self.hf, "generation_config", None)
        ends = getattr(config, "eos_token_id", None)
        known = [ends] if isinstance(ends, int) else list(ends or [])
        own = getattr(self.tokenizer, "eos_token_id", None)
        return frozenset(known if own is None else [*known, own])

    @cached_property
    def pad_id(self) -> int:
        """Token that fills up a batch; masked everywhere, so its value is of no account."""
        return int(getattr(self.tokenizer, "pad_token_id", None) or min(self.stop_ids, default=0))

    @cached_property
    def _takes_positions(self) -> bool:
        return "position_ids" in inspect.signature(self.body.forward).parameters

    def position_kwargs(self, positions: Int[Tensor, "batch pos"]) -> dict[str, Tensor]:
        """``position_ids`` for the body, where its architecture takes them."""
        return {"position_ids": positions} if self._takes_positions else {}

    def encode(self, text: str, system: str | None = None, chat: bool | None = None) -> list[int]:
        """Token ids of a prompt.

        Args:
            text: What the user says, or the text to be continued.
            system: A system message, for a chat prompt.
            chat: Use the chat template; None uses it where the tokenizer has one.

        Raises:
            HlensError: No tokenizer, or a chat prompt without a chat template.
        """
        tokenizer = self._need_tokenizer()
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if chat and not has_template:
            raise HlensError(
                f"{self.name} has no chat template; use chat=False for a completion prompt"
            )
        if chat is False or not has_template:
            return list(tokenizer(text).input_ids)
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": text})
        return self.encode_chat(turns)

    def encode_chat(self, turns: Sequence[dict[str, str]]) -> list[int]:
        """Token ids of a conversation, open for the assistant's next turn."""
        encoded = self._need_tokenizer().apply_chat_template(
            list(turns), add_generation_prompt=True, return_dict=True
        )
        return list(encoded["input_ids"])

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of tokens, special tokens left out."""
        return self._need_tokenizer().decode(list(token_ids), skip_special_tokens=True)

    def _need_tokenizer(self) -> Any:
        if self.tokenizer is None:
            raise HlensError(f"{self.name} was loaded without a tokenizer; pass token ids instead")
        return self.tokenizer

    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        top_k: int = 50,
        top_p: float = 0.9,
        seed: int = 0,
    ) -> Generation:
        """Answer one prompt; greedy unless a temperature is given.

        Args:
            prompt: The user's turn (or, without a chat template, the text to be continued).
            max_new_tokens: Where to cut.
            temperature: 0 is greedy.
            top_k: Keep the k likeliest tokens.
            top_p: Keep the smallest set of tokens with this mass.
            seed: With it a sample repeats.
        """
        how = Settings(max_new_tokens, temperature, top_k, top_p)
        return self.generate_many([self.encode(prompt)], how, seed=seed)[0]

    def generate_many(
        self,
        prompts: Sequence[Sequence[int]],
        settings: Settings,
        *,
        seed: int = 0,
        batch_size: int = 32,
        share_beginning: bool = False,
    ) -> list[Generation]:
        """Continue many prompts, given as token ids, one sample each, in their order.

        With `share_beginning`, what all prompts of a batch begin with (a chat template) is read
        once, in a row of its own; not for edits that are given row by row.
        """
        out: list[Generation] = []
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            seeds = [[mix_seed(seed, start + i)] for i in range(len(batch))]
            made = generate_batch(self, batch, seeds, settings, share_beginning)
            out += [row[0] for row in made]
        return out

    def run_with_cache(self, tokens: Any, **options: Any) -> Any:
        """TransformerLens' own ``run_with_cache`` of the bridge."""
        return self.bridge.run_with_cache(tokens, **options)

    def editing(
        self,
        neurons: NeuronSet | Pairs,
        edit: Edit | None = None,
        *,
        n_prompt: int | Sequence[int] | None = None,
        answer: tuple[int, int] | Sequence[tuple[int, int]] | None = None,
    ) -> AbstractContextManager[Receipt]:
        """Run a block with neurons edited; afterwards, an exception included, all is as before.

        Generation, ``model.hf(...)``, measuring and the bridge with its caches all see the edit.
        Blocks nest: an inner edit acts on what the outer one left. Within one block, edits act in
        their order.

        Args:
            neurons: The neurons; or several (neurons, edit) pairs.
            edit: What is done to them (see `hlens.interventions`).
            n_prompt: Length of the prompt of each row in tokens, for scopes within prompt or answer
                where hlens does not generate itself.
            answer: Answer span ``[start, stop)`` of each row in tokens, for the scope ``answer``.

        Yields:
            The receipt: how many tokens x neurons each edit touched.

        Raises:
            HlensError: Neurons or values of another model; on leaving, an edit of one or more
                neurons that touched no token.
        """
        if isinstance(neurons, NeuronSet):
            if edit is None:
                raise HlensError("editing(neurons) without an edit; pass one, such as scale(0.0)")
            pairs: Pairs = [(neurons, edit)]
        else:
            pairs = list(neurons)
        return editing(self, pairs, Marks(n_prompt, answer))
