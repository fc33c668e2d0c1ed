"""What counts as the other class: the training designs of the paper, and one that is fairer.

arXiv 2512.01797 trains answer tokens of hallucinated responses against three kinds of negatives:
answer tokens of true ones, and all other tokens of both. In its released data the answer is
nearly the whole response, so "other tokens" are mostly prompt and template, and 3-vs-1 largely
contrasts answer with prompt; negatives from within the response answer that.

Each design makes training contributions; a detector found on them reads, and is evaluated on,
answer tokens like any other.
"""

from dataclasses import replace

import pandas as pd
import torch

from hlens.errors import HlensError
from hlens.types import Contributions


def one_vs_one(answer: Contributions) -> Contributions:
    """Answer tokens of hallucinated against answer tokens of true responses: nothing is added."""
    return answer


def three_vs_one(answer: Contributions, other: Contributions) -> Contributions:
    """The paper's 3-vs-1: hallucinated answers against true answers and other tokens of both.

    `other` has the same examples on their other tokens; region ``"other"`` is the paper's,
    ``"response_other"`` keeps to the response. Examples without other tokens may be missing. The
    rows of the other tokens follow, labelled true; each keeps its group, so that both rows of an
    example fall on one side of every split.

    Raises:
        HlensError: Another model, formula or set of examples, or the same region twice.

    The classes are then unequal, by three to one where labels are balanced: `class_balance` says
    by how much, and ``SparseProbe(class_weight="balanced")`` weighs them alike. The paper does
    not weigh.
    """
    _check_pair(answer, other)
    values, labels = other.values.to(answer.values.dtype), torch.zeros_like(other.labels)
    negatives = replace(other, values=values, labels=labels, region=answer.region)
    return Contributions.concatenate([answer, negatives])


def class_balance(data: Contributions) -> pd.DataFrame:
    """Rows of each class and the weight that balances them: ``n, share, balanced_weight``.

    >>> data = Contributions(
    ...     torch.rand(4, 1, 2), torch.tensor([True, False, False, False]), tuple("abcd"),
    ...     ("x",) * 4, tuple("abcd"), torch.ones(4, dtype=torch.long))
    >>> class_balance(data).balanced_weight.round(2).tolist()
    [2.0, 0.67]
    """
    counts = {True: int(data.labels.sum()), False: int((~data.labels).sum())}
    rows = [
        {
            "hallucinated": label,
            "n": n,
            "share": n / len(data) if len(data) else float("nan"),
            "balanced_weight": len(data) / (2 * n) if n else float("nan"),
        }
        for label, n in counts.items()
    ]
    return pd.DataFrame(rows)


def _check_pair(answer: Contributions, other: Contributions) -> None:
    answer.provenance.check_same_model(other.provenance, "contributions of other tokens")
    shapes = (answer.n_layers, answer.d_mlp), (other.n_layers, other.d_mlp)
    if shapes[0] != shapes[1] or answer.metric != other.metric:
        raise HlensError(
            f"answer tokens are {answer.metric} of {shapes[0]} layers x neurons, other tokens "
            f"{other.metric} of {shapes[1]}; measure both with one model and metric"
        )
    if answer.region == other.region:
        raise HlensError(
            f"both contributions are of region {answer.region!r}; measure the second with "
            "region='other' or 'response_other'"
        )
    strangers = set(other.question_ids) - set(answer.question_ids)
    if strangers:
        raise HlensError(
            f"{len(strangers)} questions of the other tokens (such as {min(strangers)!r}) have no "
            "answer tokens; measure both on the same examples"
        )
