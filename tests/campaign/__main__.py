"""Run the campaign: ``PYTHONPATH=tests python -m campaign --seed 0 --inputs 10000``.

Prints, for each thing that hlens reads, how many inputs were tried, read rightly, refused in one
line, or failed; then the failures by kind, each with the command that replays one. Inputs are read
in a process of their own, so that a crash or a hang is a failure like others. Exit code 1 where
anything failed.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

from campaign import trials, workers
from campaign.trials import FAILED, REFUSED, RIGHT, Outcome

# Modules of this folder with `main(argv)` that run after the inputs, and what asks for all of each.
OTHER_PARTS = {"kills": ["--kills", "100"], "noise": ["--full"]}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments say; 1 where anything failed."""
    options, begun = _parser().parse_args(argv), time.monotonic()
    with ExitStack() as kept:
        made = tempfile.TemporaryDirectory(prefix="hlens-campaign-", ignore_cleanup_errors=True)
        home = (options.home or Path(kept.enter_context(made))).resolve()
        home.mkdir(parents=True, exist_ok=True)
        if options.replay:
            workers.settle()
            (home / "0").mkdir(exist_ok=True)
            outcome = trials.replay(options.replay, home=home / "0")
            print(
                f"{outcome.name}: {outcome.said}\n{outcome.result} {outcome.kind}\n{outcome.seen}"
            )
            return int(outcome.result == FAILED)
        failed = _fuzz(options, home) if "inputs" in options.parts else 0
    for part, everything in OTHER_PARTS.items():
        if part in options.parts:
            print(f"\n== {part}", flush=True)
            jobs = ["--jobs", str(options.jobs)]
            failed += bool(import_module(f"campaign.{part}").main([*everything, *jobs]))
    print(
        f"\nall parts: {time.monotonic() - begun:.0f} s, {'failures' if failed else 'no failure'}"
    )
    return int(failed > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--only", nargs="+", choices=trials.names(), default=trials.names())
    parser.add_argument("--failures", type=Path, default=Path("build/campaign"), help="kept there")
    parser.add_argument("--replay", type=Path, help="folder of a failure that was kept")
    parser.add_argument(
        "--home", type=Path, help="keep the undamaged originals here for a next run"
    )
    parser.add_argument("--jobs", type=int, default=workers.count(), help="processes at a time")
    parts = ("inputs", *OTHER_PARTS)
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    return parser


def _fuzz(options: argparse.Namespace, home: Path) -> int:
    print(f"seed {options.seed}, {options.inputs} inputs, {options.jobs} at a time", flush=True)
    homes = [home / str(job) for job in range(options.jobs)]
    for one in homes:
        one.mkdir(exist_ok=True)
    print(f"{'':18}{'tried':>8}{'right':>8}{'refused':>9}{'failed':>8}{'seconds':>9}", flush=True)
    failures = options.failures.resolve()
    shares = {name: trials.target(name).SHARE for name in options.only}
    total: Counter[str] = Counter()
    failed: list[Outcome] = []
    begun = time.monotonic()
    for name, share in shares.items():
        n, since = max(1, round(options.inputs * share / sum(shares.values()))), time.monotonic()
        outcomes = workers.shared_outcomes(name, options.seed, n, homes, failures)
        failed += [outcome for outcome in outcomes if outcome.result == FAILED]
        counts = Counter(outcome.result for outcome in outcomes)
        total += counts
        print(_row(name, counts, time.monotonic() - since), flush=True)
    print(_row("all", total, time.monotonic() - begun))
    _print_failures(failed, failures)
    return len(failed)


def _row(name: str, counts: Counter[str], seconds: float) -> str:
    cells = f"{counts[RIGHT]:8}{counts[REFUSED]:9}{counts[FAILED]:8}{seconds:9.0f}"
    return f"{name:18}{counts.total():8}{cells}"


def _print_failures(failed: Sequence[Outcome], failures: Path) -> None:
    by_kind: dict[str, list[Outcome]] = {}
    for outcome in failed:
        by_kind.setdefault(f"{outcome.target}: {outcome.kind}", []).append(outcome)
    for kind, alike in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        first = min(alike, key=lambda outcome: outcome.number)
        seen = first.seen.strip().splitlines()[-1:] or [""]
        print(f"\n{len(alike)} x {kind}\n  {first.said}\n  {seen[0][:300]}")
        print(f"  python -m campaign --replay {failures / first.name}")


if __name__ == "__main__":
    sys.exit(main())
