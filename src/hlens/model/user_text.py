"""Text that stays text: a question cannot close its own turn.

Problem: whoever tokenizes a user's text finds "<|im_end|>" in it and makes it the token that ends a
turn; what follows is then the system's word. A chat template makes it worse: it renders one text,
in which the user's tokens and its own look alike.

Idea: a text that holds no such string (nearly every one) is tokenized as ever. In the others the
strings are put behind placeholders while the template renders, so that every control token left is
the template's own; the stretches between those are then tokenized with their strings as text.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from itertools import pairwise
from typing import Any

from hlens.errors import HlensError, one_line
from hlens.model.time_limit import limiting_time

SECONDS = 10.0  # that a chat template may take
_ENDING: set[str] = set()  # chat templates that ended
# Placeholders are characters of private use, to which no template gives a meaning.
FIRST_PLACEHOLDER = 0xE000


def encode_text(tokenizer: Any, text: str, *, add_special_tokens: bool = True) -> list[int]:
    """Token ids of a text, none of whose words becomes a control token.

    With `add_special_tokens`, what the tokenizer puts around every text is there.
    """
    controls = _controls(tokenizer)
    if controls is None or not controls.search(text):
        return list(tokenizer(text, add_special_tokens=add_special_tokens).input_ids)
    options = {"add_special_tokens": add_special_tokens, "split_special_tokens": True}
    ids = list(tokenizer(text, **options).input_ids)
    tags = _ids_of_tags(tokenizer)
    if not tags.intersection(ids):
        return ids
    # Tags that the tokenizer does not call special are found all the same, unless they are cut.
    cuts = [0, *((m.start() + m.end()) // 2 for m in controls.finditer(text)), len(text)]
    pieces = [text[a:b] for a, b in pairwise(cuts)]
    ids = list(tokenizer(pieces[0], **options).input_ids)
    for piece in pieces[1:]:
        ids += tokenizer(piece, add_special_tokens=False, split_special_tokens=True).input_ids
    return ids


def encode_turns(
    tokenizer: Any, turns: Sequence[Mapping[str, str]], name: str, options: Mapping[str, Any]
) -> list[int]:
    """Token ids of a conversation in the chat template, open for the assistant's next turn.

    Raises:
        HlensError: The template refuses these turns; with its own words.
    """
    controls = _controls(tokenizer)
    contents = "".join(turn["content"] for turn in turns)
    if controls is None or not controls.search(contents):
        encoded = _apply(tokenizer, turns, name, return_dict=True, **options)
        return list(encoded["input_ids"])
    strings = sorted(set(controls.findall(contents)))
    taken = contents + str(tokenizer.chat_template)
    free = (chr(i) for i in range(FIRST_PLACEHOLDER, 0xF8FF) if chr(i) not in taken)
    hidden = dict(zip(strings, free, strict=False))
    shown = {placeholder: string for string, placeholder in hidden.items()}
    hiding = [
        {**turn, "content": controls.sub(lambda m: hidden[m[0]], turn["content"])} for turn in turns
    ]
    text = _apply(tokenizer, hiding, name, tokenize=False, **options)
    ids: list[int] = []
    before = ""  # the template's own words, not yet encoded
    for part in re.split(f"({controls.pattern})", text):
        words = "".join(shown.get(character, character) for character in part)
        if words == part:
            before += part
            continue
        ids += tokenizer(before, add_special_tokens=False).input_ids if before else []
        ids += encode_text(tokenizer, words, add_special_tokens=False)
        before = ""
    return ids + (list(tokenizer(before, add_special_tokens=False).input_ids) if before else [])


def _apply(tokenizer: Any, turns: Sequence[Mapping[str, str]], name: str, **options: Any) -> Any:
    template = str(getattr(tokenizer, "chat_template", ""))
    # The sandbox bounds one loop and not loops in loops; a template that ended once is known to.
    limit = nullcontext() if template in _ENDING else limiting_time(SECONDS)
    try:
        with limit:
            made = tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, **options)
    except Exception as error:  # a template from outside raises anything
        said = one_line(str(error)) or type(error).__name__
        if isinstance(error, TimeoutError):
            said = f"it has not ended after {SECONDS:g} seconds"
        roles = ", ".join(turn["role"] for turn in turns)
        raise HlensError(
            f"the chat template of {name} refuses a conversation of {roles}: {said[:300]}; ask "
            "without what it refuses, or in style 'completion'"
        ) from error
    _ENDING.add(template)
    return made


def _controls(tokenizer: Any) -> "re.Pattern[str] | None":
    """What finds the strings that stand for control tokens; None where there are none."""
    template = getattr(tokenizer, "chat_template", None) or ""
    if not hasattr(tokenizer, "added_tokens_decoder"):
        return None
    return _find_controls(tokenizer, str(template), len(tokenizer))


@lru_cache(maxsize=8)  # thousands of added tokens, and a prompt is encoded for every question
def _find_controls(tokenizer: Any, template: str, size: int) -> "re.Pattern[str] | None":
    strings = {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        # Not the runs of spaces that some vocabularies add; but tags that a template writes.
        if token.content.strip() and (token.special or token.content in template)
    }
    found = "|".join(map(re.escape, sorted(strings, key=lambda s: (-len(s), s))))
    return re.compile(found) if found else None


def _ids_of_tags(tokenizer: Any) -> set[int]:
    """Ids of the added tokens that are not called special but are written by the template."""
    template = str(getattr(tokenizer, "chat_template", None) or "")
    added = tokenizer.added_tokens_decoder.items()
    return {id for id, token in added if not token.special and token.content in template}
