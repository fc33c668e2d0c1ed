"""Prompts and seeds to replies: vLLM runs the model, hlens's sampler draws from its logits."""

from collections.abc import Sequence
from typing import Any

import torch

from hlens.engines.vllm.model import VllmModel, in_one_line
from hlens.errors import HlensError
from hlens.model import EndOfReply, Generation, Settings, finish, generate_batch

DRAWS = 1024  # random numbers of a request, or a multiple


@generate_batch.register
def generate(
    model: VllmModel,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[Sequence[int]],
    *,
    settings: Settings,
    share_beginning: bool = False,
) -> list[list[Generation]]:
    """Continue prompts; vLLM finds itself what they begin with alike."""
    model.check_prompts(prompts, new=settings.max_new_tokens)
    n = len(seeds[0])
    asked = [prompt for prompt in prompts for _ in range(n)]
    params = [params_of(model, settings, seed) for row in seeds for seed in row]
    with in_one_line(f"vLLM cannot sample {model.name}"):
        outputs = model.run(asked, params)
    ends = EndOfReply(model, settings.until_newline)
    flat = [
        finish(model, prompt, *drawn(model, output), ends)
        for prompt, output in zip(asked, outputs, strict=True)
    ]
    return [flat[i * n : (i + 1) * n] for i in range(len(prompts))]


def params_of(model: VllmModel, settings: Settings, seed: int, **hlens: Any) -> Any:
    """What vLLM is asked for one reply: greedy, behind a sampler of ours where it is not."""
    from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

    stops = set(model.stop_ids)
    if settings.until_newline:
        stops |= set(model.newline_ids)
    if settings.temperature:
        s = settings
        # Rounded up, so that requests of several lengths are drawn together: the first numbers of a
        # seed are the same however many are asked for.
        n = -(-s.max_new_tokens // DRAWS) * DRAWS
        draw = [seed, n, float(s.temperature), s.top_k, float(s.top_p)]
        hlens["draw"] = draw
    return SamplingParams(
        temperature=0.0,
        max_tokens=settings.max_new_tokens + ("tokens" in hlens),
        logprobs=0,  # of the drawn token, under the unwarped model
        stop_token_ids=sorted(stops),
        ignore_eos=True,  # the stop tokens are ours
        detokenize=False,
        extra_args={"hlens": hlens} if hlens else None,
    )


def drawn(model: VllmModel, output: Any) -> tuple[list[int], torch.Tensor]:
    """Tokens of a reply, the one that ends it included, and their log-probabilities.

    Raises:
        HlensError: Logits that are NaN.
    """
    (one,) = output.outputs
    tokens = list(one.token_ids)
    logprobs = torch.tensor(
        [at[token].logprob for at, token in zip(one.logprobs, tokens, strict=True)]
    )
    if bool(logprobs.isnan().any()):
        raise HlensError(
            f"{model.name} gives logits that are NaN: it overflows in {model.dtype}; load it with "
            "dtype='bfloat16' or 'float32'"
        )
    return tokens, logprobs
