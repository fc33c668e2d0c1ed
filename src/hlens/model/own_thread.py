"""Hooks that act in the thread that set them, and in no other.

A hook of torch belongs to a module, so that every thread that runs the model would meet the edits
and the readings of all others, and count its tokens in their receipts.
"""

from collections.abc import Callable
from threading import get_ident
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


def hook_input(module: nn.Module, hook: Callable[..., Any], **options: Any) -> RemovableHandle:
    """Call a forward pre-hook before a module runs in this thread, until the `with` block ends."""
    return module.register_forward_pre_hook(_in_this_thread(hook), **options)


def hook_output(module: nn.Module, hook: Callable[..., Any], **options: Any) -> RemovableHandle:
    """Call a forward hook after a module ran in this thread, until the `with` block ends."""
    return module.register_forward_hook(_in_this_thread(hook), **options)


def _in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    own = get_ident()

    def act(*args: Any) -> Any:
        return hook(*args) if get_ident() == own else None

    return act
