"""A device that is not there: tensors that say they are on Apple's GPU and are kept on the CPU.

Every operation passes through Python. One that makes a float64 tensor on the device fails, as it
does there, and so does one that mixes tensors of the device with others of the CPU.
"""

from typing import Any

import torch
import torch.utils.backend_registration as backends
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

DEVICE_TYPE = "nodoubles"  # what it is called; torch knows the type by the place kept for others
_LIBRARIES: list[Any] = []


class OnDevice(Tensor):
    """A tensor that says it is on the device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnDevice":
        if held.dtype == torch.float64:
            raise TypeError("a float64 tensor is made on a device that has no float64")
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=torch.device(DEVICE_TYPE), requires_grad=held.requires_grad,
        )  # fmt: skip

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return run(function, args, kwargs or {})


def set_up() -> torch.device:
    """Register the device with torch, once in a process."""
    if _LIBRARIES:
        return torch.device(DEVICE_TYPE)
    backends._setup_privateuseone_for_python_backend(DEVICE_TYPE)
    _LIBRARIES.append(torch.library.Library("aten", "IMPL"))
    _LIBRARIES[0].impl("empty.memory_format", _empty, "PrivateUse1")
    _LIBRARIES[0].impl("empty_strided", _empty_strided, "PrivateUse1")
    _LIBRARIES[0].impl("_copy_from", _copy_from, "PrivateUse1")
    _LIBRARIES.append(torch.library.Library("_", "IMPL"))
    _LIBRARIES[1].fallback(
        lambda function, *args, **kwargs: run(function, args, kwargs), "PrivateUse1"
    )
    return torch.device(DEVICE_TYPE)


def _empty(size: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    """Room on the device, which whatever is made there begins with."""
    return OnDevice(torch.empty(size, dtype=dtype))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return OnDevice(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    _held(to).copy_(_held(source))
    return to


def run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the CPU; its results are on the device where they would be."""
    leaves: list[Any] = tree_leaves((args, kwargs))
    on_device = [leaf for leaf in leaves if isinstance(leaf, OnDevice)]
    to = kwargs.get("device")
    copies = function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    if on_device and not copies:
        others = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim()]
        strays = [leaf for leaf in others if not isinstance(leaf, OnDevice)]
        if strays and "index" not in str(function):  # an index may be on the CPU
            raise RuntimeError(f"{function} mixes tensors of the device and of the CPU")
    stays = bool(on_device) if to is None else torch.device(to).type == DEVICE_TYPE
    if function is torch.ops.aten.copy_.default:
        stays = isinstance(args[0], OnDevice)
    plain = {**kwargs, "device": torch.device("cpu")} if to is not None else kwargs
    given, named = tree_map(_held, (args, plain))
    if function is torch.ops.aten.histc.default:  # a CPU counts no whole numbers
        given = (given[0].float(), *given[1:])
    made = function(*given, **named)
    # What an operation changes in place, or gives back as it is, stays the same object.
    known = {id(leaf.held): leaf for leaf in on_device}
    own = {id(leaf) for leaf in leaves if isinstance(leaf, Tensor)}

    def place(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, OnDevice) or id(value) in own:
            return value
        if id(value) in known and stays:
            return known[id(value)]
        if not stays:
            return value
        # A view of a tensor that is not of inference mode is not of it, either.
        views = any(each.alias_info is not None for each in function._schema.returns)
        with torch.inference_mode(torch.is_inference_mode_enabled() and not views):
            return OnDevice(value)

    return tree_map(place, made)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnDevice) else value


def move(module: nn.Module) -> nn.Module:
    """The module with all its weights on the device; tied ones stay tied."""
    moved: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, weight in list(part._parameters.items()):
            if weight is not None:
                own = nn.Parameter(OnDevice(weight.data), requires_grad=False)
                part._parameters[name] = moved.setdefault(id(weight), own)
        for name, value in list(part._buffers.items()):
            if value is not None:
                part._buffers[name] = OnDevice(value)
    return module
