"""Covariates: what each example is, beside true or false, in one table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from hlens.audit.judgements import match_judgements, question_key
from hlens.errors import HlensError
from hlens.judges import non_answer
from hlens.types import Example, Judgement, Question, Response, Verdict
from hlens.types.labels import Covariate

# What a detector may read in place of truth; an audit checks it with each of them held fixed.
SURFACE = (
    Covariate.LENGTH, Covariate.POSITION, Covariate.ANSWER_TYPE, Covariate.DOMAIN,
    Covariate.FORMAT, Covariate.TOPIC, Covariate.GOLD_IN_PROMPT, Covariate.CUT_OFF,
    Covariate.ATTEMPTED,
)  # fmt: skip
# How the data were made rather than what they are: shown, but never an explanation of a score.
SAMPLING = (Covariate.CONSISTENCY, Covariate.SAMPLE)

_ANSWER_TYPES = (
    ("number", re.compile(r"\bhow (?:many|much|old|long|far|tall|high)\b|\bwhat number\b")),
    ("time", re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade)\b")),
    ("person", re.compile(r"\bwho(?:m|se)?\b")),
    ("place", re.compile(r"\bwhere\b|\b(?:what|which) (?:country|city|continent|state|capital)\b")),
    ("reason", re.compile(r"\bwhy\b|\bhow\b")),
    ("yes or no", re.compile(r"^(?:is|are|was|were|do|does|did|can|could|has|have|will)\b")),
)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of one detector on one part of the data, beside all that could explain them.

    Scores of a training part must be out of fold: each by a fit that did not see its group.
    """

    scores: Float[np.ndarray, " example"]
    labels: Bool[np.ndarray, " example"]
    groups: Sequence[str]
    covariates: pd.DataFrame  #: one column each, numbers or categories

    def __post_init__(self) -> None:
        lengths = {len(self.labels), len(self.groups), len(self.covariates)}
        if lengths != {len(self.scores)}:
            raise HlensError(
                f"{len(self.scores)} scores with labels, groups or covariates of another length "
                f"({sorted(lengths)}); give one of each for every example"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, mask: Bool[np.ndarray, " example"]) -> "Scored":
        """The chosen examples."""
        groups = list(np.asarray(self.groups)[mask])
        covariates = self.covariates.loc[mask].reset_index(drop=True)
        return Scored(self.scores[mask], self.labels[mask], groups, covariates)


def covariates(examples: Sequence[Example], judgements: Sequence[Judgement]) -> pd.DataFrame:
    """What a detector could read in place of truth, one row per example.

    The judgements are those that the examples come from, and all others of their questions.

    Returns:
        Columns ``length`` (tokens of the answer), ``position`` (tokens of the response before it),
        ``log-probability`` (mean over the answer's tokens, nats; missing where the responses hold
        none), ``answer type`` (what the question asks for), ``domain``, ``format``, ``topic``
        (relation or subject, where the data name one), ``gold in prompt`` (share of the gold
        answer's words that the prompt holds), ``cut off`` (whether the token limit ended the
        response: ``yes`` or ``no``), ``attempted`` (whether it attempts an answer at all, finished
        or not), ``consistency`` (``one verdict`` or ``mixed`` over the question's samples) and
        ``sample`` (``first`` or ``later``).

    Raises:
        HlensError: An example whose judgement is not among those given.
    """
    mixed = _mixed(judgements)
    rows: list[dict[str, object]] = []
    for example, judged in zip(examples, match_judgements(examples, judgements), strict=True):
        question = judged.response.question
        rows.append(
            {
                Covariate.LENGTH: example.stop - example.start,
                Covariate.POSITION: example.start - example.n_prompt,
                Covariate.LOG_PROBABILITY: _log_probability(example, judged.response.logprobs),
                Covariate.ANSWER_TYPE: answer_type(question.text),
                Covariate.DOMAIN: example.domain,
                Covariate.FORMAT: str(question.meta.get("format", "short_answer")),
                Covariate.TOPIC: _topic(question),
                Covariate.GOLD_IN_PROMPT: gold_in_prompt(question),
                Covariate.CUT_OFF: _yes_or_no(judged.response.finish_reason == "length"),
                Covariate.ATTEMPTED: _yes_or_no(attempts(judged.response)),
                Covariate.CONSISTENCY: "mixed" if mixed[question_key(question)] else "one verdict",
                Covariate.SAMPLE: "first" if example.sample == 0 else "later",
            }
        )
    return pd.DataFrame(rows)


def answer_type(question: str) -> str:
    """What a question asks for, by its own words; its answers, gold or sampled, are not read.

    >>> [answer_type(q) for q in ("How many moons has Mars?", "Who wrote Emma?", "Name it.")]
    ['number', 'person', 'thing']
    """
    text = question.strip().casefold()
    return next((name for name, pattern in _ANSWER_TYPES if pattern.search(text)), "thing")


def gold_in_prompt(question: Question) -> float:
    """Share of the gold answer's words that question, context or options already contain.

    >>> gold_in_prompt(Question("1", "d", "Is Mars or Venus larger?", ("Venus",)))
    1.0
    """
    prompt = " ".join([question.text, question.context, *question.choices]).casefold()
    held = set(_WORD.findall(prompt))
    gold = _WORD.findall(question.answers[0].casefold()) if question.answers else []
    return sum(word in held for word in gold) / len(gold) if gold else 0.0


def attempts(response: Response) -> bool:
    """Whether a response attempts an answer; one that was cut off is read as if it ended there.

    >>> question = Question("1", "d", "What is the capital of France?", ("Paris",))
    >>> attempts(Response(question, "The capital of France is Lyon, which", (), 0, (), "length"))
    True
    """
    return non_answer(replace(response, finish_reason="stop")) == ""


def _yes_or_no(fact: bool) -> str:
    return "yes" if fact else "no"  # a category: a stratum is named, and no number is averaged


def _mixed(judgements: Sequence[Judgement]) -> Mapping[tuple[str, str], bool]:
    """Whether both right and wrong answers to a question were sampled."""
    seen: dict[tuple[str, str], set[Verdict]] = {}
    for judged in judgements:
        seen.setdefault(question_key(judged.response.question), set()).add(judged.verdict)
    both = {Verdict.CORRECT, Verdict.HALLUCINATED}
    return {question: both <= verdicts for question, verdicts in seen.items()}


def _topic(question: Question) -> str:
    named = (name for name in ("relation", "subject", "topic", "category") if name in question.meta)
    return next((str(question.meta[name]) for name in named), question.domain)


def _log_probability(example: Example, logprobs: Sequence[float]) -> float:
    own = logprobs[example.start - example.n_prompt : example.stop - example.n_prompt]
    return float(np.mean(own)) if len(own) else float("nan")
