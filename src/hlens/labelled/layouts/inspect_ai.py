"""Logs of Inspect (github.com/UKGovernmentBEIS/inspect_ai): answers with the scores of a scorer.

A log is a ``.eval`` file, a zip with a JSON file for each sample in ``samples/`` and a
``header.json`` (in logs of runs that did not end, ``_journal/start.json``), or one ``.json`` file
with eval and samples. A sample has id, epoch, input, choices, target, messages, output, scores and
attachments.
The forms were looked up in the repository, zstd compression of newer ``.eval`` files included; its
licence is MIT, that of a log is its owner's. The experimental ``.eval2`` is not read.

The label is the value of the one scorer: C (correct), I (incorrect), P (partial) or N (no answer);
1 and 0, true and false, are C and I; any other value is an unknown label word, to be mapped. A
sample with several scorers is an error: their labels may differ, and none is chosen here. A sample
without scores is unlabelled, and the target is its gold answer.

The answer is the last message of the assistant, and the messages are those before it. Reasoning is
left out, since the log keeps it apart. Samples with an error, with tool calls or with images cannot
be read as text: they are left out and counted in one warning. The epochs of a sample are one group,
and its task is the domain.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from hlens.data_files import decode, naming, parse_object, read_text
from hlens.errors import HlensError
from hlens.labelled.layouts import layout
from hlens.labelled.layouts._archive import read_members
from hlens.labelled.layouts._reading import Record, Row, list_of, name_of, objects_of, shown

log = logging.getLogger("hlens")
ROLES = ("system", "user", "assistant")
_ATTACHED = "attachment://"
_BINARY = {True: "C", False: "I"}


class _LeftOut(Exception):  # noqa: N818
    """Why a sample is left out."""


@layout(
    hub="",
    licence="",
    labels={"C": "correct", "I": "hallucinated", "P": "unscored", "N": "refused"},
)
def read_inspect_ai(path: Path) -> Iterator[dict[str, Any]]:
    """One row for each sample of a log."""
    lost: Counter[str] = Counter()
    for where, task, sample in _samples(path):
        try:
            with naming(where):
                row = _to_row(sample, task)
        except _LeftOut as reason:
            lost[str(reason)] += 1
            continue
        yield row
    if lost:
        said = ", ".join(f"{n} ({reason})" for reason, n in lost.items())
        log.warning("%s: samples left out: %s", path.name, said)


def _samples(path: Path) -> Iterator[tuple[str, str, Record]]:
    """Place, task and content of each sample."""
    if not path.is_file():
        raise HlensError(f"no file {str(path)!r}; give the path of a log")
    if path.suffix == ".json":
        text = read_text(path)
        with naming(path.name):
            held = parse_object(text)
            task, samples = _task(held), objects_of(held, "samples")
        for number, sample in enumerate(samples, start=1):
            yield f"{path.name}, sample {number}", task, sample
        return
    heads = [*read_members(path, prefix="header"), *read_members(path, prefix="_journal/start")]
    if not heads:
        raise HlensError(f"{path.name} holds no header.json; expected a log of Inspect")
    head = _parse(path, *heads[0])
    with naming(f"{path.name}, {heads[0][0]}"):
        task = _task(head)
    for name, data in read_members(path, prefix="samples/"):
        yield f"{path.name}, {name}", task, _parse(path, name, data)


def _parse(path: Path, name: str, data: bytes) -> Record:
    with naming(f"{path.name}, {name}"):
        return parse_object(decode(data))


def _task(held: Record) -> str:
    spec = held.get("eval")
    if not isinstance(spec, dict):
        raise HlensError(f"eval is {shown(held, 'eval')}; expected an object with the task")
    return name_of(spec, "task").rpartition("/")[2]


def _to_row(sample: Record, task: str) -> Row:
    if sample.get("error"):
        raise _LeftOut("an error")
    *before, answer = _conversation(sample)
    identity, epoch = name_of(sample, "id"), name_of(sample, "epoch")
    row: Row = {
        "id": f"{identity}-{epoch}",
        "group": f"{task}/{identity}",
        "domain": task,
        "response": _text(answer, sample),
    }
    verdict = _verdict(sample)
    # As the log has it, not the bare input: a solver may have put a system message before it.
    row["messages"] = [{"role": one["role"], "content": _text(one, sample)} for one in before]
    if verdict is not None:
        return {**row, "verdict": verdict}
    if not isinstance(sample.get("input"), str):
        return row
    choices = list_of(sample, "choices") if sample.get("choices") else []
    row["answers"] = _targets(sample, choices)
    return row | ({"choices": choices} if choices else {})


def _conversation(sample: Record) -> list[Record]:
    """The messages up to the last of the assistant."""
    messages = objects_of(sample, "messages")
    last = max((i for i, m in enumerate(messages) if m.get("role") == "assistant"), default=0)
    if not last:
        raise _LeftOut("no answer")
    for message in messages[: last + 1]:
        if message.get("role") == "tool" or message.get("tool_calls"):
            raise _LeftOut("tool calls")
        if message.get("role") not in ROLES:
            raise HlensError(f"role is {shown(message, 'role')}; expected {', '.join(ROLES)}")
    if messages[last - 1].get("role") == "assistant":
        raise _LeftOut("an answer that goes on")
    return messages[: last + 1]


def _text(message: Record, sample: Record) -> str:
    """The text of a message, without reasoning; its parts are lines."""
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise HlensError(f"content is {shown(message, 'content')}; expected a text or parts")
    texts = [_resolved(part, sample) for part in parts if part.get("type") != "reasoning"]
    if not (text := "\n".join(texts)).strip():
        raise _LeftOut("an empty message")
    return text


def _resolved(part: Record, sample: Record) -> str:
    """The text of a part; a long one may stand among the sample's attachments."""
    if part.get("type") != "text":
        raise _LeftOut("what is no text")
    text = part.get("text")
    if not isinstance(text, str):
        raise HlensError(f"text is {shown(part, 'text')}; expected a text")
    if not text.startswith(_ATTACHED):
        return text
    attachments, key = sample.get("attachments"), text.removeprefix(_ATTACHED)
    found = attachments.get(key) if isinstance(attachments, dict) else None
    if not isinstance(found, str):
        raise HlensError(f"the attachment {key!r:.60} is missing")
    return found


def _verdict(sample: Record) -> str | None:
    scores = sample.get("scores")
    if not scores:
        return None
    if not isinstance(scores, dict):
        raise HlensError(f"scores is {scores!r:.60}; expected an object, by scorer")
    if len(scores) > 1:
        raise HlensError(
            f"scores of several scorers ({', '.join(scores)}); keep one of them in the log"
        )
    [(name, score)] = scores.items()
    value = score.get("value") if isinstance(score, dict) else None
    if value is None:
        raise HlensError(f"the score of {name} has no value")
    if isinstance(value, str):
        return value
    return _BINARY[bool(value)] if value in (0, 1) else json.dumps(value)


def _targets(sample: Record, choices: list[Any]) -> list[str]:
    """The gold answers; that of a choice is its letter in a log."""
    target = sample.get("target")
    targets = [target] if isinstance(target, str) else target
    if not isinstance(targets, list) or not all(isinstance(one, str) for one in targets):
        raise HlensError(f"target is {shown(sample, 'target')}; expected a text or texts")
    lettered = dict(zip(ascii_uppercase, choices, strict=False))
    return [lettered.get(one, one) for one in targets if one.strip()]
