"""What an audit reads of a study: its evidence, its covariates, and the same measured otherwise."""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hlens import baselines, judges, metrics
from hlens.audit import covariates, second_labels
from hlens.audit.judgements import known_evidence
from hlens.contributions import Ask
from hlens.model import Settings
from hlens.store.evidence import load_evidence, save_evidence
from hlens.types import Contributions, Evidence

if TYPE_CHECKING:
    from hlens.study.deeper import Study

SECOND_JUDGE = "substring"  # the loose rule of the paper's official code


class AuditReading:
    """The readings of one audit.

    Args:
        study: The study.
        quick: Run the model no further.
    """

    def __init__(self, study: "Study", quick: bool = False) -> None:
        self.study, self.how, self.quick = study, study.recipe.evaluation, quick
        self.seed = study.recipe.seed

    @cached_property
    def data(self) -> Contributions:
        """The contributions of the study."""
        return self.study.contributions()

    @cached_property
    def in_test(self) -> np.ndarray:
        """Which examples are held out."""
        held_out = set(self.study.split()[1].groups)
        return np.array([group in held_out for group in self.data.groups])

    @cached_property
    def covariates(self) -> pd.DataFrame:
        """What could stand in for truth."""
        return covariates(self.study.examples(), self.study.judgements())

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels of training and test part."""
        labels = self.data.labels.numpy()
        return labels[~self.in_test], labels[self.in_test]

    def groups(self) -> tuple[list[str], list[str]]:
        """Groups of training and test part."""
        groups = np.asarray(self.data.groups)
        return list(groups[~self.in_test]), list(groups[self.in_test])

    def evidence(self) -> Evidence:
        """What the rivals read, in one forward pass; in a quick audit what the study holds."""
        if self.quick:
            return known_evidence(
                self.study.examples(), self.study.judgements(), contributions=self.data
            )
        study, how, also = self.study, self.study.recipe.sampling, self.otherwise
        folder = study.folder / "audit" / "evidence"

        def make() -> Evidence:
            return baselines.gather(
                study.model,
                study.examples(),
                study.responses(),
                self.data,
                seed=self.seed,
                settings=Settings(how.max_new_tokens, how.temperature, how.top_k, how.top_p),
                completion=study.completion,
                also=also,
                progress=lambda step, done, total: study.reporter(f"audit: {step}")(done, total),
            )

        return study.step(
            "audit evidence",
            [study.key("measure"), how, self.seed, sorted(also)],
            make,
            lambda found: save_evidence(found, folder),
            lambda: load_evidence(folder, self.data),
        )

    @cached_property
    def otherwise(self) -> dict[str, Ask]:
        """The same measure at the other position, and over the other region, where they differ."""
        how = self.study.recipe.measure
        own = Ask(metrics.by_name(how.metric), how.region, how.reduce, how.position)
        region = "response" if how.region == "answer" else "answer"
        turned = "predicted" if how.position == "read" else "read"
        asks: dict[str, Ask] = {}
        if metrics.NEEDS.get(own.metric) != "direction":  # that is of a predicted token always
            asks[f"where tokens are {turned}"] = replace(own, position=turned)
        over = f"over the {'whole ' if region == 'response' else ''}{region}"
        asks[over] = replace(own, region=region)
        examples = self.study.examples()
        return {
            name: ask
            for name, ask in asks.items()
            if any(ask.positions(e).tolist() != own.positions(e).tolist() for e in examples)
        }

    def second_judge(self) -> tuple[Tensor, Tensor]:
        """Labels of training and test part by the second judge; -1 where it gives none."""
        second = judges.judge(self.study.responses(), judges.named(SECOND_JUDGE))
        labels = second_labels(self.study.examples(), second)
        held_out = torch.from_numpy(self.in_test)
        return labels[~held_out], labels[held_out]
