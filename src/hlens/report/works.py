"""Works to cite: hlens, what it reproduces, what it is made with, and the data sets asked."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType

from hlens import domains, lookup
from hlens.report.latex_text import escape

TITLE = "hlens: a bench for hallucination-associated neurons"
AUTHORS = "The hlens developers"


@dataclass(frozen=True)
class Work:
    """A work, as a sentence names it and as BibTeX holds it.

    Attributes:
        key: Of its BibTeX entry.
        said: Words in a sentence, such as ``"Gao et al. 2025, arXiv:2512.01797"``.
        fields: Fields of the entry, as LaTeX writes them.
        kind: Of the entry.
    """

    key: str
    said: str
    fields: dict[str, str] = field(default_factory=dict, compare=False)
    kind: str = "misc"

    def bibtex(self) -> str:
        """Its BibTeX entry.

        >>> print(Work("a1", "A 1", {"author": "A and B", "year": "2001"}).bibtex())
        @misc{a1,
          author = {A and B},
          year = {2001},
        }
        """
        lines = [f"  {name} = {{{value}}}," for name, value in self.fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


def arxiv(number: str, author: str = "", year: str = "", **fields: str) -> Work:
    """A work on arXiv, by its first author, whom others follow, where that is known.

    >>> arxiv("2401.00396").said
    'arXiv:2401.00396'
    """
    year = year or f"20{number[:2]}"
    entry = {"author": f"{author} and others"} if author else {}
    entry |= {**fields, "year": year, "eprint": number, "archivePrefix": "arXiv"}
    key = f"{author.lower() or 'arxiv'}{year}-{number.replace('.', '')}"
    return Work(key, f"{f'{author} et al. {year}, ' if author else ''}arXiv:{number}", entry)


def hlens_itself(version: str) -> Work:
    """This program, in a version."""
    fields = {"author": f"{{{AUTHORS}}}", "title": TITLE}
    if not version:  # run from a source tree that was not installed
        return Work("hlens", AUTHORS, fields)
    return Work("hlens", f"version {version}", {**fields, "note": f"Version {escape(version)}"})


H_NEURONS = arxiv(
    "2512.01797",
    "Gao",
    "2025",
    title="{H-Neurons}: On the Existence, Impact, and Origin of Hallucination-Associated Neurons "
    "in {LLMs}",
)
ACROSS_DOMAINS = arxiv("2604.19765", note="Transfer of hallucination-associated neurons")
VLLM = arxiv("2309.06180", "Kwon", "2023", note="vLLM")
TRANSFORMER_LENS = Work(
    "nanda2022transformerlens",
    "Nanda and Bloom 2022",
    {"author": "Nanda, Neel and Bloom, Joseph", "title": "{TransformerLens}", "year": "2022"}
    | {"howpublished": r"\url{https://github.com/TransformerLensOrg/TransformerLens}"},
)
SCIKIT_LEARN = Work(
    "pedregosa2011scikit",
    "Pedregosa et al. 2011",
    {"author": "Pedregosa, Fabian and others", "year": "2011"}
    | {"title": "Scikit-learn: Machine Learning in Python"}
    | {"journal": "Journal of Machine Learning Research", "volume": "12", "pages": "2825--2830"},
    kind="article",
)

_CITED = re.compile(
    r"(?:([A-Z][\w-]+) et al\.\s+(\d{4})(?:\s+\([^)]*\))?,\s+)?arXiv\s+(\d{4}\.\d{4,5})"
)


def works_of_domain(name: str) -> list[Work]:
    """What the authors of a domain's data set are cited for, as its docstring says it.

    `name` is as in a recipe; a file of one's own and a bank of hlens have none.

    >>> [work.said for work in works_of_domain("popqa:folder")]
    ['Mallen et al. 2023, arXiv:2212.10511']
    """
    own = name.partition(":")[0]
    if own == "official":
        return [H_NEURONS]
    return _cited(lookup.member("domains", own), own) if own in domains.names() else []


def works_of_layout(name: str) -> list[Work]:
    """The same of a published layout of labelled answers; none where its docstring cites none."""
    if name not in lookup.names("labelled.layouts"):
        return []
    return _cited(lookup.member("labelled.layouts", name), name)


def _cited(module: ModuleType, name: str) -> list[Work]:
    said = f"Of the data set {escape(name)}"
    found = _CITED.findall(module.__doc__ or "")
    return [arxiv(number, author, year, note=said) for author, year, number in found]


def unique(works: Iterable[Work]) -> list[Work]:
    """The works by their keys, in the order in which they are first named."""
    return list({work.key: work for work in works}.values())
