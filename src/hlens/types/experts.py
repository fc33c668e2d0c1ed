"""How the flat index of a mixture's neurons is divided among its experts.

An index of a layer counts the neurons of its first expert, those of the second, and so on; those
beside the experts (a shared expert, or the whole MLP of a dense layer) come last.
"""

from typing import Any

import numpy as np

from hlens.counting import count
from hlens.errors import HlensError

# For each layer: how many experts, neurons of each, neurons beside them. Empty for a dense model.
Experts = tuple[tuple[int, int, int], ...]


def address(neuron: tuple[int, int], experts: Experts = ()) -> str:
    """The address of a neuron, as tables and figures write it.

    >>> address((12, 345))
    'L12N345'
    >>> mixture = ((0, 0, 8), (4, 10, 6))  # a dense layer, then 4 experts of 10 and a shared one
    >>> [address(neuron, mixture) for neuron in [(0, 7), (1, 7), (1, 39), (1, 42)]]
    ['L0N7', 'L1E0N7', 'L1E3N9', 'L1SN2']
    """
    layer, index = neuron
    n, width, _ = experts[layer] if experts else (0, 0, 0)
    if not n:
        return f"L{layer}N{index}"
    if index >= n * width:
        return f"L{layer}SN{index - n * width}"
    return f"L{layer}E{index // width}N{index % width}"


def layers_of(experts: Experts, n_layers: int, d_mlp: int) -> Experts:
    """The experts of each layer; of a dense model none, and all neurons beside them."""
    return experts or ((0, 0, d_mlp),) * n_layers


def widths_of(experts: Experts, n_layers: int, d_mlp: int) -> list[int]:
    """How many neurons each layer has; a mixture's layers may have fewer than its widest."""
    return [n * width + beside for n, width, beside in layers_of(experts, n_layers, d_mlp)]


def experts_in(experts: Experts, layer: int, d_mlp: int) -> np.ndarray:
    """The expert of each neuron of a layer; what stands beside the experts counts as one more.

    >>> experts_in(((2, 3, 2),), 0, 8).tolist()
    [0, 0, 0, 1, 1, 1, 2, 2]
    """
    n, width, beside = experts[layer] if experts else (0, 0, d_mlp)
    return np.concatenate([np.repeat(np.arange(n), width), np.full(beside, n)])


def where_neurons_are(experts: Experts, n_layers: int, d_mlp: int) -> np.ndarray:
    """True for each ``[layer, index]`` that is a neuron: a mixture's layers may be narrower.

    >>> where_neurons_are(((0, 0, 2), (2, 2, 0)), 2, 4).astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 1, 1]]
    """
    return np.arange(d_mlp) < np.array(widths_of(experts, n_layers, d_mlp))[:, None]


def describe(experts: Experts, n_layers: int, d_mlp: int) -> str:
    """The shape of a model in words.

    >>> describe((), 3, 20)
    '3 layers × 20 neurons'
    >>> describe(((0, 0, 20), (4, 3, 6), (4, 3, 6)), 3, 20)
    '3 layers, 2 with 4 experts × 3 neurons + 6 shared'
    """
    layers = count(n_layers, "layer")
    kinds = [layer for layer in experts if layer[0]]
    if not kinds:
        return f"{layers} × {count(d_mlp, 'neuron')}"
    if len(set(kinds)) > 1:
        return f"{layers}, {len(kinds)} with experts of several sizes"
    n, width, shared = kinds[0]
    of = f"{count(n, 'expert')} × {count(width, 'neuron')}" + f" + {shared:,} shared" * (shared > 0)
    return f"{layers} × {of}" if len(kinds) == n_layers else f"{layers}, {len(kinds)} with {of}"


def as_experts(given: Any, n_layers: int | None = None, d_mlp: int | None = None) -> Experts:
    """The experts of a file or a caller; raises `HlensError` for what cannot be any."""
    try:
        experts = tuple((int(n), int(width), int(beside)) for n, width, beside in given)
    except (TypeError, ValueError):
        experts = ((-1, 0, 0),)
    wide = [n * width + beside for n, width, beside in experts]
    fits = not experts or (
        all(min(layer) >= 0 for layer in experts)
        and (n_layers is None or len(experts) == n_layers)
        and (d_mlp is None or max(wide) <= d_mlp)
    )
    if not fits:
        raise HlensError(
            f"experts={given!r:.60}; expected, for each layer, how many experts, neurons of each, "
            "and neurons beside them"
        )
    return experts
