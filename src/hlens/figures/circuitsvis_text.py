"""Activation of any neuron at any token of a text, with CircuitsVis: layer and neuron by menu.

Question: on which tokens does each of these neurons speak?
To read it: choose a layer and a neuron; the darker a token, the larger its activation.
It misleads when shades are compared between neurons: each has its own scale.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from hlens.counting import count
from hlens.drawing.circuitsvis import framed, safe_tokens
from hlens.drawing.html import Html
from hlens.errors import HlensError


def draw(
    tokens: Sequence[str],
    activations: Float[np.ndarray, "token layer neuron"],
    *,
    layers: Sequence[str] | None = None,
    neurons: Sequence[str] | None = None,
    theme: str = "light",
) -> Html:
    """Draw a text with the activation of one neuron at a time.

    Args:
        tokens: Decoded tokens.
        activations: Value of each neuron at each token.
        layers: Names of the layers; their index when None.
        neurons: Names of the neurons; their index when None.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        A frame of about 1.5 MB that works offline; the script is that of the installed wheel.

    Raises:
        HlensError: Tokens and activations are not of one length.
    """
    if len(tokens) != len(activations):
        raise HlensError(
            f"{len(tokens)} tokens came with activations of {len(activations)}; give one row each"
        )
    from circuitsvis.activations import text_neuron_activations  # slow, and seldom needed

    rendered = text_neuron_activations(
        safe_tokens(tokens),
        np.asarray(activations, dtype=np.float32).round(4),
        first_dimension_labels=None if layers is None else safe_tokens(layers),
        second_dimension_labels=None if neurons is None else safe_tokens(neurons),
    )
    n_layers, n_neurons = activations.shape[1:]
    title = (
        f"Activations of {count(n_neurons, 'neuron')} in {count(n_layers, 'layer')} "
        f"at {count(len(tokens), 'token')}"
    )
    return framed(rendered, title, height=220 + 24 * (len(tokens) // 14), theme=theme)


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws."""
    tokens = ["<bos>", "The", " capital", " is", " Sydney", ".", "</s>"]
    activations = np.abs(np.sin(np.arange(7 * 2 * 3))).reshape(7, 2, 3)
    return {"tokens": tokens, "activations": activations, "layers": ["L4", "L9"]}
