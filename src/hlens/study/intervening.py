"""What a study's neurons do to the model: doses beside their controls, and patches."""

from collections.abc import Callable

import pandas as pd

from hlens import behaviours
from hlens.effects import (
    CapabilityTest,
    ControlSets,
    distinguished_pairs,
    intervene,
    load_pairs,
    patching,
    patching_map,
)
from hlens.errors import HlensError
from hlens.study.origins import Tracing


class Intervening(Tracing):
    """The neurons of a study, edited and patched."""

    def outcomes(self) -> pd.DataFrame:
        """What the model does under every dose of its H-neurons, beside random sets.

        One row a reply or score, as `hlens.effects.intervene` returns them.
        """
        how, recipe = self.recipe.intervene, self.recipe
        return self._of_detector("outcomes", [how, recipe.seed], self._outcomes)

    def _outcomes(self) -> pd.DataFrame:
        how, seed, detector = self.recipe.intervene, self.recipe.seed, self.detector()
        train = self.split()[0]
        beside = ControlSets(
            random=how.random_sets,
            matched=how.matched_sets,
            contribution=train.values.float().mean(dim=0) if how.matched_sets else None,
            truth=detector.truth_neurons,
            norm_matched=how.perturbations,
            seed=seed,
        )
        return intervene(
            self.model,
            detector.neurons,
            [behaviours.load(name, how.items or None, seed) for name in how.behaviours],
            alphas=how.alphas,
            controls=beside,
            capability=CapabilityTest(self.model, n_choice=how.items or 60)
            if how.capability
            else None,
            folder=self.folder / "outcomes.parts",
            progress=self.reporter("intervene"),
        )

    def has_outcomes(self) -> bool:
        """Whether `outcomes` stands, so that a report shows it without running it."""
        return (self.folder / "outcomes.parquet").exists()

    def patching(self) -> pd.DataFrame:
        """Patching of the H-neurons on the shipped pairs that the model tells apart.

        One row a pair and patch, as `hlens.effects.patching` returns them.

        Raises:
            HlensError: The model tells no pair apart.
        """
        return self._of_detector("patching", [self.recipe.seed], self._patching)

    def _patching(self) -> pd.DataFrame:
        found, told = (
            distinguished_pairs(self.model, load_pairs(self.model)),
            self.reporter("patching"),
        )
        neurons, tables = self.detector().neurons, []
        for number, one in enumerate(found):
            tables.append(patching(self.model, [one], neurons, seed=self.recipe.seed))
            told(number + 1, len(found))
        if not tables:
            raise HlensError(
                f"{self.model.name} tells none of the pairs apart, there is nothing to patch; "
                "give pairs of your own to hlens.effects.patching"
            )
        return pd.concat(tables, ignore_index=True)

    def patching_map(self) -> pd.DataFrame:
        """Layer by token, on the pair that the model tells apart best."""
        table = self.patching()
        best = table.loc[(table["clean"] - table["corrupted"]).idxmax(), "pair"]
        return self._of_detector("patching_map", [best, self.recipe.seed], lambda: self._map(best))

    def _map(self, best: object) -> pd.DataFrame:
        (one,) = [one for one in load_pairs(self.model) if one.id == best]
        return patching_map(self.model, one, self.detector().neurons, seed=self.recipe.seed)

    def has_patching(self) -> bool:
        """Whether `patching` stands."""
        return (self.folder / "patching.parquet").exists()

    def _of_detector(
        self, name: str, depends: list[object], make: Callable[[], pd.DataFrame]
    ) -> pd.DataFrame:
        self.detector()
        return self.table_step(name, [self.key("find"), *depends], make)
