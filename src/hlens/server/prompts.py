"""Prompts as tokens, by a tokenizer of the encoding thread's own."""

from collections.abc import Sequence

from hlens.errors import HlensError
from hlens.model import encode_text, encode_turns
from hlens.prompts import check_turns
from hlens.server.offer import Offer


def encode_conversation(offer: Offer, turns: Sequence[dict[str, str]]) -> list[int]:
    """Token ids of turns, open for the assistant's next one.

    Raises:
        HlensError: No chat template, or one that refuses these turns.
    """
    check_turns(list(turns))
    model = offer.model
    if not getattr(offer.encoding, "chat_template", None):
        raise HlensError(
            f"{offer.name} has no chat template; ask it under /v1/completions, with a text to be "
            "continued"
        )
    return encode_turns(offer.encoding, turns, model.name, model.template_options)


def encode_prompt(offer: Offer, prompt: str | Sequence[int]) -> list[int]:
    """Token ids of a text to be continued, or those that are given."""
    return encode_text(offer.encoding, prompt) if isinstance(prompt, str) else list(prompt)
