"""The README of a shared detector or neuron set: what it is, its controls, and its limits."""

import json
import re
from collections.abc import Iterator

import pandas as pd

from hlens.store.neuron_tables import neuron_rows
from hlens.types import Detector, NeuronSet, describe

MOST_ROWS = 20

LIMITS = """\
- An H-neuron is a hypothesis. These neurons are associated with wrong answers of this model on
  these questions; whether they cause any is another question, to be asked with interventions
  beside random neurons.
- An L1 fit picks one of several neurons that carry the same signal; another sample picks others.
- Other questions, formats or languages shift the scores: evaluate on your own before use.
"""


def sharing_card(
    shared: Detector | NeuronSet,
    source: str,
    *,
    scores: pd.DataFrame | None = None,
    note: str = "",
) -> str:
    """Text of ``README.md``, with the metadata that a hub reads.

    `source` is the folder or hub id to load it from, `scores` a table of
    `hlens.evaluation.controls`, `note` a paragraph of the author's own, as Markdown.
    """
    if isinstance(shared, Detector):
        neurons, title = shared.selected, f"H-neurons of {shared.provenance.model or 'a model'}"
    else:
        neurons, title = shared, f"Neurons: {shared.name or 'a set'}"
    parts = [
        _metadata(shared, scores),
        f"# {escape(title)}\n",
        _description(shared, neurons),
        f"{note.strip()}\n" if note.strip() else "",
        _usage(shared, neurons, source),
        _score_table(scores) if isinstance(shared, Detector) or scores is not None else "",
        f"## Limits\n\n{LIMITS}",
        _neuron_table(neurons),
        "".join(_provenance_lines(shared)),
    ]
    return "\n".join(part for part in parts if part)


def is_hub_id(text: str) -> bool:
    """Whether a text has the form ``owner/name``."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text))


def escape(text: object) -> str:
    r"""The text, so that Markdown shows it literally, on a line or in a cell.

    >>> print(escape("<bos> | *a*"))
    &lt;bos&gt; \| \*a\*
    """
    shown = " ".join(str(text).split()).replace("&", "&amp;")
    shown = shown.replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#$])", r"\\\1", shown)


def _metadata(shared: Detector | NeuronSet, scores: pd.DataFrame | None) -> str:
    """YAML header; written as JSON, which is YAML, so that no name can break out of its string."""
    lines = ["library_name: hlens", "tags: [hlens, h-neurons, interpretability, hallucination]"]
    name = shared.provenance.model if isinstance(shared, Detector) else ""
    if is_hub_id(name):
        lines.append(f"base_model: {json.dumps(name)}")
    if scores is not None and len(scores) and isinstance(shared, Detector):
        metric = {"type": "roc_auc", "value": round(float(scores.iloc[0]["auroc"]), 4)}
        data = {"type": "hlens", "name": ", ".join(shared.domains) or "questions"}
        task = {"type": "text-classification", "name": "hallucination detection"}
        result = {"task": task, "dataset": data, "metrics": [metric]}
        index = [{"name": name or "detector", "results": [result]}]
        lines.append(f"model-index: {json.dumps(index)}")
    return "---\n" + "\n".join(lines) + "\n---\n"


def _description(shared: Detector | NeuronSet, neurons: NeuronSet) -> str:
    layers = f"{neurons.n_layers} layers of {neurons.d_mlp:,}"
    if neurons.experts:
        layers = describe(neurons.experts, neurons.n_layers, neurons.d_mlp)
    size = (
        f"{len(neurons):,} of {neurons.n_neurons:,} MLP neurons ({neurons.fraction:.3%}; {layers})"
    )
    if isinstance(shared, NeuronSet):
        return f"A set of {size}, found with hlens.\n"
    domains = ", ".join(map(escape, shared.domains)) or "unnamed questions"
    return (
        f"A sparse linear detector of hallucination that reads {size}: {len(shared.neurons):,} "
        f"point to hallucination when they are amplified, {len(shared.truth_neurons):,} to true "
        f"answers. It reads {escape(shared.metric)} of the {escape(shared.region)} tokens, and "
        f"was found on: {domains}.\n"
    )


def _usage(shared: Detector | NeuronSet, neurons: NeuronSet, source: str) -> str:
    load = "load_detector" if isinstance(shared, Detector) else "load_neurons"
    name = "detector" if isinstance(shared, Detector) else "neurons"
    # No hook of TransformerLens is at the neurons of experts.
    hook = "and " if neurons.experts else "TransformerLens hook and "
    return (
        f"```python\nimport hlens\n\n{name} = hlens.{load}({json.dumps(source)})\n```\n\n"
        f"`neurons.csv` holds layer, index, {hook}weight of each neuron.\n"
    )


def _score_table(scores: pd.DataFrame | None) -> str:
    head = "## Scores and controls\n\n"
    if scores is None or not len(scores):
        return f"{head}No control was saved with it: its scores are not checked.\n"
    lines = [head + "| on held-out answers | AUROC | 95 % interval | n |", "|---|---|---|---|"]
    for row in scores.to_dict("records"):
        lines.append(
            f"| {escape(row['control'])} | {row['auroc']:.3f} | {row['low']:.3f} to "
            f"{row['high']:.3f} | {int(row['n']):,} |"
        )
    return "\n".join(lines) + "\n"


def _neuron_table(neurons: NeuronSet) -> str:
    rows = neuron_rows(neurons)
    head = f"## Neurons\n\nThe first {min(MOST_ROWS, len(rows))} of {len(rows):,} by weight.\n"
    lines = [head, "| neuron | hook | weight |", "|---|---|---|"]
    if neurons.experts:
        lines = [head, "| neuron | weight |", "|---|---|"]
    for row in rows[:MOST_ROWS]:
        weight = "" if row["weight"] is None else f"{row['weight']:+.4g}"
        hook = f" | `{row['hook']}`" if row["hook"] else ""
        lines.append(f"| {row['address']}{hook} | {weight} |")
    return "\n".join(lines) + "\n"


def _provenance_lines(shared: Detector | NeuronSet) -> Iterator[str]:
    yield "## How it was made\n\n"
    if isinstance(shared, NeuronSet):
        yield f"- weights of the model: `{escape(shared.model or 'any of this shape')}`\n"
        return
    about = shared.provenance
    named = {"model": about.model, "revision": about.revision, "weights": about.fingerprint}
    for name, value in {**named, **shared.fit, **dict(about.versions)}.items():
        if value not in ("", None):
            yield f"- {escape(name)}: {escape(value)}\n"
