"""What a member of a family is called where people read it: in figures, reports and tables.

Files, columns, JSON and commands keep the key (``plain_qa``, ``min_logprob``). A module says its
own name beside what it holds, ``DISPLAY = "plain questions"``; whatever says none, a user's own
domain among them, is its key with spaces for underscores. Names are plain text: a user's may be
hostile, and whoever draws them escapes them.
"""

import re
from collections import Counter
from collections.abc import Iterable
from importlib import import_module

import pandas as pd

from hlens import lookup

# Columns whose cells are keys: of this family, or of none.
FAMILY_OF = {
    "domain": "domains", "domains": "domains", "train": "domains", "test": "domains",
    "trained on": "domains", "tested on": "domains", "a": "domains", "b": "domains",
    "behaviour": "behaviours", "detector": "baselines", "rival": "baselines",
    "sets": "domains", "selector": "selectors", "judge": "judges", "first": "judges",
    "second": "judges", "metric": "metrics", "kind": "", "format": "",
}  # fmt: skip
# What joins names: lists, set algebra, a stand-in.
_BETWEEN = re.compile(r"(, | \+ | [∩∪−△] | \(in place of |[()])")


def display_name(family: str, key: str) -> str:
    """What a member is called; of several that were joined, each.

    >>> display_name("behaviours", "plain_qa"), display_name("domains", "my_own_towns")
    ('plain questions', 'my own towns')
    >>> display_name("domains", "nq_open ∩ toy_towns"), display_name("judges", "llm:my_model")
    ('NQ-Open ∩ toy towns', 'llm:my_model')
    """
    return "".join(
        part if _BETWEEN.fullmatch(part) else _of_one(family, part) for part in _BETWEEN.split(key)
    )


def display_names(family: str, keys: Iterable[str]) -> dict[str, str]:
    """The name of each key; keys that would be called alike are told apart by themselves.

    >>> display_names("domains", ["my_towns", "my towns", "sciq"])
    {'my_towns': 'my_towns', 'my towns': 'my towns', 'sciq': 'SciQ'}
    """
    names = {key: display_name(family, key) for key in keys}
    times = Counter(names.values())
    return {key: name if times[name] == 1 else key for key, name in names.items()}


def display_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with names in the place of keys; its columns and numbers are as they were."""
    named = {
        column: frame[column].map(
            lambda cell, family=FAMILY_OF[column]: (
                display_name(family, cell) if isinstance(cell, str) else cell
            )
        )
        for column in frame.columns
        if column in FAMILY_OF and not pd.api.types.is_numeric_dtype(frame[column])
    }
    return frame.assign(**named)


def _of_one(family: str, key: str) -> str:
    declared = ""
    if family == "metrics":  # functions of one module
        declared = import_module("hlens.metrics").display_of(key)
    elif family and key in lookup.names(family):
        declared = getattr(lookup.member(family, key), "DISPLAY", "")
    if declared or ":" in key:  # behind a colon is a path, or the name of a model
        return declared or key
    return key.replace("_", " ") if key.strip("_ ") else key
