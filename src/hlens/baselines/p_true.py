"""P(True): the model is asked whether its own answer is true.

Kadavath et al. 2022, arXiv 2207.05221. The score is ``-P(True)``, with ``P(True) = p("True") /
(p("True") + p("False"))`` for the first token of the reply to "Is the proposed answer true or
false? Respond with one word", asked before question and answer (in the model's own chat format, or
as text to be continued). Nothing is learned. One more forward pass, over a prompt of its own. It
misleads with small models, which say "True" or "False" by habit: the score then follows the form of
question and answer.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.baselines._rival import Rival
from hlens.errors import HlensError
from hlens.model import Model, next_token_logprobs
from hlens.prompts import Style
from hlens.types import Evidence

DISPLAY = "P(True)"

# What all prompts share comes first, so that it is run once for all of them.
INSTRUCTION = "Is the proposed answer true or false? Respond with one word, True or False."
PROMPT = "Question: {question}\nProposed answer: {answer}"
CONTINUED = "\nThe proposed answer is"  # Kadavath et al. 2022, for text to be continued
TRUE = ("True", " True", "true", " true")
FALSE = ("False", " False", "false", " false")


def probability_true(
    model: Model,
    questions: Sequence[str],
    contexts: Sequence[str],
    answers: Sequence[str],
    *,
    style: Style = "chat",
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, " example"]:
    """Probability of a reply that begins with "True", among those with "True" or "False".

    Small models put most of their mass on neither word; the share of the two is taken all the same.
    A context may be empty. In style ``"completion"`` the model continues a text instead of being
    chatted with. `progress` is called with (prompts done, prompts in all).
    """
    chat = style == "chat" and bool(getattr(model.tokenizer, "chat_template", None))
    prompts = []
    for question, context, answer in zip(questions, contexts, answers, strict=True):
        text = PROMPT.format(question=question, answer=answer) + ("" if chat else CONTINUED)
        whole = "\n\n".join(part for part in (INSTRUCTION, context, text) if part)
        prompts.append(model.encode(whole, chat=chat))
    true, false = _first_tokens(model, TRUE), _first_tokens(model, FALSE)
    true, false = true - false, false - true  # a token of a space alone fits both
    if not true or not false:
        raise HlensError(f"{model.name}: its tokenizer begins 'True' and 'False' with one token")
    probabilities = torch.empty(len(prompts))
    done = 0
    for batch, logprobs in next_token_logprobs(model, prompts):
        yes = logprobs[:, sorted(true)].logsumexp(dim=1)
        no = logprobs[:, sorted(false)].logsumexp(dim=1)
        probabilities[batch] = torch.sigmoid(yes - no)
        done += len(batch)
        if progress:
            progress(done, len(prompts))
    return probabilities


def _first_tokens(model: Model, words: Sequence[str]) -> frozenset[int]:
    """The tokens that these words begin with."""
    encode = model.tokenizer.encode
    return frozenset(encode(word, add_special_tokens=False)[0] for word in words)


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    return -torch.as_tensor(test.p_true)


rival = Rival(
    "p_true", frozenset({"p_true"}), _score, learns=False, says="the model doubts its answer"
)
