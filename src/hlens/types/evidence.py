"""Evidence: everything that a rival detector may look at, one row per example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.types.measured import Contributions, as_positions

Ragged = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of each example beside its contributions, in the order of these.

    Attributes:
        contributions: The contributions, with labels, groups, domains and lengths.
        questions: Text of each question, with its options.
        contexts: Text that the question is about; empty where there is none.
        answers: Text of the answer span.
        responses: Text of the whole response.
        n_prompt: Length of the prompt, in tokens.
        n_response: Length of the whole response, in tokens.
        starts: First token of the answer span, counted from the first token of the prompt.
        logprobs: Log-probability (nats) of each token of the answer span.
        entropies: Entropy (nats) of the distribution that each token of the span was drawn from.
        activations: Mean absolute activation of each neuron over the span.
        residual: Mean over the span of the residual stream behind each layer.
        residual_last: The same at the last token of the span.
        lookback: Share of attention of each head that goes to the prompt, mean over the span.
        lens: How the layers agree on the span's tokens, read through the unembedding: the numbers
            of `hlens.baselines.logit_lens`.
        sae_features: Strongest activation over the span of each feature of a sparse autoencoder.
        p_true: Probability that the model gives to its own answer being true.
        samples: Other sampled answers to the same question; the example's own is not among them.
        sample_logprobs: Log-probability (nats) of each of these, all tokens together.
        sample_states: Residual stream behind the middle layer at each sample's last token.
        measured: Contributions measured another way in the same pass (over other tokens, at other
            positions), by what was changed; no rival reads them.
        why_not: Why a reading is absent, by its name.
    """

    contributions: Contributions
    questions: tuple[str, ...]
    contexts: tuple[str, ...]
    answers: tuple[str, ...]
    responses: tuple[str, ...]
    n_prompt: Int[Tensor, " example"]
    n_response: Int[Tensor, " example"]
    starts: Int[Tensor, " example"]
    logprobs: Ragged | None = None
    entropies: Ragged | None = None
    activations: Contributions | None = None
    residual: Float[Tensor, "example layer d_model"] | None = None
    residual_last: Float[Tensor, "example layer d_model"] | None = None
    lookback: Float[Tensor, "example layer head"] | None = None
    lens: Float[Tensor, "example signal"] | None = None
    sae_features: Float[Tensor, "example feature"] | None = None
    p_true: Float[Tensor, " example"] | None = None
    samples: tuple[tuple[str, ...], ...] | None = None
    sample_logprobs: Ragged | None = None
    sample_states: Float[Tensor, "example sample d_model"] | None = None
    measured: Mapping[str, Contributions] = field(default_factory=dict)
    why_not: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.contributions)
        for name, value in {**vars(self), **self.measured}.items():
            if value is not None and not isinstance(value, Mapping) and len(value) != n:
                raise HlensError(
                    f"evidence on {n} examples with {name} of {len(value)}; give one row for each"
                )

    def __len__(self) -> int:
        return len(self.contributions)

    @property
    def labels(self) -> Bool[Tensor, " example"]:
        """True where the example is a hallucination."""
        return self.contributions.labels

    @property
    def groups(self) -> tuple[str, ...]:
        """What must never be split over train and test."""
        return self.contributions.groups

    @property
    def n_tokens(self) -> Int[Tensor, " example"]:
        """Length of the answer span, in tokens."""
        return self.contributions.n_tokens

    def has(self, reading: str) -> bool:
        """Whether a reading is present."""
        return getattr(self, reading) is not None

    def select(self, index: Sequence[int] | Tensor) -> "Evidence":
        """The chosen examples, in the given order (positions or a boolean mask)."""
        positions = as_positions(index)
        known = {k: value for k, value in vars(self).items() if not isinstance(value, Mapping)}
        return replace(
            self,
            **{name: _select_rows(value, positions) for name, value in known.items()},
            measured={name: value.select(positions) for name, value in self.measured.items()},
        )

    def blind(self) -> "Evidence":
        """The same with every label False and no `measured`: what may be seen of a test part."""
        blank = torch.zeros_like(self.labels)
        hidden = {
            name: replace(value, labels=blank)
            for name, value in vars(self).items()
            if isinstance(value, Contributions)
        }
        return replace(self, **hidden, measured={})


# Readings need a pass of the model and may be absent; everything else is known of every example.
READINGS = tuple(one.name for one in fields(Evidence) if one.default is None)
Reading = Contributions | Tensor | tuple[object, ...] | None


def _select_rows(value: Reading, positions: Tensor) -> Reading:
    if value is None:
        return None
    if isinstance(value, Contributions):
        return value.select(positions)
    if isinstance(value, Tensor):
        return value[positions]
    return tuple(value[i] for i in positions.tolist())
