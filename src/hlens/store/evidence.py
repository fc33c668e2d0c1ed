"""Evidence on disk: its texts and token values as JSONL, its tensors as safetensors.

A folder holds ``evidence.jsonl`` (one example per line), ``evidence.safetensors`` and, as
contributions, the raw activations and other measures. The JSONL is written last and names the
checksum of the tensors, so that a folder whose writing was cut short is never taken for whole.
"""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch

from hlens.errors import HlensError
from hlens.store.checked import MEND, read_rows, require
from hlens.store.contributions import load_contributions, save_contributions
from hlens.store.jsonl import save_rows
from hlens.store.tensor_file import read_tensors, write_tensors
from hlens.types import READINGS, Contributions, Evidence

KIND = "evidence"
# Fields of `Evidence` by kind. Its texts have plural names, singular in the row of an example.
_TEXTS = {f"{name}s": name for name in ("question", "context", "answer", "response")}
_COUNTS = ("n_prompt", "n_response", "starts")
_RAGGED = ("logprobs", "entropies", "samples", "sample_logprobs")
_TENSORS = (
    "residual", "residual_last", "lookback", "lens", "sae_features", "p_true", "sample_states",
)  # fmt: skip
_NOT_STORED = "this evidence was gathered by a version of hlens that did not read it; remove it"


class _Head(TypedDict):
    hlens: str
    sha256: str
    activations: bool
    measured: list[str]
    why_not: dict


class _EvidenceRow(TypedDict):
    question_id: str
    question: str
    context: str
    answer: str
    response: str
    n_prompt: int
    n_response: int
    starts: int
    logprobs: NotRequired[list[float]]
    entropies: NotRequired[list[float]]
    samples: NotRequired[list[str]]
    sample_logprobs: NotRequired[list[float]]


def save_evidence(evidence: Evidence, folder: str | Path) -> Path:
    """Write evidence into a folder, which is returned.

    Its contributions are those of the study and are not written again.
    """
    folder = Path(folder)
    tensors = {name: getattr(evidence, name) for name in _TENSORS if evidence.has(name)}
    checksum = write_tensors(folder / "evidence.safetensors", tensors)
    if evidence.activations is not None:
        save_contributions(evidence.activations, folder / "activations")
    for number, measured in enumerate(evidence.measured.values()):
        save_contributions(measured, folder / f"measured-{number}")
    head = {
        "hlens": KIND,
        "sha256": checksum,
        "activations": evidence.activations is not None,
        "measured": list(evidence.measured),
        "why_not": dict(evidence.why_not),
    }
    ragged = [name for name in _RAGGED if evidence.has(name)]
    rows: list[dict[str, Any]] = [head]
    for index, question_id in enumerate(evidence.contributions.question_ids):
        row: dict[str, Any] = {"question_id": question_id}
        row |= {single: getattr(evidence, name)[index] for name, single in _TEXTS.items()}
        row |= {name: int(getattr(evidence, name)[index]) for name in _COUNTS}
        row |= {name: list(getattr(evidence, name)[index]) for name in ragged}
        rows.append(row)
    save_rows(rows, folder / "evidence.jsonl")
    return folder


def load_evidence(
    folder: str | Path, contributions: Contributions, *, check: bool = True
) -> Evidence:
    """Read what `save_evidence` wrote, given the contributions that it was gathered for.

    With `check`, what is stored as contributions is read once to compare checksums.

    Raises:
        HlensError: A missing, foreign or damaged file, or evidence on other examples.
    """
    folder = Path(folder)
    file = folder / "evidence.jsonl"
    head, *rows = read_rows(file, dict) or [{}]
    if head.get("hlens") != KIND:
        raise HlensError(f"{file} holds no evidence; gather it again")
    require(head, _Head, f"{file}, line 1")
    ragged = [name for name in _RAGGED if rows and name in rows[0]]
    for number, row in enumerate(rows, 2):
        require(row, _EvidenceRow, f"{file}, line {number}")
        if missing := set(ragged) - set(row):
            raise HlensError(f"{file}, line {number}: {min(missing)} is missing; {MEND}")
    if [row["question_id"] for row in rows] != list(contributions.question_ids):
        raise HlensError(
            f"{folder} holds evidence on {len(rows)} examples, not on these {len(contributions)} "
            "contributions; gather it again"
        )
    fields: dict[str, Any] = {
        name: tuple(row[single] for row in rows) for name, single in _TEXTS.items()
    }
    fields |= {name: torch.tensor([row[name] for row in rows]) for name in _COUNTS}
    fields |= {name: tuple(tuple(row[name]) for row in rows) for name in ragged}
    # Checked against the JSONL, so that the files of two runs are never mixed.
    fields |= read_tensors(
        folder / "evidence.safetensors", sha256=head["sha256"], mend="gather the evidence again"
    )[0]
    if head["activations"]:
        fields["activations"] = load_contributions(folder / "activations", check=check)
    measured = {
        name: load_contributions(folder / f"measured-{number}", check=check)
        for number, name in enumerate(head["measured"])
    }
    why_not = dict.fromkeys(set(READINGS) - set(fields), _NOT_STORED) | head["why_not"]
    return Evidence(contributions, **fields, measured=measured, why_not=why_not)
