"""The sections of a recipe: each with its defaults, which are the paper's where it has any.

Each checks itself, however it is made: every field is of its type, and a number passes the check
that is a part of its type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

from hlens import engines
from hlens.checks import check_real, check_whole
from hlens.errors import HlensError
from hlens.probe.ways import WAYS
from hlens.prompts import INSTRUCTION, Style
from hlens.recipe.tables import Checked

# That the paper's official code has, by our names.
THUNLP_REGIONS = ("prompt", "response", "answer", "other")
Alpha = Annotated[float, partial(check_real, least=-1000, most=1000)]


@dataclass(frozen=True)
class EngineRecipe(Checked):
    """What runs the model.

    Attributes:
        name: ``"local"``, this process, or another engine (`hlens list engines`).
        options: Options of the engine's own, such as ``{tensor_parallel_size = 2}`` of vLLM.
    """

    name: str = "local"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        engines.rounding_of(self.name, self.options)  # which refuses what it does not know

    @property
    def rounding(self) -> str:
        """Whose rounding the numbers bear; empty where they are the local engine's.

        It is all of this section that decides what is made again.
        """
        return engines.rounding_of(self.name, self.options)


@dataclass(frozen=True)
class SamplingRecipe(Checked):
    """How the questions are asked; the defaults but `n` and the length are the paper's.

    Attributes:
        n: Samples of each question (the paper: 10).
        max_new_tokens: Tokens after which a response is cut (the paper: 50).
        temperature: Of sampling; 0 is greedy.
        top_k: Keep the k likeliest tokens.
        top_p: Keep the smallest set of tokens with this mass.
        instruction: Put after each question of a chat.
        style: ``"chat"`` asks in the chat template; ``"completion"`` gives text to be continued
            up to its first newline, as the paper asks base models.
        shots: Worked examples before each question; 0 for none (the paper).
        template: Options of the chat template, such as ``{enable_thinking = false}``.
        rows: Sequences in a batch.
        precision: ``"auto"`` writes replies in bfloat16 where a CPU multiplies that itself (AMX,
            AVX512-BF16), which takes half of the time or less; ``"model"`` in the model's own
            dtype, the same on every CPU. Neurons are read in the model's own either way.
    """

    n: Annotated[int, partial(check_whole, least=1, most=1000)] = 5
    max_new_tokens: Annotated[int, partial(check_whole, least=1, most=100_000)] = 24
    temperature: Annotated[float, partial(check_real, most=100)] = 1.0
    top_k: Annotated[int, check_whole] = 50
    top_p: Annotated[float, partial(check_real, above=0, most=1)] = 0.9
    instruction: str = INSTRUCTION
    style: Style = "chat"
    shots: Annotated[int, partial(check_whole, most=100)] = 0
    template: Mapping[str, Any] = field(default_factory=dict)
    rows: Annotated[int, partial(check_whole, least=1, most=100_000)] = 96
    precision: Literal["auto", "model"] = "auto"


@dataclass(frozen=True)
class LabelledRecipe(Checked):
    """Answers that are there already, with labels, in place of asking (`hlens.labelled`).

    Attributes:
        file: Path of the file that holds them; empty where the questions of the domains are asked.
        content: Hash of what was read, which hlens writes: another file is another study.
        layout: A published layout (`hlens.labelled.layouts`); empty for rows of one's own.
        columns: Names of columns that differ from ours, such as ``{response = "output"}``.
        labels: What label words mean, such as ``{unsupported = "hallucinated"}``.
        unit: What one example is: a labelled ``"span"``, the ``"response"`` or a ``"token"``.
        rest: ``"correct"`` takes what is not marked for true; ``"ignore"`` leaves it out.
        domain: Domain of the rows that name none; empty for the file's name.
        instruction: Put behind each question, as it was asked.
        style: How the questions were asked.
    """

    file: str = ""
    content: str = ""
    layout: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    unit: Literal["span", "response", "token"] = "span"
    rest: Literal["ignore", "correct"] = "ignore"
    domain: str = ""
    instruction: str = ""
    style: Style = "chat"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("columns", "labels"):
            for key, value in getattr(self, name).items():
                if not isinstance(value, str):
                    raise HlensError(
                        f"recipe: labelled.{name}.{key} is {value!r:.60}; expected a text"
                    )

    @property
    def is_given(self) -> bool:
        """Whether the study's answers were there already."""
        return bool(self.file or self.content)


@dataclass(frozen=True)
class LabelsRecipe(Checked):
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
        per_class: At most this many examples of each label (the paper trains on 1,000 of each); 0
            keeps all. Which ones is decided by a hash of their ids, so that more of them hold the
            fewer.
        design: What the detector is trained to tell apart. ``"1-vs-1"``: answer tokens of
            hallucinated and of true responses. ``"3-vs-1"``, the paper's other way, adds all other
            tokens of both as true, and ``"3-vs-1-response"`` those of the response alone. What is
            held out are answers whichever it is.
    """

    judge: str = "auto"
    second: str = ""
    keep: Literal["all", "consistent"] = "all"
    span: Literal["response", "answer"] = "answer"
    per_question: Annotated[int, check_whole] = 1
    per_class: Annotated[int, check_whole] = 0
    design: Literal["1-vs-1", "3-vs-1", "3-vs-1-response"] = "1-vs-1"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.second and self.second == self.judge:
            raise HlensError(
                f"recipe: labels.second is {self.second!r}, the first judge; name another, or none"
            )
        if self.design == "3-vs-1-response" and self.span == "response":
            raise HlensError(
                "recipe: labels.design = '3-vs-1-response' contrasts the answer with the rest of "
                "its response, and labels.span = 'response' leaves no rest; give span = 'answer'"
            )


@dataclass(frozen=True)
class MeasureRecipe(Checked):
    """What is measured on the examples.

    Attributes:
        metric: A function of `hlens.metrics`; ``"auto"`` is what the probe's way reads:
            ``"signed_cett"``, of the paper's ``"cett"``. The recipe then holds that name.
        region: Which tokens: ``"answer"``, ``"response"``, ``"prompt"``, ``"other"`` (all but the
            answer), ``"last_prompt"`` or another one that `hlens.measure` knows.
        reduce: How tokens are put together.
        position: Where the tokens are ``"read"`` or ``"predicted"``.
        dtype: Number format of the stored contributions.
        compat: ``"thunlp"`` takes the formula and the regions of the paper's official code (see
            `hlens.measure`), under hlens's names of them; empty for hlens's own.
    """

    metric: str = "auto"
    region: str = "answer"
    reduce: Literal["mean", "max", "last", "first", "routed"] = "mean"
    position: Literal["read", "predicted"] = "read"
    dtype: Literal["float32", "float16"] = "float32"
    compat: Literal["", "thunlp"] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compat and (self.metric not in ("auto", "cett") or self.position != "read"):
            raise HlensError(
                "recipe: measure.compat = 'thunlp' measures cett where tokens are read, and "
                f"metric = {self.metric!r:.60}, position = {self.position!r}; leave these out"
            )
        if self.compat and self.region not in THUNLP_REGIONS:
            raise HlensError(
                f"recipe: measure.compat = 'thunlp' knows the regions {', '.join(THUNLP_REGIONS)}, "
                f"and measure.region is {self.region!r:.60}"
            )


@dataclass(frozen=True)
class ProbeRecipe(Checked):
    """The sparse probe.

    Attributes:
        way: ``"hlens"``, or ``"paper"``: scikit-learn's liblinear as the paper has it (C 1, nothing
            scaled, weighted or chosen), which takes no other option here but `calibration`.
        C: Inverse strength of the penalty; 0 chooses it by cross-validation in the training part.
        l1_ratio: 1 is L1, below is elastic net.
        rule: Of the C that cross-validation tries, the ``"best"``, or the smallest within one
            standard error of it: ``"1se"``.
        scale: ``"none"`` (the paper), ``"feature"`` or ``"layer"``.
        class_weight: ``"balanced"`` or ``"none"``.
        calibration: Map scores to probabilities by ``"platt"``, ``"isotonic"`` or ``"none"``.
        beside: The other way, found on the same answers with what it reads, as further rows of the
            published table; empty for none.
    """

    way: Literal["hlens", "paper"] = "hlens"
    C: Annotated[float, partial(check_real, least=1e-9, or_zero="cross-validated")] = 0.0
    rule: Literal["best", "1se"] = WAYS["hlens"]["rule"]
    l1_ratio: Annotated[float, partial(check_real, most=1)] = 1.0
    scale: Literal["none", "feature", "layer"] = WAYS["hlens"]["scale"]
    class_weight: Literal["balanced", "none"] = WAYS["hlens"]["class_weight"]
    calibration: Literal["none", "platt", "isotonic"] = "platt"
    beside: Literal["", "hlens", "paper"] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beside == self.way:
            raise HlensError(
                f"recipe: probe.beside is {self.beside!r}, the probe's own way; name the other"
            )
        if self.way == "paper":
            for name in ("C", "l1_ratio", "scale", "class_weight"):
                if getattr(self, name) != getattr(ProbeRecipe, name):
                    raise HlensError(
                        f"recipe: probe.{name} beside probe.way = 'paper', which has its own; give "
                        "one of them"
                    )


@dataclass(frozen=True)
class EvaluationRecipe(Checked):
    """Held-out estimates and their controls.

    Attributes:
        test: Share of the groups that is held out.
        n_boot: Bootstrap samples of the intervals of accuracies, of added likelihood, of truth
            against length and of the judges' agreement; AUROCs need none.
        shuffles: Refits on shuffled labels; 200 of them tell p = .005 from p = .05.
        random_sets: Draws of random neurons (at least 20). Where only their spread is shown (the
            sparsity curve, random directions) 20 are drawn.
        stability_pairs: Complementary pairs of half-samples of the stability selection.
        folds: Folds of the transfer matrix.
        halves: Splits of each domain in two halves, for the reliability of its neurons.
        test_domains: What the detector is only tested on, as `hlens.domains.load` takes it: each
            question is asked once, every answer counts, and each domain is a row of the published
            table. A domain that is trained on, too, gives questions that were not asked.
        test_questions: Questions of each of these; 0 takes all.
    """

    test: Annotated[float, partial(check_real, above=0, below=1)] = 0.3
    n_boot: Annotated[int, partial(check_whole, least=20, most=1_000_000)] = 1000
    shuffles: Annotated[int, partial(check_whole, least=1, most=100_000)] = 200
    random_sets: Annotated[int, partial(check_whole, least=20, most=100_000)] = 200
    stability_pairs: Annotated[int, partial(check_whole, least=1, most=10_000)] = 50
    folds: Annotated[int, partial(check_whole, least=2, most=1000)] = 5
    halves: Annotated[int, partial(check_whole, least=2, most=1000)] = 10
    test_domains: tuple[str, ...] = ()
    test_questions: Annotated[int, check_whole] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.test_domains
        if len({*names}) < len(names) or not all(name.strip() for name in names):
            raise HlensError(
                f"recipe: evaluation.test_domains is {list(names)!r:.60}; none twice, none empty"
            )


@dataclass(frozen=True)
class AuditRecipe(Checked):
    """What the audit reads beside the study's own.

    Attributes:
        sae: Folder of a sparse autoencoder of the model, as SAELens writes it, for the rival
            ``sae``; empty for none.
    """

    sae: str = ""


@dataclass(frozen=True)
class InterveneRecipe(Checked):
    """What `hlens intervene` runs; `hlens run` leaves it out.

    Attributes:
        neurons: Which are edited: ``"h"``, the H-neurons; ``"truth"``, those that point to truth;
            ``"both"``; or a file that `hlens.store.load_neurons` reads. The card's Control is
            about the H-neurons alone.
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

    neurons: str = "h"
    behaviours: tuple[str, ...] = ("false_premises", "misleading_context", "plain_qa")
    second_grader: str = "likelihood"
    items: Annotated[int, check_whole] = 40
    alphas: tuple[Alpha, ...] = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    random_sets: Annotated[int, partial(check_whole, least=8, most=1000)] = 8
    matched_sets: Annotated[int, partial(check_whole, least=8, most=1000, or_zero="none")] = 0
    perturbations: Annotated[int, partial(check_whole, most=1000)] = 1
    capability: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.neurons.strip():
            raise HlensError(
                f"recipe: intervene.neurons is {self.neurons!r}; give h, truth, both or a file"
            )
        for name in ("behaviours", "alphas"):
            given = getattr(self, name)
            if not given or len({*given}) < len(given):
                raise HlensError(
                    f"recipe: intervene.{name} is {list(given)!r:.60}; it must hold at least one, "
                    "and none twice"
                )
        if {*self.alphas} == {1.0}:
            raise HlensError(
                f"recipe: intervene.alphas is {list(self.alphas)}; it must hold one that is not 1, "
                "which changes nothing"
            )


@dataclass(frozen=True)
class PlanRecipe(Checked):
    """The pilot of `hlens intervene --plan`.

    Attributes:
        items: Questions of each behaviour that the pilot asked, or asks (at least 12); 0 where
            there was none. The whole run asks them first, by themselves, and takes their replies
            from the pilot.
    """

    items: Annotated[int, partial(check_whole, least=12, or_zero="none")] = 0


@dataclass(frozen=True)
class SelectorsRecipe(Checked):
    """Other ways to name the neurons.

    Attributes:
        beside: Members of `hlens.selectors` whose neurons `hlens intervene` edits beside the
            H-neurons: as many as the detector selected, of these those that point to hallucination.
    """

    beside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({*self.beside}) < len(self.beside):
            raise HlensError(f"recipe: selectors.beside is {list(self.beside)!r:.60}; none twice")


@dataclass(frozen=True)
class LayersRecipe(Checked):
    """Edits layer by layer, at the outermost doses of `intervene`, which runs them.

    Attributes:
        edits: ``"single"``, the neurons of each layer that holds some, alone; ``"cumulative"``,
            those of all layers up to each, from the first; ``"both"``, or ``"none"``.
    """

    edits: Literal["none", "single", "cumulative", "both"] = "none"


@dataclass(frozen=True)
class GatesRecipe(Checked):
    """Edits only while the risk is high, beside their controls; `hlens intervene` runs them.

    Attributes:
        alphas: Multipliers of the neurons' activations (`intervene.neurons`); empty for none.
        false_alarms: Share of true answers that may reach the threshold: 0.01, 0.05 or 0.1.
        questions: Questions that are asked, evenly of all domains, none of them asked by the study.
        random_gates: Gates that edit as many tokens of each answer, at random.
    """

    alphas: tuple[Alpha, ...] = ()
    false_alarms: Annotated[float, partial(check_real, above=0, below=1)] = 0.1
    questions: Annotated[int, partial(check_whole, least=1)] = 150
    random_gates: Annotated[int, partial(check_whole, least=8, most=1000)] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({*self.alphas}) < len(self.alphas) or 1.0 in self.alphas:
            raise HlensError(
                f"recipe: gates.alphas is {list(self.alphas)!r:.60}; it must hold none twice, and "
                "not 1, which changes nothing"
            )
