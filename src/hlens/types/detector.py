"""A frozen detector: weights, threshold, and a calibration without its fitted estimator."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.checks import check_real
from hlens.counting import count
from hlens.errors import HlensError
from hlens.kinds import describe
from hlens.types.labels import H_NEURONS
from hlens.types.measured import Contributions, Provenance
from hlens.types.neurons import LARGEST, NeuronSet, check_shape
from hlens.types.notebook import facts_as_html, first_few
from hlens.types.read_answers import ReadAnswers
from hlens.types.thresholds import Threshold


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing map from score to probability, linear between its knots.

    Platt scaling is kept as knots too, so that a saved detector needs no fitted estimator.
    """

    scores: tuple[float, ...]  #: knots on the score axis, ascending
    probabilities: tuple[float, ...]  #: of hallucination at each knot
    method: str  #: ``"isotonic"`` or ``"platt"``
    ece: float  #: expected calibration error on held-out folds
    domain: str = ""  #: of the answers that it was fitted on; empty for all together

    def __post_init__(self) -> None:
        limits: dict[str, Any] = {"least": -LARGEST, "most": LARGEST}
        scores = [check_real("a knot's score", x, **limits) for x in self.scores]
        probabilities = [check_real("a knot's probability", p, most=1) for p in self.probabilities]
        if not isinstance(self.domain, str):
            raise HlensError(f"domain of a calibration: {describe(self.domain)}; give a name")
        if not scores or len(scores) != len(probabilities) or scores != sorted(scores):
            raise HlensError(
                f"a calibration of {len(scores)} scores and {len(probabilities)} probabilities; "
                "expected one probability for each score, and ascending scores"
            )
        if any(after < before - 1e-9 for before, after in pairwise(probabilities)):  # rounding
            raise HlensError("a calibration that falls; expected one that no higher score lowers")

    def __call__(self, score: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Probability of hallucination at each score."""
        x = torch.tensor(self.scores, dtype=torch.float64)
        y = torch.tensor(self.probabilities, dtype=torch.float64)
        inside = score.detach().double().cpu().clamp(x[0], x[-1])
        right = torch.searchsorted(x, inside.contiguous()).clamp(1, len(x) - 1)
        span = (x[right] - x[right - 1]).clamp_min(1e-300)  # two knots may share one score
        share = (inside - x[right - 1]) / span
        return (y[right - 1] + share * (y[right] - y[right - 1])).float()


# The sets of a detector's neurons, by what the command line and recipes call them.
SETS = {"h": "neurons", "truth": "truth_neurons", "both": "selected"}
_KINDS: dict[str, Any] = {
    "metric": str,
    "region": str,
    "domains": tuple,
    "calibration": Calibration | None,
    "fit": Mapping,
    "provenance": Provenance,
    "thresholds": tuple,
    "calibrated_on": str,
    "calibrations": tuple,
    "home": ReadAnswers | None,
    "means": tuple,
    "spreads": tuple,
}


@dataclass(frozen=True, eq=False)
class Detector:
    """A sparse linear reading of contributions: frozen, and callable on any of the same model.

    Attributes:
        weights: Weight of each neuron in the units of the contributions; positive points to
            hallucination.
        bias: Intercept.
        metric: Formula that it reads.
        region: Tokens that it reads.
        domains: Domains that it was found on.
        threshold: Score from which an example is called a hallucination.
        calibration: Map from score to probability, fitted on held-out folds, or None.
        fit: How it was found: C, lambda over lambda_max, duality gap, number of examples, ...
        provenance: Model and versions.
        thresholds: Scores from which to flag, by rate of false alarms and domain
            (`hlens.monitor.recalibrate`).
        calibrated_on: Tokens that `calibration` and `thresholds` are about; empty for `region`.
        calibrations: Maps of single domains; any other domain falls back on `calibration`.
        home: What it read of the answers that it was recalibrated on, for `hlens.monitor.drift`.
        means: Mean contribution of each selected neuron (by layer, then neuron) over the examples
            that it was found on; empty where not known, and then taken for positive.
        spreads: Standard deviation of the same.
    """

    weights: Float[Tensor, "layer neuron"]
    bias: float
    metric: str = "cett"
    region: str = "answer"
    domains: tuple[str, ...] = ()
    threshold: float = 0.0
    calibration: Calibration | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    thresholds: tuple[Threshold, ...] = ()
    calibrated_on: str = ""
    calibrations: tuple[Calibration, ...] = ()
    home: ReadAnswers | None = None
    means: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        weights = self.weights
        if not isinstance(weights, Tensor) or weights.ndim != 2 or not weights.is_floating_point():
            raise HlensError(
                f"weights of a detector: {describe(weights)}; expected a tensor [layer, neuron] of "
                "floating-point numbers"
            )
        check_shape(*weights.shape)
        if not bool(torch.isfinite(weights).all()):
            raise HlensError("a weight of the detector is NaN or infinite; find it again")
        for name in ("bias", "threshold"):
            check_real(name, getattr(self, name), least=-LARGEST, most=LARGEST)
        for name, kind in _KINDS.items():
            if not isinstance(value := getattr(self, name), kind):
                raise HlensError(f"{name} of a detector: got {describe(value)}; give {kind}")
        if not all(isinstance(domain, str) for domain in self.domains):
            raise HlensError(f"domains of a detector: {self.domains!r:.60}; give names")
        n = int((weights != 0).sum())
        for name in ("means", "spreads"):
            own = getattr(self, name)
            if own and len(own) != n:
                raise HlensError(
                    f"{len(own)} {name} for {count(n, 'neuron')} of a detector; give one of each"
                )
            for value in own:
                check_real(f"one of the {name}", value, least=-LARGEST, most=LARGEST)
        read = None if self.home is None else self.home.neurons
        if read is not None and read.shape[1] != n:
            raise HlensError(
                f"home of a detector: contributions of {read.shape[1]} neurons, and it has {n}; "
                "give those of its own"
            )

    def __repr__(self) -> str:
        facts = self._facts()
        found = f", found on {facts['domains']}" if facts["domains"] else ""
        return f"Detector({facts['neurons']}, reads {facts['reads']}{found})"

    def _repr_html_(self) -> str:
        return facts_as_html("Detector", self._facts())

    def _facts(self) -> dict[str, str]:
        n, fit = len(self.selected), self.fit
        known = {"C": "C = {:.4g}", "n": "{:,} examples", "gap": "duality gap {:.1e}"}
        numbers = {name: one for name, one in fit.items() if isinstance(one, int | float)}
        found = [form.format(numbers[name]) for name, form in known.items() if name in numbers]
        return {
            "neurons": f"{n:,} of {count(self.selected.n_neurons, 'neuron')}, "
            f"{len(self.neurons):,} pointing to hallucination",
            "reads": f"{self.metric} over {self.region}",
            "domains": first_few(self.domains),
            "model": self.provenance.model,
            "fitted with": ", ".join(found),
            "threshold": f"{self.threshold:.3g} log-odds",
            "calibrated by": self.calibration.method if self.calibration else "",
            "identity": self.identity,
        }

    def __call__(self, data: Contributions) -> Float[Tensor, " example"]:
        """Score (log-odds) of each example; higher means hallucination.

        Raises:
            HlensError: The contributions come from another model, formula or region.
        """
        self.check(data)
        rows = self.weights.flatten().nonzero().flatten()
        chosen = data.rows(rows).float()
        return self.weights.flatten()[rows].float() @ chosen + self.bias

    def check(self, data: Contributions) -> None:
        """Raise `HlensError` unless `data` is what this detector reads."""
        if tuple(self.weights.shape) != (data.n_layers, data.d_mlp):
            raise HlensError(
                f"the detector reads {tuple(self.weights.shape)} layers x neurons, the "
                f"contributions have {(data.n_layers, data.d_mlp)}; measure with the same model"
            )
        self.provenance.check_same_model(data.provenance, "contributions")
        if (self.metric, self.region) != (data.metric, data.region):
            raise HlensError(
                f"the detector reads {self.metric} on {self.region}, the contributions are "
                f"{data.metric} on {data.region}; measure with the detector's metric and region"
            )

    def probability(self, data: Contributions) -> Float[Tensor, " example"]:
        """Probability of hallucination: calibrated where that was fitted, else logistic."""
        return self.probability_of(self(data))

    def probability_of(
        self, score: Float[Tensor, "*any"], domain: str = ""
    ) -> Float[Tensor, "*any"]:
        """Probability of hallucination at scores that are known already, of a domain or of any."""
        calibration = self.calibration_of(domain)
        return torch.sigmoid(score) if calibration is None else calibration(score)

    def calibration_of(self, domain: str) -> Calibration | None:
        """The map of a domain; that of all together where the domain has none of its own."""
        own = (one for one in self.calibrations if one.domain == domain)
        return next(own, self.calibration)

    def predict(self, data: Contributions) -> Tensor:
        """True where the score reaches the threshold."""
        return self(data) >= self.threshold

    @cached_property
    def neurons(self) -> NeuronSet:
        """The H-neurons: amplified, they raise the score.

        That is the sign of the weight times the mean contribution. Of a metric that is never
        negative, such as CETT, it is a positive weight, as in arXiv 2512.01797.
        """
        return self._chosen(self._pulls > 0, H_NEURONS)

    @cached_property
    def truth_neurons(self) -> NeuronSet:
        """Those that lower the score when amplified: associated with true answers."""
        return self._chosen(self._pulls < 0, "truth neurons")

    @cached_property
    def selected(self) -> NeuronSet:
        """All neurons of nonzero weight."""
        return self._chosen(self._pulls != 0, "selected")

    @cached_property
    def _pulls(self) -> Float[Tensor, "layer neuron"]:
        """How far a spread of each neuron moves the score; its sign, where amplifying points to.

        Weights alone compare neurons of like spread only.
        """
        pulls = self.weights.detach().cpu().double().flatten().clone()
        places = pulls.nonzero().flatten()
        if self.means:
            mean = torch.tensor(self.means, dtype=torch.float64)
            pulls[places] *= torch.where(mean < 0, -1.0, 1.0)
        if self.spreads:
            spread = torch.tensor(self.spreads, dtype=torch.float64)
            pulls[places] *= torch.where(spread > 0, spread, 1.0)
        return pulls.reshape(self.weights.shape)

    @cached_property
    def identity(self) -> str:
        """Twelve digits of its weights, bias, metric and model.

        Its region is no part of them, since the same weights are read over other tokens while a
        model writes; nor are calibration, thresholds and home.
        """
        weights = self.weights.detach().cpu()
        places = weights.flatten().nonzero().flatten()
        values = torch.cat([weights.flatten()[places].double(), torch.tensor([float(self.bias)])])
        about = f"{self.metric} {tuple(weights.shape)} {self.provenance.fingerprint}".encode()
        where = places.numpy().astype("<i8").tobytes()
        read = values.float().numpy().astype("<f4").tobytes()
        return hashlib.sha256(about + where + read).hexdigest()[:12]

    def chosen(self, which: str) -> NeuronSet:
        """A set by its short name: ``"h"``, ``"truth"`` or ``"both"``.

        Raises:
            HlensError: Another name.
        """
        if which not in SETS:
            raise HlensError(f"unknown set of neurons {which!r:.60}; expected {', '.join(SETS)}")
        return getattr(self, SETS[which])

    def _chosen(self, mask: Tensor, name: str) -> NeuronSet:
        weights = {(a, b): float(self._pulls[a, b]) for a, b in mask.nonzero().tolist()}
        return NeuronSet(
            frozenset(weights),
            *self.weights.shape,
            weights=weights,
            model=self.provenance.fingerprint or None,
            name=name,
            experts=self.provenance.experts,
        )
