"""Examples without labels from plain texts, to realign on."""

from collections.abc import Iterable

import torch

from hlens.errors import HlensError
from hlens.model import Model
from hlens.types import Example

FIRST = 2  # token of a text that is read


def examples_of_texts(model: Model, texts: Iterable[str]) -> list[Example]:
    """Each text as an example whose answer is all of it but the first two tokens.

    Models park attention on the first token, and its neurons are like those of no other. The second
    is left out with it: a measure at the position that predicts a token would read the first there.
    The label of such an example is False and means nothing.

    Args:
        model: Whose tokenizer cuts the texts; its siblings read the same tokens.
        texts: Plain texts; those of fewer than three tokens are left out.

    Raises:
        HlensError: Fewer than two texts of three tokens or more, or no tokenizer.
    """
    cut = [model.encode(text, chat=False) for text in texts]
    ids = [tokens for tokens in cut if len(tokens) > FIRST]
    if len(ids) < 2:
        raise HlensError(
            f"{len(ids)} of {len(cut)} texts have three tokens or more; give at least two such "
            "texts to realign on, better a hundred"
        )
    return [
        Example(
            token_ids=torch.tensor(tokens), n_prompt=FIRST, start=FIRST, stop=len(tokens),
            hallucinated=False, question_id=f"text {number}", group=f"text {number}",
            domain="texts",
        )
        for number, tokens in enumerate(ids)
    ]  # fmt: skip
