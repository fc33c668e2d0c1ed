"""Prompts: a question as the text, and the tokens, that the model reads."""

from collections.abc import Sequence
from string import ascii_uppercase

from hlens.model import Model
from hlens.types import Question

INSTRUCTION = "Respond with the answer only, without any explanation."
COMPLETION = "\nAnswer:"  # what the paper puts after a question to a base model


def encode_prompt(
    model: Model,
    question: Question,
    *,
    instruction: str = INSTRUCTION,
    chat: bool | None = None,
    completion: bool = False,
) -> list[int]:
    """Token ids of the prompt that `hlens.sample` gives the model, with these options."""
    if completion:
        return model.encode(prompt_text(question, COMPLETION), chat=False)
    return model.encode(prompt_text(question, instruction), chat=chat)


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


def format_options(choices: Sequence[str]) -> str:
    r"""Options with their letters, one a line.

    >>> format_options(["ant", "bat"])
    'A. ant\nB. bat'
    """
    return "\n".join(f"{a}. {b}" for a, b in zip(ascii_uppercase, choices, strict=False))
