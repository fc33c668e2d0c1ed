"""``hlens cite``: how a study was made, in a paper's words, and the works to cite."""

import shlex
import sys
from pathlib import Path

from hlens.cli import show
from hlens.cli.forms import Form
from hlens.errors import HlensError
from hlens.recipe import Recipe
from hlens.report.latex_text import comment
from hlens.report.methods import Methods, describe_methods, describe_tools
from hlens.study import Study


def methods_of(source: Path | None) -> Methods:
    """The methods of a study, of a recipe alone, or what is cited for hlens itself.

    Raises:
        HlensError: It is neither a study nor a recipe.
    """
    if source is None:
        return describe_tools()
    if source.is_file():
        return describe_methods(Recipe.read(source))
    return Study(source).methods()


def show_methods(methods: Methods, form: Form, bibtex: bool, whole: bool) -> None:
    """The paragraph in a form, or the BibTeX entries; `whole`: the entries below the paragraph."""
    if bibtex and form:
        raise HlensError(f"--bibtex and --{form} are two outputs; give one of them")
    if form == Form.JSON:
        works = {work.key: work.said for work in methods.works}
        show.write({"methods": str(methods), "works": works, "bibtex": methods.bibtex()})
    elif form == Form.LATEX:
        command = comment(f"By: {shlex.join(['hlens', *sys.argv[1:]])}")
        show.out.print(f"{command}\n{methods.latex()}", soft_wrap=True)
    elif bibtex:
        show.out.print(methods.bibtex(), soft_wrap=True)
    else:
        show.out.print(str(methods), soft_wrap=True)
        if whole:
            show.out.print(f"\n{methods.bibtex()}", soft_wrap=True)
