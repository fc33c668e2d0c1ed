"""The store: whole or not at all, the same to the bit after a kill, and no file mistaken."""

import csv
import errno
import json
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import pytest
import torch

from hlens import figures, metrics, store
from hlens.contributions import measure, measure_many, results
from hlens.contributions.engine import Job
from hlens.contributions.regions import Ask
from hlens.contributions.results import identity_of
from hlens.errors import HlensError
from hlens.metrics import Metric
from hlens.probe import design
from hlens.report.data import ReportData
from hlens.report.page import report as write_report
from hlens.store import write_text
from hlens.store.checked import read_rows
from hlens.store.checkpoints import save_checkpoint
from hlens.store.jsonl import save_rows
from hlens.types import Contributions, Example, MlpTrace, NeuronSet, Provenance
from test_measure import example, several, sharing, tiny


def data(n: int = 5, dtype: torch.dtype = torch.float32) -> Contributions:
    draw = torch.Generator().manual_seed(0)
    values = torch.rand(2, 3, n, generator=draw).to(dtype)
    return Contributions(
        values=values.permute(2, 0, 1),
        labels=torch.arange(n) % 2 == 0,
        groups=tuple(f"g{i}" for i in range(n)),
        domains=("réponses",) * n,
        question_ids=tuple(f"q\n{i}" for i in range(n)),
        n_tokens=torch.arange(n) + 1,
        region="other",
        metric="projection",
        provenance=Provenance("m", "f" * 32, versions=(("torch", "2"),)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_is_saved_is_loaded(tmp_path: Path, dtype: torch.dtype) -> None:
    before = data(dtype=dtype)
    after = store.load_contributions(store.save_contributions(before, tmp_path / "a"), check=True)
    assert torch.equal(before.values, after.values)
    assert after.values.dtype == dtype
    assert torch.equal(before.labels, after.labels)
    assert torch.equal(before.n_tokens, after.n_tokens)
    for name in ("groups", "domains", "question_ids", "region", "metric", "provenance"):
        assert getattr(before, name) == getattr(after, name)


def test_loaded_values_are_neuron_major_and_lie_on_disk(tmp_path: Path) -> None:
    path = store.save_contributions(data(), tmp_path / "a")
    loaded = store.load_contributions(path)
    assert loaded.neuron_major.data_ptr() == loaded.values.data_ptr()
    assert str(path) in Path("/proc/self/maps").read_text() or sys.platform != "linux"


def test_a_mapped_store_is_widened_piece_by_piece_in_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.save_contributions(data(n=8, dtype=torch.float16), tmp_path / "a")
    matrix = store.load_contributions(path).neuron_major
    monkeypatch.setitem(design.CHUNK_ELEMENTS, "cpu", 8)
    read = design.Design(matrix, threads=2)
    with read.thread_pool():
        found = read.map_chunks(lambda _, chunk: (chunk.data_ptr(), chunk.clone()))
    assert len(found) == 6
    assert len({place for place, _ in found}) <= 2, "one place a thread, however many chunks"
    assert torch.equal(torch.cat([chunk for _, chunk in found]), matrix.float())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    with pytest.raises(HlensError, match="float32 or"):
        store.save_contributions(data(dtype=dtype), tmp_path / "a")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def garble(path: Path) -> None:
    path.write_bytes(b"\x08" + bytes(7) + b"not json")


@pytest.mark.parametrize(
    ("harm", "said"),
    [(cut, "truncated"), (flip, "damaged"), (garble, "not a tensor file"), (Path.unlink, "exist")],
)
def test_a_harmed_file_is_named(tmp_path: Path, harm: Callable[[Path], None], said: str) -> None:
    path = store.save_contributions(data(), tmp_path / "harmed")
    harm(path)
    with pytest.raises(HlensError, match=f"harmed.*{said}"):
        store.load_contributions(path, check=True)


def test_a_checksum_covers_the_header_too(tmp_path: Path) -> None:
    path = store.save_contributions(data(), tmp_path / "harmed")
    path.write_bytes(path.read_bytes().replace(b"projection", b"activation"))
    with pytest.raises(HlensError, match="damaged"):
        store.load_contributions(path, check=True)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    blocks = store.Blocks(tmp_path, "run", dict)
    blocks.save(0, [0], torch.zeros(1, 1, 2, 3))
    with pytest.raises(HlensError, match="holds block, not contributions"):
        store.load_contributions(tmp_path / "block-000000")


# Measuring into a folder


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_BLOCK_BYTES", 1)


def run(folder: Path | None, items: list[Example] | None = None) -> Contributions:
    items = several(12) + sharing() if items is None else items
    return measure_many(
        tiny("llama"),
        items,
        metrics=[metrics.cett, metrics.projection],
        regions=["answer", "other"],
        batch_size=2,
        store=folder,
    )["cett", "answer"]


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_measuring_into_a_folder_gives_what_memory_gives(tmp_path: Path) -> None:
    found, kept = run(tmp_path), run(None)
    assert torch.equal(kept.values, found.values)
    assert kept.question_ids == found.question_ids
    assert kept.provenance == found.provenance
    assert sorted(content(tmp_path))[0] == "cett.answer.index.jsonl"
    assert not (tmp_path / "blocks").exists()


@pytest.mark.usefixtures("small_blocks")
def test_what_stands_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    monkeypatch.setattr("hlens.contributions.engine.run_rows", None)
    monkeypatch.setattr("hlens.contributions.engine.run_groups", None)
    run(tmp_path)


def test_another_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    run(tmp_path, several(3))
    with pytest.raises(HlensError, match="another run"):
        run(tmp_path, several(4))


@pytest.mark.parametrize(
    "other",
    [
        {"stop": 12}, {"start": 10}, {"n_prompt": 8}, {"hallucinated": False}, {"group": "h"},
        {"domain": "d"}, {"question_id": "r"}, {"sample": 1}, {"token_ids": torch.arange(3, 19)},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_another_example_is_another_run(other: dict[str, Any]) -> None:
    asks = [Ask(metrics.cett, "answer")]
    jobs = [Job(tiny("llama"), [example(0, **fields)], asks) for fields in ({}, other)]
    one, two = map(identity_of, jobs)
    assert one != two


def test_a_metric_of_the_same_name_that_does_something_else_is_another_run(tmp_path: Path) -> None:
    def scaled(by: float) -> Metric:
        def mine(mlp: MlpTrace) -> torch.Tensor:
            return mlp.act.float() * by

        return mine

    items = several(2)
    first = measure(tiny("llama"), items, metric=scaled(1.0), store=tmp_path)
    again = measure(tiny("llama"), items, metric=scaled(1.0), store=tmp_path)
    assert torch.equal(first.values, again.values)
    with pytest.raises(HlensError, match="another run"):
        measure(tiny("llama"), items, metric=scaled(2.0), store=tmp_path)


def stopped(folder: Path, after: int, batch_size: int | None = 2) -> None:
    """A run that ends in the midst of its blocks."""

    class StopRunError(Exception):
        pass

    def progress(done: int, total: int) -> None:
        if done >= after:
            raise StopRunError

    items = several(12)
    with pytest.raises(StopRunError):
        measure(tiny("llama"), items, batch_size=batch_size, store=folder, progress=progress)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("harm", "said"), [(cut, "truncated"), (flip, "damaged")])
def test_a_harmed_block_is_named(tmp_path: Path, harm: Callable[[Path], None], said: str) -> None:
    stopped(tmp_path, after=8)
    harm(tmp_path / "blocks" / "block-000001.safetensors")
    with pytest.raises(HlensError, match=f"block-000001.*{said}"):
        measure(tiny("llama"), several(12), batch_size=2, store=tmp_path)


@pytest.mark.usefixtures("small_blocks")
def test_a_foreign_block_is_named(tmp_path: Path) -> None:
    stopped(tmp_path / "a", after=8)
    foreign = store.Blocks(tmp_path / "b", "other", dict)
    foreign.save(1, [0], torch.zeros(1, 1, 3, 56))
    name = "block-000001.safetensors"
    (tmp_path / "a" / "blocks" / name).write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(HlensError, match=r"block-000001.*another run"):
        measure(tiny("llama"), several(12), batch_size=2, store=tmp_path / "a")


@pytest.mark.usefixtures("small_blocks")
def test_a_run_goes_on_as_it_was_cut_when_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here with more memory than on the machine where it was killed."""
    monkeypatch.setattr(results, "auto_tokens", lambda model: 64)
    whole = measure(tiny("llama"), several(12), store=tmp_path / "whole")
    stopped(tmp_path / "cut", after=4, batch_size=None)
    monkeypatch.setattr(results, "auto_tokens", lambda model: 1 << 20)
    again = measure(tiny("llama"), several(12), store=tmp_path / "cut")
    assert torch.equal(again.values, whole.values)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: plan["blocks"].pop(), "no cut of 12 rows"),
        (lambda plan: plan["blocks"].append(plan["blocks"][0]), "no cut of 12 rows"),
        (lambda plan: plan["beginnings"][0][1].append(12), "no cut of 12 rows"),
        (lambda plan: plan["blocks"][0][0].__setitem__(0, 7), "no cut of 12 rows"),
        (lambda plan: plan.pop("threads"), "threads is missing"),
        (lambda plan: plan.update(blocks=[[0]]), r"blocks\[0\]\[0\] is 0"),
    ],
)
def test_a_damaged_cut_is_named(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    stopped(tmp_path, after=8)
    path = tmp_path / "blocks" / "run.json"
    run_of = json.loads(path.read_text())
    change(run_of["plan"])
    path.write_text(json.dumps(run_of))
    with pytest.raises(HlensError, match=f"run.json: .*{said}.*measure again"):
        measure(tiny("llama"), several(12), batch_size=2, store=tmp_path)


@pytest.mark.usefixtures("small_blocks")
def test_a_block_of_other_examples_is_named(tmp_path: Path) -> None:
    stopped(tmp_path, after=8)
    path = tmp_path / "blocks" / "block-000000.safetensors"
    path.write_bytes((tmp_path / "blocks" / "block-000001.safetensors").read_bytes())
    with pytest.raises(HlensError, match=r"block-000000.*holds other examples"):
        measure(tiny("llama"), several(12), batch_size=2, store=tmp_path)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_of_another_run_are_refused(tmp_path: Path) -> None:
    stopped(tmp_path, after=8)
    with pytest.raises(HlensError, match="another run"):
        measure(tiny("llama"), several(11), batch_size=2, store=tmp_path)


class Fuse:
    """Counts function calls, of Python and of C, and kills the process at the given one."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def burn(self, folder: Path) -> None:
        sys.setprofile(self)
        run(folder)
        sys.setprofile(None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to start runs quickly")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("small_blocks")
def test_a_killed_run_goes_on_and_ends_the_same_to_the_bit(tmp_path: Path) -> None:
    run(tmp_path / "undisturbed")
    expected = content(tmp_path / "undisturbed")
    whole = Fuse()
    whole.burn(tmp_path / "counted")
    fork = multiprocessing.get_context("fork")
    draw = random.Random(0)
    seen = set()
    for number in range(10):
        folder = tmp_path / f"killed-{number}"
        child = fork.Process(target=Fuse(draw.randrange(whole.calls)).burn, args=(folder,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        seen.add(tuple(content(folder)) if folder.exists() else ())
        run(folder)
        assert content(folder) == expected
    assert len(seen) > 5, "the kills all came at the same moment; lengthen the run"


# What is replaced


def test_only_plain_files_are_replaced(tmp_path: Path) -> None:
    file = tmp_path / "kept.txt"
    file.write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    kinds = {"folder": "a folder", "link": "a link", "dangling": "a link", "pipe": "a pipe"}
    for name, kind in kinds.items():
        with pytest.raises(HlensError, match=f"{name} is {kind}, and only plain files"):
            write_text(tmp_path / name, "new")
    with pytest.raises(HlensError, match="/dev/null is a device"):
        write_text("/dev/null", "new")
    with pytest.raises(HlensError, match=r"kept\.txt: is no folder"):
        write_text(file / "new.txt", "new")
    assert file.read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {*kinds, "kept.txt"}


def test_what_hlens_did_not_write_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    for before, after in (("", "m: 1"), ("m: 0", "m: 1"), ("mine", "mine")):
        file.write_text(before)
        if before == after:
            with pytest.raises(HlensError, match=r"a\.csv exists and hlens did not write it"):
                write_text(file, "m: 1", b"m:")
        else:
            write_text(file, "m: 1", b"m:")
        assert file.read_text() == after


def test_half_a_surrogate_pair_is_written_as_json_escapes_it(tmp_path: Path) -> None:
    save_rows([{"text": "a\ud800b"}], tmp_path / "rows.jsonl")
    assert read_rows(tmp_path / "rows.jsonl", dict) == [{"text": "a\ud800b"}]


# Tables for other programs


def test_a_csv_carries_no_formula_and_is_read_back_the_same(tmp_path: Path) -> None:
    hostile = [
        "=1+2",
        "+a",
        "-a",
        "@x",
        "\ttab",
        "\rcr",
        "'=1",
        "'plain",
        'a,"b"\nc',
        "12",
        "NA",
        "",
    ]
    table = pd.DataFrame(
        {"=cmd|' /C calc'!A0": hostile, "low": [-0.5 * i for i in range(12)], "n": range(12)}
    )
    table["ok"] = [True, False] * 6
    table.loc[3, "low"] = float("nan")
    store.save_table(table, tmp_path / "t.csv")
    store.save_table(table, tmp_path / "t.csv")  # its own is replaced
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.reader(file))
    assert [row[0] for row in written[:9]] == [
        "'=cmd|' /C calc'!A0", "'=1+2", "'+a", "'-a", "'@x", "'\ttab", "'\rcr", "''=1", "''plain",
    ]  # fmt: skip
    assert written[2][1] == "-0.5"
    pd.testing.assert_frame_equal(store.load_table(tmp_path / "t.csv"), table)
    (tmp_path / "t.csv").write_text("of another\n1\n")
    with pytest.raises(HlensError, match="hlens did not write it"):
        store.save_table(table, tmp_path / "t.csv")


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which nothing can be written; also for root, whom no mode stops."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    folder.chmod(0o555)
    plain_open, plain_mkdir = Path.open, Path.mkdir

    def refuse(path: Path) -> None:
        if folder in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def open_(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if set(mode) & set("wax+"):
            refuse(self)
        return plain_open(self, mode, *args, **kwargs)

    def mkdir(self: Path, *args: Any, **kwargs: Any) -> None:
        if not self.exists():
            refuse(self)
        plain_mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    yield folder
    folder.chmod(0o755)


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_text(folder / "a.txt", "new"),
        lambda folder: write_text(folder / "old.txt", "new"),
        lambda folder: write_text(folder / "below" / "a.txt", "new"),
        lambda folder: store.save_table(pd.DataFrame({"a": [1]}), folder / "a.parquet"),
        lambda folder: store.save_contributions(data(), folder / "values"),
        lambda folder: store.save_neurons(NeuronSet(frozenset({(0, 1)}), 2, 3), folder / "n"),
        lambda folder: write_report(ReportData("t"), folder / "r.html"),
        lambda folder: save_checkpoint(lambda where: None, folder / "model", card=""),
        lambda folder: figures.losses(**figures.losses.example()).save(folder / "f.html"),
    ],
)
def test_a_folder_that_may_not_be_written_is_named_and_no_file_written_aside(
    write: Callable[[Path], object], read_only: Path
) -> None:
    with pytest.raises(HlensError, match=r"Permission denied") as raised:
        write(read_only)
    said = str(raised.value)
    assert str(read_only) in said
    assert "partial" not in said
    assert "\n" not in said
    assert [path.name for path in read_only.iterdir()] == ["old.txt"]
    assert (read_only / "old.txt").read_text() == "old"
