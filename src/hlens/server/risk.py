"""Conversations that are written already: their risks, many at a time."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from hlens.counting import count
from hlens.errors import HlensError
from hlens.model import encode_text
from hlens.monitor.flagging import flagging
from hlens.server.bodies import Conversation, Conversations, RequestError
from hlens.server.desk import Desk, FullError
from hlens.server.offer import Offer
from hlens.server.prompts import encode_conversation
from hlens.server.replies import number
from hlens.server.writing import read
from hlens.thoughts import find_thought

AT_A_TIME = 64  # conversations of one reading, so that answers are written in between
READINGS = 2  # that one request has the engine hold
_Row = tuple[list[int], int, list[str]]


async def score(
    desk: Desk, offer: Offer, body: Conversations, encode: Any
) -> tuple[str, list[dict[str, Any]]]:
    """The detector that read, and of each conversation its risk, in order.

    Raises:
        RequestError: Something that cannot be read.
        EngineError: What kept the engine from reading.
    """
    if len(body.conversations) > offer.limits.conversations:
        said = f"{len(body.conversations)} conversations; at most {offer.limits.conversations}"
        raise RequestError(400, "too_many_conversations", said, "conversations")
    detector = offer.watcher(body.detector, body.domain)
    if detector is None:
        raise RequestError(400, "no_detector", "this server watches with no detector", "detector")
    asked = None if body.threshold is None else flagging(body.threshold)
    rule = offer.rule(detector, asked, body.domain)
    rows = await encode(encode_all, offer, body.conversations, body.tokens)
    # Texts of about one length share a batch without padding.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    parts = [order[i : i + AT_A_TIME] for i in range(0, len(order), AT_A_TIME)]
    limit, found = asyncio.Semaphore(READINGS), [{}] * len(rows)

    async def read_part(part: Sequence[int]) -> None:
        async with limit:
            scores = await _read_when_there_is_room(desk, [rows[i][0] for i in part], detector)
        for i, row in zip(part, scores, strict=True):
            own = row[rows[i][1] :].tolist()
            mean = sum(own) / len(own)
            found[i] = {
                "index": i,
                "risk": number(offer.probability(detector, mean, body.domain)),
                "score": number(mean),
                "flagged": rule(mean),
                "n_tokens": len(own),
            }
            if body.tokens:
                pairs = zip(rows[i][2], own, strict=True)
                found[i]["tokens"] = [{"token": t, "score": number(s)} for t, s in pairs]

    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(read_part(part))
    return detector, found


async def _read_when_there_is_room(
    desk: Desk, rows: Sequence[Sequence[int]], detector: str
) -> list[np.ndarray]:
    """Read a part of a request that was taken; a full desk is waited for."""
    while True:
        try:
            return await read(desk, rows, detector)
        except FullError:
            await asyncio.sleep(0.05)


def encode_all(offer: Offer, conversations: Sequence[Conversation], with_texts: bool) -> list[_Row]:
    """Token ids of each conversation, where its answer begins behind its thought, and its texts.

    Raises:
        RequestError: A conversation without an answer, or one that the model cannot read.
    """
    rows = (_encode(offer, one, number) for number, one in enumerate(conversations))
    return [(ids, first, _texts(offer, ids[first:]) if with_texts else []) for ids, first in rows]


def _texts(offer: Offer, ids: Sequence[int]) -> list[str]:
    return [offer.encoding.decode([token], skip_special_tokens=True) for token in ids]


def _encode(offer: Offer, one: Conversation, index: int) -> tuple[list[int], int]:
    where = f"conversations.{index}"
    try:
        prompt, answer = _parts(offer, one)
        ids = encode_text(offer.encoding, answer, add_special_tokens=False)
        thought = find_thought(offer.encoding, prompt, ids)
        whole, first = [*prompt, *ids], len(prompt) + (thought.n_tokens if thought else 0)
        offer.model.check_prompts([whole])
    except (HlensError, ValueError) as error:
        raise RequestError(400, "invalid_value", f"{where}: {error}", where) from None
    if offer.positions is not None and len(whole) > offer.positions:
        said = f"{where}: {count(len(whole), 'token')}; {offer.name} reads {offer.positions}"
        raise RequestError(400, "context_length_exceeded", said, where)
    if first == len(whole):
        raise RequestError(400, "invalid_value", f"{where}: an answer without a token", where)
    return whole, first


def _parts(offer: Offer, one: Conversation) -> tuple[list[int], str]:
    """The prompt's tokens, and the answer's text."""
    if one.messages is not None and one.prompt is None and one.completion is None:
        *turns, last = (message.turn for message in one.messages)
        if last["role"] != "assistant":
            raise ValueError("the last message is not the assistant's; there is no answer to read")
        return encode_conversation(offer, turns), last["content"]
    if one.messages is None and one.prompt is not None and one.completion is not None:
        return encode_text(offer.encoding, one.prompt), one.completion
    raise ValueError("expected messages, or prompt and completion")
