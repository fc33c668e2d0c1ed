"""score_prompts: the risk where a prompt ends, before a word of the answer is written."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from hlens.errors import HlensError
from hlens.metrics import Metric
from hlens.model import Model
from hlens.monitor.reading import score_tokens
from hlens.types import Detector

REGION = "last_prompt"


def score_prompts(
    model: Model,
    detector: Detector,
    prompts: Sequence[Sequence[int]],
    *,
    metric: Metric | None = None,
    batch_size: int | None = None,
) -> Float[np.ndarray, " prompt"]:
    """Log-odds of each prompt's last token, so that a request can be routed before it is answered.

    Args:
        model: The model that the detector was found on.
        detector: One of the region ``"last_prompt"``.
        prompts: Token ids, from `Model.encode`.
        metric: The detector's formula, where it is not one of `hlens.metrics`.
        batch_size: Prompts at a time; None fits them to the memory.

    Returns:
        One score for each prompt, equal to the detector's on the contributions measured there; its
        `probability_of` makes them probabilities.

    Raises:
        HlensError: No prompts, such as the model cannot read, or a detector of other tokens.
    """
    if not prompts:
        raise HlensError("no prompts to score; give one or more, from model.encode(text)")
    if detector.region != REGION:
        raise HlensError(
            f"the detector reads {detector.region!r}; before an answer only {REGION!r} is there: "
            f'measure and find with region="{REGION}"'
        )
    model.check_prompts(prompts)
    scores = score_tokens(
        model, token_by_token(detector), prompts, metric=metric, batch_size=batch_size
    )
    return np.array([float(row[-1]) for row in scores])


def token_by_token(detector: Detector) -> Detector:
    """A detector of one token as one that can be read at every token.

    The mean over one token is that token's own score.
    """
    return replace(detector, region="response") if detector.region == REGION else detector
