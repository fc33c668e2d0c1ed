"""Score the options of a question by their log-probability under a model."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import torch

from hlens.types import Question


def option_logprobs(
    model: Any, prompt: Callable[[Question], Sequence[int]] | None = None
) -> Callable[[Question], list[float]]:
    """A scorer for `hlens.judges.choice.by_logprob`: mean log-probability (nats) per token.

    The mean, since a sum favours short options.

    Args:
        model: A model of `hlens.load`.
        prompt: Token ids before the option; None encodes the context and the question without its
            options, as the model prompts.
    """
    ask = prompt or (lambda q: model.encode("\n\n".join(filter(None, (q.context, q.text)))))

    # A chat template ends where the answer begins; plain text needs a space before the answer.
    gap = "" if getattr(model.tokenizer, "chat_template", None) else " "

    def score(question: Question) -> list[float]:
        head = list(ask(question))
        options = [
            model.tokenizer.encode(gap + choice, add_special_tokens=False)
            for choice in question.choices
        ]
        return _scores(model, head, options)

    return score


def _scores(model: Any, head: list[int], options: list[list[int]]) -> list[float]:
    """Mean log-probability of each continuation of one prompt, in one padded batch."""
    longest = max(map(len, options))
    # Right padding: attention is causal, so an option never sees the padding after it.
    rows = [head + option + [0] * (longest - len(option)) for option in options]
    mask = [[1] * (len(head) + len(o)) + [0] * (longest - len(o)) for o in options]
    with torch.inference_mode():
        logits = model.hf(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            use_cache=False,
            **_only_last(model.hf, longest + 1),
        ).logits
    logprobs = logits[:, -longest - 1 : -1].float().log_softmax(-1)
    chosen = torch.tensor([row[len(head) :] for row in rows], device=model.device)
    each = logprobs.gather(-1, chosen[..., None])[..., 0].cpu()
    return [float(each[i, : len(o)].mean()) if o else float("-inf") for i, o in enumerate(options)]


def _only_last(hf: Any, n: int) -> dict[str, int]:
    """Skip the prompt's unembedding, which costs most of the time, where the model allows it."""
    return {"logits_to_keep": n} if "logits_to_keep" in signature(hf.forward).parameters else {}
