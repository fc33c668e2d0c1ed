"""The sections of a recipe: each with its defaults, which are the paper's where it has any."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hlens.prompts import INSTRUCTION, Style


@dataclass(frozen=True)
class SamplingRecipe:
    """How the questions are asked; the defaults but `n` and the length are the paper's.

    Attributes:
        n: Samples of each question (the paper: 10).
        max_new_tokens: Where a response is cut (the paper: 50).
        temperature: 0 is greedy.
        top_k: Keep the k likeliest tokens.
        top_p: Keep the smallest set of tokens with this mass.
        instruction: Put after each question of a chat.
        style: ``"chat"`` asks in the chat template; ``"completion"`` gives text to be continued
            up to its first newline, as the paper asks base models.
        shots: Worked examples before each question; 0 for none (the paper).
        template: Options of the chat template, such as ``{enable_thinking = false}``.
        rows: Sequences in a batch.
    """

    n: int = 5
    max_new_tokens: int = 24
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 0.9
    instruction: str = INSTRUCTION
    style: Style = "chat"
    shots: int = 0
    template: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 96


@dataclass(frozen=True)
class LabelsRecipe:
    """Which responses become examples.

    Attributes:
        judge: A member of `hlens.judges`, or ``"auto"``: what each question asks for.
        second: Another one that judges beside it (see `hlens.judges.named`); results are then shown
            under both, and the card's Readout needs both. Empty for none.
        keep: ``"all"`` responses, or ``"consistent"``: only questions that are always right or
            always wrong, as in the paper.
        span: ``"response"`` measures the whole response; ``"answer"`` the stretch that the judge
            takes for the answer.
        per_question: At most this many responses of each question and label; 0 keeps all.
    """

    judge: str = "auto"
    second: str = ""
    keep: Literal["all", "consistent"] = "all"
    span: Literal["response", "answer"] = "answer"
    per_question: int = 1


@dataclass(frozen=True)
class MeasureRecipe:
    """What is measured on the examples.

    Attributes:
        metric: A function of `hlens.metrics`.
        region: Which tokens.
        reduce: How tokens are put together.
        position: Where the tokens are ``"read"`` or ``"predicted"``.
        dtype: Of the store.
    """

    metric: str = "cett"
    region: str = "answer"
    reduce: Literal["mean", "max", "last", "first"] = "mean"
    position: Literal["read", "predicted"] = "read"
    dtype: Literal["float32", "float16"] = "float32"


@dataclass(frozen=True)
class ProbeRecipe:
    """The sparse probe.

    Attributes:
        C: Inverse strength of the penalty; 0 chooses it by cross-validation in the training part.
        l1_ratio: 1 is L1, below is elastic net.
        scale: ``"none"`` (the paper), ``"feature"`` or ``"layer"``.
        class_weight: ``"balanced"`` or ``"none"``.
        calibration: Map scores to probabilities by ``"platt"``, ``"isotonic"`` or ``"none"``.
    """

    C: float = 0.0
    l1_ratio: float = 1.0
    scale: Literal["none", "feature", "layer"] = "none"
    class_weight: Literal["balanced", "none"] = "balanced"
    calibration: Literal["none", "platt", "isotonic"] = "platt"


@dataclass(frozen=True)
class EvaluationRecipe:
    """Held-out estimates and their controls.

    Attributes:
        test: Share of the groups that is held out.
        n_boot: Bootstrap samples of an interval.
        shuffles: Refits on shuffled labels; 200 of them tell p = .005 from p = .05.
        random_sets: Draws of random neurons (at least 20). Where only their spread is shown (the
            sparsity curve, random directions) 20 are drawn.
        stability_pairs: Complementary pairs of half-samples of the stability selection.
        folds: Folds of the transfer matrix.
        halves: Splits of each domain in two halves, for the reliability of its neurons.
    """

    test: float = 0.3
    n_boot: int = 1000
    shuffles: int = 200
    random_sets: int = 200
    stability_pairs: int = 50
    folds: int = 5
    halves: int = 10


@dataclass(frozen=True)
class InterveneRecipe:
    """What `hlens intervene` runs; `hlens run` leaves it out.

    Attributes:
        behaviours: Members of `hlens.behaviours`, or ``"NAME:PATH"`` for a published set.
        second_grader: A grader of the replies beside the rules of each behaviour, of another kind:
            ``"likelihood"``, ``"llm:MODEL"`` or ``"llm:MODEL@URL"`` (see `hlens.behaviours.load`).
            The card's Control needs both. Empty for none.
        items: Questions of each behaviour, and of multiple choice; 0 takes all.
        alphas: Multipliers of the neurons' activations.
        random_sets: Layer-matched random sets beside the neurons (at least 8).
        matched_sets: Contribution-matched random sets (none, or at least 8).
        perturbations: Random perturbations as large as the edit.
        capability: Also measure perplexity, KL and multiple choice.
    """

    behaviours: tuple[str, ...] = ("false_premises", "misleading_context", "plain_qa")
    second_grader: str = "likelihood"
    items: int = 40
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    random_sets: int = 8
    matched_sets: int = 0
    perturbations: int = 1
    capability: bool = True
