"""LM-Polygraph gives the same numbers, on a tiny model and on given samples.

Its pins are its own, so that it lives in an environment of its own:

    python -m venv polygraph && polygraph/bin/pip install torch==2.13.0 lm-polygraph==0.7.0
    HLENS_POLYGRAPH=polygraph/bin/python pytest tests/test_polygraph.py

Last so on 2026-11-25: lm-polygraph 0.7.0 with torch 2.13.0 and transformers 5.24.0, all agree.
Without it, only what it once gave on the given samples is compared (the same version; numbers
below).
"""

import json
import os
import subprocess
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import architectures
import hlens
from hlens.baselines import named
from hlens.baselines._reading import read
from hlens.baselines.eigenscore import eigenscore
from hlens.baselines.semantic_entropy import counted_entropy, likely_entropy
from hlens.model import next_token_logprobs
from hlens.types import Evidence, Example
from planted import evidence
from tiny_tokenizer import VOCAB, byte_tokenizer

# Samples of three questions: which say the same, and their log-probabilities.
MEANINGS = [[0, 0, 1, 0], [0, 1, 2, 3], [0, 0, 0, 0]]
LOGPROBS = [[-1.0, -2.5, -0.7, -3.0], [-4.0, -1.2, -2.2, -0.9], [-0.3, -0.4, -2.0, -1.0]]
STATES = np.random.default_rng(7).normal(size=(3, 4, 6)).round(3).tolist()
COUNTED = [0.5623351446188083, 1.3862943611198906, -0.0]
LIKELY = [0.69523321582814, 2.075, -0.6493797019017473]
EIGEN = [-0.42244005655352335, 0.8638754684797492, 0.9987736335199463]

SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from lm_polygraph.utils.model import WhiteboxModel
from lm_polygraph.stat_calculators.entropy import EntropyCalculator
from lm_polygraph.stat_calculators.greedy_probs import GreedyProbsCalculator
from lm_polygraph.stat_calculators.prompt import PromptCalculator
from lm_polygraph.stat_calculators.semantic_classes import SemanticClassesCalculator
from lm_polygraph.estimators.eigenscore import EigenScore
from lm_polygraph.estimators.max_probability import MaximumSequenceProbability
from lm_polygraph.estimators.perplexity import Perplexity
from lm_polygraph.estimators.semantic_entropy import SemanticEntropy
from lm_polygraph.estimators.token_entropy import MeanTokenEntropy

given = json.loads(sys.stdin.read())
tokenizer = AutoTokenizer.from_pretrained(given["folder"], padding_side="left")
hf = AutoModelForCausalLM.from_pretrained(given["folder"], attn_implementation="eager").eval()
# It forbids line breaks and an early end, and renormalises; then its numbers are no longer those of
# the model. Neither is forbidden here.
hf.generation_config.eos_token_id = None
model = WhiteboxModel(hf, tokenizer, model_path=given["folder"])
model.generation_parameters.allow_newlines = True
texts = given["texts"]
stats = {"input_texts": texts}
stats |= GreedyProbsCalculator(output_attentions=False)({}, texts, model, max_new_tokens=6)
stats |= EntropyCalculator()(stats, texts, model)
asked = {"input_texts": texts, "greedy_texts": given["answers"]}
prompt = PromptCalculator()
prompt.expected = "T"  # one token of this tokenizer
out = {
    "tokens": stats["greedy_tokens"],
    "prompts": [prompt.prompt.format(q=q, a=a, s="") for q, a in zip(texts, given["answers"])],
    "p_true": prompt(asked, texts, model)["p_true"].tolist(),
    "perplexity": Perplexity()(stats).tolist(),
    "sequence_probability": MaximumSequenceProbability()(stats).tolist(),
    "token_entropy": MeanTokenEntropy()(stats).tolist(),
    "eigen": EigenScore()({"sample_embeddings": given["states"]}).tolist(),
}
same = np.array([[[a == b for b in row] for a in row] for row in given["meanings"]])
stats = {"semantic_matrix_classes": same.astype(int), "entailment_id": 1}
stats["sample_texts"] = [["x"] * len(row) for row in given["meanings"]]
stats["sample_log_probs"] = given["logprobs"]
stats |= SemanticClassesCalculator()(stats, texts, model)
out["counted"] = SemanticEntropy(class_probability_estimation="frequency")(stats).tolist()
out["likely"] = SemanticEntropy()(stats).tolist()
print(json.dumps(out, default=float))
"""


@pytest.fixture(scope="module")
def polygraph(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What LM-Polygraph says of a tiny model in a folder, and of the given samples."""
    python = os.environ.get("HLENS_POLYGRAPH")
    if not python:
        pytest.skip(
            "HLENS_POLYGRAPH names no python with lm-polygraph (see the module's docstring)"
        )
    folder = tmp_path_factory.mktemp("tiny")
    architectures.llama(vocab_size=VOCAB, max_position_embeddings=512).save_pretrained(folder)
    byte_tokenizer(chat=False).save_pretrained(folder)
    given = {
        "folder": str(folder),
        "texts": ["Who wrote it?", "Where is the sea, then?", "When?"],
        "answers": ["Ann", "There", "1815"],
        "meanings": MEANINGS,
        "logprobs": LOGPROBS,
        "states": STATES,
    }
    done = subprocess.run(
        [python, "-c", SCRIPT], input=json.dumps(given), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), **given}


def test_numbers_of_given_samples() -> None:
    entropies = [counted_entropy(np.array(row)) for row in MEANINGS]
    np.testing.assert_allclose(entropies, COUNTED, atol=1e-12)
    pairs = zip(MEANINGS, LOGPROBS, strict=True)
    likely = [likely_entropy(np.array(row), np.array(logprobs)) for row, logprobs in pairs]
    np.testing.assert_allclose(likely, LIKELY, atol=1e-12)
    np.testing.assert_allclose(eigenscore(torch.tensor(STATES)), EIGEN, atol=1e-5)


def test_the_numbers_above_are_those_it_gives(polygraph: dict[str, Any]) -> None:
    np.testing.assert_allclose(polygraph["counted"], COUNTED, atol=1e-12)
    np.testing.assert_allclose(polygraph["likely"], LIKELY, atol=1e-12)
    np.testing.assert_allclose(polygraph["eigen"], EIGEN, atol=1e-5)


def test_perplexity_sequence_probability_and_entropy(polygraph: dict[str, Any]) -> None:
    model = hlens.load(polygraph["folder"])
    examples = [
        _example(model.encode(text), tokens)
        for text, tokens in zip(polygraph["texts"], polygraph["tokens"], strict=True)
    ]
    found = read(model, examples, [], lookback=False)
    test = _with(found.logprobs, found.entropies)
    scores = {name: named(name)(test, test).double() for name in ("token_entropy", "perplexity")}
    scores["perplexity"] = scores["perplexity"].log()  # theirs is its logarithm
    name = "sequence_probability"
    scores[name] = named(name)(test, test)
    for name, score in scores.items():
        np.testing.assert_allclose(score, polygraph[name], atol=2e-5, err_msg=name)


def test_the_probability_behind_p_true(polygraph: dict[str, Any]) -> None:
    model = hlens.load(polygraph["folder"])
    token = model.encode("T")[-1]
    prompts = [model.encode(text) for text in polygraph["prompts"]]
    found = torch.empty(len(prompts))
    for batch, logprobs in next_token_logprobs(model, prompts):
        found[batch] = logprobs[:, token]
    np.testing.assert_allclose(found, polygraph["p_true"], atol=2e-5)


def _example(prompt: list[int], tokens: list[int]) -> Example:
    whole = torch.tensor([*prompt, *tokens])
    return Example(whole, len(prompt), len(prompt), len(whole), False, "q", "q", "d")


def _with(logprobs: Any, entropies: Any) -> Evidence:
    return replace(evidence(len(logprobs), per_group=1), logprobs=logprobs, entropies=entropies)
