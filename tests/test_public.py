"""The public face: what ``import hlens`` alone gives."""

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import hlens

PRIVATE = {"cli", "drawing", "errors", "lookup", "recipe", "recipes", "report", "study"}
PRIVATE |= {
    "__main__",
    "checks",
    "data_files",
    "counting",
    "display",
    "kinds",
    "locks",
    "shards",
    "threads",
    "undecoded",
    "visible",
}
PRIVATE |= {"work"}
PRIVATE |= {"server"}  # of an extra: imported by its name, where the extra is installed


def test_importing_hlens_is_light_and_gives_every_public_name() -> None:
    code = (
        "import hlens, sys\n"
        "print({'torch', 'transformers', 'plotly'} & set(sys.modules))\n"
        "print([n for n in hlens.__all__ if getattr(hlens, n, None) is None])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n[]\n"


def test_every_package_is_reached_as_an_attribute() -> None:
    packages = {module.name for module in iter_modules(hlens.__path__)} - PRIVATE
    assert packages <= set(hlens.__all__)
    for name in packages:
        assert getattr(hlens, name) is import_module(f"hlens.{name}")
