"""Words that would break a page if it took them for markup, and pictures that hold them."""

from typing import Any

import torch

from hlens import lookup
from hlens.types import Detector

TOKENS = ["</script><script>alert(1)</script>", "<bos>", " \"q\" 'q' &", " שלום", " 👩‍🔬", "\n"]


def explored() -> dict[str, Any]:
    """What the explorer draws: three neurons, of which the two strongest have hostile answers."""
    module = lookup.member("figures", "explorer")
    weights = torch.zeros(6, 64)
    weights[4, 10], weights[5, 3], weights[2, 40] = 1.2, -0.8, 0.3
    values = (None, 0.1, 0.9, 0.2, 0.3, 0.4)
    strip = module.Strip(tuple(TOKENS), values, caption=TOKENS[0])
    page = module.NeuronPage((strip,), (strip,), ((TOKENS[0], 1.0),), ((TOKENS[1], -1.0),))
    return {"detector": Detector(weights, 0.0), "pages": {(4, 10): page, (5, 3): page}}
