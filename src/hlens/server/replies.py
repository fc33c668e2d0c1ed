"""Answers and errors in the protocol's form; what hlens knows is in a field of its own."""

import json
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hlens.server.offer import Offer
from hlens.server.text import UNFINISHED
from hlens.server.writing import Asked, Fate, Piece, Token


def number(value: float) -> float | None:
    """A number as JSON has it; None for NaN."""
    return None if math.isnan(value) else round(value, 6)


def tokens_of(tokens: Sequence[Token], watched: bool) -> list[dict[str, Any]]:
    """Tokens with their risks."""
    return [
        {"token": one.text}
        | ({"risk": number(one.risk), "score": number(one.score)} if watched else {})
        | ({"thought": True} if one.in_thought else {})
        for one in tokens
    ]


@dataclass(eq=False)
class Choice:
    """One answer, as it is gathered.

    Attributes:
        asked: What was asked.
        index: Among the answers of its request.
        seed: Of the request: the same one gives the same answers again.
        with_tokens: Whether each token's risk is told.
        with_logprobs: Whether each token's log-probability is told.
    """

    asked: Asked
    index: int
    seed: int
    with_tokens: bool
    with_logprobs: bool = False
    content: str = ""
    thought: str = ""
    tokens: list[Token] = field(default_factory=list)
    fate: Fate | None = None

    def add(self, piece: Piece) -> None:
        """Take a piece."""
        self.content += piece.content
        self.thought += piece.thought
        self.tokens += piece.tokens

    def logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        """Of tokens, as the protocol tells them."""
        if not self.with_logprobs:
            return None
        return {
            "content": [
                {
                    "token": one.text,
                    "logprob": one.logprob,
                    # Of a part of a character the bytes are not known here.
                    "bytes": None if UNFINISHED in one.text else list(one.text.encode()),
                    "top_logprobs": [],
                }
                for one in tokens
            ],
            "refusal": None,
        }

    def own(self, fate: Fate, offer: Offer) -> dict[str, Any]:
        """What hlens knows of the whole answer."""
        asked = self.asked
        found: dict[str, Any] = {"status": fate.status, "policy": asked.policy, "seed": self.seed}
        if asked.detector is not None:
            found |= {
                "detector": asked.detector,
                "risk": number(fate.risk),
                "score": number(fate.score),
                "threshold": offer.rule_name(asked.detector, asked.threshold),
            }
        if asked.gate is not None:
            found["prompt_risk"] = number(fate.prompt_risk)
        if asked.domain and (reader := asked.detector or asked.gate):
            of = offer.read_as(reader, asked.domain)
            found["read_as"] = of or "all domains together"
        return found


@dataclass(frozen=True)
class Reply:
    """What all parts of the reply to one request have in common."""

    offer: Offer
    model: str
    chat: bool
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def _head(self, of_stream: bool) -> dict[str, Any]:
        kind = "chat.completion" if self.chat else "text_completion"
        return {
            "id": f"{'chatcmpl' if self.chat else 'cmpl'}-{self.id}",
            "object": kind + (".chunk" if of_stream and self.chat else ""),
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.offer.model.fingerprint[:16],
        }

    def whole(self, choices: Sequence[Choice], n_prompt: int) -> dict[str, Any]:
        """The reply to a request that does not stream."""
        return self._head(False) | {
            "choices": [self._choice(choice) for choice in choices],
            "usage": usage(n_prompt, choices),
        }

    def _choice(self, choice: Choice) -> dict[str, Any]:
        assert choice.fate is not None
        own = choice.own(choice.fate, self.offer)
        withheld = choice.fate.status == "abstained"
        if choice.with_tokens and not withheld:
            own["tokens"] = tokens_of(choice.tokens, choice.asked.detector is not None)
        head = {"index": choice.index, "finish_reason": choice.fate.reason, "hlens": own}
        if not self.chat:
            return head | {"text": choice.thought + choice.content, "logprobs": None}
        message = {"role": "assistant", "content": choice.content, "refusal": None}
        if choice.thought:
            message["reasoning_content"] = choice.thought
        shown = [] if withheld else [one for one in choice.tokens if not one.in_thought]
        return head | {"message": message, "logprobs": choice.logprobs(shown)}

    def begun(self, choice: Choice) -> dict[str, Any]:
        """The first part of a stream."""
        return self._chunk(choice, {"role": "assistant", "content": ""}, "", None, None)

    def piece(self, choice: Choice, piece: Piece) -> dict[str, Any]:
        """A part of a stream."""
        delta = {"content": piece.content} if piece.content or not piece.thought else {}
        if piece.thought:
            delta["reasoning_content"] = piece.thought
        own = None
        if choice.with_tokens and piece.tokens:
            own = {"tokens": tokens_of(piece.tokens, choice.asked.detector is not None)}
        chunk = self._chunk(choice, delta, piece.thought + piece.content, None, own)
        if self.chat and choice.with_logprobs:
            shown = [one for one in piece.tokens if not one.in_thought]
            chunk["choices"][0]["logprobs"] = choice.logprobs(shown)
        return chunk

    def ended(self, choice: Choice, fate: Fate) -> dict[str, Any]:
        """The last part of an answer."""
        return self._chunk(choice, {}, "", fate.reason, choice.own(fate, self.offer))

    def used(self, choices: Sequence[Choice], n_prompt: int) -> dict[str, Any]:
        """The last part of a stream, where its client asked for it."""
        return self._head(True) | {"choices": [], "usage": usage(n_prompt, choices)}

    def _chunk(
        self,
        choice: Choice,
        delta: Mapping[str, Any],
        text: str,
        reason: str | None,
        own: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        said = {"delta": delta} if self.chat else {"text": text}
        one = {"index": choice.index, **said, "logprobs": None, "finish_reason": reason}
        return self._head(True) | {"choices": [one | ({"hlens": own} if own else {})]}


def usage(n_prompt: int, choices: Sequence[Choice]) -> dict[str, int]:
    """How many tokens were read and written."""
    written = sum(choice.fate.n_tokens for choice in choices if choice.fate)
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": written,
        "total_tokens": n_prompt + written,
    }


def error_of(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error in the protocol's form."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if status == 401:
        kind = "authentication_error"
    if status == 429:
        kind = "rate_limit_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def line(data: Mapping[str, Any]) -> bytes:
    """A part of a stream as an event."""
    return f"data: {json.dumps(data)}\n\n".encode()


DONE = b"data: [DONE]\n\n"
