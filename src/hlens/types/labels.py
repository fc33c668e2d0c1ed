"""The labels that tables use as keys: each is written by one module and looked up by others.

A label is also what a reader sees, so its text is part of a table's format. Members are strings:
``row["control"] == Control.PROBE`` holds for a table that was read back from disk.
"""

from enum import StrEnum

from hlens.counting import count

H_NEURONS = "H-neurons"  # the detector that rivals are compared with, and its set of neurons
OUTPUT = "output_numbers"  # the rival that reads the model's own output, all of it together
COMBINED = "H-neurons + output"  # the detector stacked with it
L1 = "l1"  # the selector that all others are compared with
RANDOM = "random"
DRAWN = (RANDOM, "matched_random")  # selectors whose spread over draws is shown
NOT_AVAILABLE = "not available: "  # how a leaderboard's note begins for a rival that was not run


class Part(StrEnum):
    """Column ``part`` of a table of scores."""

    TRAIN = "train"
    TEST = "test"


class Place(StrEnum):
    """Column ``place`` of `hlens.audit.position_curve`."""

    PROMPT = "prompt"
    PREDICTED = "predicted"
    READ = "read"


class Control(StrEnum):
    """Column ``control`` of `hlens.evaluation.controls`."""

    PROBE = "probe"
    SELECTED_REFIT = "selected neurons, refit"
    RANDOM_NEURONS = "random neurons"
    SHUFFLED_LABELS = "shuffled labels"
    ANSWER_LENGTH = "answer length"
    DOMAIN_ALONE = "domain alone"
    CUT_OFF = "cut off alone"
    ATTEMPTED = "attempted alone"
    COMMONER_LABEL = "commoner label"


class Answers(StrEnum):
    """Column ``answers`` of `hlens.evaluation.confidently_wrong`."""

    ALL = "all answers"
    AGREED = "most samples agree"
    OTHERS = "all others"


class Level(StrEnum):
    """Column ``level`` of `hlens.evaluation.evaluate_levels` and of a file of scored answers."""

    TOKEN = "token"
    SPAN = "span"
    RESPONSE = "response"


class LevelScore(StrEnum):
    """Column ``score`` of `hlens.evaluation.evaluate_levels`."""

    DETECTOR = "detector"  # of a token or a span
    MEAN = "detector, mean"  # of the tokens of a response
    MAXIMUM = "detector, highest token"
    CALIBRATED = "detector, any span"  # 1 - product of (1 - probability) over its spans
    LENGTH = "length"
    POSITION = "position"
    SPANS = "number of spans"

    @property
    def is_control(self) -> bool:
        """Whether it reads no neuron."""
        return self in (LevelScore.LENGTH, LevelScore.POSITION, LevelScore.SPANS)


class OriginControl(StrEnum):
    """Column ``control`` of `hlens.trace_origin`."""

    DETECTOR = "detector on base model"
    RANDOM = "random neurons"
    REFIT = "selected neurons, refit on base"
    RANDOM_REFIT = "random neurons, refit on base"
    PROBE = "probe found on base"
    LENGTH = "answer length"
    OWN_MODEL = "detector on its own model"


class SiblingReading(StrEnum):
    """Column ``detector`` of `hlens.siblings.compare_siblings`: which detector, on which model."""

    HOME = "home"  # the detector on the model that it was found on
    AS_IS = "as is"  # the same weights on the sibling
    REALIGNED = "realigned"  # mean and spread of each neuron matched without labels
    REFITTED = "refitted"  # found afresh on the sibling


class Refit(StrEnum):
    """Column ``control`` of `hlens.audit.refits`, beside flipped labels and other measures."""

    AS_FOUND = "as found"
    HALF_C = "half the C"
    TWICE_C = "twice the C"
    UNSCALED = "not scaled"
    SCALED_BY_NEURON = "scaled by neuron"
    SCALED_BY_LAYER = "scaled by layer"
    OTHER_SPLIT = "another split"
    WITHOUT_NEURONS = "without its neurons"
    RANDOM_DIRECTIONS = "random directions"
    SECOND_JUDGE = "second judge"
    SECOND_LABELS = "as found, by the second judge's labels"


class Agreement(StrEnum):
    """Column ``what`` of `hlens.audit.set_agreement`."""

    HALVES = "halves"
    CHANCE = "chance, same layers"


class View(StrEnum):
    """Column ``view`` of `hlens.audit.confounds`."""

    ALONE = "alone"
    STRATUM = "stratum"
    ALIKE_PAIRS = "alike pairs"
    MATCHED = "matched"
    ADJUSTED = "adjusted"


class Covariate(StrEnum):
    """Columns of `hlens.audit.covariates`, and column ``covariate`` of `hlens.audit.confounds`."""

    LENGTH = "length"
    POSITION = "position"
    LOG_PROBABILITY = "log-probability"
    ANSWER_TYPE = "answer type"
    DOMAIN = "domain"
    FORMAT = "format"
    TOPIC = "topic"
    GOLD_IN_PROMPT = "gold in prompt"
    CUT_OFF = "cut off"
    ATTEMPTED = "attempted"
    CONSISTENCY = "consistency"
    SAMPLE = "sample"
    ALL_OF_SURFACE = "surface, all at once"


class Sweep(StrEnum):
    """Column ``neurons`` of `hlens.evaluation.k_sweep`."""

    TOP = "top neurons"
    RANDOM_BY_LAYER = "random, by layer"
    RANDOM_BY_CONTRIBUTION = "random, by contribution"
    ALL = "all neurons, L2"


class Pool(StrEnum):
    """Column ``train`` of `hlens.evaluation.transfer`, where it names no single domain."""

    ALL = "all domains"
    OTHERS = "all other domains"


ALL_MODELS = "all models"  # column ``model``, where several are taken together


class Changed(StrEnum):
    """Column ``changed`` of `hlens.evaluation.transfer_by_format`."""

    NOTHING = "nothing"
    DOMAIN = "domain"
    FORMAT = "format"
    BOTH = "domain and format"


class SetKind(StrEnum):
    """Column ``kind`` of a dose-response: the role of a neuron set."""

    TARGET = "target"  # the neurons that the claim is about
    RANDOM = "random"  # as many other neurons in each layer
    MATCHED = "random_matched"  # the same, and they contribute about as much
    TRUTH = "truth"  # neurons associated with true answers
    SELECTED = "selected"  # as many neurons that another selector names
    NORM_MATCHED = "norm_matched"  # a random perturbation as large as the edit
    UNMODIFIED = "unmodified"  # no edit at all
    LAYER = "layer"  # those of the target that are in one layer
    UP_TO_LAYER = "up_to_layer"  # those in the layers from the first to one

    @property
    def drawn(self) -> bool:
        """Whether such sets are drawn at random, several at a time, and shown together."""
        return self in (SetKind.RANDOM, SetKind.MATCHED, SetKind.NORM_MATCHED)

    @property
    def label(self) -> str:
        """What sets of this kind are called together."""
        return _LABELS[self]


_LABELS = {
    SetKind.TARGET: "target neurons",
    SetKind.RANDOM: "random neurons",
    SetKind.MATCHED: "contribution-matched neurons",
    SetKind.TRUTH: "truth neurons",
    SetKind.SELECTED: "neurons of another selector",
    SetKind.LAYER: "one layer alone",
    SetKind.UP_TO_LAYER: "all layers up to it",
    SetKind.NORM_MATCHED: "random push as large",
    SetKind.UNMODIFIED: "unmodified",
}


class GateKind(StrEnum):
    """Column ``gate`` of `hlens.effects.try_gates`: when the tokens of an answer are edited."""

    UNEDITED = "unedited"
    ALWAYS = "always"
    RISK = "risk"  # while the running risk is high
    RANDOM = "random"  # as many tokens of each answer, at random places
    PROMPT_END = "prompt end"  # all of an answer, where the risk at its prompt's end was high


class Result(StrEnum):
    """Column ``result`` of `hlens.effects.try_gates`: what an answer counts as."""

    CORRECT = "correct"
    ABSTAINED = "abstained"
    WRONG = "wrong"
    UNREAD = "unread"  # cut off, hedged or empty: no judge can say


class PatchKind(StrEnum):
    """Column ``kind`` of a patching study: what is patched together."""

    NEURON = "neuron"  # one target neuron
    LAYER = "layer"  # all target neurons of one layer
    MEMBERS = "members"  # all target neurons
    RANDOM = "random"  # as many other neurons in each layer
    EVERYTHING = "everything"  # every neuron of the model


class Scale(StrEnum):
    """Column ``unit`` of a dose-response, for behaviours: what a grader says of a reply."""

    SHARE = "share"  # yes or no
    DEGREE = "degree"  # how far, 0 to 1


class Unit(StrEnum):
    """What the number of an audit's check is."""

    NONE = ""
    AUROC = "AUROC"
    AUROC_DIFFERENCE = "AUROC difference"
    MILLINATS = "millinats an answer"
    SHARE_OF_SET = "share of the smaller set"
    SHARE_PER_DOSE = "share for each unit of dose"
    PER_DOSE = "for each unit of dose"


class ClaimName(StrEnum):
    """The six claims of an audit."""

    READOUT = "Readout"
    SPARSITY = "Sparsity"
    IDENTITY = "Identity"
    TRANSFER = "Transfer"
    CONTROL = "Control"
    COST = "Cost"


class Heading(StrEnum):
    """Sections of a report that a claim links to for its figure."""

    SPARSITY = "How many neurons are needed?"
    RIVALS = "Who else can tell?"
    CONFOUNDS = "Is it truth, or what comes with it?"
    REFITS = "Is it these neurons?"
    SELECTORS = "Does it matter who selects them?"
    POSITIONS = "Where in time is it readable?"
    SECOND_JUDGE = "Does it hold under a second judge?"
    TRANSFER = "Does a probe carry over?"
    EDITING = "Does editing them change behaviour?"


def name_models(models: int, studies: int) -> str:
    """How many models, and by how many studies where some have several.

    >>> name_models(2, 2), name_models(1, 2), name_models(2, 3)
    ('2 models', '2 studies of 1 model', '3 studies of 2 models')
    """
    named = count(models, "model")
    return named if models == studies else f"{count(studies, 'study', 'studies')} of {named}"
