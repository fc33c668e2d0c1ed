"""Tokens to text as they come: whole characters, thoughts apart, nothing behind a stop word."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers.decoders import DecodeStream

UNFINISHED = "�"  # what a character looks like whose last bytes have not come


@dataclass(eq=False)
class Decoder:
    """Text of tokens, piece by piece; its pieces together are the text of all."""

    tokenizer: Any
    tokens: list[int] = field(default_factory=list)
    given: str = ""

    def __post_init__(self) -> None:
        self.backend = getattr(self.tokenizer, "backend_tokenizer", None)
        self.stream = DecodeStream(skip_special_tokens=True)

    def add(self, token: int) -> str:
        """The text that a token adds; empty where a character is not whole yet."""
        self.tokens.append(token)
        if self.backend is not None:
            return self._give(self.stream.step(self.backend, token) or "")
        whole = self._whole()
        return "" if whole.endswith(UNFINISHED) else self._give(whole.removeprefix(self.given))

    def rest(self) -> str:
        """What has not been given: the bytes of a character that never became whole."""
        whole = self._whole()
        return self._give(whole[len(self.given) :]) if whole.startswith(self.given) else ""

    def _whole(self) -> str:
        return self.tokenizer.decode(self.tokens, skip_special_tokens=True) if self.tokens else ""

    def _give(self, piece: str) -> str:
        self.given += piece
        return piece


@dataclass(eq=False)
class Stopper:
    """Lets text through up to a stop word; what may be the beginning of one waits."""

    words: Sequence[str]
    waiting: str = ""
    met: bool = False

    def add(self, piece: str) -> str:
        """The text that may be given."""
        if self.met:
            return ""
        self.waiting += piece
        found = [at for word in self.words if (at := self.waiting.find(word)) >= 0]
        if found:
            self.met = True
            given, self.waiting = self.waiting[: min(found)], ""
            return given
        keep = max((_begun(self.waiting, word) for word in self.words), default=0)
        cut = len(self.waiting) - keep
        given, self.waiting = self.waiting[:cut], self.waiting[cut:]
        return given

    def rest(self) -> str:
        """What waited, where no stop word came."""
        given, self.waiting = self.waiting, ""
        return given


def _begun(text: str, word: str) -> int:
    """How many characters at the end of a text may begin a word.

    >>> _begun("on", "note"), _begun("one", "two")
    (1, 0)
    """
    most = min(len(word) - 1, len(text))
    return next((n for n in range(most, 0, -1) if text.endswith(word[:n])), 0)
