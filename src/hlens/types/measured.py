"""What is measured: the trace of one MLP, and the contributions of all neurons to all examples."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hlens.counting import count
from hlens.errors import HlensError
from hlens.types.experts import Experts, as_experts, widths_of
from hlens.types.fingerprints import same_fingerprint, warn_unbound
from hlens.types.norms import post_mlp_norm
from hlens.types.notebook import facts_as_html, first_few
from hlens.types.routed import RoutedMatrix, RoutedValues, routed_blocks


@dataclass(frozen=True)
class Provenance:
    """Where a finding comes from; written into every file and compared on loading."""

    model: str = ""
    fingerprint: str = ""  #: hash over the model's weights; two models agree only if it agrees
    revision: str = ""  #: of the model on its hub, or empty
    tokenizer: str = ""  #: hash over the tokenizer
    recipe: str = ""  #: hash of the recipe, or empty
    versions: tuple[tuple[str, str], ...] = ()  #: name and version of the packages that took part
    experts: Experts = ()  #: of a mixture, how its neurons are divided among experts

    def __post_init__(self) -> None:
        object.__setattr__(self, "experts", as_experts(self.experts))
        for name, value in vars(self).items():
            if name == "experts":
                continue
            texts = [value] if name != "versions" else [part for pair in value for part in pair]
            if not all(isinstance(text, str) for text in texts):
                raise HlensError(f"{name}={value!r:.60} of a provenance; expected text")

    def check_same_model(self, other: "Provenance", what: str) -> None:
        """Raise `HlensError` when both name a model and the models differ.

        Where one of them alone names its model, that is said in the log.
        """
        one, two = self.fingerprint, other.fingerprint
        if two and not one:
            warn_unbound("a detector or contributions", other.model or "the other's model")
        elif one and not two:
            warn_unbound(what, self.model or "the detector's model")
        if one and two and not same_fingerprint(one, two):
            raise HlensError(
                f"{what}: measured on {other.model or 'another model'} "
                f"({two[-12:]}), expected {self.model or 'the same model'} ({one[-12:]}); "
                "measure again with the model that the detector was found on"
            )
        one, two = self.tokenizer, other.tokenizer
        if one and two and not same_fingerprint(one, two):
            raise HlensError(
                f"{what}: the weights are those of {self.model or 'the same model'}, but its "
                "tokenizer or chat template is another; load the one that the detector was found "
                "with"
            )


@dataclass(frozen=True, eq=False)
class MlpTrace:
    """The MLP of one layer during a pass: what enters the down projection and what leaves it.

    Attributes:
        act: Activation of each neuron, input of the down projection.
        out: Output of the down projection, its bias included.
        w_out: The down projection, one row a neuron.
        row_norms: Norm of each row of `w_out`, in float32, where it was computed before.
        post_gain: Gain of the norm that the MLP output passes before it enters the residual
            stream (Gemma-2 and -3, OLMo-2); None only where the model has no such norm.
        direction: For each position, the direction of `out` in which the logit of the answer's
            token grows, the scales of the norms on its way held fixed; filled for metrics that
            declare this need.
        used: Where a mixture routes each position to the neuron's expert; filled where a mean over
            these positions is asked for (``reduce="routed"``).
        gradient: Derivative of the answer's log-probability (nats) by each activation; filled for
            metrics that declare this need.
    """

    act: Float[Tensor, "*pos neuron"]
    out: Float[Tensor, "*pos d_model"]
    w_out: Float[Tensor, "neuron d_model"]
    row_norms: Float[Tensor, " neuron"] | None = None
    post_gain: Float[Tensor, " d_model"] | None = None
    direction: Float[Tensor, "*pos d_model"] | None = None
    gradient: Float[Tensor, "*pos neuron"] | None = None
    used: Bool[Tensor, "*pos neuron"] | None = None

    @cached_property
    def w_norm(self) -> Float[Tensor, " neuron"]:
        """Euclidean norm of each row of `w_out`, in float32."""
        if self.row_norms is not None:
            return self.row_norms
        return torch.linalg.vector_norm(self.w_out.float(), dim=-1)

    @classmethod
    def from_cache(
        cls,
        cache: Any,
        model: Any,
        layer: int,
        *,
        direction: Float[Tensor, "*pos d_model"] | None = None,
        gradient: Float[Tensor, "*pos neuron"] | None = None,
    ) -> "MlpTrace":
        """Read one layer from a TransformerLens `ActivationCache`.

        The cache is that of ``run_with_cache`` of `model`, a `TransformerBridge` or, from
        TransformerLens 3, a `HookedTransformer`.

        Raises:
            HlensError: The cache does not hold the neurons of this layer (a mixture of experts,
                or a cache made with a filter that left them out).
        """
        block = model.blocks[layer]
        act_key, out_key = _cache_keys(cache, layer)
        act, w_out = cache[act_key], block.mlp.W_out.detach()
        if out_key is None:  # HookedTransformer: the output is what the formula says
            bias = getattr(block.mlp, "b_out", None)
            out = act @ w_out if bias is None else act @ w_out + bias.detach()
        else:
            out = cache[out_key]
        norm = post_mlp_norm(block, w_out.shape[1])
        gain = None if norm is None else norm.gain
        return cls(act, out, w_out, post_gain=gain, direction=direction, gradient=gradient)


def _cache_keys(cache: Any, layer: int) -> tuple[str, str | None]:
    """Names of the activation and the output of one MLP in a cache of either generation."""
    bridge = (f"blocks.{layer}.mlp.out.hook_in", f"blocks.{layer}.mlp.out.hook_out")
    if bridge[0] in cache and bridge[1] in cache:
        return bridge
    hooked = f"blocks.{layer}.mlp.hook_post"
    # A bridge's mixture-of-experts block has hook_post too, but there it is the block's output.
    is_bridge = any(".mlp.out." in key or ".mlp.hook_out" in key for key in cache)
    if hooked in cache and not is_bridge:
        return hooked, None
    raise HlensError(
        f"the cache holds no MLP neurons of layer {layer}: expected {bridge[0]!r} and "
        f"{bridge[1]!r} (TransformerBridge) or {hooked!r} (HookedTransformer); cache these hooks, "
        "or use a model without a mixture of experts"
    )


@dataclass(frozen=True, eq=False)
class Contributions:
    """What each neuron contributed to each example.

    Attributes:
        values: The contributions; memory-mapped when loaded from disk. ``values.permute(1, 2, 0)``
            is contiguous when they come from `measure` or the store (neuron-major in memory, as the
            probe reads them). The store keeps those of a mixture by expert (`RoutedValues`).
        labels: True where the example is a hallucination.
        groups: What must never be split over train and test.
        domains: Domain of each example.
        question_ids: Question of each example.
        n_tokens: Length of the answer span of each example, in tokens.
        region: Which tokens were measured (``"answer"``, ``"response"``, ...).
        metric: Name of the formula.
        provenance: Model and versions.
    """

    values: Float[Tensor, "example layer neuron"]
    labels: Bool[Tensor, " example"]
    groups: tuple[str, ...]
    domains: tuple[str, ...]
    question_ids: tuple[str, ...]
    n_tokens: Int[Tensor, " example"]
    region: str = "answer"
    metric: str = "cett"
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        n = len(self.values)
        sizes = {len(self.labels), len(self.groups), len(self.domains), len(self.question_ids)}
        if sizes | {len(self.n_tokens)} != {n}:
            raise HlensError(
                f"contributions of {n} examples with labels, groups, domains, question_ids or "
                f"n_tokens of another length ({sorted(sizes)}); give one of each for every example"
            )

    def __repr__(self) -> str:
        facts = self._facts()
        return f"Contributions({facts['measured']} of {facts['examples']}, {facts['neurons']})"

    def _repr_html_(self) -> str:
        return facts_as_html("Contributions", self._facts())

    def _facts(self) -> dict[str, str]:
        wrong = int(self.labels.sum())
        return {
            "measured": f"{self.metric} over {self.region}",
            "examples": f"{count(len(self), 'example')} ({wrong:,} hallucinated)",
            "neurons": f"{count(self.n_neurons, 'neuron')} in {count(self.n_layers, 'layer')}",
            "questions": f"{len(set(self.question_ids)):,}",
            "domains": first_few(self.domains),
            "model": self.provenance.model,
            "stored as": str(self.values.dtype).removeprefix("torch."),
        }

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_layers(self) -> int:
        return self.values.shape[1]

    @property
    def d_mlp(self) -> int:
        return self.values.shape[2]

    @property
    def n_neurons(self) -> int:
        """How many neurons the model has; of a mixture some layers may be narrower than `d_mlp`."""
        return sum(widths_of(self.provenance.experts, self.n_layers, self.d_mlp))

    @property
    def neuron_major(self) -> Float[Tensor, "feature example"]:
        """The values as ``[layer * neuron, example]``; a view where memory allows, else a copy."""
        return self.values.permute(1, 2, 0).reshape(self.n_layers * self.d_mlp, len(self))

    def rows(
        self, which: slice | Sequence[int] | np.ndarray | Tensor
    ) -> Float[Tensor, "chosen example"]:
        """Some rows of `neuron_major`; those of a mixture are read without all others."""
        which = which if isinstance(which, slice) else torch.as_tensor(which).long()
        if not isinstance(self.values, RoutedValues):
            return self.neuron_major[which]
        if isinstance(which, slice):
            which = torch.arange(*which.indices(self.n_layers * self.d_mlp))
        return self.values.matrix.rows(which.numpy())

    def size(self) -> Float[Tensor, "layer neuron"]:
        """Mean size of each neuron's contribution, whatever its sign.

        A layer at a time, so that a store stays on disk.
        """
        layers = (self.values[:, one].float().abs().mean(dim=0) for one in range(self.n_layers))
        return torch.stack(list(layers))

    def moments(
        self, which: Sequence[int] | Tensor
    ) -> tuple[Float[Tensor, " chosen"], Float[Tensor, " chosen"]]:
        """Mean and standard deviation over all examples of neurons by flat index, in float64.

        A block at a time: a dense probe asks for all of them.
        """
        which = torch.as_tensor(which).long()
        both = torch.empty(2, len(which), dtype=torch.float64)
        for part in range(0, len(which), 1024):
            values = self.rows(which[part : part + 1024]).double()
            both[0, part : part + 1024] = values.mean(dim=1)
            both[1, part : part + 1024] = values.std(dim=1, correction=0)
        return both[0], both[1]

    @property
    def routed(self) -> RoutedMatrix:
        """What a mixture's neurons contributed, by expert, without most of the zeros."""
        if isinstance(self.values, RoutedValues):
            return self.values.matrix
        blocks = routed_blocks(
            lambda layer, part: self.values[:, layer, part].T,
            self.provenance.experts,
            self.n_layers,
            self.d_mlp,
        )
        return RoutedMatrix(blocks, (len(self), self.n_layers * self.d_mlp))

    @classmethod
    def concatenate(cls, parts: Sequence["Contributions"]) -> "Contributions":
        """The examples of all parts, in order; the provenance is that of the first part.

        Raises:
            HlensError: No parts, or parts of different metrics, regions or models.
        """
        if not parts:
            raise HlensError("no contributions to concatenate; give one part or more")
        first = parts[0]
        for part in parts[1:]:
            if (part.metric, part.region) != (first.metric, first.region):
                raise HlensError(
                    f"contributions of {part.metric} over {part.region!r} cannot follow those of "
                    f"{first.metric} over {first.region!r}; measure all with the same options"
                )
            first.provenance.check_same_model(part.provenance, "concatenated contributions")
        return replace(
            first,
            values=_join([part.values for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
            groups=tuple(group for part in parts for group in part.groups),
            domains=tuple(domain for part in parts for domain in part.domains),
            question_ids=tuple(question for part in parts for question in part.question_ids),
            n_tokens=torch.cat([part.n_tokens for part in parts]),
        )

    def select(self, index: Sequence[int] | Tensor) -> "Contributions":
        """The chosen examples, in the given order (positions or a boolean mask)."""
        positions = as_positions(index)
        rows = positions.tolist()
        return replace(
            self,
            values=_select(self.values, positions),
            labels=self.labels[positions],
            groups=tuple(self.groups[i] for i in rows),
            domains=tuple(self.domains[i] for i in rows),
            question_ids=tuple(self.question_ids[i] for i in rows),
            n_tokens=self.n_tokens[positions],
        )

    def of_domain(self, domain: str) -> "Contributions":
        """The examples of one domain; raises `HlensError` when there are none."""
        rows = [i for i, name in enumerate(self.domains) if name == domain]
        if not rows:
            known = ", ".join(sorted(set(self.domains))) or "none"
            raise HlensError(f"no examples of domain {domain!r}; these contributions hold: {known}")
        return self.select(rows)


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Values of several parts, joined neuron-major: as contiguous as the parts are."""
    if all(isinstance(part, RoutedValues) for part in parts):
        known: Any = parts
        joined = RoutedMatrix.join([one.matrix for one in known])
        return RoutedValues(joined, parts[0].shape[1], parts[0].dtype)
    return torch.cat([part.permute(1, 2, 0) for part in parts], dim=-1).permute(2, 0, 1)


def _select(values: Tensor, positions: Int[Tensor, " chosen"]) -> Tensor:
    """Values of some examples, neuron-major."""
    if isinstance(values, RoutedValues):
        chosen = values.matrix.select(positions)
        return RoutedValues(chosen, values.shape[1], values.dtype)
    return values.permute(1, 2, 0)[:, :, positions].permute(2, 0, 1)


def as_positions(index: Sequence[int] | Tensor) -> Int[Tensor, " chosen"]:
    """The positions that an index of examples names: positions or a boolean mask."""
    positions = torch.as_tensor(index)
    return (positions.nonzero().flatten() if positions.dtype == torch.bool else positions).long()
