"""What an edit and a monitor cost while generating, as ratios to generating without.

    python benchmarks/intervene.py [--model smollm2-135m] [--rounds 8] [--clock wall]

Each round times plain, edited and monitored generation one after the other, in an order that turns,
so that a slow spell of the machine falls on all alike. Reported is the median over rounds of the
ratio within a round, and its quartiles. Every way runs through the same loop and modules; greedy,
no early stop, so that all write the same number of tokens. ``--clock cpu`` takes the process's own
CPU time, for a machine that is busy with other work.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

import hlens
from hlens import interventions, monitor
from hlens.model import Model
from hlens.types import Detector, NeuronSet

NEW_TOKENS = 32


def bridge_writes(model: Model, ids: torch.Tensor) -> None:
    """Generation through the bridge's modules."""
    with torch.inference_mode():
        model.bridge.original_model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=model.pad_id,
        )


def plain_writes(model: Model, ids: torch.Tensor) -> None:
    """Generation through the plain model, as hlens itself generates."""
    with torch.inference_mode():
        model.hf.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=model.pad_id,
        )


def ways(model: Model, writes: Callable[[Model, torch.Tensor], None], ids: torch.Tensor):
    """The ways to be timed: plain, edited, folded into the weights, monitored."""
    share = round(0.001 * model.n_layers * model.d_mlp)
    edited = some(model, share, seed=0)
    detector = Detector(some(model, 40, seed=1).mask.float(), 0.0, provenance=model.provenance)

    def plain() -> None:
        writes(model, ids)

    def editing() -> None:
        with model.editing(edited, interventions.scale(0.5)):
            writes(model, ids)

    def folded() -> None:
        with interventions.folded(model, edited, interventions.scale(0.5)):
            writes(model, ids)

    def watching() -> None:
        watch = monitor.watching(
            model, detector, on_scores=lambda scores: None, n_prompt=ids.shape[1]
        )
        with watch:
            writes(model, ids)

    return {
        "plain": plain,
        f"editing {share}": editing,
        "folded": folded,
        "monitoring 40": watching,
    }


def some(model: Model, n: int, seed: int) -> NeuronSet:
    """`n` random neurons, as scattered over layers as can be: the dearest case."""
    draw = torch.randperm(
        model.n_layers * model.d_mlp, generator=torch.Generator().manual_seed(seed)
    )
    members = frozenset((int(i) // model.d_mlp, int(i) % model.d_mlp) for i in draw[:n])
    return NeuronSet(members, model.n_layers, model.d_mlp)


def ratios(
    timed: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Time of each way over that of plain, round by round."""
    names = list(timed)
    found: dict[str, list[float]] = {name: [] for name in names if name != "plain"}
    for run in timed.values():
        run()  # warm up
    for number in range(rounds):
        shift = number % len(names)
        took = {}
        for name in names[shift:] + names[:shift]:
            start = clock()
            timed[name]()
            took[name] = clock() - start
        for name, own in found.items():
            own.append(took[name] / took["plain"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--through", nargs="+", default=["bridge", "plain model"])
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    known = {"bridge": bridge_writes, "plain model": plain_writes}
    model = hlens.load(options.model)
    for through in options.through:
        writes = known[through]
        for batch in options.batches:
            ids = torch.randint(5, 1000, (batch, 24), generator=torch.Generator().manual_seed(0))
            found = ratios(ways(model, writes, ids.to(model.device)), options.rounds, clock)
            for name, own in found.items():
                low, middle, high = statistics.quantiles(own, n=4)
                row = {"through": through, "batch": batch, "way": name}
                row |= {"ratio": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
