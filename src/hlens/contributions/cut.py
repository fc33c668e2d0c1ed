"""How a measurement is cut into blocks, settled once and kept with what is measured.

A block is a few batches that are stored together. What is run together, and what is run once for
many, decides how results are rounded; so whoever measures a block, on whichever machine, does it by
the same cut, and with as many threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import torch

from hlens.contributions.plan import Batch
from hlens.contributions.schedule import Beginning
from hlens.errors import HlensError
from hlens.store.checked import require


class _CutRow(TypedDict):
    threads: int
    beginnings: list[tuple[int, list[int]]]  # length, and which rows
    blocks: list[list[tuple[int, bool, list[list[int]]]]]  # beginning, shared, groups


@dataclass(frozen=True)
class Cut:
    """Batches in blocks.

    Attributes:
        beginnings: What rows share, which is run before.
        blocks: For each block its batches.
        threads: Of the CPU, in which sums are taken.
    """

    beginnings: tuple[Beginning, ...]
    blocks: tuple[tuple[Batch, ...], ...]
    threads: int

    @classmethod
    def of(cls, beginnings: Sequence[Beginning], blocks: Sequence[Sequence[Batch]]) -> "Cut":
        """A cut, with the threads of this process."""
        return cls(tuple(beginnings), tuple(map(tuple, blocks)), torch.get_num_threads())

    def to_row(self) -> dict[str, Any]:
        """The cut as plain JSON."""
        return {
            "threads": self.threads,
            "beginnings": [[one.length, list(one.rows)] for one in self.beginnings],
            "blocks": [
                [[batch.beginning, batch.shared, list(map(list, batch.groups))] for batch in block]
                for block in self.blocks
            ],
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any], *, n_rows: int, where: str) -> "Cut":
        """The cut of plain JSON.

        Args:
            row: What `to_row` gave.
            n_rows: How many rows there are to run.
            where: What an error names.

        Raises:
            HlensError: It is no cut of so many rows.
        """
        mend = "remove the folder that it is in, and measure again"
        require(row, _CutRow, where, mend)
        beginnings = tuple(Beginning(tuple(rows), length) for length, rows in row["beginnings"])
        blocks = tuple(
            tuple(
                Batch(tuple(map(tuple, groups)), shared, beginning)
                for beginning, shared, groups in block
            )
            for block in row["blocks"]
        )
        batches = [batch for block in blocks for batch in block]
        run = sorted(index for batch in batches for index in batch.members)
        begun = sorted(index for beginning in beginnings for index in beginning.rows)
        known = range(len(beginnings))
        if not run == begun == list(range(n_rows)) or any(
            b.beginning not in known for b in batches
        ):
            raise HlensError(f"{where}: it is no cut of {n_rows} rows; {mend}")
        return cls(beginnings, blocks, max(1, row["threads"]))
