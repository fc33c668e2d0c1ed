"""Work that continues where it was interrupted: finished parts in a folder, each written whole.

The work of a step is cut into numbered parts, and each is written when it is done. A killed run
leaves its finished parts; the same run, started again, takes them and does the rest. `RowParts` are
JSON rows, thrown away when they belong to other work; `Blocks` are tensors, which cost too much to
be thrown away: what does not fit is an error that names the file.

Several processes may write parts into one folder, each its own. The file that says whose parts they
are is then written by the first that comes, and read by all.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor

from hlens.errors import HlensError
from hlens.store.atomic import remove_folder, remove_partial_files, write_once, write_text
from hlens.store.checked import parse_json, read_json
from hlens.store.tensor_file import map_tensor, read_metadata, verify_checksum, writing_tensor
from hlens.store.values_file import Shape, read_values, write_values
from hlens.types import Experts, RoutedValues

_KIND = "block"
_MEND = "remove it, and this part of the work is done again"


class _Run(TypedDict):
    identity: str
    plan: dict


class RowParts:
    """A folder of JSON parts of one step.

    `key` is all that the parts depend on, in one string; parts of another key (the work was cut
    differently) are thrown away. With `beside`, other processes write parts into the folder, too:
    nothing is removed.

    Raises:
        HlensError: With `beside`, the folder holds parts of another key.
    """

    def __init__(self, folder: str | Path, key: str, *, beside: bool = False) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        key_file = self.folder / "key.txt"
        if beside:
            write_once(key_file, key)
            if key_file.read_text(encoding="utf-8") != key:
                raise HlensError(
                    f"{self.folder} holds parts of other work (other questions, model or options); "
                    "remove the folder, or restore the recipe that they belong to"
                )
            return
        remove_partial_files(self.folder)
        if not key_file.exists() or key_file.read_text(encoding="utf-8") != key:
            for path in self.folder.glob("part-*.json"):
                path.unlink()
            write_text(key_file, key)

    def load(self, name: int | str) -> list[dict[str, Any]] | None:
        """The rows of a finished part, or None.

        Raises:
            HlensError: The part is not what was written.
        """
        path = self._path(name)
        if not path.exists():
            return None
        data = path.read_bytes()
        digest, newline, rows = data.partition(b"\n")
        if not newline:  # of a version that kept no checksum
            return parse_json(data, str(path), shape=list[dict], mend=_MEND)
        if hashlib.sha256(rows).hexdigest().encode() != digest:
            raise HlensError(f"{path} is damaged; {_MEND}")
        return json.loads(rows)

    def save(self, name: int | str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a finished part: its checksum, and in the next line the rows."""
        text = json.dumps(list(rows))
        digest = hashlib.sha256(text.encode()).hexdigest()
        write_text(self._path(name), f"{digest}\n{text}")

    def _path(self, name: int | str) -> Path:
        text = f"{name:06d}" if isinstance(name, int) else name
        return self.folder / f"part-{text}.json"


class Blocks:
    """A folder of numbered blocks of a measurement, all of one run.

    `identity` is a hash of all that they depend on. How the run is cut into blocks is what `plan`
    gave when it first began, as plain JSON: it is kept with them, so that whoever continues the run
    cuts it the same way. With `beside`, other processes write blocks into the folder, too: nothing
    is removed.

    Raises:
        HlensError: The folder holds blocks of another run.
    """

    def __init__(
        self,
        folder: str | Path,
        identity: str,
        plan: Callable[[], dict[str, Any]],
        *,
        beside: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.identity = identity
        self.path = self.folder / "run.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not beside:
            remove_partial_files(self.folder)
        if not self.path.exists():
            write_once(self.path, json.dumps({"identity": identity, "plan": plan()}) + "\n")
        run = read_json(self.path, shape=_Run, mend=f"remove {self.folder} and measure again")
        if run["identity"] != identity:
            raise HlensError(
                f"{self.folder} holds blocks of another run (other examples, model, metrics or "
                "settings); remove the folder, or store into a new one"
            )
        self.plan: dict[str, Any] = run["plan"]

    def has(self, number: int, rows: Sequence[int]) -> bool:
        """Whether the block of these examples is finished; its checksum is verified.

        Raises:
            HlensError: The block is truncated, damaged, of another run, or of other examples.
        """
        path = self._path(number)
        if not path.exists():
            return False
        verify_checksum(path)
        metadata = read_metadata(path)
        if (metadata.get("hlens"), metadata.get("identity")) != (_KIND, self.identity):
            raise HlensError(f"{path} is a block of another run; remove it and measure again")
        if json.loads(metadata["rows"]) != list(rows):
            raise HlensError(
                f"{path} holds other examples than {self.path} says; remove {self.folder} and "
                "measure again"
            )
        return True

    def save(
        self, number: int, rows: Sequence[int], values: Tensor, *, experts: Experts = ()
    ) -> None:
        """Write a block: indices of its examples and ``[ask, example, layer, neuron]``.

        With `experts`, those of each layer, what is not zero is written expert by expert.
        """
        metadata = {"hlens": _KIND, "identity": self.identity, "rows": json.dumps(list(rows))}
        path, dtype = self._path(number), values.dtype
        if not experts:
            with writing_tensor(path, values.shape, dtype=dtype, metadata=metadata) as append:
                append(values)
            return
        n_asks, n, n_layers, d_mlp = values.shape
        shape = Shape(n, n_asks * n_layers, d_mlp, experts * n_asks)

        def read(layer: int, part: slice) -> Tensor:
            return values[layer // n_layers, :, layer % n_layers, part].T

        metadata |= {"asks": str(n_asks)}
        write_values(path, shape, read, dtype=dtype, metadata=metadata)

    def load(self, number: int) -> tuple[tuple[int, ...], Sequence[Tensor]]:
        """Indices of a block's examples; for each ask ``[example, layer, neuron]``, mapped."""
        path = self._path(number)
        metadata = read_metadata(path)
        rows = tuple(json.loads(metadata["rows"]))
        if "asks" not in metadata:
            return rows, list(map_tensor(path))
        values = read_values(path)
        assert isinstance(values, RoutedValues)  # it was saved with experts
        return rows, values.split_layers(int(metadata["asks"]))

    def remove(self) -> None:
        """Remove the folder, once the measurement is stored elsewhere."""
        remove_folder(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number:06d}.safetensors"
