r"""Prompts: a question as the text, and the tokens, that the model reads.

Problem: asked bare, a small model repeats the question, offers help or never ends; such a reply is
no answer, and a probe that reads it reads no falsehood.

Idea: worked examples before the question show what an answer looks like, as turns of a chat or as
text to be continued. The reply then is an answer, right or wrong::

    Question: What is the capital of Kenya?
    Answer: Nairobi

    Question: Who wrote Emma?
    Answer:

Worked example:

    >>> kenya = Question("1", "general", "What is the capital of Kenya?", ("Nairobi",))
    >>> emma = Question("2", "general", "Who wrote Emma?", ("Jane Austen",))
    >>> completion_text(emma, [kenya]).splitlines()[:2]
    ['Question: What is the capital of Kenya?', 'Answer: Nairobi']
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, Literal, get_args

from hlens import lookup
from hlens.errors import HlensError
from hlens.kinds import explain_public
from hlens.model import Model
from hlens.types import Question

INSTRUCTION = "Respond with the answer only, without any explanation."
COMPLETION = "\nAnswer:"  # what the paper puts after a question to a base model

Style = Literal["chat", "completion"]


def encode_prompt(
    model: Model,
    question: Question,
    *,
    instruction: str = INSTRUCTION,
    style: Style = "chat",
    worked: Sequence[Question] = (),
) -> list[int]:
    """Token ids of the prompt that `hlens.sample` gives the model.

    Args:
        model: The model.
        question: What is asked.
        instruction: Put after each question of a chat.
        style: ``"chat"`` asks in the chat template, each worked example a turn with its reply; a
            model without a template gets the bare text. ``"completion"`` gives text to be
            continued, without an instruction.
        worked: Worked examples: questions whose first answer is shown as the reply.

    A question may say itself how it was asked, in ``meta["asked_as"]`` (`asked_as`): that decides.

    Raises:
        HlensError: Worked examples, turns or a system message for a model without a chat template.
    """
    if style not in get_args(Style):
        raise lookup.unknown("style", style, get_args(Style))
    asked = asked_as(question)
    if "prompt" in asked:
        return model.encode(asked["prompt"], chat=False)
    if asked:
        _check_template(model, "turns or a system message", "a bare prompt")
        turns = asked.get("messages") or [
            {"role": "system", "content": asked["system"]},
            {"role": "user", "content": prompt_text(question, instruction)},
        ]
        return model.encode_chat(turns)
    if style == "completion":
        return model.encode(completion_text(question, worked), chat=False)
    if not worked:
        return model.encode(prompt_text(question, instruction))
    _check_template(model, "worked examples", "style='completion'")
    turns: list[dict[str, str]] = []
    for example in worked:
        turns.append({"role": "user", "content": prompt_text(example, instruction)})
        turns.append({"role": "assistant", "content": reply_text(example)})
    return model.encode_chat(
        [*turns, {"role": "user", "content": prompt_text(question, instruction)}]
    )


def asked_as(question: Question) -> Mapping[str, Any]:
    """How a question was put to the model, where it says so; empty where it does not.

    Returns:
        ``{"messages": [{"role": ..., "content": ...}, ...]}``, all turns before the response;
        ``{"prompt": text}``, a text without a template; or ``{"system": text}``, a system message
        before the question.

    Raises:
        HlensError: It is none of these.
    """
    asked = question.meta.get("asked_as")
    if asked is None:
        return {}
    if not isinstance(asked, Mapping) or [*asked] not in (["messages"], ["prompt"], ["system"]):
        raise HlensError(
            f"asked_as of question {question.id!r} is {asked!r:.60}; expected one of messages, "
            "prompt and system"
        )
    [(how, value)] = asked.items()
    if how == "messages":
        check_turns(value)
    elif not isinstance(value, str):
        raise HlensError(f"{how} is {value!r:.60}; expected a text")
    return asked


def check_turns(turns: Any) -> None:
    """Raise `HlensError` unless these are turns of a chat, the last of them not the assistant's.

    >>> check_turns([{"role": "assistant", "content": "Hello."}])
    Traceback (most recent call last):
    hlens.errors.HlensError: the last message is the assistant's; leave the response out of them
    """
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise HlensError(f"messages is {turns!r:.60}; expected a list of role and content")
    for turn in turns:
        if not isinstance(turn, Mapping) or not all(
            isinstance(turn.get(key), str) for key in ("role", "content")
        ):
            raise HlensError(f"a message is {turn!r:.60}; expected texts under role and content")
    if turns[-1]["role"] == "assistant":
        raise HlensError("the last message is the assistant's; leave the response out of them")


def _check_template(model: Model, what: str, instead: str) -> None:
    if not getattr(model.tokenizer, "chat_template", None):
        raise HlensError(f"{model.name} has no chat template to put {what} in; use {instead}")


def prompt_text(question: Question, instruction: str = INSTRUCTION) -> str:
    r"""The user's message: context, question, options and instruction, where present.

    >>> prompt_text(Question("1", "general", "Which one?", ("b",), choices=("a", "b")), "Answer.")
    'Which one?\nA. a\nB. b\nAnswer.'
    >>> prompt_text(Question("1", "general", "Who wrote Emma?", ("Jane Austen",)), COMPLETION)
    'Who wrote Emma?\nAnswer:'
    """
    head = f"{question.context}\n\n" if question.context else ""
    if not question.choices or question.meta.get("options_in_question"):
        between = "" if instruction.startswith("\n") else " "
        return f"{head}{question.text}{between}{instruction}".strip()
    options = format_options(question.choices)
    return f"{head}{question.text}\n{options}\n{instruction.lstrip()}".strip()


def completion_text(question: Question, worked: Sequence[Question] = ()) -> str:
    r"""Text to be continued: worked examples with their replies, then the question without one.

    Without worked examples it is the prompt of arXiv 2512.01797 for base models.

    >>> completion_text(Question("1", "general", "Who wrote Emma?", ("Jane Austen",)))
    'Who wrote Emma?\nAnswer:'
    >>> begun = {"format": "completion"}
    >>> emma = Question("2", "general", "Emma was written by", ("Austen",), meta=begun)
    >>> completion_text(emma, [emma])
    'Emma was written by Austen\n\nEmma was written by'
    """
    if not worked:
        return _asked(question, "")
    shown = [f"{_asked(example, 'Question: ')} {reply_text(example)}" for example in worked]
    return "\n\n".join([*shown, _asked(question, "Question: ")])


def _asked(question: Question, heading: str) -> str:
    """A question up to where its answer begins; a text to be completed is its own beginning."""
    if question.meta.get("format") == "completion":
        return prompt_text(question, "")
    return heading + prompt_text(question, COMPLETION)


def reply_text(example: Question) -> str:
    """What a worked example shows as its reply: ``meta.reply``, or its first answer.

    Raises:
        HlensError: It has neither.
    """
    reply = example.meta.get("reply") or next(iter(example.answers), "")
    if not isinstance(reply, str) or not reply.strip() or "\n" in reply:
        raise HlensError(
            f"worked example {example.id!r} of domain {example.domain!r} has no reply to show; "
            "give it an answer, or meta.reply, of one line"
        )
    return reply.strip()


def format_options(choices: Sequence[str]) -> str:
    r"""Options with their letters, one a line.

    >>> format_options(["ant", "bat"])
    'A. ant\nB. bat'
    """
    return "\n".join(f"{a}. {b}" for a, b in zip(ascii_uppercase, choices, strict=False))


explain_public(globals())
