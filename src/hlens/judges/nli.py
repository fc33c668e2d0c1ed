"""A local model of natural language inference as judge: do gold and response mean the same?

    judge = nli.judge_by(nli.entailment(model, tokenizer))  # any NLI classifier
    judged = hlens.judge(responses, judge)

Gold and answer are compared as answers to the question, in both directions (as Farquhar et al. 2024
do for semantic entropy). Correct: each entails the other, for some alias. Hallucinated: neither
entails the other, for every alias. One direction alone ("a city in France", "Paris") is unscored.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from hlens.checks import check_real
from hlens.errors import HlensError
from hlens.judges import abstain
from hlens.judges._answer_span import answer_span
from hlens.judges._attempt import judge_false, judge_unread
from hlens.judges._refusal import judge_refusal
from hlens.types import Judgement, Response, Verdict

DISPLAY = "entailment"

# Pairs of premise and hypothesis to the probability that the premise entails the hypothesis.
Entails = Callable[[Sequence[tuple[str, str]]], Sequence[float]]


def judge_by(entails: Entails, threshold: float = 0.5) -> Callable[[Response], Judgement]:
    """A judge by entailment.

    Args:
        entails: Probability of entailment of each pair (premise, hypothesis).
        threshold: Probability from which a direction counts as entailed.

    >>> from hlens.types import Question
    >>> same = judge_by(lambda pairs: [float(a == b) for a, b in pairs])
    >>> q = Question("1", "general", "Capital of France?", ("Paris",))
    >>> [same(Response(q, text, (), 0)).verdict.value for text in ("Paris.", "Lyon")]
    ['correct', 'hallucinated']
    """
    threshold = check_real("threshold", threshold, above=0, below=1)

    def judge_by_entailment(response: Response) -> Judgement:
        question, text = response.question, response.text
        if not question.answers:
            return abstain.judge(response)
        if unread := judge_unread(response):
            return unread
        if refused := judge_refusal(response):
            return refused
        span = answer_span(text, question.text)
        said = f"{question.text} {text[slice(*span)] if span else text.strip()}"
        golds = [f"{question.text} {answer}" for answer in question.answers]
        pairs = [pair for gold in golds for pair in ((gold, said), (said, gold))]
        scores = [float(score) for score in entails(pairs)]
        if len(scores) != len(pairs):
            raise HlensError(f"{len(scores)} probabilities for {len(pairs)} pairs; give one each")
        both_ways = list(zip(scores[::2], scores[1::2], strict=True))
        best = max(both_ways, key=lambda both: (min(both), both))
        verdict, reason = _verdict(both_ways, threshold)
        reason = f"{reason} ({best[0]:.2f}, {best[1]:.2f})"
        if verdict is Verdict.HALLUCINATED:
            return judge_false(response, reason, span)
        return Judgement(response, verdict, reason, span)

    return judge_by_entailment


def entailment(model: Any, tokenizer: Any, *, batch_size: int = 16) -> Entails:
    """Entailment by a sequence classifier whose config has an entailment label.

    Args:
        model: A Hugging Face sequence classification model trained on NLI, in eval mode.
        tokenizer: Its tokenizer.
        batch_size: Pairs at a time.

    Raises:
        HlensError: The model's config has no label "entailment".
    """
    names = {str(name).casefold(): int(i) for name, i in model.config.label2id.items()}
    if "entailment" not in names:
        raise HlensError(
            f"no label 'entailment' among {sorted(names)}; give a model trained on NLI"
        )
    column = names["entailment"]

    def entails(pairs: Sequence[tuple[str, str]]) -> list[float]:
        probabilities: list[float] = []
        for start in range(0, len(pairs), batch_size):
            batch = pairs[start : start + batch_size]
            premises, hypotheses = (list(texts) for texts in zip(*batch, strict=True))
            options = {"padding": True, "truncation": True, "split_special_tokens": True}
            encoded = tokenizer(premises, hypotheses, return_tensors="pt", **options)
            with torch.inference_mode():
                logits = model(**encoded.to(model.device)).logits
            probabilities += logits.float().softmax(dim=-1)[:, column].tolist()
        return probabilities

    return entails


def _verdict(both_ways: list[tuple[float, float]], threshold: float) -> tuple[Verdict, str]:
    if any(min(both) >= threshold for both in both_ways):
        return Verdict.CORRECT, "each entails the other"
    if all(max(both) < threshold for both in both_ways):
        return Verdict.HALLUCINATED, "neither entails the other"
    return Verdict.UNSCORED, "one direction only"
