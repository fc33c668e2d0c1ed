"""The overlap explorer in a running notebook: the page and Python share the selection.

As with `hlens.figures.explorer.live`, the static explorer is shown unchanged, with an invisible
widget beside it; an exported notebook keeps the whole explorer.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from hlens.drawing.html import Html
from hlens.drawing.page import asset
from hlens.errors import HlensError
from hlens.types import NeuronSet


@cache
def widget_class() -> type:
    """The class; made on first use, since anywidget is an extra.

    Raises:
        HlensError: anywidget is missing.
    """
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise HlensError(
            "the live explorer needs anywidget: run pip install 'hlens[widget]', or use "
            "hlens.figures.overlap_explorer, which needs no widget"
        ) from error

    class LiveOverlap(anywidget.AnyWidget):
        """The explorer; the trait ``chosen`` holds its selection as bits of the sets.

        `neurons` is the selection as a set; ``observe(..., names="chosen")`` is called at each.
        """

        _esm = asset("hlens.figures.overlap_explorer", "live.js")
        frame = traitlets.Unicode().tag(sync=True)
        chosen = traitlets.Dict().tag(sync=True)

        def __init__(self, shown: Html, sets: Sequence[NeuronSet]) -> None:
            self._sets = list(sets)
            super().__init__(chosen={})
            self.frame = f"hlens-{self.model_id}"
            self._markup = shown.markup.replace("<iframe ", f'<iframe id="{self.frame}" ', 1)

        @property
        def neurons(self) -> NeuronSet:
            """The neurons of the selection.

            Raises:
                HlensError: The page was not shown yet, and nothing was chosen.
            """
            if not self.chosen:
                raise HlensError("nothing is selected yet: show the explorer, or call choose(...)")
            inside = self._of(self.chosen["bits"])
            outside = self._of(self.chosen["among"] & ~self.chosen["bits"])
            made = inside[0]
            for one in inside[1:]:
                made = made & one
            for one in outside if self.chosen["exact"] else ():
                made = made - one
            return made

        def choose(self, names: Iterable[str], *, exact: bool = False) -> None:
            """Select what all these sets hold; with `exact`, what no other of the sets holds.

            Raises:
                HlensError: No set, or one that is not shown.
            """
            known = [one.name for one in self._sets]
            wanted = [names] if isinstance(names, str) else list(names)
            unknown = [name for name in wanted if name not in known]
            if unknown or not wanted:
                given = repr(unknown[0]) if unknown else "an empty choice"
                raise HlensError(f"{given} is none of the sets shown; choose of {known}")
            bits = sum(1 << known.index(name) for name in set(wanted))
            self.chosen = {"among": 2 ** len(known) - 1, "bits": bits, "exact": exact}

        def _of(self, bits: int) -> list[NeuronSet]:
            return [one for place, one in enumerate(self._sets) if bits >> place & 1]

        def outputs(self) -> list[dict[str, Any]]:
            """What a notebook shows: the explorer, then the invisible widget."""
            view = self._repr_mimebundle_()
            return [{"text/html": self._markup}, view[0] if isinstance(view, tuple) else view or {}]

        def _ipython_display_(self) -> None:
            from IPython.display import display

            for bundle in self.outputs():
                display(bundle, raw=True)

    return LiveOverlap
