"""What benchmarks/measure.py compares: the models, the examples, and the ways to run them."""

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import hlens.model
from hlens import domains, metrics
from hlens.contributions import measure, measure_many
from hlens.contributions.engine import Job
from hlens.contributions.passes import right_padded, run_groups, run_rows, run_trunk
from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.schedule import auto_tokens
from hlens.model import Model
from hlens.prompts import prompt_text
from hlens.types import Example

LLAMA_8B: dict[str, Any] = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}


def llama(shape: dict[str, Any], dtype: torch.dtype, device: str) -> Model:
    """A randomly initialised Llama, made where it runs."""
    from transformers import LlamaConfig, LlamaForCausalLM

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    standing = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        hf = LlamaForCausalLM(LlamaConfig(**shape, attn_implementation="sdpa"))
    torch.set_default_dtype(standing)
    return ready(hlens.model.load((hf, None), name="llama"))


def load() -> Model:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    return ready(hlens.model.load("smollm2-135m"))


def ready(model: Model) -> Model:
    assert model.provenance  # computed once a model, not once a measurement
    assert len(model.w_norms) == model.n_layers  # so are the norms
    return model


def examples(model: Model, n: int, answers: int = 1, seed: int = 0) -> list[Example]:
    """Questions as they are asked, answered in a word or in a sentence."""
    draw = random.Random(seed)
    bank = list(domains.load("general"))
    found = []
    for question in draw.sample(bank, n):
        prompt = model.encode(prompt_text(question))
        for sample in range(answers):
            before, after = draw.choice([("", ""), ("The answer is ", ".")])
            parts = before, draw.choice(bank).answers[0], after
            pieces = [model.encode(part, chat=False) if part else [] for part in parts]
            start = len(prompt) + len(pieces[0])
            found.append(
                Example(
                    token_ids=torch.tensor(sum(pieces, prompt)),
                    n_prompt=len(prompt),
                    start=start,
                    stop=start + len(pieces[1]),
                    hallucinated=bool(sample % 2),
                    question_id=question.id,
                    group=question.group,
                    domain=question.domain,
                    sample=sample,
                )
            )
    return found


def random_examples(
    n: int, low: int = 40, high: int = 80, answer: int = 8, seed: int = 0, vocabulary: int = 49000
) -> list[Example]:
    """Random tokens, so that no two examples begin alike; the last `answer` are the answer."""
    draw = random.Random(seed)
    tokens = torch.Generator().manual_seed(seed)
    found = []
    for number in range(n):
        length = draw.randint(low, high)
        found.append(
            Example(
                token_ids=torch.randint(10, vocabulary, (length,), generator=tokens),
                n_prompt=length - answer,
                start=length - answer,
                stop=length,
                hallucinated=bool(number % 2),
                question_id=f"q{number}",
                group=f"q{number}",
                domain="bench",
            )
        )
    return found


def job_of(model: Model, items: Sequence[Example], region: str) -> Job:
    """What hlens runs for a region."""
    return Job(model, items, [Ask(metrics.cett, region)])


def batches(model: Model, items: Sequence[Example], region: str = "answer") -> Iterator[Tensor]:
    """The very batches that hlens runs, each example as one whole row."""
    job = job_of(model, items, region)
    for batch in job.batches(auto_tokens(model)):
        longest = [job.rows[job.responses[number][0]] for number in batch.members]
        yield right_padded([row.token_ids for row in longest], model)


def bare(model: Model, items: Sequence[Example], region: str = "answer") -> None:
    """The model without its unembedding, over whole rows, nothing read."""
    with torch.inference_mode():
        for ids in batches(model, items, region):
            model.body(input_ids=ids, use_cache=False)


def bare_sharing(model: Model, items: Sequence[Example], region: str = "answer") -> None:
    """The same, but what examples share is run once, as hlens runs it."""
    job = job_of(model, items, region)
    rows = [replace(row, positions=[], weights=[]) for row in job.rows]
    silent = Reducer(model, [])  # never hooked, and asked nothing
    with torch.inference_mode():
        trunk = run_trunk(silent, rows, job.schedule.common)
        for batch in job.batches(auto_tokens(model)):
            groups = [
                [tuple(rows[index] for index in job.responses[number]) for number in group]
                for group in batch.groups
            ]
            if batch.shared:
                run_groups(silent, groups, trunk)
            else:
                run_rows(silent, [response for group in groups for response in group], trunk)


def official(model: Model, items: Sequence[Example]) -> Tensor:
    """One sample at a time, with logits; all tokens of all layers stacked, then reduced."""
    norms = torch.stack([model.w_out(layer).norm(dim=1) for layer in range(model.n_layers)])
    rows = []
    for item in items:
        acts: list[Tensor] = []
        outs: list[Tensor] = []

        def keep(
            module: object,
            args: tuple[Tensor, ...],
            output: Tensor,
            acts: list[Tensor] = acts,
            outs: list[Tensor] = outs,
        ) -> None:
            acts.append(args[0][0])
            outs.append(output[0].norm(dim=-1, keepdim=True))

        hooks = [down.register_forward_hook(keep) for down in model.down_projections]
        with torch.no_grad():
            model.hf(item.token_ids[None].to(model.device))
        for hook in hooks:
            hook.remove()
        stacked = torch.stack(acts).transpose(0, 1).abs() * norms[None]
        cett = (stacked / (torch.stack(outs).transpose(0, 1) + 1e-8)).transpose(0, 1)
        rows.append(cett[:, item.start : item.stop].mean(1).cpu())
    return torch.stack(rows)


def cached(model: Model, items: Sequence[Example]) -> None:
    """TransformerLens' run_with_cache, everything cached, on the same batches."""
    for ids in batches(model, items):
        with torch.inference_mode():
            model.run_with_cache(ids)


WAYS: dict[str, Callable[[Model, Sequence[Example]], object]] = {
    "bare, answer": bare,
    "bare sharing alike, answer": bare_sharing,
    "hlens, answer": measure,
    "bare, all": lambda m, e: bare(m, e, "other"),
    "bare sharing alike, all": lambda m, e: bare_sharing(m, e, "other"),
    "hlens, all but the answer": lambda m, e: measure(m, e, region="other"),
    "hlens, 4 metrics x 3 regions": lambda m, e: measure_many(
        m,
        e,
        metrics=[metrics.cett, metrics.signed_cett, metrics.activation, metrics.activation_norm],
        regions=["answer", "other", "response"],
    ),
    "run_with_cache": cached,
    "official way": official,
}
