"""A language model as judge, at any endpoint that speaks OpenAI's protocol.

    endpoint = llm.Endpoint("gpt-4o-mini")  # the key is in OPENAI_API_KEY
    judged = llm.judge_all(responses, endpoint, cache="runs/judge", announce=print)

The model is told to reply with ``{"verdict": ..., "answer": ...}``, which may stand behind a
thought, in prose or in a code fence. The verdict must equal one of `VERDICTS`, letter for letter:
"incorrect" is not "correct". Several verdicts that contradict each other are none, and an object
that stands in the response itself is quoted from there and decides nothing. A malformed reply is
requested again, and the response finally left unscored, as for "cannot tell"; nothing is guessed
from it. Replies are cached, so a second run sends no request.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hlens.data_files import build_object
from hlens.errors import HlensError
from hlens.judges._answer_span import answer_span
from hlens.judges._attempt import non_answer
from hlens.judges._endpoint import DiskCache, Endpoint, UnreachableError
from hlens.judges._normal_words import read_file
from hlens.thoughts import THINK, judge_behind_thought, without_thought
from hlens.types import Judgement, Response, Verdict
from hlens.undecoded import check_decoded

DISPLAY = "a language model"

__all__ = [
    "VERDICTS",
    "Cost",
    "Endpoint",
    "ask",
    "endpoint_of",
    "estimate",
    "find_objects",
    "judge_all",
    "judge_by",
]

log = logging.getLogger("hlens")
Cache = MutableMapping[str, str]
Messages = list[dict[str, str]]
T = TypeVar("T")
Said = tuple[tuple[str, str] | None, str]  # verdict and answer, or None with the reason
_DECODER = json.JSONDecoder(object_pairs_hook=build_object)
LONGEST = 20_000  # characters of a reply; one asked for is a line
VERDICTS = {
    "correct": Verdict.CORRECT,
    "incorrect": Verdict.HALLUCINATED,
    "refused": Verdict.REFUSED,
    "no attempt": Verdict.UNSCORED,
    "cannot tell": Verdict.UNSCORED,
}
SYSTEM = read_file("llm.txt").strip()
TOKENS_PER_CHARACTER = 0.3  # a generous estimate for English
TOKENS_PER_REPLY = 40


@dataclass(frozen=True)
class Cost:
    """What a run will cost, before any request is sent.

    Attributes:
        n_requests: Replies that are not in the cache.
        n_cached: Replies that are.
        input_tokens: Estimated tokens of the prompts.
        output_tokens: Estimated tokens of the replies.
        price: Estimated price in the currency of the prices given, or None without prices.
    """

    n_requests: int
    n_cached: int
    input_tokens: int
    output_tokens: int
    price: float | None

    def __str__(self) -> str:
        price = "price unknown" if self.price is None else f"about {self.price:.2f}"
        return (
            f"{self.n_requests} requests ({self.n_cached} cached), about {self.input_tokens} "
            f"tokens in and {self.output_tokens} out, {price}"
        )


def endpoint_of(name: str) -> Endpoint:
    """The endpoint of ``"llm:MODEL"`` or ``"llm:MODEL@URL"``, as recipes name it.

    >>> endpoint_of("llm:mine@http://localhost:8000/v1").model
    'mine'

    Raises:
        HlensError: No model is named, a bad address, or no key for it in the environment.
    """
    _, _, place = name.partition(":")
    model, at, url = place.partition("@")
    if not model:
        raise HlensError(f"{name!r} names no model; expected llm:MODEL or llm:MODEL@URL")
    return Endpoint(model, url) if at else Endpoint(model)


def judge_by(
    endpoint: Endpoint, cache: Cache | str | Path | None = None
) -> Callable[[Response], Judgement]:
    """A judge that asks the endpoint about each response.

    Args:
        endpoint: The endpoint and its model.
        cache: A folder, or any mapping; None caches nothing.
    """
    opened = _open_cache(cache)
    return lambda response: _judge(response, lambda: _ask(response, endpoint, opened))


def judge_all(
    responses: Iterable[Response],
    endpoint: Endpoint,
    *,
    cache: Cache | str | Path | None = None,
    prices: tuple[float, float] | None = None,
    announce: Callable[[Cost], bool | None] | None = None,
    workers: int = 4,
) -> list[Judgement]:
    """Judge responses in parallel, after the cost was announced.

    Args:
        responses: What the model said.
        endpoint: The endpoint and its model.
        cache: A folder, or any mapping; None caches nothing.
        prices: Price of a million input tokens and of a million output tokens.
        announce: Called with the `Cost` before any request; return False to stop. The cost is
            logged in any case.
        workers: Requests in parallel.

    Returns:
        The judgements in the order of the responses. Where the endpoint gave no usable reply, the
        response is unscored and the reason says why.

    Raises:
        HlensError: The announced cost was declined, the endpoint refuses, or texts were never
            decoded.
    """
    asked = list(responses)
    check_decoded((response.text for response in asked), "responses")
    opened = _open_cache(cache)
    cost = estimate(asked, endpoint, cache=opened, prices=prices)
    log.info("LLM judge %s: %s", endpoint.model, cost)
    if announce is not None and announce(cost) is False:
        raise HlensError(f"the judge's cost was declined: {cost}")
    # Identical samples are normal: each thing is asked about once.
    read = [one for one in map(without_thought, asked) if one.text.strip()]
    distinct = {_key(_messages(one), endpoint): one for one in read}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        given = pool.map(lambda one: _ask(one, endpoint, opened), distinct.values())
        said = dict(zip(distinct, given, strict=True))
    judged = [
        judge_behind_thought(
            response, lambda one: _judge(one, lambda: said[_key(_messages(one), endpoint)])
        )
        for response in asked
    ]
    failed = sum(judgement.reason.startswith("no verdict") for judgement in judged)
    if failed:
        log.warning("LLM judge: %d of %d responses got no verdict", failed, len(judged))
    return judged


def estimate(
    responses: Sequence[Response],
    endpoint: Endpoint,
    *,
    cache: Cache | str | Path | None = None,
    prices: tuple[float, float] | None = None,
) -> Cost:
    """What judging these responses will cost; no request is sent."""
    opened = _open_cache(cache)
    read = [without_thought(response) for response in responses]
    asked = {_key(m, endpoint): m for r in read if r.text.strip() for m in [_messages(r)]}
    new = [messages for key, messages in asked.items() if key not in opened]
    characters = sum(len(turn["content"]) for messages in new for turn in messages)
    tokens = round(characters * TOKENS_PER_CHARACTER), len(new) * TOKENS_PER_REPLY
    price = sum(n * p for n, p in zip(tokens, prices, strict=True)) / 1e6 if prices else None
    return Cost(len(new), len(asked) - len(new), *tokens, price)


def _ask(response: Response, endpoint: Endpoint, cache: Cache) -> Said:
    parse = partial(parse_reply, response=response.text)
    return ask(_messages(response), endpoint, parse, cache)


def _judge(response: Response, said: Callable[[], Said]) -> Judgement:
    if not response.text.strip():
        return Judgement(response, Verdict.UNSCORED, "empty")
    verdict, reason = said()
    if verdict is None:
        return Judgement(response, Verdict.UNSCORED, f"no verdict: {reason}")
    word, answer = verdict
    span = _find_answer(answer.strip(), response.text)
    if span is None and VERDICTS[word] in (Verdict.CORRECT, Verdict.HALLUCINATED):
        span = answer_span(response.text, response.question.text)
    if VERDICTS[word] is Verdict.HALLUCINATED and non_answer(response) == "cut off":
        return Judgement(response, Verdict.UNSCORED, "cut off")
    return Judgement(response, VERDICTS[word], f"LLM: {word}", span)


def ask(
    messages: Messages, endpoint: Endpoint, parse: Callable[[str], T | None], cache: Cache
) -> tuple[T | None, str]:
    """What a reply says, asked again while it is malformed; None with the reason where none is.

    Only replies that `parse` can read are cached.
    """
    key = _key(messages, endpoint)
    said, reason = parse(cache.get(key, "")), "malformed reply"
    for _ in range(0 if said is not None else endpoint.retries + 1):
        try:
            reply = endpoint.reply(messages)
        except UnreachableError as error:
            return None, str(error)
        said = parse(reply)
        if said is not None:
            cache[key] = reply
            break
    return said, "" if said is not None else reason


def parse_reply(reply: str, response: str = "") -> tuple[str, str] | None:
    """Verdict and answer of a reply, or None where it is malformed or contradicts itself.

    Args:
        reply: What the judge wrote.
        response: What it judged: an object quoted from there is no verdict.

    >>> parse_reply('Lyon is wrong: {"verdict": "incorrect", "answer": "Lyon"}')
    ('incorrect', 'Lyon')
    >>> [parse_reply(text) for text in ("correct", '{"verdict": "so so"}', '["correct"]')]
    [None, None, None]
    """
    rulings = find_objects(reply, "verdict", quoted=response)
    words = {_verdict_of(one["verdict"]) for one in rulings}
    if len(words) != 1 or (word := words.pop()) not in VERDICTS:
        return None
    answer = rulings[-1].get("answer")
    return word, answer if isinstance(answer, str) else ""


def _verdict_of(given: Any) -> str:
    return " ".join(given.casefold().replace("_", " ").split()) if isinstance(given, str) else ""


def find_objects(reply: str, key: str, *, quoted: str = "") -> list[dict[str, Any]]:
    r"""The JSON objects of a reply that have a key, behind its thought and within its prose.

    Those that stand in `quoted`, too, are left out. No object where one names a key twice.

    >>> find_objects('<think>{"a": 1}</think> So: ```json\\n{"a": 2}\\n```', "a")
    [{'a': 2}]
    """
    text = reply.lstrip()
    if text.startswith(THINK.opening):
        text = text.partition(THINK.closing)[2]
    found: list[dict[str, Any]] = []
    place = text.find("{")
    while place >= 0 and len(text) <= LONGEST:
        try:
            value, end = _DECODER.raw_decode(text, place)
        except HlensError:
            return []
        except (ValueError, RecursionError):
            end = place + 1  # a brace of prose
        else:
            found += [value] if key in value else []
        place = text.find("{", end)
    known = find_objects(quoted, key) if quoted else []
    return [value for value in found if value not in known]


def _find_answer(answer: str, text: str) -> tuple[int, int] | None:
    """Characters of the answer, as whole words where possible: the last "art" in "Mozart art"."""
    if not answer:
        return None
    whole = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text)
    start = whole.start() if whole else text.find(answer)
    return (start, start + len(answer)) if start >= 0 else None


def _messages(response: Response) -> Messages:
    question = response.question
    task = {
        "question": question.text,
        **({"context": question.context} if question.context else {}),
        **({"options": list(question.choices)} if question.choices else {}),
        "accepted answers": list(question.answers),
        "response": response.text,
        **({"cut off": True} if response.finish_reason == "length" else {}),
    }
    user = json.dumps(task, ensure_ascii=False)
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def _key(messages: Messages, endpoint: Endpoint) -> str:
    """A digest of what the reply depends on; the endpoint's secret key is not part of it."""
    parts = json.dumps([endpoint.url, endpoint.model, messages], ensure_ascii=False)
    return hashlib.sha256(parts.encode()).hexdigest()


def _open_cache(cache: Cache | str | Path | None) -> Cache:
    if cache is None:
        return {}
    return DiskCache(cache) if isinstance(cache, str | Path) else cache
