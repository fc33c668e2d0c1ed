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

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Literal

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

    Raises:
        HlensError: Worked examples as a chat for a model without a chat template.
    """
    if style == "completion":
        return model.encode(completion_text(question, worked), chat=False)
    if not worked:
        return model.encode(prompt_text(question, instruction))
    if not getattr(model.tokenizer, "chat_template", None):
        raise HlensError(
            f"{model.name} has no chat template to put worked examples in; use style='completion'"
        )
    turns: list[dict[str, str]] = []
    for example in worked:
        turns.append({"role": "user", "content": prompt_text(example, instruction)})
        turns.append({"role": "assistant", "content": reply_text(example)})
    return model.encode_chat(
        [*turns, {"role": "user", "content": prompt_text(question, instruction)}]
    )


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
