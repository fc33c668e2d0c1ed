"""A whole study on a tiny random model: what it says is noise, but the line is the real one."""

import json
from pathlib import Path

import architectures
import hlens
from hlens.model import Model
from hlens.recipe import Recipe
from tiny_tokenizer import VOCAB, byte_tokenizer


def tiny_model() -> Model:
    hf = architectures.llama(vocab_size=VOCAB, max_position_embeddings=512)
    return hlens.load((hf, byte_tokenizer()), name="tiny")


def saved_model(folder: Path) -> Path:
    """The same in a folder, for the command line."""
    architectures.llama(vocab_size=VOCAB, max_position_embeddings=512).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def question_file(path: Path, n: int = 60) -> Path:
    """Questions whose answers are single letters, so that a model of noise is sometimes right."""
    rows = [
        {
            "id": str(i),
            "question": f"Number {i}?",
            "answers": list("abcdefghijkl"),
            "group": f"g{i // 2}",
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# How often each thing is repeated: as seldom as a recipe allows, or nearly.
FEW = {
    "n_boot": 20,
    "shuffles": 2,
    "random_sets": 20,
    "stability_pairs": 2,
    "folds": 2,
    "halves": 2,
}


def tiny_recipe(questions: Path, model: str = "tiny", **fields: object) -> Recipe:
    """A recipe whose study takes seconds; `fields` replace whole sections of it."""
    return Recipe.from_dict(
        {
            "model": model,
            "domains": [f"jsonl:{questions}"],
            "sampling": {"n": 3, "max_new_tokens": 10},
            # Noise never ends, and to the other judges what is cut off is no answer.
            "labels": {"judge": "substring"},
            # So weak a penalty finds neurons in noise, too; a cross-validated one may find none.
            "probe": {"C": 3.0, "scale": "none"},
            "evaluation": FEW,
            **fields,
        }
    )
