"""HaluEval (arXiv 2305.11747): right and made-up answers, dialogue turns and summaries.

Published at github.com/RUCAIBox/HaluEval, in ``data/``, one JSON object a line; its four files are
told apart by their fields, which were looked up in the repository:

- ``qa_data.json``: knowledge, question, right_answer, hallucinated_answer;
- ``dialogue_data.json``: knowledge, dialogue_history, right_response, hallucinated_response;
- ``summarization_data.json``: document, right_summary, hallucinated_summary;
- ``general_data.json``: user_query, chatgpt_response and the annotators' hallucination (yes or no;
  the README calls it hallucination_label).

Both answers of a pair are rows of one group. The wrong one was written by a language model that was
told to make it up, so style alone may tell the two apart: run `hlens audit` before anything is said
about truth. Knowledge and document are the context; of a dialogue, whose turns begin with
``[Human]:`` and ``[Assistant]:``, the knowledge stands before its first turn. The files have no
instruction for a summary; the one here is hlens's own.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.labelled.layouts import layout
from hlens.labelled.layouts._reading import Record, Row, group_of, read_each, text_of

PAIRS = {
    "answer": ("right_answer", "hallucinated_answer"),
    "response": ("right_response", "hallucinated_response"),
    "summary": ("right_summary", "hallucinated_summary"),
}
SUMMARISE = "Summarize the document."  # not of the authors
_TURN = re.compile(r"\[(Human|Assistant)\]:")
_ROLES = {"Human": "user", "Assistant": "assistant"}


@layout(
    hub="pminervini/HaluEval",
    licence="MIT",
    labels={
        **{right: "correct" for right, _ in PAIRS.values()},
        **{wrong: "hallucinated" for _, wrong in PAIRS.values()},
        "no": "correct",
        "yes": "hallucinated",
    },
)
def read_halueval(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one of the four files."""
    yield from read_each(path, _to_rows)


def _to_rows(record: Record, number: int) -> Iterator[Row]:
    kind = next((kind for kind, keys in PAIRS.items() if set(keys) <= set(record)), None)
    if kind is None:
        yield _general(record, number)
        return
    asked = {"answer": _question, "response": _dialogue, "summary": _document}[kind](record)
    for key in PAIRS[kind]:
        yield {
            "id": f"{number}-{key.partition('_')[0]}",
            **asked,
            "response": text_of(record, key),
            "verdict": key,
        }


def _general(record: Record, number: int) -> Row:
    if "user_query" not in record:
        raise HlensError(
            f"the fields {', '.join(record)}; expected those of qa, dialogue, summarization or "
            "general data"
        )
    key = "hallucination" if "hallucination" in record else "hallucination_label"
    query = text_of(record, "user_query")
    return {
        "id": str(record.get("ID", number)),
        "group": group_of(query),
        "domain": "halueval_general",
        "question": query,
        "response": text_of(record, "chatgpt_response"),
        "verdict": text_of(record, key).strip().casefold(),
    }


def _question(record: Record) -> Row:
    question, knowledge = text_of(record, "question"), text_of(record, "knowledge")
    return {
        "group": group_of(question),
        "domain": "halueval_qa",
        "question": question,
        "context": knowledge,
        "answers": [text_of(record, "right_answer")],
    }


def _dialogue(record: Record) -> Row:
    history, knowledge = text_of(record, "dialogue_history"), text_of(record, "knowledge")
    before, *parts = _TURN.split(history)
    turns = [
        {"role": _ROLES[who], "content": said.strip()}
        for who, said in zip(parts[::2], parts[1::2], strict=True)
    ]
    if before.strip() or not turns or turns[0]["role"] != "user" or turns[-1]["role"] != "user":
        raise HlensError(
            f"dialogue_history is {history!r:.60}; expected turns '[Human]: ...' and "
            "'[Assistant]: ...', a human's first and last"
        )
    turns[0]["content"] = f"{knowledge}\n\n{turns[0]['content']}"
    return {"group": group_of(history), "domain": "halueval_dialogue", "messages": turns}


def _document(record: Record) -> Row:
    document = text_of(record, "document")
    return {
        "group": group_of(document),
        "domain": "halueval_summarization",
        "question": SUMMARISE,
        "context": document,
    }
