"""P(True): the model is asked whether its own answer is true, and its next token is read."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.model import Model, next_token_logprobs

PROMPT = (
    "Question: {question}\nProposed answer: {answer}\n"
    "Is the proposed answer true or false? Respond with one word, True or False."
)
TRUE = ("True", " True", "true", " true")
FALSE = ("False", " False", "false", " false")


def asked_true(
    model: Model,
    questions: Sequence[str],
    contexts: Sequence[str],
    answers: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, " example"]:
    """Probability of a reply that begins with "True", among those with "True" or "False".

    Small models put most of their mass on neither word; the share is what they say all the same.
    """
    prompts = []
    for question, context, answer in zip(questions, contexts, answers, strict=True):
        text = PROMPT.format(question=question, answer=answer)
        prompts.append(model.encode(f"{context}\n\n{text}" if context else text))
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


def first_tokens(model: Model, words: Sequence[str]) -> frozenset[int]:
    """The tokens that these words begin with."""
    encode = model.tokenizer.encode
    return frozenset(encode(word, add_special_tokens=False)[0] for word in words)
