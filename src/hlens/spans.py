"""locate: find the tokens of the answer, by character offsets.

Decoded tokens are never compared with strings: a token may hold a part of a character, and its
text may change with its neighbours. Instead prefixes of the response are decoded, and the answer's
characters are looked up in them.
"""

import bisect
import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import pandas as pd
import torch

from hlens.errors import HlensError
from hlens.kinds import explain_public
from hlens.thoughts import count_tokens
from hlens.types import Example, Judgement, Verdict

LABELS = {Verdict.CORRECT: False, Verdict.HALLUCINATED: True}
INCOMPLETE = "\ufffd"  # what an incomplete character decodes to
LONGEST = 4  # bytes of a character, and so at most its tokens
log = logging.getLogger("hlens")


def locate(judgements: Iterable[Judgement], model: Any, *, span: str = "answer") -> list[Example]:
    """The examples of the judged responses; losses are logged by verdict and reason.

    Args:
        judgements: Judged responses. Refused and unscored ones give no example.
        model: A model of `hlens.load`, or its tokenizer.
        span: ``"answer"`` takes the tokens of the judge's answer (of the whole response, where
            the judge names none); ``"response"`` always takes the whole response. Neither takes
            any of a thought.
    """
    examples, losses = locate_with_losses(judgements, model, span=span)
    rows = zip(losses["n"], losses["verdict"], losses["reason"], strict=True)
    lost = [f"{n} {verdict} ({reason})" for n, verdict, reason in rows if reason != "located"]
    if lost:
        log.info("%d examples; lost: %s", len(examples), ", ".join(lost))
    return examples


def locate_with_losses(
    judgements: Iterable[Judgement], model: Any, *, span: str = "answer"
) -> tuple[list[Example], pd.DataFrame]:
    """Like `locate`, with a table of what became of the judgements.

    Returns:
        The examples, and a table with columns ``verdict``, ``reason`` (``located`` or why not, such
        as ``cut off`` or ``no attempt: repeats the question``),
        ``n`` and ``share`` (of the verdict's judgements): a label that loses more than the other
        is a confound.

    Raises:
        HlensError: An unknown span, or no tokenizer where an answer must be looked up.
    """
    if span not in ("answer", "response"):
        raise HlensError(f"unknown span {span!r}; expected 'answer' or 'response'")
    tokenizer = getattr(model, "tokenizer", model)
    if tokenizer is not None and not hasattr(tokenizer, "decode"):
        raise HlensError(f"got a {type(model).__name__}; expected a model or its tokenizer")
    located = [(j.verdict.value, _locate_one(j, tokenizer, span)) for j in judgements]
    totals = Counter(verdict for verdict, _ in located)
    counts = Counter((v, place if isinstance(place, str) else "located") for v, place in located)
    rows = [(*pair, n, n / totals[pair[0]]) for pair, n in sorted(counts.items())]
    examples = [example for _, example in located if isinstance(example, Example)]
    return examples, pd.DataFrame(rows, columns=["verdict", "reason", "n", "share"])


def token_span(
    text: str, token_ids: Sequence[int], *, answer: tuple[int, int], tokenizer: Any
) -> tuple[int, int] | None:
    """Tokens ``[start, stop)`` of a response that hold the characters ``[start, stop)`` of `text`.

    A token that holds only a part of a character of the answer belongs to it. `token_ids` are those
    of the response without the prompt; the tokenizer is anything with ``decode(ids,
    skip_special_tokens=True)``. None where the tokens do not decode to the text.
    """
    decoded = _decode(tokenizer, token_ids)
    bare = text.strip()  # decoding may strip outer space, and so may whoever stored the text
    offset = decoded.find(bare)
    if not bare or offset < 0 or not 0 <= answer[0] < answer[1] <= len(text):
        return None
    shift = offset - text.index(bare)
    first, end = answer[0] + shift, answer[1] + shift

    @cache
    def shared(n: int) -> tuple[int, bool]:
        """Characters that the first n tokens share with all, and whether they break off in one."""
        prefix = _decode(tokenizer, token_ids[:n])
        same = [a == b for a, b in zip(prefix, decoded, strict=False)]
        whole = same.index(False) if False in same else len(same)
        return whole, prefix[whole : whole + 1] == INCOMPLETE

    @cache
    def characters(n: int) -> tuple[int, int]:
        """Characters that the first n tokens hold whole, and with the one that they begin."""
        if n == len(token_ids):
            return len(decoded), len(decoded)
        whole, breaks_off = shared(n)
        if breaks_off:
            # Byte tokens of the SentencePiece kind decode as one run: one byte too few spoils the
            # characters before it, which a shorter prefix shows.
            whole = max(shared(m)[0] for m in range(max(n - LONGEST + 1, 0), n + 1))
        return whole, whole + breaks_off

    # Both numbers only grow with n: bisection decodes a handful of prefixes instead of all.
    counts = range(len(token_ids) + 1)
    start = bisect.bisect_right(counts, first, key=lambda n: characters(n)[1]) - 1
    stop = bisect.bisect_left(counts, end, key=lambda n: characters(n)[0])
    return (start, stop) if 0 <= start < stop <= len(token_ids) else None


def token_texts(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """Text of each token; a character of several tokens is shown at the last of them.

    A token is decoded behind the one before it: by itself it would lose the space that begins it,
    in vocabularies of the SentencePiece kind.
    """
    texts: list[str] = []
    before: list[int] = []
    held: list[int] = []
    for token in token_ids:
        held.append(token)
        text = _raw(tokenizer, before + held)[len(_raw(tokenizer, before)) :]
        incomplete = text.endswith(INCOMPLETE) and len(held) < LONGEST
        texts.append("·" if incomplete else text)
        if not incomplete:
            before, held = held, []
    return texts


def consistent(judgements: Iterable[Judgement], *, min_samples: int = 2) -> list[Judgement]:
    """Judgements of the questions that were always right or always wrong.

    Questions with a refused or unscored sample, or with fewer than `min_samples`, are left out, as
    in arXiv 2512.01797.
    """
    if min_samples < 1:
        raise HlensError(f"min_samples={min_samples}; expected at least 1")
    kept: list[Judgement] = []
    for samples in by_question(judgements):
        verdicts = {judgement.verdict for judgement in samples}
        if len(samples) >= min_samples and len(verdicts) == 1 and verdicts <= LABELS.keys():
            kept += samples
    return kept


def one_per_question(judgements: Iterable[Judgement]) -> list[Judgement]:
    """One judgement a question: the first sample of its most frequent answer.

    Answers are compared by their text without case and outer space; among equally frequent ones
    the earliest sample wins, so that no hash seed decides. Refused and unscored samples are taken
    only where the question has no others.
    """
    chosen: list[Judgement] = []
    for samples in by_question(judgements):
        usable = [judgement for judgement in samples if judgement.verdict in LABELS] or samples
        counts = Counter(answer_text(judgement) for judgement in usable)
        chosen.append(max(usable, key=lambda judgement: counts[answer_text(judgement)]))
    return chosen


def first_of_each_label(examples: Iterable[Example], n: int = 1) -> list[Example]:
    """At most the first n responses of each question and label; all of them when n is 0.

    A question with many samples would otherwise count many times over. All spans of a response
    that is taken are.
    """
    kept: list[Example] = []
    taken: defaultdict[tuple[str, str, bool], set[int]] = defaultdict(set)
    for example in examples:
        samples = taken[example.domain, example.question_id, example.hallucinated]
        if n < 1 or example.sample in samples or len(samples) < n:
            samples.add(example.sample)
            kept.append(example)
    return kept


def draw_of_each_label(examples: Sequence[Example], n: int) -> list[Example]:
    """At most n examples of each label, in their order; all of them when n is 0.

    Which are taken is decided by a hash of their domain, question and sample: the same ones on
    every machine, and a larger draw holds the smaller.
    """

    def rank(example: Example) -> bytes:
        key = f"{example.domain}\n{example.question_id}\n{example.sample}\n{example.start}"
        return hashlib.sha256(key.encode()).digest()

    if n < 1:
        return list(examples)
    taken: set[int] = set()
    for label in (True, False):
        own = [row for row, example in enumerate(examples) if example.hallucinated is label]
        taken |= {*sorted(own, key=lambda row: rank(examples[row]))[:n]}
    return [example for row, example in enumerate(examples) if row in taken]


def _locate_one(judgement: Judgement, tokenizer: Any, span: str) -> Example | str:
    """The example, or the reason why there is none."""
    response, question = judgement.response, judgement.response.question
    if judgement.verdict is Verdict.UNSCORED:
        return _unscored_reason(judgement.reason)
    if judgement.verdict not in LABELS:
        return judgement.verdict.value
    n_thought = count_tokens(response, tokenizer)
    ids = response.token_ids[response.n_prompt :]
    if len(ids) == n_thought:
        return "no tokens"
    tokens: tuple[int, int] | None = (n_thought, len(ids))
    if span == "answer" and judgement.answer is not None:
        if tokenizer is None:
            raise HlensError(
                "no tokenizer to locate an answer with; give one, or use span='response'"
            )
        before = response.n_thought  # tokens that are not of the text
        own, where = ids[before:], judgement.answer
        tokens = token_span(response.text, own, answer=where, tokenizer=tokenizer)
        tokens = tokens and (before + tokens[0], before + tokens[1])
    if tokens is None:
        return "span not found"
    return Example(
        token_ids=torch.tensor(response.token_ids, dtype=torch.long),
        n_prompt=response.n_prompt,
        start=response.n_prompt + tokens[0],
        stop=response.n_prompt + tokens[1],
        hallucinated=LABELS[judgement.verdict],
        question_id=question.id,
        group=question.group,
        domain=question.domain,
        sample=response.sample,
        n_thought=n_thought,
    )


def _unscored_reason(reason: str) -> str:
    """A judge's reason without what it quotes of this response, so that reasons can be counted.

    >>> _unscored_reason("hedged: 'Paris'"), _unscored_reason("no attempt: asks back")
    ('hedged', 'no attempt: asks back')
    """
    kind = reason.partition(":")[0]
    return reason if kind == "no attempt" else kind or Verdict.UNSCORED.value


def _decode(tokenizer: Any, token_ids: Sequence[int]) -> str:
    return tokenizer.decode(list(token_ids), skip_special_tokens=True)


def _raw(tokenizer: Any, token_ids: Sequence[int]) -> str:
    return tokenizer.decode(list(token_ids), skip_special_tokens=False)


def by_question(judgements: Iterable[Judgement]) -> list[list[Judgement]]:
    """The samples of each question in their order, questions in order of appearance."""
    groups: defaultdict[tuple[str, str], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        question = judgement.response.question
        groups[question.domain, question.id].append(judgement)
    return [sorted(samples, key=lambda j: j.response.sample) for samples in groups.values()]


def answer_text(judgement: Judgement) -> str:
    """The answer without case and outer space, by which two answers are the same."""
    text = judgement.response.text
    start, stop = judgement.answer or (0, len(text))
    return " ".join(text[start:stop].casefold().split())


explain_public(globals())
