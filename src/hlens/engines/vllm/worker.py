"""What hlens adds to vLLM's workers: hooks at the down projections, and methods to steer them.

vLLM mixes the class into its own worker and calls its methods by name, so that neither vLLM nor a
module's forward is replaced.
"""

from typing import Any

from torch import Tensor, nn

from hlens.engines.vllm.doses import Edited
from hlens.engines.vllm.passes import pieces_of
from hlens.engines.vllm.sums import Sums
from hlens.engines.vllm.tokens import Tokens
from hlens.engines.vllm.wire import Packed, pack


class HlensWorker:
    """Mixed into vLLM's worker as its ``worker_extension_cls``.

    Every method is called on each worker; what a worker does not hold (layers of another pipeline
    stage, neurons of another rank) it leaves to the others.
    """

    model_runner: Any  # of vLLM's worker

    def hlens_attach(self, paths: list[str]) -> dict[str, Any]:
        """Hook the down projection of each layer, and the model around them.

        Returns:
            Layers of this worker, and where its neurons begin and how many they are.
        """
        model = self.model_runner.get_model()
        make_room_for_stages(self.model_runner)
        downs = {layer: find_module(model, path) for layer, path in enumerate(paths)}
        self.hlens_layers = {
            layer: place
            for place, layer in enumerate(
                number for number, down in downs.items() if down is not None
            )
        }
        widths = {input_width(down) for down in downs.values() if down is not None}
        if len(widths) > 1:
            raise ValueError(f"layers of {sorted(widths)} neurons; hlens reads layers of one width")
        width = widths.pop() if widths else 0
        rank = distributed().get_tensor_model_parallel_rank()
        self.hlens_own = range(rank * width, (rank + 1) * width)
        self.hlens_device = next(model.parameters()).device
        self.hlens_sums: Sums | None = None
        self.hlens_tokens: Tokens | None = None
        self.hlens_edits: list[Edited] = []
        self.hlens_whole: dict[int, tuple[Tensor, Tensor]] | None = None
        model.register_forward_pre_hook(lambda *_: self.hlens_begin_pass())
        model.register_forward_hook(lambda *_: self.hlens_end_pass())
        for layer, down in downs.items():
            if down is not None:
                down.register_forward_pre_hook(self.hlens_change_at(layer))
                down.register_forward_hook(self.hlens_read_at(layer))
        return {"layers": list(self.hlens_layers), "start": rank * width, "width": width}

    # --- In a pass ------------------------------------------------------------------------------

    def hlens_begin_pass(self) -> None:
        """Find out whose rows the pass holds, where anything is read or changed."""
        readers = [one for one in (self.hlens_sums, self.hlens_tokens) if one is not None]
        if not readers and not self.hlens_edits:
            return
        pieces = pieces_of(self.model_runner)
        for reader in readers:
            reader.begin(pieces)
        for edit in self.hlens_edits:
            edit.begin(pieces, self.hlens_device)

    def hlens_end_pass(self) -> None:
        """Keep what was read of single tokens."""
        if self.hlens_tokens is not None:
            self.hlens_tokens.end()

    def hlens_change_at(self, layer: int) -> Any:
        """The hook before a down projection."""

        def change(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            for edit in self.hlens_edits:
                edit.change(layer, args[0].view(-1, args[0].shape[-1]))

        return change

    def hlens_read_at(self, layer: int) -> Any:
        """The hook behind a down projection."""

        def read(module: nn.Module, args: tuple[Tensor, ...], output: Any) -> None:
            if self.hlens_sums is None and self.hlens_tokens is None and self.hlens_whole is None:
                return
            out = output[0] if isinstance(output, tuple) else output
            # What vLLM runs by way of transformers has an axis of one before its rows.
            act, out = (one.reshape(-1, one.shape[-1]) for one in (args[0], out))
            if self.hlens_sums is not None:
                self.hlens_sums.read(layer, act, out)
            if self.hlens_tokens is not None:
                self.hlens_tokens.read(layer, act, out)
            if self.hlens_whole is not None:
                self.hlens_whole[layer] = act[0].clone(), out[0].clone()

        return read

    # --- Between passes -------------------------------------------------------------------------

    def hlens_sum(self, plan: dict[str, Any]) -> None:
        """From now on sum what `plan` asks of requests that carry ``sums``."""
        width = len(self.hlens_own)
        self.hlens_sums = Sums.of(plan, self.hlens_layers, width, self.hlens_device)

    def hlens_summed(self) -> Packed | None:
        """What was summed, and stop; None where it was never begun."""
        held, self.hlens_sums = self.hlens_sums, None
        return None if held is None else held.collect()

    def hlens_watch(self, plan: dict[str, Any] | None) -> None:
        """From now on read `plan` of the tokens of requests that carry ``tokens``; None stops."""
        where = self.hlens_layers, self.hlens_own, self.hlens_device
        self.hlens_tokens = None if plan is None else Tokens.of(plan, *where)

    def hlens_watched(self) -> dict[str, Packed]:
        """What was read since it was last asked for, by request."""
        return {} if self.hlens_tokens is None else self.hlens_tokens.collect()

    def hlens_take(self) -> dict[str, Packed]:
        """What was read since it was last taken, by request; reading goes on."""
        return {} if self.hlens_tokens is None else self.hlens_tokens.take()

    def hlens_forget(self, done: list[int]) -> None:
        """Forget requests that have ended."""
        if self.hlens_tokens is not None:
            self.hlens_tokens.forget(done)

    def hlens_edit(self, edits: list[dict[str, Any]]) -> list[int]:
        """From now on make these edits, and no others; tokens that each until now has reached."""
        reached = [edit.tokens for edit in self.hlens_edits]
        self.hlens_edits = [Edited.of(one, self.hlens_own, self.hlens_device) for one in edits]
        return reached

    def hlens_keep_whole(self, keep: bool) -> dict[str, tuple[Packed, Packed]]:
        """Keep neurons and output of the first row of each pass, or give them back."""
        held, self.hlens_whole = self.hlens_whole or {}, {} if keep else None
        return {str(layer): (pack(act), pack(out)) for layer, (act, out) in held.items()}


def distributed() -> Any:
    """The module of vLLM that knows its groups of workers."""
    from vllm import distributed  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

    return distributed


def make_room_for_stages(runner: Any) -> None:
    """Make what a later stage of a pipeline takes from the one before it, where it is missing.

    vLLM makes it when it tries itself out, which it leaves out in eager mode on a CPU.
    """
    if not distributed().get_pp_group().is_first_rank and runner.intermediate_tensors is None:
        runner.intermediate_tensors = runner.get_model().make_empty_intermediate_tensors(
            batch_size=runner.max_num_tokens,
            dtype=runner.model_config.dtype,
            device=runner.device,
        )


def find_module(model: nn.Module, path: str) -> nn.Module | None:
    """The module at a path of the checkpoint; None where another worker has it.

    vLLM names modules as the checkpoint does, but what is around the decoder may be called
    otherwise: then the end of the path decides, from the list of layers on.
    """
    modules = dict(model.named_modules())
    found = [modules[path]] if path in modules else []
    if not found:
        parts = path.split(".")
        first = next((i for i, part in enumerate(parts) if part.isdigit()), 1)
        end = ".".join(parts[first - 1 :])
        found = [one for name, one in modules.items() if f".{name}".endswith(f".{end}")]
    if len(found) > 1:
        raise ValueError(f"vLLM has {len(found)} modules at {path}; hlens reads one MLP a layer")
    return found[0] if found else None


def input_width(down: nn.Module) -> int:
    """How many neurons of a layer a worker has."""
    for name in ("input_size_per_partition", "input_size", "in_features"):
        if isinstance(width := getattr(down, name, None), int):
            return width
    raise ValueError(f"{type(down).__name__} does not say how many neurons it reads")
