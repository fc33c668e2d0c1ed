"""Work in parts: each part appears whole, and a part that stands is not done again."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hlens.store.atomic import sweep, write_text


class Parts:
    """A folder of JSON parts of one step, belonging to one key.

    A run that is killed leaves the parts it finished; the next run of the same key takes them and
    goes on. Parts of another key (the work was cut otherwise) are thrown away.

    Args:
        folder: Where the parts lie; made when absent.
        key: What the parts depend on, in one string.
    """

    def __init__(self, folder: str | Path, key: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        mark = self.folder / "key.txt"
        if not mark.exists() or mark.read_text(encoding="utf-8") != key:
            self.clear()
            write_text(mark, key)

    def load(self, name: int | str) -> list[dict[str, Any]] | None:
        """The rows of a part that stands, or None."""
        path = self._path(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def save(self, name: int | str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a part."""
        write_text(self._path(name), json.dumps(list(rows), ensure_ascii=False))

    def clear(self) -> None:
        """Remove all parts."""
        for path in self.folder.glob("part-*.json"):
            path.unlink()

    def _path(self, name: int | str) -> Path:
        words = f"{name:06d}" if isinstance(name, int) else name
        return self.folder / f"part-{words}.json"
