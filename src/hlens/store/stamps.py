"""The stamps of a study: for each artefact what it was made from, and the content of its files."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from hlens.data_files import hash_file
from hlens.errors import HlensError
from hlens.store.atomic import check_replaceable, write_text
from hlens.store.checked import parse_json

NO_HASH = "written by a version that kept no hashes; it is hashed when it is read"
LARGE = 1 << 25  # bytes; a smaller file is hashed in a twentieth of a second


@dataclass(frozen=True)
class Seal:
    """The content of a file when its artefact was stamped.

    `touched` is kept of a large file: when its content and its entry last changed, in nanoseconds.
    While these stand, the file is not hashed again just to be read.
    """

    size: int
    sha256: str
    touched: tuple[int, ...] = ()

    def difference(self, path: Path, *, whole: bool = False) -> str:
        """What differs in a file, in words; empty where nothing does.

        With `whole`, a large file that seems untouched is hashed, too.
        """
        about = path.stat()
        if about.st_size != self.size:
            return f"{about.st_size} bytes, {self.size} were written"
        if not whole and self.touched == (about.st_mtime_ns, about.st_ctime_ns):
            return ""
        found = hash_file(path)
        return "" if found == self.sha256 else f"SHA-256 {found[:12]}, written {self.sha256[:12]}"


@dataclass(frozen=True)
class Stamp:
    """What one artefact was made from.

    `key` is a hash of its inputs and the options it reads; `options` is one of the step's own
    options and the model alone; `note` tells of the run, such as the seconds it took; `files` are
    the seals of its files, by their path in the study. Without a key it vouches for nothing: it
    says that the files are hlens's own.
    """

    key: str
    options: str = ""
    note: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Seal] = field(default_factory=dict)


class _SealRow(TypedDict):
    size: int
    sha256: str
    touched: list[int]


class _StampRow(TypedDict):
    key: str
    options: str
    note: dict
    files: NotRequired[dict[str, _SealRow]]


class Stamps:
    """The file ``stamps.json`` of a study.

    A stamp loses its key before its artefact is written and gets one again afterwards, so that a
    run that is killed in between leaves an artefact that is made again, and never one artefact
    under the stamp of another. A file without a stamp is not hlens's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "stamps.json"
        self._known: tuple[Any, dict[str, Stamp]] = (None, {})

    def get(self, name: str) -> Stamp | None:
        """The stamp of an artefact; None where nothing vouches for it."""
        stamp = self._all().get(name)
        return stamp if stamp and stamp.key else None

    def read(self) -> dict[str, Stamp]:
        """All stamps that vouch for something, by the name of the artefact."""
        return {name: stamp for name, stamp in self._all().items() if stamp.key}

    def _all(self) -> dict[str, Stamp]:
        try:
            about = self.path.stat()
        except FileNotFoundError:
            return {}
        # Asked a thousand times in a report, and each writing makes another file.
        version = (about.st_ino, about.st_mtime_ns, about.st_size)
        if self._known[0] != version:
            rows = parse_json(
                self.path.read_bytes(),
                f"{self.path} is damaged",
                shape=dict[str, _StampRow],
                mend="restore it: without it hlens does not know its own files",
            )
            self._known = version, {name: _stamp_of(row) for name, row in rows.items()}
        return self._known[1]

    def set(self, name: str, stamp: Stamp) -> None:
        """Record what an artefact was made from."""
        self.write({**self._all(), name: stamp})

    def remove(self, name: str) -> None:
        """Take a stamp back before its artefact is written; the files stay hlens's own."""
        self.write({**self._all(), name: Stamp("")})

    def doubt(self, name: str) -> None:
        """Take the key of a stamp, so that its artefact, which must still be whole, is remade."""
        stamps = self._all()
        if name in stamps:
            self.write({**stamps, name: replace(stamps[name], key="")})

    def write(self, stamps: Mapping[str, Stamp]) -> None:
        """Write all stamps."""
        rows = {name: asdict(stamp) for name, stamp in stamps.items()}
        write_text(self.path, json.dumps(rows, indent=1, sort_keys=True) + "\n")

    # --- The files that are stamped -----------------------------------------------------------

    def seal(self, files: Iterable[Path]) -> dict[str, Seal]:
        """The seals of an artefact's files, by their path in the study."""
        return {self._place(file): _seal_of(file) for file in files}

    def has_files(self, stamp: Stamp) -> bool:
        """Whether all files of an artefact are there."""
        return all((self.folder / place).exists() for place in stamp.files)

    def check(self, name: str) -> None:
        """Raise `HlensError` where a file of an artefact is not the one that was stamped."""
        stamp = self._all().get(name)
        for place, difference in _differences(self.folder, stamp, whole=False):
            if difference and (self.folder / place).exists():
                if self._all().get(name) != stamp:
                    difference = "another process is making it anew; try again when it has ended"
                raise _altered(self.folder / place, difference)

    def check_may_write(self, name: str, files: Iterable[Path]) -> None:
        """Raise `HlensError` where an artefact would replace a link or what is not hlens's."""
        self.check(name)
        stamp = self._all().get(name)
        known = stamp.files if stamp else {}
        for file in files:
            check_replaceable(file)  # a link: it would be refused after the work, its stamp gone
            # An empty stamp is of an artefact that was being written, or of an earlier version.
            if file.exists() and (stamp is None or (known and self._place(file) not in known)):
                raise HlensError(
                    f"{file} was not written by hlens, so it is not replaced; move it away, or "
                    "give the study another folder"
                )

    def _place(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


def verify_stamped(folder: Path) -> dict[str, str]:
    """What differs in the files of each stamped artefact of a folder; all files are read.

    Returns:
        By artefact: the files that differ and how, or empty; `NO_HASH` where none were kept.
    """
    states = {}
    for name, stamp in Stamps(folder).read().items():
        found = _differences(folder, stamp, whole=True)
        differing = [f"{place}: {difference}" for place, difference in found if difference]
        states[name] = "; ".join(differing) if stamp.files else NO_HASH
    return states


def _differences(folder: Path, stamp: Stamp | None, *, whole: bool) -> Iterator[tuple[str, str]]:
    for place, seal in stamp.files.items() if stamp else ():
        file = folder / place
        there = file.is_file()
        yield place, seal.difference(file, whole=whole) if there else "the file is missing"


def _altered(file: Path, difference: str) -> HlensError:
    return HlensError(
        f"{file} is not the file that hlens wrote ({difference}); restore it, or remove it to have "
        "it made anew"
    )


def _seal_of(file: Path) -> Seal:
    about = file.stat()
    touched = (about.st_mtime_ns, about.st_ctime_ns) if about.st_size > LARGE else ()
    return Seal(about.st_size, hash_file(file), touched)


def _stamp_of(row: Mapping[str, Any]) -> Stamp:
    seals = {
        place: Seal(seal["size"], seal["sha256"], tuple(seal["touched"]))
        for place, seal in row.get("files", {}).items()
    }
    return Stamp(row["key"], row["options"], row["note"], seals)
