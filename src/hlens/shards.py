"""Work shared by hand: each process does its shard, and one gathers them.

A cluster without Ray runs one command many times, each with a number (SLURM's array jobs), and its
machines share a file system. Shard 3 of 16 does every sixteenth block, from the third on, into the
folder of the study; what it leaves when it is killed is there when it is started again. Gathering
does none: it binds what is there, or says which shards are not done.

    >>> Shard.parse("3/16").own(range(40))
    [2, 18, 34]
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.store.atomic import write_text
from hlens.work import Work

_NAMED = 8  # shards that a message names one by one


class ShardDone(Exception):  # noqa: N818  (no error: the work of this process is over)
    """A shard has done its blocks; the artefact is made when all are gathered.

    Attributes:
        blocks: How many blocks were its own.
        of: How many were not done when it began, those of others included.
    """

    def __init__(self, blocks: int, of: int) -> None:
        super().__init__(f"{blocks} of {of} blocks done")
        self.blocks = blocks
        self.of = of


@dataclass(frozen=True)
class Shard:
    """One of several processes that share the blocks of a work evenly (`hlens.work.Workers`).

    Attributes:
        number: Which one, from 1.
        of: How many there are.
    """

    number: int
    of: int
    continues = True

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard of ``NUMBER/OF``.

        Raises:
            HlensError: It is none.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise HlensError(
                f"--shard {text!r}; expected NUMBER/OF, as in 3/16, from 1/16 to 16/16"
            )
        return cls(int(found[1]), int(found[2]))

    def own(self, numbers: Sequence[int]) -> list[int]:
        """Those of these blocks that are this shard's."""
        return [number for number in numbers if number % self.of == self.number - 1]

    def results(
        self, work: Work, numbers: Sequence[int], folder: Path | None
    ) -> Iterator[tuple[int, Any]]:
        """Do this shard's blocks among these.

        Raises:
            ShardDone: When they are done.
        """
        if folder is None:
            raise HlensError("a shard goes with a folder, where the other shards are gathered, too")
        write_text(folder / f"{self.number}-of-{self.of}.shard", "")
        own = self.own(numbers)
        for number in own:
            yield number, work.run(number)
        raise ShardDone(len(own), len(numbers))


@dataclass(frozen=True)
class Gathering:
    """Who does nothing and takes what the shards have done (`hlens.work.Workers`)."""

    continues = True

    def own(self, numbers: Sequence[int]) -> list[int]:
        """All blocks: they are all waited for."""
        return list(numbers)

    def results(
        self, work: Work, numbers: Sequence[int], folder: Path | None
    ) -> Iterator[tuple[int, Any]]:
        """Nothing.

        Raises:
            HlensError: Some blocks are not done; their shards are named.
        """
        if numbers:
            raise HlensError(_missing(numbers, folder))
        yield from ()


def _missing(numbers: Sequence[int], folder: Path | None) -> str:
    """Which shards have not done their blocks, as far as any was ever started."""
    started = {
        path.stat().st_mtime_ns: int(found[1])
        for path in (folder.iterdir() if folder else ())
        if (found := re.fullmatch(r"\d+-of-([1-9]\d*)\.shard", path.name))
    }
    left = f"{len(numbers)} {'block is' if len(numbers) == 1 else 'blocks are'} not done"
    if not started:
        return f"{left}, and no shard was started: give --shard 1/N to the verb, up to N/N"
    of = started[max(started)]  # of the last start, if the work was shared in several ways
    missing = sorted({number % of + 1 for number in numbers})
    named = ", ".join(f"{number}/{of}" for number in missing[:_NAMED])
    named += f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return (
        f"{left}, of {'shard' if len(missing) == 1 else 'shards'} {named}: run "
        f"{'it' if len(missing) == 1 else 'them'} again, then gather; what is done is kept"
    )
