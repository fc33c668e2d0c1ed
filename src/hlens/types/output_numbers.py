"""What the model's own output says of an answer: numbers that cost nothing beside sampling it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from hlens.errors import HlensError
from hlens.types.evidence import Evidence

Row = Float[np.ndarray, " token"]
OF_LOGPROBS: dict[str, Callable[[Row], float]] = {
    "mean log-probability": lambda row: float(row.mean()),
    "least log-probability": lambda row: float(row.min()),
    "first log-probability": lambda row: float(row[0]),
}
OF_ENTROPIES: dict[str, Callable[[Row], float]] = {
    "mean entropy": lambda row: float(row.mean()),
    "greatest entropy": lambda row: float(row.max()),
    "first entropy": lambda row: float(row[0]),
}
LENGTH = "log length"


def output_numbers(evidence: Evidence) -> dict[str, Float[np.ndarray, " example"]]:
    """Numbers of each answer's tokens by their names: log-probabilities, entropies, length.

    Log-probabilities and entropies are in nats, over the answer span; the length is the logarithm
    of its number of tokens. Entropies are left out where none were read.

    Raises:
        HlensError: No log-probabilities were read, or of some answers none, or none that is finite.
    """
    if evidence.logprobs is None:
        raise HlensError(
            f"no output numbers ({evidence.why_not.get('logprobs', 'no logprobs were read')}); "
            "gather the evidence with hlens.baselines.gather"
        )
    numbers = _of_tokens(evidence.logprobs, OF_LOGPROBS, "log-probabilities")
    if evidence.entropies is not None:
        numbers |= _of_tokens(evidence.entropies, OF_ENTROPIES, "entropies")
    return numbers | {LENGTH: np.log(evidence.n_tokens.double().numpy())}


def numbers_so_far(evidence: Evidence, n_written: int) -> dict[str, Float[np.ndarray, " example"]]:
    """The output numbers that are known when so many tokens of each answer are written.

    These are the log-probabilities of these tokens, and the entropies at them and at the next one,
    where there is one. Nothing is known of an answer's length; before the first token an evidence
    without entropies gives none.

    Raises:
        HlensError: As `output_numbers`.
    """
    evidence = replace(
        evidence,
        logprobs=evidence.logprobs and tuple(row[:n_written] for row in evidence.logprobs),
        entropies=evidence.entropies and tuple(row[: n_written + 1] for row in evidence.entropies),
    )
    if n_written:
        numbers = output_numbers(evidence)
        return {name: values for name, values in numbers.items() if name != LENGTH}
    known = evidence.entropies
    return {} if known is None else _of_tokens(known, OF_ENTROPIES, "entropies")


def _of_tokens(
    rows: Sequence[Sequence[float]], numbers: dict[str, Callable[[Row], float]], what: str
) -> dict[str, Float[np.ndarray, " example"]]:
    arrays = [np.asarray(row, dtype=np.float64) for row in rows]
    if empty := sum(len(array) == 0 for array in arrays):
        raise HlensError(
            f"{empty} of {len(arrays)} answers have no {what} of their tokens; read them with "
            "hlens.baselines.gather"
        )
    if broken := sum(not np.isfinite(array).all() for array in arrays):
        raise HlensError(
            f"{broken} of {len(arrays)} answers have {what} that are not finite; leave them out"
        )
    return {name: np.array([of(row) for row in arrays]) for name, of in numbers.items()}
