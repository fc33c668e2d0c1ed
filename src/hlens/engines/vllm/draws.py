"""In a worker: each request's tokens drawn from its own random numbers, as `hlens.sample` draws.

vLLM decodes greedily; before that, this processor leaves only the drawn token. So a sample depends
on its seed and its logits alone, in every batch, and is the local engine's wherever both engines'
logits round alike.
"""

from typing import Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import (  # pyright: ignore[reportMissingImports]
    BatchUpdate,
    LogitsProcessor,
    MoveDirectionality,
)

from hlens.model import Settings, draw_uniforms, pick_tokens


class SeededDraws(LogitsProcessor):
    """Picks each request's next token from the uniform number of its seed and place."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self.rows: dict[int, tuple[Settings, Tensor, list[int]]] = {}

    def is_argmax_invariant(self) -> bool:
        """It changes which token is the likeliest."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow which request is in which row."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self.rows.pop(row, None)
        for row, params, _, written in batch_update.added:
            self.rows.pop(row, None)
            draw = (params.extra_args or {}).get("hlens", {}).get("draw")
            if draw:
                seed, n, temperature, top_k, top_p = draw
                settings = Settings(n, temperature, top_k, top_p)
                self.rows[row] = settings, draw_uniforms(n, seed), written
        for one, two, way in batch_update.moved:
            moved, other = self.rows.pop(one, None), self.rows.pop(two, None)
            if moved is not None:
                self.rows[two] = moved
            if way == MoveDirectionality.SWAP and other is not None:
                self.rows[one] = other

    def apply(self, logits: Tensor) -> Tensor:
        """Leave only the drawn token of each row that has one."""
        by_settings: dict[Settings, list[int]] = {}
        for row, (settings, _, _) in self.rows.items():
            by_settings.setdefault(settings, []).append(row)
        for settings, rows in by_settings.items():
            index = torch.tensor(sorted(rows), device=logits.device)
            held = [self.rows[row] for row in sorted(rows)]
            # A request that is watched is asked for one token more, which is thrown away.
            now = [uniforms[min(len(written), len(uniforms) - 1)] for _, uniforms, written in held]
            logprobs = torch.log_softmax(logits[index].float(), dim=-1)
            # Of a model that overflows nothing can be drawn, and an index out of range would end
            # all requests; vLLM goes on with the NaN, which whoever reads the log-probability sees.
            bad = logprobs.isnan().any(dim=-1, keepdim=True)
            token = pick_tokens(logprobs.masked_fill(bad, 0.0), torch.stack(now), settings)
            only = torch.full_like(logprobs, -torch.inf).scatter(1, token, 0.0)
            logits[index] = torch.where(bad, logprobs, only).to(logits.dtype)
        return logits
