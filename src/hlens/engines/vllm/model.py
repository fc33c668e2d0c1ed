"""`VllmModel`: a model whose passes vLLM runs, in the place of a `Model`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from hlens.contributions.reducing import post_gain
from hlens.engines.vllm.doses import check_sent
from hlens.engines.vllm.options import check_eager
from hlens.errors import HlensError, first_line
from hlens.model import Model, Pairs
from hlens.types import Provenance


@dataclass(frozen=True)
class Share:
    """What one worker holds: some layers, and of each some neurons."""

    layers: tuple[int, ...]
    start: int
    width: int


@dataclass(eq=False, repr=False)
class VllmModel(Model):
    """A model that vLLM runs. Made by `hlens.load` with ``engine="vllm"``.

    Its own modules hold no weights; they are fetched from the checkpoint where rows of W_out, their
    norms or the fingerprint are asked for.

    Attributes:
        llm: The engine, a ``vllm.LLM``.
        options: What it was booted with.
        shares: What each worker holds, in their order.
        edits: The edits that the workers make now, as they were sent.
        adapters: What requests name to run under an adapter, by its folder; see `adapter_request`.
    """

    _: KW_ONLY
    llm: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    shares: tuple[Share, ...] = ()
    edits: list[dict[str, Any]] = field(default_factory=list)  # of all copies of the model
    adapters: dict[Path, Any] = field(default_factory=dict)  # of all copies, too

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, vLLM {version_of_vllm()})"

    @property
    def rounding(self) -> str:
        return "vllm"

    def rows_at_once(self, rows: int) -> int:
        """As many as vLLM runs at once, so that a killed run loses no more than that."""
        return max(rows, self.llm.llm_engine.vllm_config.scheduler_config.max_num_seqs)

    def need_modules(self, what: str) -> None:
        """Raise `HlensError`: vLLM keeps its modules to itself."""
        raise HlensError(
            f"{what} cannot be read from vLLM, which runs {self.name}: gradients, attention, "
            'hidden states and logits stay within it; take engine = "local"'
        )

    def need_eager(self, what: str) -> None:
        """Raise `HlensError` where vLLM was compiled: its graph has no hooks."""
        check_eager(self.options, what)

    @property
    def longest(self) -> int:
        """How many tokens a sequence may have, as vLLM was booted."""
        return int(self.llm.llm_engine.model_config.max_model_len)

    def check_prompts(self, prompts: Sequence[Sequence[int]], *, new: int = 0) -> None:
        super().check_prompts(prompts, new=new)
        longest = max(map(len, prompts), default=0)
        if longest + new > self.longest:
            raise HlensError(
                f"a prompt of {longest} tokens and {new} new ones do not fit the {self.longest} "
                "that vLLM was booted for; give the engine a larger max_model_len"
            )

    @property
    def provenance(self) -> Provenance:
        own = super().provenance
        return replace(own, versions=(*own.versions, ("vllm", version_of_vllm())))

    @cached_property
    def newline_ids(self) -> tuple[int, ...]:
        """All tokens with a newline in their text."""
        texts = self.tokenizer.batch_decode(
            [[token] for token in range(min(self.n_tokens, len(self.tokenizer)))],
            skip_special_tokens=True,
        )
        return tuple(token for token, text in enumerate(texts) if "\n" in text)

    @cached_property
    def gains(self) -> dict[int, Float[Tensor, " d_model"]]:
        """Gain of the norm behind each MLP, where there is one."""
        found = {layer: post_gain(self, layer) for layer in range(self.n_layers)}
        return {layer: gain for layer, gain in found.items() if gain is not None}

    def call(self, method: str, *args: Any) -> list[Any]:
        """Call a method of `HlensWorker` on every worker."""
        return self.llm.collective_rpc(f"hlens_{method}", args=args)

    def run(
        self,
        prompts: Sequence[Sequence[int]],
        params: Sequence[Any],
        adapters: Sequence[Any] | None = None,
    ) -> list[Any]:
        """Run requests of token ids, each under its adapter or none; their outputs, in order."""
        from vllm import TokensPrompt  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

        asks = [TokensPrompt(prompt_token_ids=list(map(int, prompt))) for prompt in prompts]
        requests = None if adapters is None else list(adapters)
        return self.llm.generate(asks, list(params), use_tqdm=False, lora_request=requests)

    def check_edits(self, pairs: Pairs) -> None:
        """Raise `HlensError` as `Model.check_edits`, and for what cannot be sent to workers."""
        self.need_eager("editing")
        super().check_edits(pairs)
        for _, edit in pairs:
            check_sent(edit)

    def close(self) -> None:
        """Shut the engine down; the model cannot be run afterwards."""
        self.llm.llm_engine.engine_core.shutdown()


def version_of_vllm() -> str:
    """Of the package that is installed, for a GPU or for a CPU."""
    import vllm  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

    return str(getattr(vllm, "__version__", "")) or version("vllm")


def refuse_to_run(model: VllmModel) -> None:
    """Let every pass of the model's own modules end in one line: they hold no weights."""

    def refuse(*_: Any) -> None:
        model.need_modules("this")

    twin = model.bridge.original_model
    ways = [model.hf, model.body, twin, getattr(twin, "base_model", twin)]
    for way in {id(way): way for way in ways}.values():
        way.register_forward_pre_hook(refuse)


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Say what vLLM raised in one line."""
    try:
        yield
    except HlensError:
        raise
    except Exception as error:  # an engine from outside raises anything
        raise HlensError(f"{what}: {first_line(error)[:300]}") from error
