"""Out-of-fold scores of several training sets on the same examples."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.fitting import Probe, fit_detector
from hlens.types import Contributions

Members = Bool[np.ndarray, " example"]
Progress = Callable[[int, int], None]
Source = tuple[str, str | None]  # a training set, and the one domain it is tested on or None

SCORES = [
    "train", "test", "question_id", "group", "hallucinated", "fold", "score", "n_train", "note",
]  # fmt: skip


class CrossFit:
    """Scores of each training set on all examples, filled in fold by fold.

    With a limit, each fit draws at most so many examples of each label. `failed` says why a
    training set could not be fitted, by its index.
    """

    def __init__(
        self,
        data: Contributions,
        fold: Int[Tensor, " example"],
        *,
        n_sources: int,
        limit: dict[bool, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.data, self.fold, self.limit, self.seed = data, fold, limit, seed
        self.values: Float[np.ndarray, "source example"] = np.full((n_sources, len(data)), np.nan)
        self.n_train = np.full(n_sources, len(data))  # of the fold that was fitted on fewest
        self.failed: dict[int, str] = {}

    def fit(
        self, members: Sequence[Members], probe: Probe, *, progress: Progress | None = None
    ) -> "CrossFit":
        """Fit the members of each training set outside each fold, and score all of that fold."""
        parts = range(int(self.fold.max()) + 1)
        for source, chosen in enumerate(members):
            for part in parts:
                if source not in self.failed:
                    self._fit_fold(source, chosen, probe, part)
                if progress is not None:
                    progress(source * len(parts) + part + 1, len(members) * len(parts))
        return self

    def _fit_fold(self, source: int, members: Members, probe: Probe, part: int) -> None:
        held_out = (self.fold == part).numpy()
        rows = np.flatnonzero(members & ~held_out)
        if self.limit is not None:
            draw = np.random.default_rng([self.seed, part])
            rows = _sample_of_each_label(rows, self.data.labels.numpy(), self.limit, draw)
        self.n_train[source] = min(self.n_train[source], len(rows))
        try:
            detector = fit_detector(self.data.select(torch.from_numpy(rows)), probe)
        except HlensError as error:  # one domain too small must not lose all the others
            self.failed[source] = str(error)
            return
        # Only the selected rows are read: a sparse probe scores without the rest.
        chosen = detector.weights.flatten().nonzero().flatten()
        values = self.data.rows(chosen).double()
        weights = detector.weights.flatten()[chosen].double()
        scores = (weights @ values + detector.bias).numpy()
        self.values[source, held_out] = scores[held_out]

    def table(self, sources: Sequence[Source]) -> pd.DataFrame:
        """The scores in long form, given the name of each training set and what it is tested on.

        Returns:
            One row an example and training set: ``train, test`` (its domain), ``question_id, group,
            hallucinated, fold, score, n_train`` (of the smallest fit) and ``note``, why there is no
            score.
        """
        frame = pd.DataFrame(
            {
                "test": self.data.domains,
                "question_id": self.data.question_ids,
                "group": self.data.groups,
                "hallucinated": self.data.labels.numpy(),
                "fold": self.fold.numpy(),
            }
        )
        parts = []
        for source, (name, tested) in enumerate(sources):
            own = frame.assign(train=name, score=self.values[source])
            own["n_train"] = self.n_train[source]
            own["note"] = self.failed.get(source, "")
            parts.append(own if tested is None else own.loc[own["test"] == tested])
        return pd.concat(parts, ignore_index=True).reindex(columns=SCORES)


def smallest_counts(data: Contributions, fold: Int[Tensor, " example"]) -> dict[bool, int]:
    """For each label, the fewest examples that any domain can train on in any fold."""
    label, names, number = data.labels.numpy(), np.asarray(data.domains), fold.numpy()
    return {
        y: min(
            int(((names == domain) & (label == y) & (number != part)).sum())
            for domain in set(data.domains)
            for part in np.unique(number)
        )
        for y in (True, False)
    }


def _sample_of_each_label(
    rows: np.ndarray, label: np.ndarray, limit: dict[bool, int], draw: np.random.Generator
) -> np.ndarray:
    """At most so many examples of each label, at random."""
    mixed = draw.permutation(rows)
    return np.sort(np.concatenate([mixed[label[mixed] == y][:n] for y, n in limit.items()]))
