"""The strongest and weakest tokens of each neuron over several texts, with CircuitsVis.

Question: which tokens make a neuron speak?
To read it: choose a text and a layer; each column is a neuron, its strongest tokens on top.
It misleads when few texts are read: the strongest of few tokens may be weak.
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
    texts: Sequence[Sequence[str]],
    activations: Sequence[Float[np.ndarray, "layer _token neuron"]],
    *,
    k: int = 10,
    theme: str = "light",
) -> Html:
    """Draw the tokens on which each neuron is strongest and weakest.

    Args:
        texts: Decoded tokens of each text.
        activations: Value of each neuron at each token, for each text.
        k: Tokens of each kind.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        A frame of about 1.5 MB that works offline; the script is that of the installed wheel.

    Raises:
        HlensError: Texts and activations are not of one length.
    """
    lengths = [len(text) for text in texts], [part.shape[1] for part in activations]
    if lengths[0] != lengths[1] or not texts:
        raise HlensError(
            f"texts of {lengths[0]} tokens came with activations of {lengths[1]}; give one each"
        )
    from circuitsvis.topk_tokens import topk_tokens  # slow, and seldom needed

    rendered = topk_tokens(
        [safe_tokens(text) for text in texts],
        [np.asarray(part, dtype=np.float32).round(4) for part in activations],
        max_k=k,
        first_dimension_name="Layer",
        third_dimension_name="Neuron",
    )
    title = f"Strongest and weakest tokens of each neuron in {count(len(texts), 'text')}"
    return framed(rendered, title, height=240 + 54 * k, theme=theme)


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws."""
    text = ["<bos>", "The", " capital", " is", " Sydney", ".", "</s>"]
    values = np.sin(np.arange(2 * 7 * 5)).reshape(2, 7, 5)
    return {"texts": [text, text], "activations": [values, -values], "k": 4}
