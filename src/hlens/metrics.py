"""Contribution of each neuron: one formula a function, `MlpTrace` in, ``[*pos, neuron]`` out.

A metric is a value: pass the function itself, or one of your own of the same type. Names are for
recipes and the command line, and this module is their list: whatever carries `metric` here is known
by its name.

In the formulas a is the activation of a neuron (the input of the down projection), w its row of
W_out, and h the output of the down projection, its bias included. All is computed in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from hlens import lookup
from hlens.errors import HlensError
from hlens.types import MlpTrace

Metric = Callable[[MlpTrace], Tensor]
# What a forward pass up to the neurons does not give, because it depends on the answer's logits.
_NEEDS = ("direction", "gradient")
_Formula = TypeVar("_Formula", bound=Metric)


@dataclass(frozen=True)
class Factors:
    """A metric as ``act(a) * pos * neuron``, which makes it cheap; None means one.

    Such a metric is averaged over positions by one small matrix product, and its value at each
    position is never held. The formula itself stays the definition; a test holds that both agree.

    Attributes:
        act: Elementwise function of the activation.
        pos: From the outputs and the gain of a norm that follows (or None), a factor of each
            position; outputs of several layers may be stacked, their gains ``[layer, 1, d_model]``.
        neuron: From a trace, a factor of each neuron.
        rows: Whether `neuron` reads the rows of W_out, and not their norms alone.
    """

    act: Callable[[Tensor], Tensor]
    pos: Callable[[Tensor, Tensor | None], Tensor] | None = None
    neuron: Callable[[MlpTrace], Tensor] | None = None
    rows: bool = False


@dataclass(frozen=True)
class _Declared:
    formula: Metric
    needs: frozenset[str]
    factors: Factors | None
    display: str


def metric(
    *needs: str, factors: Factors | None = None, display: str = ""
) -> Callable[[_Formula], _Formula]:
    """Declare what a metric needs beside the neurons, and its factors; the function stays as it is.

    Only what looks past the MLP must be declared. The gain of a norm behind the MLP needs no
    declaration: every trace holds it where the model has such a norm.

    Args:
        needs: ``"direction"``, ``"gradient"`` or both: the fields of `MlpTrace` that are filled.
        factors: The same formula, taken apart.
        display: What reports call it; its name with spaces when empty.

    >>> @metric("gradient")
    ... def slope(mlp):
    ...     return mlp.gradient.abs()
    >>> sorted(needs_of(slope)), sorted(needs_of(cett))
    (['gradient'], [])

    Raises:
        HlensError: A need that is none of these.
    """
    for need in needs:
        if need not in _NEEDS:
            raise lookup.unknown("need of a metric", need, _NEEDS)

    def declare(formula: _Formula) -> _Formula:
        carrier: Any = formula
        carrier.declared = _Declared(formula, frozenset(needs), factors, display)
        return formula

    return declare


def needs_of(metric: Metric) -> frozenset[str]:
    """What a metric needs beside the neurons; nothing where it declares nothing."""
    declared = getattr(getattr(metric, "func", metric), "declared", None)  # also within a partial
    return declared.needs if declared else frozenset()


def factors_of(metric: Metric) -> Factors | None:
    """The factors of a metric, or None where there are none."""
    declared = getattr(metric, "declared", None)
    # functools.wraps copies the attribute to a wrapper, which computes something else.
    return declared.factors if declared and declared.formula is metric else None


def reads_rows(metric: Metric) -> bool:
    """Whether a metric may read rows of W_out; those of a mixture are copied to be read."""
    factors = factors_of(metric)
    return factors is None or factors.rows


def name_of(metric: Metric) -> str:
    """Name of a metric, which its results go by."""
    return getattr(metric, "__name__", type(metric).__name__)


def display_of(name: str) -> str:
    """What reports call the metric of a name; empty where it says nothing of its own.

    >>> display_of("cett"), display_of("my_own")
    ('CETT', '')
    """
    declared = getattr(globals().get(name), "declared", None)
    return declared.display if declared else ""


def names() -> list[str]:
    """Names of the metrics, in the order of this module."""
    return [name for name, value in globals().items() if hasattr(value, "declared")]


def by_name(name: str) -> Metric:
    """The metric of a name, for recipes and the command line.

    >>> by_name("cett") is cett
    True

    Raises:
        HlensError: There is none of that name.
    """
    if name not in names():
        raise lookup.unknown("metric", name, names())
    return globals()[name]


def norm_of(vectors: Float[Tensor, "*pos d_model"]) -> Float[Tensor, "*pos"]:
    """Euclidean norm in float32, never zero, so that an MLP that writes nothing gives no NaN."""
    return torch.linalg.vector_norm(vectors.float(), dim=-1).clamp_min(1e-30)


def _per_output(out: Tensor, gain: Tensor | None) -> Tensor:
    return norm_of(out).reciprocal()


def _per_gained_output(out: Tensor, gain: Tensor | None) -> Tensor:
    return norm_of(out if gain is None else out.float() * gain).reciprocal()


_row_norms = attrgetter("w_norm")


def _gained_row_norms(mlp: MlpTrace) -> Tensor:
    if mlp.post_gain is None:
        return mlp.w_norm
    return torch.linalg.vector_norm(mlp.w_out.float() * mlp.post_gain, dim=-1)


@metric(factors=Factors(torch.abs, _per_output, _row_norms), display="CETT")
def cett(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """``|a| ||w|| / ||h||``: the measure of Gao et al. 2025 (arXiv 2512.01797, sec. 2).

    The name is of arXiv 2402.03804, where it is a threshold on sets of neurons. Over the neurons
    of a layer it sums to one or more, so it is no fraction.

    >>> w_out = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> act = torch.tensor([[-1.0, 2.0]])
    >>> cett(MlpTrace(act, act @ w_out, w_out))  # ||h|| = ||(-3, -2)|| = 3.6056
    tensor([[1.3868, 0.5547]])
    """
    return mlp.act.float().abs() * mlp.w_norm / norm_of(mlp.out)[..., None]


@metric(factors=Factors(lambda act: act, _per_output, _row_norms), display="signed CETT")
def signed_cett(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """A ||w|| / ||h||: CETT that keeps the activation's sign (arXiv 2512.01797, sign kept).

    >>> w_out = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> act = torch.tensor([[-1.0, 2.0]])
    >>> signed_cett(MlpTrace(act, act @ w_out, w_out))
    tensor([[-1.3868, 0.5547]])
    """
    return mlp.act.float() * mlp.w_norm / norm_of(mlp.out)[..., None]


@metric()
def projection(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """A (w . h) / ||h||^2: the share of the MLP output that a neuron accounts for.

    The scalar projection of what the neuron writes onto what the layer writes, as in direct
    attribution (Elhage et al. 2021). Without a bias it sums to one over the neurons of a layer.

    >>> w_out = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> act = torch.tensor([[-1.0, 2.0]])
    >>> projection(MlpTrace(act, act @ w_out, w_out))  # h = (-3, -2)
    tensor([[ 1.3077, -0.3077]])
    """
    out = mlp.out.float() / norm_of(mlp.out)[..., None]
    return mlp.act.float() * (out @ mlp.w_out.float().T) / norm_of(mlp.out)[..., None]


@metric(factors=Factors(torch.abs))
def activation(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """``|a|``: the plain activation magnitude; knows nothing of what the neuron writes.

    >>> activation(MlpTrace(torch.tensor([[-1.0, 2.0]]), torch.zeros(1, 3), torch.ones(2, 3)))
    tensor([[1., 2.]])
    """
    return mlp.act.float().abs()


@metric(factors=Factors(torch.abs, None, _row_norms))
def activation_norm(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """``|a| ||w||``: the norm of what a neuron writes, in units of the residual stream.

    The numerator of CETT (arXiv 2512.01797), without its denominator.

    >>> w_out = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> activation_norm(MlpTrace(torch.tensor([[-1.0, 2.0]]), torch.zeros(1, 2), w_out))
    tensor([[5., 2.]])
    """
    return mlp.act.float().abs() * mlp.w_norm


@metric(factors=Factors(torch.abs, _per_gained_output, _gained_row_norms, rows=True))
def post_norm(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """``|a| ||g * w|| / ||g * h||``: CETT where the MLP's output really enters the residual stream.

    Gemma-2, Gemma-3 and OLMo-2 normalise the output of the down projection, with a gain g of each
    coordinate; its scale divides both sides and cancels. Without such a norm this is `cett`.

    >>> w_out = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> act = torch.tensor([[-1.0, 2.0]])
    >>> gain = torch.tensor([2.0, 0.0])  # only the first coordinate passes
    >>> post_norm(MlpTrace(act, act @ w_out, w_out, post_gain=gain))
    tensor([[1., 0.]])
    """
    if mlp.post_gain is None:
        return cett(mlp)
    gained = norm_of(mlp.out.float() * mlp.post_gain)[..., None]
    return mlp.act.float().abs() * _gained_row_norms(mlp) / gained


@metric("direction")
def direct_logit_attribution(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """A (w . u): what a neuron adds straight to the logit of the answer's next token.

    u is the unembedding of the token that the position predicts, seen from the MLP's output
    through the norms between, their scales held fixed (Elhage et al. 2021; Wang et al. 2022,
    arXiv 2211.00593). In logits, before any softcap.

    >>> w_out = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> act, u = torch.tensor([[-1.0, 2.0]]), torch.tensor([[1.0, 0.5]])
    >>> direct_logit_attribution(MlpTrace(act, act @ w_out, w_out, direction=u))
    tensor([[-5., 1.]])

    Raises:
        HlensError: The trace has no `direction`.
    """
    if mlp.direction is None:
        raise _missing("direct_logit_attribution", "direction")
    return mlp.act.float() * (mlp.direction.float() @ mlp.w_out.float().T)


@metric("gradient", display="gradient × activation")
def gradient_x_activation(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """A dL/da: first-order effect of a neuron on L, the answer's log-probability (nats).

    An estimate of what zeroing the neuron would take away (attribution patching; Nanda 2023,
    Kramar et al. 2024, arXiv 2403.00745).

    >>> act, w_out = torch.tensor([[-1.0, 2.0]]), torch.ones(2, 3)
    >>> slope = torch.tensor([[0.5, 0.25]])
    >>> gradient_x_activation(MlpTrace(act, act @ w_out, w_out, gradient=slope))
    tensor([[-0.5000,  0.5000]])

    Raises:
        HlensError: The trace has no `gradient`.
    """
    if mlp.gradient is None:
        raise _missing("gradient_x_activation", "gradient")
    return mlp.act.float() * mlp.gradient.float()


def _missing(metric: str, field: str) -> HlensError:
    return HlensError(
        f"{metric} needs {field}= in the MlpTrace, and it is None; hlens.measure fills it, or "
        f"give it to MlpTrace.from_cache(..., {field}=...)"
    )
