"""The formula and the regions of the paper's official code (github.com/thunlp/H-Neurons).

Its regions are cut from the whole conversation as the chat template writes it, closing tokens
included: ``input`` is the user's turn less its last token, ``output`` begins with the assistant's
header and leaves out the very last token, ``answer_tokens`` is the answer, and
``all_except_answer_tokens`` the whole conversation without it. Its bugs are not reproduced, nor its
bfloat16 means.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hlens import lookup, metrics
from hlens.contributions.regions import REGIONS, Ask, Span
from hlens.data_files import read_json
from hlens.errors import HlensError
from hlens.metrics import Metric, norm_of
from hlens.model import Model
from hlens.store.arrays import read_array
from hlens.types import Contributions, Example, MlpTrace

_LONGEST_ID = 200  # bytes; file systems take names of 255
# Our name of a region, and that of the official code; both are accepted.
OFFICIAL_NAMES = {
    "prompt": "input",
    "response": "output",
    "answer": "answer_tokens",
    "other": "all_except_answer_tokens",
}


def cett_thunlp(mlp: MlpTrace) -> Float[Tensor, "*pos neuron"]:
    """|a| ||w|| / (||h|| + 1e-8): CETT with the official code's epsilon.

    >>> w_out, act = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[-1.0, 2.0]])
    >>> cett_thunlp(MlpTrace(act, act @ w_out, w_out))
    tensor([[1.3868, 0.5547]])
    """
    return mlp.act.float().abs() * mlp.w_norm / (norm_of(mlp.out)[..., None] + 1e-8)


def official_asks(
    model: Model, formulas: Sequence[Metric], *, regions: Sequence[str], reduce: str, position: str
) -> list[Ask]:
    """What a ``compat="thunlp"`` measurement asks for."""
    if list(formulas) != [metrics.cett] or position != "read":
        raise HlensError(
            "compat='thunlp' measures CETT where tokens are read, and nothing else; leave metric= "
            "and position= at their defaults"
        )
    spans = _spans(len(_template(model)[0]))
    asks = []
    for region in regions:
        name = OFFICIAL_NAMES.get(region, region)
        if name not in spans:
            raise lookup.unknown("region of the official code", name, [*spans, *OFFICIAL_NAMES])
        asks.append(Ask(cett_thunlp, name, reduce=reduce, spans=spans[name]))
    return asks


def _spans(header: int) -> dict[str, Callable[[Example], list[Span]]]:
    """Regions of an example whose conversation was closed, by the official names."""
    return {
        "input": lambda example: [(0, max(0, example.n_prompt - header - 1))],
        "output": lambda example: [(example.n_prompt - header, len(example.token_ids) - 1)],
        "answer_tokens": REGIONS["answer"],
        "all_except_answer_tokens": REGIONS["other"],
    }


def closed(model: Model, examples: Sequence[Example]) -> list[Example]:
    """The examples, each followed by the tokens with which the chat template ends a turn."""
    closing = torch.tensor(_template(model)[1], dtype=torch.long)
    return [
        replace(example, token_ids=torch.cat([example.token_ids, closing])) for example in examples
    ]


def _template(model: Model) -> tuple[list[int], list[int]]:
    """Tokens that open and that close the assistant's turn; none without a chat template."""
    tokenizer: Any = model.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        return [], []
    user, reply = {"role": "user", "content": "?"}, {"role": "assistant", "content": "42"}

    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    write = partial(tokenizer.apply_chat_template, tokenize=False)
    asked = write([user], add_generation_prompt=False)
    opened = write([user], add_generation_prompt=True)
    whole = write([user, reply], add_generation_prompt=False)
    return tokens(opened)[len(tokens(asked)) :], tokens(whole.rpartition("42")[2])


def import_thunlp(
    folder: str | Path,
    ids: str | Path,
    *,
    other_folder: str | Path | None = None,
    region: str = "answer_tokens",
) -> Contributions:
    """Contributions from the official pipeline's files.

    Args:
        folder: Folder of ``act_<qid>.npy``, one ``[layer, neuron]`` array a question.
        ids: JSON file of the question ids, ``{"t": [...], "f": [...]}`` (true, hallucinated).
        other_folder: Folder of the same questions' other tokens; they are added as examples
            labelled true ("3-vs-1"), in the same groups. A question whose answer the official code
            did not find has a file here alone: that row stays, and a warning counts the answers.
        region: What the files hold, in the official code's words.

    Raises:
        HlensError: A missing file (the first is named, all are counted), arrays of several shapes,
            an id listed twice, or one folder for both kinds of tokens.
    """
    folder, lists = Path(folder), _id_lists(Path(ids))
    if both := {*lists["t"]} & {*lists["f"]}:
        raise HlensError(
            f"{len(both)} ids of {ids} are both true and hallucinated (first: {min(both)!r}); "
            "leave each in one list"
        )
    answers = [(folder / f"act_{qid}.npy", qid, key == "f") for key in "tf" for qid in lists[key]]
    rows, n_listed = answers, len(answers)
    if other_folder is not None:
        if Path(other_folder).resolve() == folder.resolve():
            raise HlensError(f"{folder} cannot hold both the answers and the other tokens")
        others = [(Path(other_folder) / path.name, qid, False) for path, qid, _ in answers]
        found = [row for row in answers if row[0].is_file()]
        if found and len(found) < n_listed:
            warnings.warn(
                f"{n_listed - len(found)} of {n_listed} answers have no file in {folder}; the "
                "other tokens of these questions stay",
                stacklevel=2,
            )
            answers = found
        rows = answers + others
    paths = [path for path, *_ in rows]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        raise HlensError(
            f"{len(missing)} of {len(paths)} files are missing (first: "
            f"{missing[0] if missing else 'no ids'}); the official code leaves out questions whose "
            "answer it did not find: take them out of the id list (with other_folder= their other "
            "tokens stay)"
        )
    values = torch.from_numpy(_neuron_major(paths)).permute(2, 0, 1)
    qids = tuple(qid for _, qid, _ in rows)
    return Contributions(
        values=values,
        labels=torch.tensor([hallucinated for *_, hallucinated in rows]),
        groups=qids,
        domains=("thunlp",) * len(rows),
        question_ids=qids,
        n_tokens=torch.ones(len(rows), dtype=torch.long),  # the files do not say
        region=region,
        metric=cett_thunlp.__name__,
    )


def _id_lists(path: Path) -> dict[str, list[str]]:
    try:
        lists = read_json(path)
        if not all(isinstance(lists[key], list) for key in "tf"):
            raise TypeError("'t' and 'f' are no lists")
        lists = {key: [str(qid) for qid in lists[key]] for key in "tf"}
    except (HlensError, KeyError, TypeError) as error:
        raise HlensError(
            f"cannot read the id list {path} ({error}); expected JSON like "
            '{"t": ["id", ...], "f": ["id", ...]}'
        ) from None
    for qids in lists.values():
        if twice := [qid for qid, n in Counter(qids).items() if n > 1]:
            raise HlensError(f"{path} lists {twice[0]!r} twice; leave each id once")
        if odd := [qid for qid in qids if "/" in qid or len(qid.encode()) > _LONGEST_ID]:
            raise HlensError(f"{path} lists {odd[0]!r:.60}, after which no file is called")
    return lists


def _neuron_major(paths: Sequence[Path]) -> np.ndarray:
    first = read_array(paths[0])
    values = np.empty((*first.shape, len(paths)), np.float32)
    for column, path in enumerate(paths):
        array = read_array(path)
        if array.shape != first.shape or array.ndim != 2:
            raise HlensError(
                f"{path} has shape {array.shape}, expected [layer, neuron] as {first.shape} of the "
                "first; do not mix models in one folder"
            )
        values[:, :, column] = array
    return values
