"""One fit of the probe at each strength of the penalty, beside liblinear, in CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/probe_grid.py                  # 1,500 x 46,080
    OMP_NUM_THREADS=1 python benchmarks/probe_grid.py --examples 500 --scale feature --save FILE
    python benchmarks/probe_grid.py --draw FILE --figure docs/images/probe_grid.svg

Features are gamma-distributed; with ``--tails heavy`` each times a log-normal of sigma 1. Both
solve the same objective, but for the intercept, which liblinear penalises. With ``--scale feature``
liblinear is given the features divided by their deviations, hlens the features as they are. With
``--adelie PYTHON``, an interpreter that can import adelie, that stands beside, at its tol=1e-7.
"""

import argparse
import json
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from plotly.subplots import make_subplots
from probe_rivals import ADELIE, time_elsewhere
from sklearn.linear_model import LogisticRegression

from hlens.drawing.figure import Figure, finish
from hlens.drawing.theme import colour_at, palette
from hlens.probe.design import Design
from hlens.probe.solution import Options
from hlens.probe.training import TrainingSet, at_C

INFORMATIVE = 40
BLOCK = 4096  # features that are drawn at a time


def draw(n: int, p: int, *, heavy: bool, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Features [feature, example] and labels of which `INFORMATIVE` features tell."""
    rng = np.random.default_rng(seed)
    X = np.empty((p, n), dtype=np.float32)
    for start in range(0, p, BLOCK):
        size = min(BLOCK, p - start)
        scale = np.exp(rng.standard_normal((size, 1))) if heavy else 1.0
        X[start : start + size] = rng.gamma(2.0, 1.0, (size, n)) * scale
    rows = X[rng.choice(p, INFORMATIVE, replace=False)].astype(float)
    z = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    beta = rng.choice([-1, 1], INFORMATIVE) * rng.uniform(0.25, 0.75, INFORMATIVE)
    return torch.from_numpy(X), (rng.random(n) < 1 / (1 + np.exp(-beta @ z))).astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1500)
    parser.add_argument("--features", type=int, default=46080)
    parser.add_argument("--tails", choices=("heavy", "light"), default="heavy")
    parser.add_argument("--scale", choices=("none", "feature"), default="none")
    parser.add_argument("--ratios", default="0.3,0.1,0.043,0.013,0.0043,0.0013")
    parser.add_argument("--liblinear", type=float, default=1e-4, help="its tolerance; 0 for none")
    parser.add_argument("--adelie", default="", help="a Python that can import adelie")
    parser.add_argument("--save", type=Path, help="a JSONL file that rows are added to")
    parser.add_argument("--draw", type=Path, help="draw the rows of such a file, and measure none")
    parser.add_argument("--figure", type=Path, default=Path("probe_grid.svg"))
    args = parser.parse_args()
    if args.draw:
        rows = [json.loads(line) for line in args.draw.read_text().splitlines()]
        draw_ratios(rows).save(args.figure)
        return
    warnings.simplefilter("ignore")
    for row in measure(args):
        if args.save:
            with args.save.open("a") as file:
                file.write(json.dumps(row) + "\n")


def measure(args: argparse.Namespace) -> Iterable[dict[str, object]]:
    """A row for each strength of the penalty, printed when it is measured."""
    n, by_feature = args.examples, args.scale == "feature"
    X, y = draw(n, args.features, heavy=args.tails == "heavy")
    deviation = X.std(1, unbiased=False) if by_feature else torch.ones(len(X))
    top = float(((X @ torch.from_numpy((y.mean() - y) / n).float()).abs() / deviation).max())
    training = TrainingSet(
        design=Design(X),
        y=y,
        sample_weight=np.ones(n),
        class_weight=None,
        scale="feature" if by_feature else None,
        n_layers=None,
        penalty="l1",
        options=Options(),
    )
    scaled = X / deviation[:, None] if by_feature else X
    by_example = np.ascontiguousarray(scaled.T.numpy()) if args.liblinear else None
    training.solve(training.everyone, at_C(1 / (n * top * 0.5)))  # what a first call loads
    print(f"{n} x {args.features}, {args.tails} tails, scale {args.scale}; CPU seconds")
    print("lambda / max  neurons     gap    hlens  liblinear  neurons   ratio   adelie", flush=True)
    for ratio in (float(each) for each in args.ratios.split(",")):
        C = 1 / (n * top * ratio)
        start = time.process_time()
        solution = training.solve(training.everyone, at_C(np.array([C])))[0][0]
        ours = time.process_time() - start
        row: dict[str, object] = {
            "n": n, "features": args.features, "tails": args.tails, "scale": args.scale,
            "ratio": ratio, "neurons": len(solution.features), "gap": solution.gap, "hlens": ours,
        }  # fmt: skip
        line = f"{ratio:12g} {len(solution.features):8d} {solution.gap:7.0e} {ours:8.2f}"
        if by_example is not None:
            model = LogisticRegression(
                C=C, l1_ratio=1, solver="liblinear", tol=args.liblinear, max_iter=20000,
                random_state=0,
            )  # fmt: skip
            start = time.process_time()
            model.fit(by_example, y)
            theirs = time.process_time() - start
            row |= {"liblinear": theirs, "its neurons": int(np.count_nonzero(model.coef_))}
            line += f" {theirs:10.2f} {row['its neurons']:8d} {theirs / ours:7.1f}"
        if args.adelie:
            lam = np.array([top * ratio])
            beside, _ = time_elsewhere(args.adelie, ADELIE, scaled, y, lam, time.process_time)
            row["adelie"] = beside
            line += f" {beside:8.2f}"
        print(line, flush=True)
        yield row


def draw_ratios(rows: list[dict[str, object]]) -> Figure:
    """How many times hlens's time a rival takes, over the strength of the penalty."""
    colours = palette("light")
    kinds = sorted({(str(row["tails"]), str(row["scale"])) for row in rows}, reverse=True)
    titles = [f"{tails} tails, {'scaled' if scale == 'feature' else 'as they are'}"
              for tails, scale in kinds]  # fmt: skip
    figure = Figure(make_subplots(cols=len(kinds), shared_yaxes=True, subplot_titles=titles))
    sizes = sorted({int(str(row["n"])) for row in rows})
    shades = [
        colour_at(colours.oranges, (at + 1.5) / (len(sizes) + 0.5)) for at in range(len(sizes))
    ]
    for column, kind in enumerate(kinds, 1):
        for n, shade in zip(sizes, shades, strict=True):
            own = [row for row in rows if (row["tails"], row["scale"], row["n"]) == (*kind, n)]
            own.sort(key=lambda row: -float(str(row["ratio"])))
            for rival, dash in (("liblinear", "solid"), ("adelie", "dot")):
                known = [row for row in own if rival in row]
                times = [float(str(row[rival])) / float(str(row["hlens"])) for row in known]
                figure.add_scatter(
                    x=[row["ratio"] for row in known], y=times, mode="lines+markers",
                    line={"color": shade, "dash": dash, "width": 2}, marker={"size": 6},
                    name=f"{rival}, {n:,} examples", legendgroup=f"{rival} {n}",
                    showlegend=column == 1, row=1, col=column,
                )  # fmt: skip
        figure.add_hline(5, line={"color": colours.muted, "dash": "dash"}, row=1, col=column)
        figure.add_hline(1, line={"color": colours.muted, "width": 1}, row=1, col=column)
    figure.update_xaxes(type="log", autorange="reversed", title="λ, of the largest", dtick=1)
    figure.update_yaxes(type="log", tickvals=[0.5, 1, 2, 5, 10, 20, 50, 100, 200])
    figure.update_yaxes(title="times hlens's processor time", col=1)
    of_liblinear = [(float(str(row["liblinear"])) / float(str(row["hlens"])), row)
                    for row in rows if "liblinear" in row]  # fmt: skip
    least, where = min(of_liblinear, key=lambda pair: pair[0])
    n_below = sum(times < 5 for times, _ in of_liblinear)
    finish(
        figure, colours,
        title=f"liblinear takes {least:.1f} times as long as hlens, or longer",
        subtitle=f"one thread · least: {where['n']:,} examples, λ {where['ratio']} of the largest "
        f"· {n_below} of {len(of_liblinear)} below 5",
        height=520, margin={"t": 40, "b": 130, "l": 70, "r": 20},
    )  # fmt: skip
    figure.update_annotations(font_size=13)
    figure.update_layout(legend={"y": -0.22, "yanchor": "top", "x": 0, "xanchor": "left"})
    return figure


if __name__ == "__main__":
    main()
