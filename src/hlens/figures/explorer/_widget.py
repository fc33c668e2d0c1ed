"""The explorer in a running notebook: the page and Python share the chosen neuron.

The static explorer is shown unchanged, with an invisible widget beside it that carries messages
between the page and Python. An exported notebook, where no widget runs, keeps the whole explorer.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from hlens.drawing.html import Html
from hlens.drawing.page import asset
from hlens.errors import HlensError
from hlens.figures.explorer._panel import Neuron, NeuronPage, page_data
from hlens.types import address

PageOf = Callable[[Neuron], NeuronPage]


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
            "hlens.figures.explorer, which needs no widget"
        ) from error

    class LiveExplorer(anywidget.AnyWidget):
        """The explorer, with the chosen neuron as the trait ``chosen`` (``"L12N345"``).

        ``observe(..., names="chosen")`` is called at each choice; setting ``chosen`` or `neuron`
        chooses in the page.
        """

        _esm = asset("hlens.figures.explorer", "live.js")
        frame = traitlets.Unicode().tag(sync=True)
        chosen = traitlets.Unicode().tag(sync=True)
        learned = traitlets.Dict().tag(sync=True)

        def __init__(
            self,
            shown: Html,
            members: Mapping[str, Neuron],  # by address
            known: set[Neuron],  # those whose page the explorer already holds
            page_of: PageOf | None,
        ) -> None:
            self._members = dict(members)
            self._known, self._page_of = known, page_of
            super().__init__(chosen=next(iter(members)))
            self.frame = f"hlens-{self.model_id}"
            self._markup = shown.markup.replace("<iframe ", f'<iframe id="{self.frame}" ', 1)

        @property
        def neuron(self) -> Neuron:
            """The chosen neuron as (layer, neuron)."""
            return self._members[self.chosen]

        @neuron.setter
        def neuron(self, neuron: Neuron) -> None:
            named = (key for key, own in self._members.items() if own == neuron)
            self.chosen = next(named, address(neuron))  # of one that is not shown, to say so

        @traitlets.validate("chosen")
        def _check(self, proposal: Any) -> str:
            if proposal["value"] not in self._members:
                raise HlensError(
                    f"{proposal['value']!r} is none of the {len(self._members):,} neurons shown; "
                    "choose one of the detector's, written as L12N345"
                )
            return proposal["value"]

        @traitlets.observe("chosen")
        def _learn(self, change: Any) -> None:
            if self._page_of is None or self.neuron in self._known:
                return
            self._known.add(self.neuron)
            page = page_data(self._page_of(self.neuron))
            self.learned = {"key": self.chosen, "told": page}

        def outputs(self) -> list[dict[str, Any]]:
            """What a notebook shows: the explorer, then the invisible widget."""
            view = self._repr_mimebundle_()
            return [{"text/html": self._markup}, view[0] if isinstance(view, tuple) else view or {}]

        def _ipython_display_(self) -> None:
            from IPython.display import display

            for bundle in self.outputs():
                display(bundle, raw=True)

    return LiveExplorer
