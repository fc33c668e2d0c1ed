"""Options that say how a model's weights are loaded, of all commands that open one by its name."""

from typing import Annotated

import typer

from hlens.cli.gathering import gathers

PANEL = "How the model is loaded"


def _option(help_: str) -> typer.models.OptionInfo:
    return typer.Option(help=help_, rich_help_panel=PANEL)


# By the names of `hlens.load`, of the recipe and of `Study.sibling`.
LOADING = {
    "dtype": Annotated[
        str | None,
        _option("Of its weights: float32, bfloat16 or float16; by default by device."),
    ],
    "quantization": Annotated[
        str | None, _option("Quantise its weights (hlens list quantizations).")
    ],
    "adapter": Annotated[str | None, _option("A PEFT adapter of it: a folder or hub id.")],
    "device_map": Annotated[str | None, _option("Place it on several devices, such as auto.")],
}
takes_loading = gathers("loading", LOADING)
# Of a verb whose own --adapter are those that requests choose among.
takes_loading_without_adapter = gathers(
    "loading", {name: option for name, option in LOADING.items() if name != "adapter"}
)
