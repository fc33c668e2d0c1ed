"""What is asked: a question as the text, and the tokens, that the model reads."""

from collections.abc import Sequence
from string import ascii_uppercase

from hlens.model import Model
from hlens.types import Question

INSTRUCTION = "Respond with the answer only, without any explanation."
COMPLETION = "\nAnswer:"  # what the paper puts after a question to a base model


def prompt_of(
    model: Model,
    question: Question,
    instruction: str = INSTRUCTION,
    chat: bool | None = None,
    completion: bool = False,
) -> list[int]:
    """Token ids of what `hlens.sample` asks, with these options."""
    if completion:
        return model.encode(prompt_text(question, COMPLETION), chat=False)
    return model.encode(prompt_text(question, instruction), chat=chat)


def prompt_text(question: Question, instruction: str = INSTRUCTION) -> str:
    r"""What the user says: context, question, options and instruction, those that there are.

    >>> prompt_text(Question("1", "general", "Which one?", ("b",), choices=("a", "b")), "Answer.")
    'Which one?\nA. a\nB. b\nAnswer.'
    >>> prompt_text(Question("1", "general", "Who wrote Emma?", ("Jane Austen",)), COMPLETION)
    'Who wrote Emma?\nAnswer:'
    """
    head = f"{question.context}\n\n" if question.context else ""
    if not question.choices or question.meta.get("options_in_question"):
        between = "" if instruction.startswith("\n") else " "
        return f"{head}{question.text}{between}{instruction}".strip()
    return f"{head}{question.text}\n{lettered(question.choices)}\n{instruction.lstrip()}".strip()


def lettered(choices: Sequence[str]) -> str:
    r"""Options, one a line.

    >>> lettered(["ant", "bat"])
    'A. ant\nB. bat'
    """
    return "\n".join(f"{a}. {b}" for a, b in zip(ascii_uppercase, choices, strict=False))
