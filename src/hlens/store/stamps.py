"""The stamps of a study: for each artefact, what it was made from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.store.atomic import write_text


@dataclass(frozen=True)
class Stamp:
    """What one artefact was made from.

    `key` is a hash of its inputs and the options it reads; `options` is one of the step's own
    options and the model alone; `note` tells of the run, such as the seconds it took.
    """

    key: str
    options: str = ""
    note: Mapping[str, Any] = field(default_factory=dict)


class Stamps:
    """The file ``stamps.json`` of a study.

    A stamp is removed before its artefact is written and set again afterwards, so that a run that
    is killed in between leaves an artefact without a stamp, which is made again, and never one
    artefact under the stamp of another.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stamps.json"

    def get(self, name: str) -> Stamp | None:
        """The stamp of an artefact; None where it has none."""
        return self.read().get(name)

    def read(self) -> dict[str, Stamp]:
        """All stamps by the name of the artefact."""
        if not self.path.exists():
            return {}
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))
            return {name: Stamp(**row) for name, row in rows.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise HlensError(
                f"{self.path} is damaged ({error}); remove it, and what it vouched for is made anew"
            ) from None

    def set(self, name: str, stamp: Stamp) -> None:
        """Record what an artefact was made from."""
        self.write({**self.read(), name: stamp})

    def remove(self, name: str) -> None:
        """Take a stamp back; the artefact itself is not touched."""
        stamps = self.read()
        if stamps.pop(name, None) is not None:
            self.write(stamps)

    def write(self, stamps: Mapping[str, Stamp]) -> None:
        """Write all stamps."""
        rows = {name: asdict(stamp) for name, stamp in stamps.items()}
        write_text(self.path, json.dumps(rows, indent=1, sort_keys=True) + "\n")
