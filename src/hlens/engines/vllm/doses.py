"""In a worker: what is done to chosen neurons before the down projection reads them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from hlens.engines.vllm.passes import Piece
from hlens.errors import HlensError
from hlens.model import Edit, Gate

# Scope -> whether the token at this index of the reply, negative in the prompt, is in it.
IN_SCOPE: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "prompt": lambda generated: generated < 0,
        "generated": lambda generated: generated >= 0,
    }
)


@dataclass(frozen=True, eq=False)
class Dose:
    """One edit at one layer: ``clamp(a * scale + shift, low, high)`` of these neurons."""

    columns: Tensor
    scale: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor

    def __call__(self, old: Tensor) -> Tensor:
        """The neurons' new activations; computed in float32, as an operator with a number is."""
        new = old.float() * self.scale + self.shift
        return torch.maximum(torch.minimum(new, self.high), self.low).to(old.dtype)


@dataclass(eq=False)
class Edited:
    """One edit: its doses by layer, the tokens in its scope, and what it has touched."""

    scope: str
    doses: dict[int, Dose]
    tokens: int = 0
    rows: Tensor | None = None  # of the running pass; None for all

    @classmethod
    def of(cls, sent: dict[str, Any], own: range, device: torch.device) -> "Edited":
        """From what the driver sent; `own` are the neurons that this worker has of each layer."""
        doses = {}
        for layer, (columns, *values) in sent["layers"].items():
            held = [i for i, column in enumerate(columns) if column in own]
            index = torch.tensor([columns[i] - own.start for i in held], device=device).long()
            numbers = ([of_all[i] for i in held] for of_all in values)
            doses[int(layer)] = Dose(index, *(torch.tensor(n, device=device) for n in numbers))
        return cls(sent["scope"], doses)

    def begin(self, pieces: Sequence[Piece], device: torch.device) -> None:
        """Find the rows of a pass that are in scope, and count them."""
        if self.scope == "all":
            self.rows, n = None, sum(piece.rows for piece in pieces)
        else:
            rows = [
                torch.arange(p.first, p.first + p.rows)[
                    in_scope(self.scope, torch.arange(p.rows) + (p.start - p.n_prompt))
                ]
                for p in pieces
            ]
            self.rows = torch.cat([torch.zeros(0, dtype=torch.long), *rows]).to(device)
            n = len(self.rows)
        self.tokens += n

    def change(self, layer: int, act: Tensor) -> None:
        """Exchange the activations of a layer in place."""
        dose = self.doses.get(layer)
        if dose is None or not len(dose.columns):
            return
        if self.rows is None:
            act[:, dose.columns] = dose(act[:, dose.columns])
        elif len(self.rows):
            place = self.rows[:, None], dose.columns[None]
            act[place] = dose(act[place])


def in_scope(scope: str, generated: Tensor) -> Tensor:
    """Which tokens are in a scope, by their index in the reply.

    >>> in_scope("first_2", torch.tensor([-1, 0, 1, 2])).tolist()
    [False, True, True, False]
    """
    if scope in IN_SCOPE:
        return IN_SCOPE[scope](generated)
    return (generated >= 0) & (generated < int(scope.removeprefix("first_")))


def is_known(scope: str) -> bool:
    """Whether a worker can tell which tokens are in a scope.

    >>> is_known("all"), is_known("first_3"), is_known("answer")
    (True, True, False)
    """
    first = scope.startswith("first_") and scope.removeprefix("first_").isdigit()
    return scope == "all" or scope in IN_SCOPE or first


def check_sent(edit: Edit, *, placed: bool = False) -> None:
    """Raise `HlensError` for an edit that cannot be sent to vLLM's workers."""
    if edit.elementwise is None:
        raise HlensError(
            f"{edit.name} depends on more than a neuron's own activation, and cannot be sent to "
            "vLLM's workers; scale, ablate (zero or mean), clamp and steer can, or take "
            'engine = "local"'
        )
    if not is_known(edit.scope.name) or (placed and edit.scope.name != "all"):
        raise HlensError(
            f"{edit.name} acts on {edit.scope.name} tokens as the caller places them, which vLLM's "
            'workers do not know; take scope all, prompt, generated or first_K, or engine = "local"'
        )


def check_ungated(when: Gate | None) -> None:
    """Raise `HlensError` for a gate: it is asked at every token, and vLLM's workers ask nobody."""
    if when is not None:
        raise HlensError(
            f"an edit {when.name} is decided token by token, which vLLM's workers cannot do; leave "
            'when= out, or take engine = "local"'
        )
