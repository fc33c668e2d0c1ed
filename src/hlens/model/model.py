"""The model that users hold: what `hlens.load` returns."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from hlens.checks import check_seed, check_whole
from hlens.model.editing import Edit, Pairs, Receipt, check_edit, editing, pair_up
from hlens.model.gates import Gate
from hlens.model.generation import Generation, Settings, generate_batch, mix_seed
from hlens.model.network import Network
from hlens.model.token_batch import RowSpans
from hlens.types import NeuronSet
from hlens.work import Workers


class Model(Network):
    """A language model that generates and whose neurons can be edited. Made by `hlens.load`."""

    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 50,
        temperature: float | int = 0.0,
        top_k: int = 50,
        top_p: float | int = 0.9,
        seed: int = 0,
    ) -> Generation:
        """Answer one prompt; greedy unless a temperature is given (see `Settings`).

        The prompt is the user's turn or, without a chat template, the text to be continued. The
        same seed draws the same sample.

        Raises:
            HlensError: A setting out of its limits, or a prompt that the model cannot read.
        """
        settings = Settings(max_new_tokens, temperature, top_k, top_p)
        return self.generate_many([self.encode(prompt)], settings, seed=seed)[0]

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
        once, in a row of its own, and answers that have ended leave the batch; not for hooks of
        your own that know rows by their place, nor for edits that are given row by row.

        Raises:
            HlensError: A setting out of its limits, a token that the model has not, or more tokens
                than it has positions.
        """
        seed, batch_size = check_seed(seed), check_whole("batch_size", batch_size, least=1)
        self.check_prompts(prompts, new=settings.max_new_tokens)
        batch_size = self.rows_at_once(batch_size)
        out: list[Generation] = []
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            seeds = [[mix_seed(seed, start + i)] for i in range(len(batch))]
            options = {"settings": settings, "share_beginning": share_beginning}
            out += [row[0] for row in generate_batch(self, batch, seeds, **options)]
        return out

    def with_template(self, options: Mapping[str, Any]) -> "Model":
        """The same model, whose chat template is given these options and no others.

        Raises:
            HlensError: There is no chat template, or it does not know one of them.
        """
        return replace(self, template_options=dict(options))

    def with_workers(self, workers: Workers) -> "Model":
        """The same model, of which these workers sample and measure."""
        return replace(self, workers=workers)

    def run_with_cache(self, tokens: Any, **options: Any) -> Any:
        """TransformerLens' own ``run_with_cache`` of the bridge."""
        return self.bridge.run_with_cache(tokens, **options)

    def check_edits(self, pairs: Pairs) -> None:
        """Raise `HlensError` for neurons or edits that are not of this model, or cannot be run."""
        for neurons, edit in pairs:
            check_edit(self, neurons, edit)

    def editing(
        self,
        neurons: NeuronSet | Pairs,
        edit: Edit | None = None,
        *,
        n_prompt: int | Sequence[int] | None = None,
        answer: tuple[int, int] | Sequence[tuple[int, int]] | None = None,
        when: Gate | None = None,
    ) -> AbstractContextManager[Receipt]:
        """Edit neurons within a block; afterwards, even after an exception, all is as before.

        Generation, ``model.hf(...)``, measuring and the bridge with its caches all see the edit.
        Blocks nest: an inner edit acts on the result of the outer one. Within one block, edits act
        in their order. They act in the thread that opens the block, and in no other.

        Args:
            neurons: The neurons; or several (neurons, edit) pairs.
            edit: What is done to them (see `hlens.interventions`).
            n_prompt: Length of the prompt of each row in tokens, for scopes within prompt or answer
                where hlens does not generate itself.
            answer: Answer span ``[start, stop)`` of each row in tokens, for the scope ``answer``.
            when: Edit tokens of an answer only while this gate is open for it, such as
                ``hlens.monitor.risk_above(detector, 0.5)``; None for always.

        Yields:
            The receipt: how many tokens x neurons each edit touched; on leaving also which tokens
            of each answer a gate let it act on.

        Raises:
            HlensError: Neurons or values of another model; on leaving, an edit of one or more
                neurons that touched no token, unless a gate stayed closed; with a gate, tokens of
                an answer that are not read one at a time.
        """
        return editing(self, pair_up(neurons, edit), RowSpans(n_prompt, answer), when)
