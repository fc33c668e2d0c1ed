"""What a study asks of its domains: does a probe carry over, and do they share neurons?"""

import re
from dataclasses import replace

import pandas as pd

from hlens.evaluation import (
    Halves,
    frequency_correlation,
    overlap,
    reliability,
    shared_neurons,
    split_halves,
    transfer,
)
from hlens.probe import find
from hlens.recipe import key_of
from hlens.store.detectors import load_detector, save_detector
from hlens.study.formats import Formats
from hlens.study.measuring import digests
from hlens.types import Detector, NeuronSet


class Comparing(Formats):
    """The domains of a study, side by side."""

    def transfer(self) -> pd.DataFrame:
        """AUROC of a probe trained on each domain and tested on each.

        Raises:
            HlensError: Fewer than two domains can be compared.
        """
        folds, seed = self.recipe.evaluation.folds, self.recipe.seed
        return self.table_step(
            "transfer",
            [*self._rests_on(), folds, seed],
            lambda: transfer(
                self.compared(),
                self.probe(),
                folds=folds,
                seed=seed,
                progress=self.reporter("transfer"),
            ),
        )

    def detectors(self) -> dict[str, Detector]:
        """A detector of each domain, found on all its examples: for its neurons, not its score."""
        return {name: self._detector_of(name) for name in self.domains()}

    def _detector_of(self, domain: str) -> Detector:
        at = self.folder / "detectors" / file_name(domain)
        return self.step(
            f"find {domain}",
            [self._digest(domain), self.recipe.probe, self.recipe.seed],
            lambda: find(self.contributions().of_domain(domain), self.probe(), calibration=None),
            lambda found: save_detector(found, at),
            lambda: load_detector(at),
        )

    def neuron_sets(self) -> list[NeuronSet]:
        """The H-neurons of each domain, named by it."""
        found = self.detectors().items()
        return [replace(detector.neurons, name=name) for name, detector in found]

    def overlap(self) -> pd.DataFrame:
        """Overlap of the domains' H-neurons beside chance, under three nulls.

        Raises:
            HlensError: Fewer than two domains can be compared.
        """

        def make() -> pd.DataFrame:
            data = self.compared()
            true = data.select(~data.labels).values.float().mean(dim=0)
            return overlap(self.neuron_sets(), contribution=true)

        return self.table_step("overlap", [*self._rests_on(), self.recipe.seed], make)

    def halves(self) -> Halves:
        """The neurons found on random halves of each domain, half as many as on the whole of it."""
        return Halves.of_tables(self._halves_of(name) for name in self.domains())

    def _halves_of(self, domain: str) -> pd.DataFrame:
        how, seed, step = self.recipe.evaluation, self.recipe.seed, f"halves {domain}"
        size = len(self._detector_of(domain).selected)

        def make() -> pd.DataFrame:
            # The number is set, not C, so that repeats and domains compare. Half the examples can
            # carry about half the neurons, and not always more.
            probe = self.probe().set_params(n_neurons=max(1, size // 2))
            data, progress = self.contributions().of_domain(domain), self.reporter(step)
            return split_halves(
                data, probe, repeats=how.halves, seed=seed, progress=progress
            ).table()

        depends = [self.key(f"find {domain}"), self.recipe.probe, how.halves, seed]
        return self.table_step(step, depends, make, f"halves/{file_name(domain)}")

    def reliability(self) -> pd.DataFrame:
        """Overlap of halves, within a domain (the ceiling of any overlap) and between domains."""
        return reliability(self.halves())

    def selection_correlation(self) -> pd.DataFrame:
        """Rank correlation of how often halves select each neuron, for each pair of domains."""
        halves = self.halves()
        return frequency_correlation({name: halves.frequencies(name) for name in halves.sets})

    def shared_neurons(self) -> pd.DataFrame:
        """The neurons that the H-neurons of two domains or more hold."""
        return shared_neurons(self.neuron_sets())

    def _digest(self, domain: str) -> str:
        """What a domain's own detector depends on; other domains are no part of it."""
        own = digests([e for e in self.examples() if e.domain == domain])
        recipe = self.recipe
        return key_of([own, vars(recipe.measure), recipe.model, recipe.dtype])


def file_name(domain: str) -> str:
    """A domain's name as a file's.

    >>> file_name("legal"), file_name("law & order")
    ('legal', 'law_order-820887')
    """
    plain = re.sub(r"[^\w.-]+", "_", domain)
    # Two names that differ in what a file's name cannot hold are two files.
    return plain if plain == domain else f"{plain}-{key_of(domain)[:6]}"
