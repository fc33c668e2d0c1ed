"""Hand-written rows in the eight layouts of labelled answers, for the tests and the campaign."""

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow

Row = dict[str, Any]


def write(path: Path, *lines: object) -> Path:
    texts = [x if isinstance(x, str) else json.dumps(x, ensure_ascii=False) for x in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


# RAGTruth

STORY = "The 🐎 won by a length. Nobody fell."
RESPONSE = "The 🐎 won by a mile, in Paris."


def sources(**more: object) -> list[Row]:
    shop = {"name": "Tea Room", "hours": None}
    return [
        {
            "source_id": "7", "task_type": "Summary", "source": "made", "source_info": STORY + "\n",
            "prompt": f"Summarize the news in 9 words:\n{STORY}\n\noutput:",
        },
        {
            "source_id": "8", "task_type": "QA", "source": "made",
            "source_info": {"question": "who fell", "passages": "passage 1:Nobody fell.\n\n"},
            "prompt": "Answer:\nwho fell\nBy:\npassage 1:Nobody fell.\n\nElse say so. output:",
        },
        {
            "source_id": "9", "task_type": "Data2txt", "source": "made", "source_info": shop,
            "prompt": f"Describe:\n{shop}\nOverview:",
        },
    ]  # fmt: skip


def label(text: str, kind: str = "Evident Conflict", **more: object) -> Row:
    start = RESPONSE.index(text)
    return {"start": start, "end": start + len(text), "text": text, "label_type": kind, **more}


def response(number: int, source_id: str = "7", **more: object) -> Row:
    return {
        "id": str(number), "source_id": source_id, "model": "m", "temperature": 0.7, "labels": [],
        "split": "train", "quality": "good", "response": RESPONSE, **more,
    }  # fmt: skip


# Entities of long answers

ANSWER = "Ann Oak painted in Rome and in Rome she died."
ASKED = [{"role": "user", "content": "Who was Ann Oak?"}]


def longfact(*annotations: object, **more: object) -> Row:
    said = [*ASKED, {"role": "assistant", "content": ANSWER}]
    return {
        "subset": "s", "model": "m", "conversation": said, "annotations": list(annotations), **more,
    }  # fmt: skip


def entity(span: str, index: object, label: object = "Supported") -> Row:
    return {"span": span, "index": index, "label": label, "verification_note": "by me"}


# HaluEval

QA = {"knowledge": "Bees dance.", "question": "Who dances?", "right_answer": "bees",
      "hallucinated_answer": "Wasps dance at dusk."}  # fmt: skip
DIALOGUE = {
    "knowledge": "Bees dance.",
    "dialogue_history": "[Human]: Hi! [Assistant]: Hello. [Human]: Who dances? ",
    "right_response": "Bees do.", "hallucinated_response": "Wasps do.",
}  # fmt: skip
SUMMARY = {"document": "Bees dance. They do.", "right_summary": "Bees dance.",
           "hallucinated_summary": "Bees sing."}  # fmt: skip
GENERAL = {"ID": "12", "user_query": "Name a bee.", "chatgpt_response": "Maya.",
           "hallucination": "yes", "hallucination_spans": ["Maya"]}  # fmt: skip


# TruthfulQA

REFERENCES = {
    "type": "Adversarial", "category": "Bees", "question": "Do bees sing?",
    "best_answer": "Bees do not sing", "correct_answers": ["Bees do not sing", "No; they hum"],
    "incorrect_answers": ["Bees sing at dawn"], "source": "me",
}  # fmt: skip


# FActScore

BIO = "Ann Oak (born in 1950) is a Danish painter. She lives in Rome with two cats."


def fact(text: str, label: str) -> Row:
    return {"text": text, "label": label}


# lm-polygraph

MANAGER: dict[str, Any] = {
    "stats": {
        "input_texts": ["Who?", "Who?", "Where?"],
        "target_texts": [["bees"], ["bees"], "here"],
        "greedy_texts": ["bees", "wasps", "there"],
    },
    "gen_metrics": {"sequence Accuracy": [1.0, 0.0, 0.0], "sequence Rouge": [1.0, 0.2, 0.4]},
}


# Logs of Inspect


def said(role: str, content: object, **more: object) -> Row:
    return {"id": "x", "role": role, "content": content, **more}


def sample(number: int = 1, *, value: object = "C", **more: object) -> Row:
    messages = [said("system", "Be brief."), said("user", "Who dances?"), said("assistant", "Bees")]
    return {
        "id": number, "epoch": 1, "input": "Who dances?", "target": "bees", "messages": messages,
        "output": {"model": "m", "choices": []}, "scores": {"match": {"value": value}}, **more,
    }  # fmt: skip


LOG = {"version": 2, "status": "success", "eval": {"task": "inspect_evals/bees", "model": "m"}}


def log_file(path: Path, *samples: Row, method: int = zipfile.ZIP_DEFLATED) -> Path:
    if path.suffix == ".json":
        return write(path, json.dumps({**LOG, "samples": samples}, indent=2))
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("_journal/start.json", json.dumps(LOG))
        for one in samples:
            name = f"samples/{one['id']}_epoch_{one['epoch']}.json"
            archive.writestr(name, json.dumps(one))
        archive.writestr("header.json", json.dumps(LOG))
    return path


def pack_zstandard(path: Path) -> Path:
    """The archive anew with Zstandard members, which zipfile cannot write: two frames each."""
    with zipfile.ZipFile(path) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    body, index = b"", b""
    for name, data in members.items():
        codec, half = pyarrow.Codec("zstd"), len(data) // 2
        packed = b"".join(codec.compress(part, asbytes=True) for part in (data[:half], data[half:]))
        sizes = struct.pack("<III", zlib.crc32(data), len(packed), len(data))
        common = struct.pack("<HHHHH", 63, 0, 93, 0, 33) + sizes
        names = struct.pack("<HH", len(name), 0)
        index += b"PK\x01\x02" + struct.pack("<H", 63) + common + names
        index += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name.encode()
        body += b"PK\x03\x04" + common + names + name.encode() + packed
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(index), len(body), 0)
    path.write_bytes(body + index + b"PK\x05\x06" + end)
    return path


# One good row of each layout whose file holds a record a line

GRADED = {"problem": "Who?", "answer": "bees", "predicted_answer": "Bees", "grade": "A"}
CHECKED = [{"text": BIO, "human-atomic-facts": [fact("Danish", "S")]}]
BIOGRAPHY = {"input": "Who?", "output": BIO, "topic": "Ann", "annotations": CHECKED}


GOOD: dict[str, Row] = {
    "ragtruth": response(1), "longfact": longfact(), "halueval": QA, "truthfulqa": REFERENCES,
    "simpleqa": GRADED, "factscore": BIOGRAPHY,
}  # fmt: skip
