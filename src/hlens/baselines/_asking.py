"""P(True): the model is asked whether its own answer is true, and its next token is read."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.model import Model, next_token_logprobs

# What all prompts share stands first, so that it is run once for all of them.
ASKED = "Is the proposed answer true or false? Respond with one word, True or False."
PROMPT = "Question: {question}\nProposed answer: {answer}"
CONTINUED = "\nThe proposed answer is"  # Kadavath et al. 2022, for text to be continued
TRUE = ("True", " True", "true", " true")
FALSE = ("False", " False", "false", " false")


def asked_true(
    model: Model,
    questions: Sequence[str],
    contexts: Sequence[str],
    answers: Sequence[str],
    completion: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, " example"]:
    """Probability of a reply that begins with "True", among those with "True" or "False".

    Small models put most of their mass on neither word; the share is what they say all the same.

    Args:
        model: The model.
        questions: Text of each question.
        contexts: Text that each is about, or nothing.
        answers: The answer that is proposed to each.
        completion: Whether the model continues a text, and is not chatted with.
        progress: Called with (prompts done, prompts in all).
    """
    prompts = [
        _prompt(model, *asked, completion)
        for asked in zip(questions, contexts, answers, strict=True)
    ]
    true, false = first_tokens(model, TRUE), first_tokens(model, FALSE)
    true, false = true - false, false - true  # a token of a space alone tells nothing
    if not true or not false:
        raise HlensError(f"{model.name}: its tokenizer begins 'True' and 'False' with one token")
    found = torch.empty(len(prompts))
    done = 0
    for batch, logprobs in next_token_logprobs(model, prompts):
        yes = logprobs[:, sorted(true)].logsumexp(dim=1)
        no = logprobs[:, sorted(false)].logsumexp(dim=1)
        found[batch] = torch.sigmoid(yes - no)
        done += len(batch)
        if progress:
            progress(done, len(prompts))
    return found


def _prompt(model: Model, question: str, context: str, answer: str, completion: bool) -> list[int]:
    text = PROMPT.format(question=question, answer=answer)
    whole = "\n\n".join(part for part in (ASKED, context, text) if part)
    chat = not completion and bool(getattr(model.tokenizer, "chat_template", None))
    return model.encode(whole if chat else whole + CONTINUED, chat=chat)


def first_tokens(model: Model, words: Sequence[str]) -> frozenset[int]:
    """The tokens that these words begin with."""
    encode = model.tokenizer.encode
    return frozenset(encode(word, add_special_tokens=False)[0] for word in words)
