"""Which steps of a study are done, and for which key."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hlens.store.atomic import write_text


class Stamps:
    """The file ``steps.json`` of a study: for each finished step its key and what it noted.

    A step's key is a hash over all that its artefact depends on; an artefact whose step has
    another key is old and is made again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "steps.json"

    def stands(self, step: str, key: str) -> bool:
        """Whether the step is done for this key."""
        return self._read().get(step, {}).get("key") == key

    def key(self, step: str) -> str:
        """The key that the step was last done for; empty when it was not."""
        return self._read().get(step, {}).get("key", "")

    def note(self, step: str) -> dict[str, Any]:
        """What the step noted when it was done; empty when it was not."""
        return dict(self._read().get(step, {}).get("note", {}))

    def steps(self) -> list[str]:
        """The finished steps."""
        return list(self._read())

    def mark(self, step: str, key: str, note: Mapping[str, Any]) -> None:
        """Record a finished step."""
        steps = {**self._read(), step: {"key": key, "note": dict(note)}}
        write_text(self._path, json.dumps(steps, indent=1, sort_keys=True) + "\n")

    def forget(self, step: str) -> None:
        """Take back that the step is done; nothing happens where it was not."""
        left = {name: stamp for name, stamp in self._read().items() if name != step}
        write_text(self._path, json.dumps(left, indent=1, sort_keys=True) + "\n")

    def _read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        return json.loads(self._path.read_text(encoding="utf-8"))
