"""What a client asks, checked: fields of the OpenAI protocol, and those of ``hlens`` beside them.

A field that would change the answer and is not served is refused by name, rather than left aside.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from hlens.counting import count
from hlens.errors import one_line
from hlens.model import Settings, mix_seed
from hlens.monitor.flagging import flagging
from hlens.server.offer import Offer
from hlens.server.writing import Asked

_Kind = TypeVar("_Kind", bound=BaseModel)


class RequestError(Exception):
    """A request that is not served: the protocol's error, in one line.

    Attributes:
        status: Of HTTP.
        code: Of the protocol, for programs.
        param: The field at fault, or None.
    """

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(one_line(message))
        self.status, self.code, self.param = status, code, param


def _check_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair; expected whole characters") from None
    return text


Text = Annotated[str, AfterValidator(_check_text)]
StopWord = Annotated[Text, Field(max_length=200)]
# The first mistake ends the reading of a list: else millions of them would be gathered.
Fast = Field(fail_fast=True)


def _neutral(*allowed: Any) -> Any:
    """A field that is served at its neutral values only."""

    def check(value: Any) -> Any:
        if value not in allowed:
            shown = ", ".join(json.dumps(one) for one in allowed)
            raise ValueError(f"is not served here; leave it out, or at {shown}")
        return value

    return BeforeValidator(check)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Own(_Body):
    """The field ``hlens`` of a request: how its risk is read, and what is done about it."""

    detector: Text | None = None
    domain: Text = ""
    policy: Text | None = None
    threshold: Text | None = None
    tokens: bool = True


class Part(_Body):
    """A part of a message that is a text."""

    type: Literal["text"]
    text: Text


class Message(_Body):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[Part], Fast]
    name: Annotated[Any, _neutral(None)] = None

    @property
    def turn(self) -> dict[str, str]:
        """As the chat template takes it."""
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(_Body):
    """What else is streamed."""

    include_usage: bool = False
    include_obfuscation: bool = False


class _Sampling(_Body):
    """What chats and completions have in common."""

    model: Text
    n: int | None = Field(1, ge=1)
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    seed: int | None = None
    stop: StopWord | Annotated[list[StopWord], Fast, Field(max_length=16)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    hlens: Own = Own()
    # Accepted, and without any effect on the answer.
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    # Not served.
    frequency_penalty: Annotated[Any, _neutral(None, 0)] = None
    presence_penalty: Annotated[Any, _neutral(None, 0)] = None
    logit_bias: Annotated[Any, _neutral(None, {})] = None

    @property
    def limit(self) -> int | None:
        """How long the answer may be, where the client says so."""
        return None

    @property
    def words(self) -> list[str]:
        """Stop words."""
        stop = [self.stop] if isinstance(self.stop, str) else list(self.stop or ())
        return [word for word in stop if word]


class Chat(_Sampling):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Fast] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = False
    top_logprobs: Annotated[Any, _neutral(None, 0)] = None
    tools: Annotated[Any, _neutral(None, [])] = None
    tool_choice: Annotated[Any, _neutral(None, "none", "auto")] = None
    parallel_tool_calls: Any = None
    functions: Annotated[Any, _neutral(None, [])] = None
    function_call: Annotated[Any, _neutral(None, "none", "auto")] = None
    response_format: Annotated[Any, _neutral(None, {"type": "text"})] = None
    modalities: Annotated[Any, _neutral(None, ["text"])] = None
    audio: Annotated[Any, _neutral(None)] = None
    prediction: Annotated[Any, _neutral(None)] = None
    reasoning_effort: Annotated[Any, _neutral(None)] = None
    verbosity: Annotated[Any, _neutral(None)] = None
    web_search_options: Annotated[Any, _neutral(None)] = None

    @property
    def limit(self) -> int | None:
        """How long the answer may be, where the client says so."""
        return self.max_completion_tokens or self.max_tokens


class Completion(_Sampling):
    """``POST /v1/completions``."""

    prompt: (
        Text
        | Annotated[list[Text], Fast, Field(min_length=1)]
        | Annotated[list[int], Fast, Field(min_length=1)]
        | Annotated[list[Annotated[list[int], Fast]], Fast, Field(min_length=1)]
    )
    max_tokens: int | None = Field(None, ge=1)
    logprobs: Annotated[Any, _neutral(None)] = None
    echo: Annotated[Any, _neutral(None, False)] = None
    best_of: Annotated[Any, _neutral(None, 1)] = None
    suffix: Annotated[Any, _neutral(None)] = None

    @property
    def limit(self) -> int | None:
        """How long the answer may be, where the client says so."""
        return self.max_tokens

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt, as text or as tokens."""
        prompt: Any = self.prompt
        if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)):
            return [prompt]
        return list(prompt)


class Conversation(_Body):
    """A conversation that is written: turns, the last of them the assistant's; or two texts."""

    messages: Annotated[list[Message], Fast, Field(min_length=1)] | None = None
    prompt: Text | None = None
    completion: Text | None = None


class Conversations(_Body):
    """``POST /v1/risk``."""

    conversations: Annotated[list[Conversation], Fast] = Field(min_length=1)
    model: Text | None = None
    detector: Text | None = None
    domain: Text = ""
    threshold: Text | None = None
    tokens: bool = False


def parse(kind: type[_Kind], raw: bytes) -> _Kind:
    """A body of JSON as what it should be.

    Raises:
        RequestError: No JSON, or not of that form.
    """
    try:
        return kind.model_validate(_plain(raw))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, filter(_is_field, first["loc"])))[:80]
        if first["type"] == "extra_forbidden":
            where = str(first["loc"][-1])[:80]
            raise RequestError(
                400, "unknown_parameter", f"unknown field {where!r:.60}", where
            ) from None
        said = first["msg"].removeprefix("Value error, ")
        raise RequestError(400, "invalid_value", f"{where or 'the body'}: {said}", where) from None


def _is_field(part: int | str) -> bool:
    """Whether a part of a place is a field or an index, rather than a branch of a union."""
    return isinstance(part, int) or (part.isidentifier() and part not in ("str", "int", "Part"))


def _plain(raw: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        return json.loads(raw, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        said = str(error) or "nested too deep"
        raise RequestError(400, "invalid_json", f"the body is no JSON: {said:.200}") from None


def asked_of(
    body: Chat | Completion, prompts: Sequence[Sequence[int]], offer: Offer, seed: int
) -> list[Asked]:
    """What a body asks of each of its answers, within what the operator allows.

    Raises:
        RequestError: More than that.
    """
    # More than may be held would be told to ask again for ever.
    most = min(offer.limits.choices, offer.limits.waiting)
    own, n = body.hlens, body.n or 1
    if (n_answers := n * len(prompts)) > most:
        said = f"{count(n_answers, 'answer')}; this server gives at most {most} to a request"
        raise RequestError(400, "too_many_choices", said, "n")
    policy = own.policy or offer.allowed[0]
    if policy not in offer.allowed:
        said = f"policy {policy!r:.60} is not allowed here; choose {', '.join(offer.allowed)}"
        raise RequestError(400, "policy_not_allowed", said, "hlens.policy")
    detector, gate = offer.watcher(own.detector, own.domain), offer.gate(own.domain)
    threshold = None if own.threshold is None else flagging(own.threshold)
    for name in (detector, gate):
        if name is not None:
            offer.rule(name, threshold, own.domain)  # refuses before anything is written
    return [
        Asked(
            prompt,
            Settings(
                max_new_tokens=length,
                temperature=1.0 if body.temperature is None else body.temperature,
                top_k=body.top_k or 0,
                top_p=body.top_p or 1.0,
            ),
            mix_seed(seed, n * place + i),
            stop=body.words,
            dose=body.model if body.model in offer.doses else None,
            detector=detector,
            gate=gate,
            domain=own.domain,
            policy=policy,
            threshold=threshold,
        )
        for place, prompt in enumerate(prompts)
        for length in [_length(body.limit, prompt, offer)]
        for i in range(n)
    ]


def _length(asked: int | None, prompt: Sequence[int], offer: Offer) -> int:
    """How long the answer may be: as asked, or as the operator allows and the model can read."""
    offer.model.check_prompts([prompt])
    most = offer.limits.new_tokens
    if asked is not None and asked > most:
        said = f"{count(asked, 'token')}; this server writes at most {most}"
        raise RequestError(400, "too_many_tokens", said, "max_tokens")
    left = most if offer.positions is None else offer.positions - len(prompt)
    if left < (asked or 1):
        said = (
            f"{count(len(prompt), 'token')} of prompt and {asked or 1} of answer; {offer.name} "
            "reads "
            f"{offer.positions} in all"
        )
        raise RequestError(400, "context_length_exceeded", said)
    return asked or min(most, left)
