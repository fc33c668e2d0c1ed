"""Shards of a measurement in flight: each appears whole, knows its run and its checksum."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from hlens.errors import HlensError
from hlens.store.atomic import sweep, write_text
from hlens.store.tensors import mapped, read_about, streaming, verify

_KIND = "shard"


class Shards:
    """A folder of numbered shards that belong to one run.

    A killed run leaves its finished shards; the same run, started again, goes on after them. The
    settings that the run was cut by are kept, so that it is cut the same way again.

    Args:
        folder: Where; made when absent.
        identity: Hash of all that the shards depend on.
        tokens: Tokens of a batch, as found on this start; an earlier start's are kept.

    Raises:
        HlensError: The folder holds shards of another run.

    Attributes:
        tokens: Tokens of a batch, as found on the first start.
    """

    def __init__(self, folder: str | Path, identity: str, tokens: int) -> None:
        self.folder = Path(folder)
        self.identity = identity
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        path = self.folder / "run.json"
        if not path.exists():
            write_text(path, json.dumps({"identity": identity, "tokens": tokens}) + "\n")
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["identity"] != identity:
            raise HlensError(
                f"{self.folder} holds shards of another run (other examples, model, metrics or "
                "settings); remove the folder, or store into a new one"
            )
        self.tokens = int(run["tokens"])

    def stands(self, number: int, rows: Sequence[int]) -> bool:
        """Whether a shard of these examples is there; it is checked, and a bad one is named.

        Raises:
            HlensError: The shard is truncated, damaged, or of another run, or it was cut to hold
                other examples (by another version of hlens).
        """
        path = self._path(number)
        if not path.exists():
            return False
        verify(path)
        about = read_about(path)
        if (about.get("hlens"), about.get("identity")) != (_KIND, self.identity):
            raise HlensError(f"{path} is a shard of another run; remove it and measure again")
        if json.loads(about["rows"]) != list(rows):
            raise HlensError(
                f"{path} holds other examples than this version of hlens would put there; remove "
                f"{self.folder} and measure again"
            )
        return True

    def write(self, number: int, rows: Sequence[int], values: Tensor) -> None:
        """Write a shard: indices of its examples and ``[ask, example, layer, neuron]``."""
        about = {"hlens": _KIND, "identity": self.identity, "rows": json.dumps(list(rows))}
        with streaming(self._path(number), values.shape, values.dtype, about) as append:
            append(values)

    def read(self, number: int) -> tuple[tuple[int, ...], Tensor]:
        """Indices of a shard's examples, and its values, memory-mapped."""
        path = self._path(number)
        return tuple(json.loads(read_about(path)["rows"])), mapped(path)

    def remove(self) -> None:
        """Remove the folder: what was measured stands elsewhere."""
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:06d}.safetensors"
