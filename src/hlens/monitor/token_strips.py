"""An answer token by token, with the risk at each: what a strip shows."""

from typing import Any

import torch

from hlens.model import Model
from hlens.monitor.streaming import risks
from hlens.spans import token_span, token_texts
from hlens.types import Detector, Example


def read_tokens(
    model: Model, detector: Detector, example: Example, question: str
) -> dict[str, Any]:
    """The risk at each token of an answer; its prompt from `question` on, where that is in it."""
    ids, n_prompt = example.token_ids.tolist(), example.n_prompt
    token_scores = torch.tensor([r.token_score for r in risks(model, detector, ids, n_prompt)])
    risk = detector.probability_of(token_scores).tolist()
    begin = _question_start(model.tokenizer, ids[:n_prompt], question)
    return {
        "tokens": token_texts(model.tokenizer, ids)[begin:],
        "risk": [None] * (n_prompt - begin) + risk,
        "n_prompt": n_prompt - begin,
        "verdict": f"judged {'hallucinated' if example.hallucinated else 'true'}",
    }


def _question_start(tokenizer: Any, prompt: list[int], question: str) -> int:
    """First token of the question in its prompt; all prompts share what comes before it."""
    text = tokenizer.decode(prompt, skip_special_tokens=True)
    start = text.rfind(question)
    span = (
        token_span(text, prompt, answer=(start, len(text)), tokenizer=tokenizer)
        if start >= 0
        else None
    )
    return span[0] if span else 0
