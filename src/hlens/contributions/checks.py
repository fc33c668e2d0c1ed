"""What is checked before anything is run: the asks and the tokens."""

from collections import Counter
from collections.abc import Iterable, Sequence

from hlens.contributions.regions import Ask
from hlens.errors import HlensError
from hlens.kinds import describe
from hlens.metrics import names
from hlens.model import Model
from hlens.types import Example


def check_metrics(metrics: object) -> None:
    """Raise `HlensError` unless these are several functions: names are for recipes.

    >>> check_metrics(["cett"])
    Traceback (most recent call last):
    hlens.errors.HlensError: got the text 'cett' for a metric; expected a function, such as \
hlens.metrics.cett
    """
    if isinstance(metrics, str) or callable(metrics):
        raise HlensError(
            f"metrics: got {describe(metrics)}; expected a list, such as [metrics.cett]"
        )
    for metric in metrics if isinstance(metrics, Iterable) else ():
        if not callable(metric):
            known = isinstance(metric, str) and metric in names()
            raise HlensError(
                f"got {describe(metric)} for a metric; expected a function, such as "
                f"hlens.metrics.{metric if known else 'signed_cett'}"
            )


def distinct_asks(asks: Sequence[Ask]) -> list[Ask]:
    """The asks, each once; raises `HlensError` where two metrics have one name."""
    once = list(dict.fromkeys(asks))
    for (name, _), n in Counter(ask.key for ask in once).items():
        if n > 1:
            raise HlensError(
                f"two metrics are named {name!r}; results go by name, so give each a name of its "
                "own (a lambda has none)"
            )
    return once


def check_not_empty(asks: Sequence[Ask], examples: Sequence[Example], *, drop_empty: bool) -> None:
    """Raise `HlensError` when an ask has no token in an example, saying in how many.

    With `drop_empty`, only when it has none in all of them.
    """
    for ask in asks:
        empty = [e.question_id for e in examples if not len(ask.positions(e))]
        if len(empty) > (len(examples) - 1 if drop_empty else 0):
            mend = "choose another region" if drop_empty else "leave them out with drop_empty=True"
            if ask.region == "thought" and len(empty) == len(examples):
                mend = "these responses hold no thought: ask a model that thinks aloud"
            raise HlensError(
                f"region {ask.label!r} is empty in {len(empty)} of {len(examples)} examples "
                f"(first: {empty[0]!r}); {mend}"
            )


def check_tokens(model: Model, examples: Sequence[Example]) -> None:
    """Raise `HlensError` for tokens that the model does not have, or more than it can place."""
    vocabulary, limit = model.n_tokens, model.n_positions
    for example in examples:
        if int(example.token_ids.max()) >= vocabulary or int(example.token_ids.min()) < 0:
            raise HlensError(
                f"example {example.question_id!r} holds token {int(example.token_ids.max())}, and "
                f"{model.name} has {vocabulary} tokens; locate the examples with this model"
            )
        if limit is not None and len(example.token_ids) > limit:
            raise HlensError(
                f"example {example.question_id!r} has {len(example.token_ids)} tokens, and "
                f"{model.name} has {limit} positions; ask shorter questions"
            )
