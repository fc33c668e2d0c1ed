"""Requests that come and go: vLLM writes them in the passes that it makes anyway.

All detectors are read at once, each as one number a token of the requests that ask for it; a dose
is an adapter of the request's own. A token is told when the pass behind it has read it, so that of
every answer one token more than it may have is asked for, and thrown away.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hlens import metrics
from hlens.engines.vllm.adapters import adapter_request
from hlens.engines.vllm.measuring import run_once
from hlens.engines.vllm.model import VllmModel
from hlens.engines.vllm.sampling import params_of
from hlens.engines.vllm.watching import mixing
from hlens.engines.vllm.wire import unpack
from hlens.errors import HlensError
from hlens.model import EndOfReply
from hlens.monitor.reading import check_finite
from hlens.monitor.requests import Batcher, Dose, Reading, Writing, batcher_of
from hlens.monitor.streaming import Answer, assess
from hlens.monitor.watching import readable_metric
from hlens.types import Detector


@batcher_of.register
def make_batcher(
    model: VllmModel,
    detectors: Mapping[str, Detector],
    doses: Mapping[str, Dose],
    *,
    most_rows: int = 0,
) -> Batcher:
    """What writes on behalf of requests; vLLM decides itself how many at once.

    Raises:
        HlensError: Detectors of several metrics, or one that cannot be read while vLLM writes.
    """
    named = {readable_metric(model, one, None).__name__ for one in detectors.values()}
    if len(named) > 1:
        raise HlensError(
            f"detectors of {' and '.join(sorted(named))}; vLLM's workers read one metric at a "
            "time: serve those of one"
        )
    if detectors:
        model.need_eager("watching")
        weights = torch.stack([one.weights.float() for one in detectors.values()], dim=-1)
        model.call("watch", mixing(model, metrics.by_name(named.pop()), weights))
    for dose in doses.values():
        adapter_request(model, dose.folder)  # which refuses what vLLM cannot hold
    return VllmBatcher(model, detectors, doses)


@dataclass(eq=False)
class _Written:
    """An answer that vLLM writes: what it has drawn, and how much of it has been told."""

    asked: Writing
    ends: EndOfReply
    answer: Answer
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)  # of tokens that were read

    def draw(self, tokens: Sequence[int], logprobs: Sequence[Any]) -> None:
        """Take what vLLM drew, up to the token that ends the answer."""
        for token, at in zip(tokens, logprobs, strict=True):
            if not self.is_drawn:
                self.tokens.append(token)
                self.logprobs.append(at[token].logprob)

    @property
    def is_drawn(self) -> bool:
        """Whether the answer is whole: ended, or as long as it may be."""
        most = self.asked.settings.max_new_tokens
        return len(self.tokens) == most or bool(self.tokens and self.ends[self.tokens[-1]])


@dataclass(eq=False)
class _Read:
    """Texts that vLLM reads for one request."""

    asked: Reading
    left: int
    scores: list[Tensor]


@dataclass(eq=False)
class VllmBatcher(Batcher):
    """Answers and texts that vLLM is at; each request has a number of its own."""

    model: VllmModel
    detectors: Mapping[str, Detector]
    doses: Mapping[str, Dose]
    writing: dict[int, _Written] = field(default_factory=dict)
    reading: dict[int, tuple[_Read, int]] = field(default_factory=dict)  # and which of its texts
    last: int = -1

    def __post_init__(self) -> None:
        self.engine = self.model.llm.llm_engine
        self.column = {name: at for at, name in enumerate(self.detectors)}

    @property
    def busy(self) -> bool:
        """Whether vLLM is at anything."""
        return bool(self.writing or self.reading)

    def add(self, asked: Writing | Reading) -> None:
        """Give a request to vLLM."""
        try:
            if isinstance(asked, Writing):
                self._add_writing(asked)
            else:
                self._add_reading(asked)
        except Exception as error:  # an engine from outside raises anything
            asked.on_error(error)

    def _add_writing(self, asked: Writing) -> None:
        if not asked.is_wanted():
            asked.on_end("unwanted")
            return
        number = self._next()
        own: dict[str, Any] = {}
        if asked.detector is not None:
            own = {"tokens": len(asked.prompt), "id": number}
        params = params_of(self.model, asked.settings, asked.seed, **own)
        folder = None if asked.dose is None else self.doses[asked.dose].folder
        adapter = None if folder is None else adapter_request(self.model, folder)
        self._give(number, asked.prompt, params, adapter)
        ends = EndOfReply(self.model, asked.settings.until_newline)
        self.writing[number] = _Written(asked, ends, Answer(0))

    def _add_reading(self, asked: Reading) -> None:
        self.model.check_prompts(asked.rows, new=1)
        read = _Read(asked, len(asked.rows), [torch.zeros(0)] * len(asked.rows))
        for place, row in enumerate(asked.rows):
            number = self._next()
            self._give(number, row, run_once(tokens=0, id=number), None)
            self.reading[number] = read, place

    def _next(self) -> int:
        self.last += 1
        return self.last

    def _give(self, number: int, tokens: Sequence[int], params: Any, adapter: Any) -> None:
        from vllm import TokensPrompt  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]
        from vllm.sampling_params import RequestOutputKind  # pyright: ignore[reportMissingImports]

        params.output_kind = RequestOutputKind.DELTA
        prompt = TokensPrompt(prompt_token_ids=list(map(int, tokens)))
        self.engine.add_request(str(number), prompt, params, lora_request=adapter)

    def step(self) -> None:
        """One pass of vLLM, and what came of it."""
        done: list[int] = []
        for output in self.engine.step():
            number = int(output.request_id)
            if (one := self.writing.get(number)) is not None:
                drawn = output.outputs[0]
                one.draw(drawn.token_ids, drawn.logprobs or [])
            if output.finished:
                done.append(number)
        self._keep_scores()
        for number in list(self.writing):
            if self._drop(number) or self._tell(number, is_done=number in done):
                done.append(number)
        for number in done:
            if number in self.reading:
                self._finish_reading(number)
        if self.detectors and done:
            self.model.call("forget", done)

    def _keep_scores(self) -> None:
        """Fetch what the pass has read, and add up the workers' shares."""
        watched = any(one.asked.detector is not None for one in self.writing.values())
        if not watched and not self.reading:
            return
        for number, values in _summed(self.model.call("take")):
            if (one := self.writing.get(number)) is not None and one.asked.detector is not None:
                bias = float(self.detectors[one.asked.detector].bias)
                column = values[:, self.column[one.asked.detector]]
                one.scores += (column.double() + bias).tolist()
            elif number in self.reading:
                read, place = self.reading[number]
                bias = float(self.detectors[read.asked.detector].bias)
                column = values[:, self.column[read.asked.detector]].double() + bias
                read.scores[place] = torch.cat([read.scores[place], column])

    def _drop(self, number: int) -> bool:
        """End an answer that nobody waits for, or that can be read no further."""
        one = self.writing[number]
        numbers = (*one.logprobs[-1:], *one.scores[-1:])
        if one.asked.is_wanted() and not any(map(math.isnan, numbers)):
            return False
        del self.writing[number]
        self.engine.abort_request([str(number)])
        if one.asked.is_wanted():
            one.asked.on_error(
                HlensError(f"{self.model.name} overflows in {self.model.dtype}: numbers are NaN")
            )
        else:
            one.asked.on_end("unwanted")
        return True

    def _tell(self, number: int, *, is_done: bool) -> bool:
        """Tell the tokens that were read since; whether the answer has ended before vLLM's."""
        one = self.writing[number]
        asked, answer = one.asked, one.answer
        ended = one.is_drawn and bool(one.ends[one.tokens[-1]])
        kept = len(one.tokens) - ended
        detector = None if asked.detector is None else self.detectors[asked.detector]
        ready = kept if detector is None else min(kept, len(one.scores))
        reason = None
        while reason is None and len(answer.risks) < ready:
            at = len(answer.risks)
            answer.tokens.append(one.tokens[at])
            answer.logprobs.append(one.logprobs[at])
            score = math.nan if detector is None else one.scores[at]
            reason = assess(
                self.model, detector, answer, score, asked.prompt,
                lambda answer, risk: asked.on_token(risk, answer.logprobs[risk.index]),
            )  # fmt: skip
        if reason is None and one.is_drawn and len(answer.risks) == kept:
            reason = "stop" if ended else "length"
        if reason is None:
            if is_done:
                asked.on_error(HlensError("vLLM ended a request whose tokens were not all read"))
                del self.writing[number]
            return False
        del self.writing[number]
        if not is_done:
            self.engine.abort_request([str(number)])
        asked.on_end(reason)
        return not is_done

    def _finish_reading(self, number: int) -> None:
        read, _ = self.reading.pop(number)
        read.left -= 1
        if read.left:
            return
        scores = [one.numpy() for one in read.scores]
        try:
            check_finite(self.model, scores)
        except HlensError as error:
            read.asked.on_error(error)
            return
        read.asked.on_scores(scores)


def _summed(of_workers: Sequence[Mapping[str, Any]]) -> list[tuple[int, Tensor]]:
    """What all workers together read of each request, ``[token, number]``."""
    names = dict.fromkeys(name for of in of_workers for name in of)
    return [
        (int(name), torch.stack([unpack(of[name]) for of in of_workers if name in of]).sum(0))
        for name in names
    ]
