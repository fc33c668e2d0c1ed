"""Edits behind gates: what becomes of answers, and what it costs, beside gates drawn at random.

An edit that acts at every token pays its price at every token. Whether it does more where the risk
is high can only be said beside the same edit at as many tokens of the same answers, drawn at
random, beside the edit of whole answers that begin risky, and beside the edit of everything.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from hlens.effects.capability import CapabilityTest
from hlens.errors import HlensError
from hlens.interventions import ALWAYS, Edit, random_gate, scale
from hlens.model import Gate, GatedAnswer, Generation, Model, Settings
from hlens.store import RowParts
from hlens.types import Judgement, NeuronSet, Question, Response, Verdict
from hlens.types.labels import GateKind, Result

RESULTS = {
    Verdict.CORRECT: Result.CORRECT,
    Verdict.HALLUCINATED: Result.WRONG,
    Verdict.REFUSED: Result.ABSTAINED,
    Verdict.UNSCORED: Result.UNREAD,
}
BATCH = 64  # answers at a time
Judge = Callable[[list[Response]], list[Judgement]]
Asked = tuple[Question, list[int]]  # and its prompt


@dataclass(frozen=True, eq=False)
class _Condition:
    gate: GateKind
    alpha: float
    draw: int = 0
    pairs: tuple[tuple[NeuronSet, Edit], ...] = ()
    when: Gate | None = None


def try_gates(
    model: Model,
    neurons: NeuronSet,
    asked: Sequence[Asked],
    *,
    judge: Judge,
    settings: Settings,
    gates: Mapping[GateKind, Gate],
    alphas: Sequence[float],
    edit: Callable[[float], Edit] = scale,
    draws: int = 8,
    seed: int = 0,
    capability: CapabilityTest | None = None,
    folder: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Let the model answer under the edit behind each gate, at every token, and without it.

    Args:
        model: The model.
        neurons: The edited neurons.
        asked: Questions with their prompts.
        judge: Says of each answer whether it is right.
        settings: How answers are written.
        gates: The gates, by their kind; for that of the running risk random ones are drawn, once
            for the answers and once for the texts of `capability`.
        alphas: Doses.
        edit: Dose -> edit; it acts within answers only, as gates do.
        draws: Random gates beside that of the running risk.
        seed: First seed of these.
        capability: What the edit may cost, measured `stepwise`; None leaves it out.
        folder: Where finished runs are kept, to go on from.
        progress: Called with (runs done, runs in all).

    Returns:
        One row an answer (``measure`` is ``"answer"``) or a score of capability: ``gate, alpha,
        draw, measure, question_id, group, result, value, n_tokens, n_read, n_edited, switches,
        reason, text``, with ``gate`` a `GateKind` and ``result`` a `Result`. ``n_read`` and
        ``n_edited`` count the tokens that the model read of an answer and those of them that were
        edited; of capability they are those of all texts and options together.

    Raises:
        HlensError: No questions or doses, or a capability that is not measured stepwise.
    """
    if not asked or not alphas:
        raise HlensError(
            f"{len(asked)} questions and {len(alphas)} doses; give one or more of each"
        )
    if capability is not None and not capability.stepwise:
        raise HlensError("behind a gate texts are read token by token; give stepwise=True")
    asked = sorted(asked, key=lambda one: (one[0].domain, len(one[1]), one[0].id))
    run = _Run(model, asked, judge, settings, capability, _parts(folder, model))
    n_runs = 1 + len({*alphas}) * (1 + len(gates) + draws * (GateKind.RISK in gates))
    rows: list[dict[str, Any]] = []
    done = 0

    def add(condition: _Condition) -> list[dict[str, Any]]:
        nonlocal done
        own = run(condition)
        rows.extend(own)
        done += 1
        if progress:
            progress(done, n_runs)
        return own

    add(_Condition(GateKind.UNEDITED, 1.0))
    for alpha in sorted({*alphas}):
        pairs = ((neurons, edit(alpha)),)
        add(_Condition(GateKind.ALWAYS, alpha, pairs=pairs, when=ALWAYS))
        for kind, gate in gates.items():
            own = add(_Condition(kind, alpha, pairs=pairs, when=gate))
            for draw in range(seed, seed + draws) if kind == GateKind.RISK else ():
                like = random_gate(_answers_in(own), seed=draw)
                add(_Condition(GateKind.RANDOM, alpha, draw, pairs, like))
    return pd.DataFrame(rows).drop(columns="edited")


def _answers_in(rows: Sequence[Mapping[str, Any]]) -> list[GatedAnswer]:
    """What the gate of a run did, answer by answer and then text by text, in order of writing."""
    return [GatedAnswer(edited) for row in rows for edited in json.loads(row["edited"])]


@dataclass(frozen=True, eq=False)
class _Run:
    """Writes and judges the answers of one condition."""

    model: Model
    asked: Sequence[Asked]
    judge: Judge
    settings: Settings
    capability: CapabilityTest | None
    parts: RowParts | None

    def __call__(self, condition: _Condition) -> list[dict[str, Any]]:
        name = self._key(condition)
        rows = self.parts.load(name) if self.parts else None
        if rows is None:
            rows = self._rows(condition)
            if self.parts:
                self.parts.save(name, rows)
        return rows

    def _rows(self, condition: _Condition) -> list[dict[str, Any]]:
        with self.model.editing(list(condition.pairs), when=condition.when) as receipt:
            made = self._write()
            scores = self.capability() if self.capability else []
        head = {"gate": condition.gate.value, "alpha": condition.alpha, "draw": condition.draw}
        answers = receipt.answers or [GatedAnswer() for _ in made]
        responses = [
            Response(
                question,
                one.text,
                (*prompt, *one.token_ids),
                len(prompt),
                finish_reason=one.finish_reason,
                thought=one.thought,
            )
            for (question, prompt), one in zip(self.asked, made, strict=True)
        ]
        judged = zip(self.judge(responses), answers[: len(made)], strict=True)
        rows = [head | _answer_row(one, gated) for one, gated in judged]
        rest = answers[len(made) :]
        read = {"n_read": sum(len(one.edited) for one in rest)}
        read |= {"n_edited": sum(one.n_edited for one in rest)}
        read |= {"edited": json.dumps([one.edited for one in rest])}
        for score in scores:
            rows.append(head | asdict(score) | read)
            read = read | {"edited": "[]"}  # once: it is of all texts together
        return rows

    def _write(self) -> list[Generation]:
        """The answers in the order of the questions, those of one domain together."""
        made: list[Generation] = []
        for _, own in groupby(self.asked, key=lambda one: one[0].domain):
            prompts = [prompt for _, prompt in own]
            made += self.model.generate_many(
                prompts, self.settings, batch_size=BATCH, share_beginning=True
            )
        return made

    def _key(self, condition: _Condition) -> str:
        """Hash of all that a run depends on, but for the model."""
        hashed = hashlib.sha256()
        for neurons, edit in condition.pairs:
            hashed.update(repr((edit.name, sorted(neurons.members))).encode())
        if condition.when:
            hashed.update(condition.when.name.encode())
            for tensor in condition.when.values:
                hashed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        asked = [(q.id, q.text, q.answers, prompt) for q, prompt in self.asked]
        test = self.capability
        texts = [(q.id, q.text) for q in (*test.texts, *test.questions)] if test else []
        told = (condition.gate, condition.alpha, condition.draw, asked, texts, repr(self.settings))
        hashed.update(json.dumps(told).encode())
        return hashed.hexdigest()[:32]


def _answer_row(judged: Judgement, gated: GatedAnswer) -> dict[str, Any]:
    response = judged.response
    result = RESULTS[judged.verdict]
    return {
        "measure": "answer",
        "question_id": response.question.id,
        "group": response.question.group,
        "result": result.value,
        "value": float(result == Result.CORRECT),
        "n_tokens": len(response.token_ids) - response.n_prompt,
        "n_read": len(gated.edited),
        "n_edited": gated.n_edited,
        "switches": gated.switches,
        "edited": json.dumps([gated.edited]),
        "reason": judged.reason,
        "text": response.text,
    }


def _parts(folder: str | Path | None, model: Model) -> RowParts | None:
    if not folder:
        return None
    return RowParts(folder, f"{model.fingerprint} {model.provenance.tokenizer}")
