r"""For multiple choice: the option that a response picks, by letter or by text.

A letter counts alone, in brackets, in ``\boxed{}``, before ")", "." or ":", or after "answer is";
the A of "A bat" is an article. Several letters ("A or B") are several options. Otherwise the option
whose text is in the response as whole words, not negated, counts; if several are, or letter and
text disagree, the response is unscored.

A response that names no option is a hallucination where it was asked without options (a wrong
short answer), and unscored where the question listed the options (``meta.options_in_question``).

Small models answer one letter for everything: `by_logprob` judges by the likelihood of the options
instead.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from inspect import signature
from itertools import accumulate
from string import ascii_uppercase
from typing import Any

import torch

from hlens.errors import HlensError
from hlens.judges._alias_matching import Reading, find_objection, find_runs, span_of
from hlens.judges._answer_span import answer_span
from hlens.judges._attempt import judge_false, judge_unread
from hlens.judges._normal_words import split_words, word_keys
from hlens.judges._refusal import judge_refusal
from hlens.types import Judgement, Question, Response, Verdict

DISPLAY = "option chosen"

Span = tuple[int, int]
# The log-probability of each option, in the order of the question's choices.
Scorer = Callable[[Question], Sequence[float]]
_LETTER = re.compile(
    r"^\W*(?:(?i:option|choice|letter)\s+)?"
    r"(?:[\(\[]\s*(?P<bracketed>[A-Za-z])\s*[\)\]]"
    r"|(?P<marked>[A-Za-z])\s*[\).:](?=\s|$|\W)|(?P<alone>[A-Za-z])\W*$)"
)
_NAMED = re.compile(
    r"(?i:answer|option|choice|choose|pick|select)\W*(?:is\W*)?\s*[\(\[*]*"
    # A and I may begin what follows ("the answer is A bat"); other letters alone are no words.
    r"((?i:[A-Z])(?=[^\S\n]*(?:[).,:;*\]\n]|$))|(?i:[B-HJ-Z])(?!['’\w]))"
)
# How mathematics marks an answer: \boxed{B}, \boxed{\text{(B)}}.
_BOXED = re.compile(r"\\boxed\s?\{\s?(?:\\[a-z]+\s?\{\s?)?\(?([A-Za-z])\)?\s?\}")
_DENIED = re.compile(r"(?:\bnot|n't|\brather than)\s+(?:the\s+)?$", re.IGNORECASE)
_JOINERS = {"both", "either", "neither", "nor", "or", "and", "are", "is"}
_JOINERS |= {"option", "options", "answer", "answers"}


def judge(response: Response) -> Judgement:
    """Judge a response by the option that it picks.

    >>> q = Question("1", "science", "Which is a mammal?", ("bat",), choices=("ant", "bat"))
    >>> for text in ("B", "(b)", "The answer is B.", "A bat", "ant", "B) ant", "a moth"):
    ...     print(text, judge(Response(q, text, (), 0)).verdict.value)
    B correct
    (b) correct
    The answer is B. correct
    A bat correct
    ant hallucinated
    B) ant unscored
    a moth hallucinated

    Raises:
        HlensError: The question has no options, or its answer is none of them.
    """
    question, text = response.question, response.text
    gold = gold_index(question)
    if unread := judge_unread(response):
        return unread
    named = _exactly(text, question) or _by_text(text, question, gold)
    # A letter inside the text of a named option ("vitamin B") picks nothing.
    letter = [
        (pick, place)
        for pick, place in by_letter(text, len(question.choices))
        if not any(
            start <= place[0] and place[1] <= stop and len(_bare(question.choices[i])) > 1
            for i, (start, stop) in named
        )
    ]
    picks = {pick for pick, _ in (*letter, *named)}
    if len(picks) > 1:
        return Judgement(response, Verdict.UNSCORED, "names several options")
    if not picks:
        if refused := judge_refusal(response):
            return refused
        if question.meta.get("options_in_question"):
            return Judgement(response, Verdict.UNSCORED, "no option")
        return judge_false(response, "no option", answer_span(text, question.text))
    pick, span = (*named, *letter)[0]
    # An option that is picked is an answer, whatever follows it.
    verdict = Verdict.CORRECT if pick == gold else Verdict.HALLUCINATED
    return Judgement(response, verdict, f"picks {question.choices[pick]!r}", span)


def by_logprob(scorer: Scorer) -> Callable[[Response], Judgement]:
    """A judge by the option that the model finds likeliest; the response's text is not read.

    Args:
        scorer: Log-probability of each option of a question, in the order of its choices;
            `option_logprobs` makes one of a model.
    """

    def judge_by_logprob(response: Response) -> Judgement:
        question = response.question
        gold = gold_index(question)
        scores = list(scorer(question))
        if len(scores) != len(question.choices):
            raise HlensError(
                f"question {question.id!r}: {len(scores)} scores for {len(question.choices)} "
                "options; the scorer must give one for each"
            )
        best = [i for i, score in enumerate(scores) if score == max(scores)]
        if len(best) != 1:
            return Judgement(response, Verdict.UNSCORED, "no likeliest option")
        verdict = Verdict.CORRECT if best[0] == gold else Verdict.HALLUCINATED
        return Judgement(response, verdict, f"likeliest: {question.choices[best[0]]!r}")

    return judge_by_logprob


def option_logprobs(
    model: Any, prompt: Callable[[Question], Sequence[int]] | None = None
) -> Callable[[Question], list[float]]:
    """A scorer for `by_logprob`: mean log-probability (nats) per token.

    The mean, since a sum favours short options.

    Args:
        model: A model of `hlens.load`.
        prompt: Token ids before the option; None encodes the context and the question without its
            options, as the model prompts.
    """
    model.need_modules("the likelihood of options")
    ask = prompt or (lambda q: model.encode("\n\n".join(filter(None, (q.context, q.text)))))
    # A chat template ends where the answer begins; plain text needs a space before the answer.
    gap = "" if getattr(model.tokenizer, "chat_template", None) else " "

    def score(question: Question) -> list[float]:
        head = list(ask(question))
        options = [model.encode_words(gap + choice) for choice in question.choices]
        return _scores(model, head, options)

    return score


def gold_index(question: Question) -> int:
    """Index of the right option: ``meta.answer_index``, or the option that equals the answer.

    Raises:
        HlensError: There is none.
    """
    index = question.meta.get("answer_index")
    if index is None and question.answers:
        wanted = word_keys(question.answers[0])
        index = next((i for i, c in enumerate(question.choices) if word_keys(c) == wanted), None)
    if not isinstance(index, int) or not 0 <= index < len(question.choices):
        raise HlensError(
            f"question {question.id!r}: no right option among {len(question.choices)}; give "
            "choices and meta.answer_index"
        )
    return index


def by_letter(text: str, n_options: int) -> list[tuple[int, Span]]:
    """The option that a response picks by its letter; several where it names several."""
    begin = (answer_span(text) or (0, 0))[0]
    rest = text[begin:]
    line = rest.split("\n", 1)[0]  # a letter, and its reason on further lines
    if several := _only_letters(line, n_options):
        return [(index, (begin + at, begin + at + 1)) for index, at in several]
    boxed = [(match, 0) for match in _BOXED.finditer(text)]
    alone = ((_LETTER.match(text), 0), (_LETTER.match(rest), begin), (_LETTER.match(line), begin))
    named = [(m, 0) for m in _NAMED.finditer(text) if not _is_denied(text, m.start())]
    answers = [(m, 0) for m, _ in named if m.group()[:6].casefold() == "answer"]
    is_twofold = len({match.group(1).upper() for match, _ in answers}) > 1
    # One that stands alone is the answer, whatever is said behind it but another answer.
    for candidates in (boxed, *([answers] if is_twofold else []), *([one] for one in alone), named):
        picked: dict[int, Span] = {}
        for match, shift in candidates:
            name = match.lastgroup or 1 if match else 1
            index = ord(match.group(name).upper()) - ord("A") if match else -1
            if match and 0 <= index < n_options:
                picked.setdefault(index, (match.start(name) + shift, match.end(name) + shift))
        if picked:
            return list(picked.items())
    return []


def _is_denied(text: str, start: int) -> bool:
    return _DENIED.search(text, max(0, start - 20), start) is not None


def _only_letters(line: str, n_options: int) -> list[tuple[int, int]]:
    """Index and place of the letters of a line that names several and says nothing else."""
    words = [(match.group(), match.start()) for match in re.finditer(r"[^\W_]+", line[:200])]
    known = ascii_uppercase[:n_options]
    letters = {word: at for word, at in words if len(word) == 1 and word in known}
    others = {word.casefold() for word, _ in words} - {letter.casefold() for letter in letters}
    return (
        [(known.index(a), at) for a, at in letters.items()]
        if (len(letters) > 1 and others <= _JOINERS)
        else []
    )


def _exactly(text: str, question: Question) -> list[tuple[int, Span]]:
    """The one option that is the whole response, its answer, or what follows a letter.

    Punctuation counts here ("C++" is not "C", "<" is not ">"), the case only where two options
    differ by it alone.
    """
    lettered = re.match(r"\W*[A-Za-z]\s*[).:\]]\s*", text)
    answer = answer_span(text)
    is_all = answer is not None and not split_words(text[answer[1] :])
    spans = [
        (0, len(text)),
        answer if is_all else None,
        (lettered.end(), len(text)) if lettered else None,
    ]
    for span in spans:
        for fold in (str, str.casefold):
            said = fold(_bare(text[slice(*span)])) if span else ""
            equal = [i for i, c in enumerate(question.choices) if said and fold(_bare(c)) == said]
            if span and len(equal) == 1:
                return [(equal[0], span)]
    return []


def _bare(text: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    return text.removesuffix(".").strip(' "“”`') or text


def _by_text(text: str, question: Question, gold: int) -> list[tuple[int, Span]]:
    """Options that a response names; one within the words of a longer one does not count."""
    words = split_words(text)
    aliases = [(i, word_keys(choice)) for i, choice in enumerate(question.choices)]
    aliases += [(gold, word_keys(answer)) for answer in question.answers]
    places = [(i, run) for i, alias in aliases if alias for run in find_runs(alias, words)]
    named: dict[int, Span] = {}
    ends: dict[int, int] = {}  # of the longest place that begins at a word
    for _, (first, last) in places:
        ends[first] = max(last, ends.get(first, 0))
    reach = [0, *accumulate((ends.get(i, 0) for i in range(len(words))), max)]
    # Every word counts as gold: an option beside another is no hedge but a second pick.
    reading = Reading(text, words, set(range(len(words))))
    for i, run in places:
        is_inside = reach[run[0]] >= run[1] or ends[run[0]] > run[1]
        if not is_inside and not find_objection(run, reading):
            named.setdefault(i, span_of(run, words))
    return list(named.items())


def _scores(model: Any, head: list[int], options: list[list[int]]) -> list[float]:
    """Mean log-probability of each continuation of one prompt, in one padded batch."""
    longest = max(map(len, options))
    # Right padding: attention is causal, so an option never sees the padding after it.
    rows = [head + option + [0] * (longest - len(option)) for option in options]
    mask = [[1] * (len(head) + len(o)) + [0] * (longest - len(o)) for o in options]
    with torch.inference_mode():
        logits = model.hf(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            use_cache=False,
            **_only_last(model.hf, longest + 1),
        ).logits
    logprobs = logits[:, -longest - 1 : -1].float().log_softmax(-1)
    chosen = torch.tensor([row[len(head) :] for row in rows], device=model.device)
    each = logprobs.gather(-1, chosen[..., None])[..., 0].cpu()
    return [float(each[i, : len(o)].mean()) if o else float("-inf") for i, o in enumerate(options)]


def _only_last(hf: Any, n: int) -> dict[str, int]:
    """Skip the prompt's unembedding, which costs most of the time, where the model allows it."""
    return {"logits_to_keep": n} if "logits_to_keep" in signature(hf.forward).parameters else {}
