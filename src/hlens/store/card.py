"""The card of a shared detector or neuron set: what it is, its controls, and what it is not."""

import json
import re
from collections.abc import Iterator

import pandas as pd

from hlens.store.exchange import neuron_rows
from hlens.types import Detector, NeuronSet

SHOWN = 20

LIMITS = """\
- An H-neuron is a hypothesis. These neurons are associated with wrong answers of this model on
  these questions; whether they cause any is another question, to be asked with interventions
  beside random neurons.
- An L1 fit picks one of several neurons that carry the same signal; another sample picks others.
- Other questions, formats or languages shift the scores: evaluate on your own before use.
"""


def card(
    found: Detector | NeuronSet,
    where: str,
    scores: pd.DataFrame | None = None,
    note: str = "",
) -> str:
    """Text of ``README.md``, with the metadata that a hub reads.

    Args:
        found: What is shared.
        where: The folder or hub id that loads it.
        scores: The detector beside its controls, as `hlens.evaluation.controls` returns them.
        note: A paragraph of the author's own, as Markdown.
    """
    neurons = found.selected if isinstance(found, Detector) else found
    detector = isinstance(found, Detector)
    name = (
        f"H-neurons of {plain(found.provenance.model or 'a model')}"
        if detector
        else (f"Neurons: {plain(found.name or 'a set')}")
    )
    parts = [
        _metadata(found, scores),
        f"# {name}\n",
        _what(found, neurons),
        f"{note.strip()}\n" if note.strip() else "",
        _use(found, where),
        _scores(scores) if detector or scores is not None else "",
        f"## Limits\n\n{LIMITS}",
        _neurons(neurons),
        "".join(_provenance(found)),
    ]
    return "\n".join(part for part in parts if part)


def plain(text: object) -> str:
    r"""Words that Markdown shows literally, in a line or a table's cell.

    >>> print(plain("<bos> | *a*"))
    &lt;bos&gt; \| \*a\*
    """
    shown = " ".join(str(text).split()).replace("&", "&amp;")
    shown = shown.replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#$])", r"\\\1", shown)


def _metadata(found: Detector | NeuronSet, scores: pd.DataFrame | None) -> str:
    """YAML; JSON is YAML, so that nothing that a name holds can break out of its string."""
    lines = ["library_name: hlens", "tags: [hlens, h-neurons, interpretability, hallucination]"]
    name = found.provenance.model if isinstance(found, Detector) else ""
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        lines.append(f"base_model: {json.dumps(name)}")
    if scores is not None and len(scores) and isinstance(found, Detector):
        metric = {"type": "roc_auc", "value": round(float(scores.iloc[0]["auroc"]), 4)}
        data = {"type": "hlens", "name": ", ".join(found.domains) or "questions"}
        task = {"type": "text-classification", "name": "hallucination detection"}
        result = {"task": task, "dataset": data, "metrics": [metric]}
        index = [{"name": name or "detector", "results": [result]}]
        lines.append(f"model-index: {json.dumps(index)}")
    return "---\n" + "\n".join(lines) + "\n---\n"


def _what(found: Detector | NeuronSet, neurons: NeuronSet) -> str:
    size = (
        f"{len(neurons):,} of {neurons.n_layers * neurons.d_mlp:,} MLP neurons "
        f"({neurons.fraction:.3%}; {neurons.n_layers} layers of {neurons.d_mlp:,})"
    )
    if isinstance(found, NeuronSet):
        return f"A set of {size}, found with hlens.\n"
    domains = ", ".join(map(plain, found.domains)) or "unnamed questions"
    return (
        f"A sparse linear detector of hallucination that reads {size}: {len(found.neurons):,} with "
        f"a positive weight point to hallucination, {len(found.truth_neurons):,} to true answers. "
        f"It reads {plain(found.metric)} of the {plain(found.region)} tokens, and was found on: "
        f"{domains}.\n"
    )


def _use(found: Detector | NeuronSet, where: str) -> str:
    load = "load_detector" if isinstance(found, Detector) else "load_neurons"
    name = "detector" if isinstance(found, Detector) else "neurons"
    return (
        f"```python\nimport hlens\n\n{name} = hlens.{load}({json.dumps(where)})\n```\n\n"
        "`neurons.csv` holds layer, index, TransformerLens hook and weight of each neuron.\n"
    )


def _scores(scores: pd.DataFrame | None) -> str:
    head = "## What stands beside it\n\n"
    if scores is None or not len(scores):
        return f"{head}No control was saved with it: its scores are not checked.\n"
    lines = [head + "| on held-out answers | AUROC | 95 % interval | n |", "|---|---|---|---|"]
    for row in scores.to_dict("records"):
        lines.append(
            f"| {plain(row['control'])} | {row['auroc']:.3f} | {row['low']:.3f} to "
            f"{row['high']:.3f} | {int(row['n']):,} |"
        )
    return "\n".join(lines) + "\n"


def _neurons(neurons: NeuronSet) -> str:
    rows = neuron_rows(neurons)
    head = f"## Neurons\n\nThe first {min(SHOWN, len(rows))} of {len(rows):,} by weight.\n"
    lines = [head, "| neuron | hook | weight |", "|---|---|---|"]
    for row in rows[:SHOWN]:
        weight = "" if row["weight"] is None else f"{row['weight']:+.4g}"
        lines.append(f"| {row['address']} | `{row['hook']}` | {weight} |")
    return "\n".join(lines) + "\n"


def _provenance(found: Detector | NeuronSet) -> Iterator[str]:
    yield "## How it was made\n\n"
    if isinstance(found, NeuronSet):
        yield f"- weights of the model: `{plain(found.model or 'any of this shape')}`\n"
        return
    about = found.provenance
    named = {"model": about.model, "revision": about.revision, "weights": about.fingerprint}
    told = {**named, **found.fit, **dict(about.versions)}
    for name, value in told.items():
        if value not in ("", None):
            yield f"- {plain(name)}: {plain(value)}\n"
