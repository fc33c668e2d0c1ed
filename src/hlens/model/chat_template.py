"""Options of a chat template: named ones alone, for a template ignores what it does not know."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from hlens.errors import HlensError

FREE = ("tools", "documents")  # arguments of transformers that a user may give


def check_options(tokenizer: Any, options: Mapping[str, Any], name: str) -> None:
    """Raise `HlensError` for an option that the model's chat template does not read.

    A misspelt ``enable_thinkng`` would be passed over in silence, and the model would think.
    """
    template = getattr(tokenizer, "chat_template", None)
    if not template:
        raise HlensError(
            f"{name} has no chat template to give {', '.join(options)} to; leave the template "
            "options out, or use a model with a chat template"
        )
    text = template if isinstance(template, str) else "\n".join(map(str, template.values()))
    taken = inspect.signature(tokenizer.apply_chat_template).parameters
    for option in options:
        if (option in taken or option == "messages") and option not in FREE:
            raise HlensError(
                f"template option {option!r} is set by hlens itself; give only what the chat "
                "template reads, such as enable_thinking"
            )
        if not re.search(rf"\b{re.escape(option)}\b", text):
            raise HlensError(
                f"the chat template of {name} does not read {option!r}; expected a name that "
                "occurs in it, such as enable_thinking where the model can think: see "
                "model.tokenizer.chat_template"
            )
