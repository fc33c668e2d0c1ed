r"""Thoughts: what a thinking model writes before its answer, and where it ends.

Problem: Qwen3 and its like write ``<think>It may be Paris ... no, Lyon.</think> Lyon``. Whoever
judges the whole text finds the right answer inside the thought, measures the thought's tokens as
the answer's, and calls a thought that was cut off a hallucination.

Idea: a thought is cut off the response where the response comes into being, so that nothing behind
needs to know of thoughts: `Response.text` is what stands behind it, `Response.thought` says how
many tokens it takes, and all tokens stay as they were generated. Its tags are read off the chat
template (`tags_of`), and sought in the text with special tokens left in: some tokenizers hide their
tags from ordinary decoding. A template may open the thought itself, at the end of the prompt.

Example::

    prompt    ...<|im_start|>assistant\n<think>\n
    response  It may be Paris.\n</think>\n\nLyon
              `-- thought, unscored --------'`-- text: judged, located, measured as "response"

What no template says cannot be read: tags in words ("Here is my thought process:"), and tags that
the template puts together from parts. ``<think>`` is known without a template.
"""

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from hlens.kinds import explain_public
from hlens.types import Judgement, Response, Thought, Verdict

TAIL = 32  # tokens at the end of a prompt that may hold an opening tag


@dataclass(frozen=True)
class Tags:
    """What opens and what closes a thought."""

    opening: str
    closing: str


THINK = Tags("<think>", "</think>")
# </think>, </thinking>, </seed:think>, [/THINK], </reasoning>: the opening tag has no slash.
_CLOSING = re.compile(r"([<\[])/([\w:.-]*(?:think|thought|reason)[\w:.-]*)([>\]])", re.IGNORECASE)
_UNLIKE = (
    Tags("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    Tags("<|channel>thought", "<channel|>"),  # Gemma 4
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    Tags("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker
    Tags("◁think▷", "◁/think▷"),  # Kimi-VL
)


def tags_of(tokenizer: Any) -> list[Tags]:
    """The tags whose closing one the tokenizer's chat template names.

    >>> class Tokenizer:
    ...     chat_template = "{{ content.split('</seed:think>')[-1] }}"
    >>> tags_of(Tokenizer())
    [Tags(opening='<seed:think>', closing='</seed:think>')]
    """
    template = getattr(tokenizer, "chat_template", None) or ""
    if not isinstance(template, str):  # several, by name
        template = "\n".join(map(str, template.values()))
    return list(_tags_in(template))


@lru_cache(maxsize=8)  # asked of every token that is written under watch
def _tags_in(template: str) -> tuple[Tags, ...]:
    found = [Tags(f"{a}{name}{b}", f"{a}/{name}{b}") for a, name, b in _CLOSING.findall(template)]
    found += [tags for tags in _UNLIKE if tags.closing in template]
    return tuple(dict.fromkeys(found))


def find_thought(tokenizer: Any, prompt: Sequence[int], response: Sequence[int]) -> Thought | None:
    """The thought that a response begins with, or None.

    Args:
        tokenizer: Anything with ``decode(ids, skip_special_tokens=...)``; its ``chat_template``
            names further tags than ``<think>``.
        prompt: Token ids of the prompt, which may open the thought.
        response: Token ids that follow it.
    """
    if tokenizer is None or not response:
        return None
    named = tags_of(tokenizer)
    text = _raw(tokenizer, response)
    before = _raw(tokenizer, prompt[-TAIL:]).rstrip()
    for tags in dict.fromkeys([*named, THINK]):
        opened = before.endswith(tags.opening)
        begins = opened or text.lstrip().startswith(tags.opening)
        # A closing tag without an opening one: some models leave that out.
        end = text.find(tags.closing) if begins or tags in named else -1
        if end >= 0:
            n_tokens = _tokens_through(tokenizer, response, text[: end + len(tags.closing)])
            return Thought(_without(tags, text[:end]), n_tokens)
        if begins:
            return Thought(_without(tags, text), len(response), finished=False)
    return None


def may_be_opening(tokenizer: Any, text: str) -> bool:
    """Whether all that was written so far may be the beginning of a tag that opens a thought.

    >>> [may_be_opening(None, text) for text in (" <thi", "<think>", "Lyon", "")]
    [True, False, False, True]
    """
    begun = text.lstrip()
    openings = {tags.opening for tags in (*tags_of(tokenizer), THINK)}
    return any(one.startswith(begun) and one != begun for one in openings)


def may_close(tokenizer: Any, tokens: Sequence[int]) -> bool:
    """Whether a tag that closes a thought stands in these tokens, the last that were written."""
    text = _raw(tokenizer, tokens)
    return any(tags.closing in text for tags in {*tags_of(tokenizer), THINK})


def may_still_think(tokenizer: Any, response: Sequence[int]) -> bool:
    """Whether a response in which there is no thought so far may turn out to begin with one.

    >>> class Tokenizer:
    ...     chat_template = ""
    ...     def decode(self, ids, **_):
    ...         return "".join(map(chr, ids))
    >>> [may_still_think(Tokenizer(), text.encode()) for text in ("<thi", "Lyon")]
    [True, False]
    """
    if tokenizer is None:
        return False
    if tags_of(tokenizer):  # a closing tag may come without an opening one
        return True
    text = _raw(tokenizer, response).lstrip()
    return THINK.opening.startswith(text[: len(THINK.opening)])


def without_thought(response: Response) -> Response:
    """The response as a judge reads it, also where its thought is known by its text alone.

    >>> from hlens.types import Question
    >>> q = Question("1", "general", "Capital of France?", ("Paris",))
    >>> without_thought(Response(q, "<think>Paris? No.</think> Lyon", (), 0)).text
    ' Lyon'
    """
    text = response.text
    if response.thought or not text.lstrip().startswith(THINK.opening):
        return response
    inside, closing, behind = text.partition(THINK.closing)
    thought = _without(THINK, inside if closing else text)
    return replace(
        response, text=behind if closing else "", thought=Thought(thought, 0, bool(closing))
    )


def judge_behind_thought(response: Response, judge: Any) -> Judgement:
    """What a judge says of a response without its thought, in characters of the whole text."""
    read = without_thought(response)
    if read.thought and not read.thought.finished:
        return Judgement(response, Verdict.UNSCORED, "cut off")
    judgement: Judgement = judge(read)
    if read is response:
        return judgement
    shift = len(response.text) - len(read.text)
    start, stop = judgement.answer or (0, len(read.text))
    return replace(judgement, response=response, answer=(start + shift, stop + shift))


def count_tokens(response: Response, tokenizer: Any) -> int:
    """How many tokens after the prompt are thought, also where its text alone knows of it."""
    if without_thought(response) is response:
        return response.n_thought
    ids, n = response.token_ids, response.n_prompt
    found = find_thought(tokenizer, ids[:n], ids[n:])
    return found.n_tokens if found else 0


def _raw(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """Text of tokens, with the special tokens that tags may be."""
    return tokenizer.decode(list(token_ids), skip_special_tokens=False)


def _without(tags: Tags, text: str) -> str:
    return text.strip().removeprefix(tags.opening).strip()


def _tokens_through(tokenizer: Any, token_ids: Sequence[int], head: str) -> int:
    """How many tokens hold the head of a text, and the space behind it."""
    counts = range(len(token_ids) + 1)
    # Bisection decodes a handful of prefixes instead of all.
    n = bisect.bisect_left(
        counts, True, key=lambda n: _raw(tokenizer, token_ids[:n]).startswith(head)
    )
    if _raw(tokenizer, token_ids[:n])[len(head) :].strip():
        n -= 1  # a token of the tag's end and of the answer's beginning
    while n < len(token_ids) and _raw(tokenizer, token_ids[n : n + 1]).isspace():
        n += 1
    return n


explain_public(globals())
