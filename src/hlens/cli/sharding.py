"""Sampling and measuring in shards: one process does one of them, another binds them."""

from pathlib import Path

from hlens.cli import show
from hlens.cli.opening import opening, step_at
from hlens.errors import HlensError
from hlens.shards import Shard


def do_shard(place: str, study: Path, out: Path | None, shard: str, as_json: bool) -> None:
    """Do one shard of the step at a place."""
    own = Shard.parse(shard)
    _check_is_folder(study, out)
    with opening(study) as opened:
        blocks = opened.do_shard(step_at(place), own)
    show.result({"study": str(study), "shard": shard, "blocks done": blocks}, as_json)


def gather(study: Path, as_json: bool) -> None:
    """Bind what shards have done."""
    _check_is_folder(study, None)
    with opening(study) as opened:
        step = opened.gather()
        facts = step.facts(opened[step]) if step.facts else {}
    show.result({"study": str(study), "gathered": step.name, **facts}, as_json)


def _check_is_folder(study: Path, out: Path | None) -> None:
    """Refuse a recipe: many processes that start at once would each write the study's own."""
    if out is not None or not study.is_dir():
        raise HlensError(
            f"shards go with the folder of a study, and {study} is none; make it in one process, "
            f"with `hlens ask {study} --out FOLDER`, and give its folder"
        )
