"""Whose rows of a forward pass are whose.

vLLM lays the tokens of all requests in one long row, a chunk of each. Where a request's rows begin
and which of its positions they are is in the runner's own books, which it fills before a pass.
"""

from dataclasses import dataclass
from typing import Any

from hlens.model import segment_by_request


@dataclass(frozen=True)
class Piece:
    """The stretch of a request that is run in this pass.

    Attributes:
        asked: What hlens sent along with the request; empty where it sent nothing.
        first: The first of its rows.
        rows: How many they are.
        start: Position of the first in the request.
        n_prompt: Length of the request's prompt.
    """

    asked: dict[str, Any]
    first: int
    rows: int
    start: int
    n_prompt: int


def pieces_of(runner: Any) -> list[Piece]:
    """The pieces of the pass that is about to run; none while vLLM tries itself out."""
    if not runner.input_batch.req_ids:
        return []
    offsets, names = segment_by_request(runner)
    computed = runner.input_batch.num_computed_tokens_cpu
    pieces = []
    for index, name in enumerate(names):
        first, end = int(offsets[index]), int(offsets[index + 1])
        state = runner.requests[name]
        asked = (getattr(state.sampling_params, "extra_args", None) or {}).get("hlens", {})
        pieces.append(
            Piece(asked, first, end - first, int(computed[index]), state.num_prompt_tokens)
        )
    return [piece for piece in pieces if piece.rows]
