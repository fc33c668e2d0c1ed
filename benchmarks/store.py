"""A store of a 70B model's size, written and probed: how much of it is ever in memory.

    python benchmarks/store.py [--examples 1000] [--neurons 28672] [--folder DIR]

80 layers x 28,672 neurons, float16, random, with 20 neurons planted that follow the label; 1,000
examples are 4.6 GB and 4,000 are 18.4 GB of disk. The file is written layer by layer, loaded
memory-mapped, and probed. Memory is the process's own: pages of the file that the system keeps
cached do not count.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import torch
from peak_memory import Peak
from torch import Tensor

from hlens import store
from hlens.probe import SparseProbe, find
from hlens.types import Contributions

LAYERS = 80
PLANTED = 20


def about(n: int, neurons: int) -> Contributions:
    """All but the values."""
    return Contributions(
        values=torch.empty(n, LAYERS, neurons, device="meta"),
        labels=torch.arange(n) % 2 == 0,
        groups=tuple(f"g{index}" for index in range(n)),
        domains=("planted",) * n,
        question_ids=tuple(f"q{index}" for index in range(n)),
        n_tokens=torch.full((n,), 3),
    )


def planted(neurons: int) -> list[tuple[int, int]]:
    draw = torch.Generator().manual_seed(1)
    flat = torch.randperm(LAYERS * neurons, generator=draw)[:PLANTED].tolist()
    return sorted(divmod(at, neurons) for at in flat)


def piece(n: int, neurons: int, layer: int, part: slice) -> Tensor:
    """The values ``[neuron, example]`` of some neurons of a layer."""
    draw = torch.Generator().manual_seed(layer * neurons + part.start)
    values = torch.rand(part.stop - part.start, n, generator=draw)
    for at, neuron in planted(neurons):
        if at == layer and part.start <= neuron < part.stop:
            values[neuron - part.start] += 0.6 * about(n, neurons).labels
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--neurons", type=int, default=28672)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        run(Path(folder) / "big.safetensors", asked.examples, asked.neurons)


def run(path: Path, n: int, neurons: int) -> None:
    data = about(n, neurons)
    print(f"{LAYERS} layers x {neurons} neurons, {n} examples, float16")
    with Peak() as write:
        read = partial(piece, n, neurons)
        store.write_contributions(data, path, dtype=torch.float16, read=read)
    size = path.stat().st_size / 1e6
    tell(f"write {size / 1e3:.1f} GB", write, size)
    with Peak() as opened:
        loaded = store.load_contributions(path)
    tell("load (memory-mapped)", opened, size)
    with Peak() as layer:
        mean = loaded.values[:, LAYERS // 2].float().mean()
    tell(f"read one layer (mean {mean:.3f})", layer, size)
    with Peak() as probed:
        detector = find(loaded, SparseProbe(n_neurons=PLANTED, scale=None), calibration=None)
    tell(f"probe, cross-validated AUROC {detector.fit['cv_auroc']:.3f}", probed, size)
    found = set(detector.neurons.members)
    print(f"{len(found & set(planted(neurons)))} of {PLANTED} planted neurons among {len(found)}")


def tell(what: str, peak: Peak, size: float) -> None:
    share = peak.megabytes / size
    print(f"{what}: {peak.seconds:.1f} s, peak {peak.megabytes:.0f} MB ({share:.1%} of the file)")


if __name__ == "__main__":
    main()
