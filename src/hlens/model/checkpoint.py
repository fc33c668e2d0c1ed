"""Weights as they come: all of them there, of the right shapes, and numbers.

Problem: transformers fills what a checkpoint lacks with random numbers and passes over what it
holds beyond the config, both with a warning at most. The model runs, and whatever is measured on it
is measured on noise.

Idea: what loading reports is checked, and so are the weights themselves, however they came.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from hlens.errors import HlensError
from hlens.model.weights import fetch, named_weights

MOST_LAYERS = 10_000  # a damaged config that asks for more would build layers for hours
# Heads that predict no next token; what ends in CausalLM or LMHeadModel, or generates under a
# condition (an image), does.
_OTHER_HEADS = re.compile(
    r"For(SequenceClassification|TokenClassification|QuestionAnswering|MaskedLM|MultipleChoice"
    r"|NextSentencePrediction|PreTraining|\w*Classification)$|RewardModel$"
)


def check_config(config: Any, where: str) -> None:
    """Raise `HlensError` for a config of what is no decoder, or of absurd size."""
    if getattr(config, "is_encoder_decoder", False):
        raise HlensError(
            f"{where!r} is an encoder-decoder ({config.model_type}); hlens reads decoders that "
            "continue a text: use such a model"
        )
    held = getattr(config, "architectures", None)  # whatever a config holds there
    named = held if isinstance(held, list | tuple) else [held]
    other = next(filter(_OTHER_HEADS.search, map(str, named)), None)
    if other:
        raise HlensError(
            f"{where!r} holds a {other}, which predicts no next token; use the model of causal "
            "language modelling that it was made from"
        )
    layers = getattr(config, "num_hidden_layers", None)
    if isinstance(layers, int) and not 0 < layers <= MOST_LAYERS:
        raise HlensError(f"{where!r}: num_hidden_layers is {layers}; expected 1 to {MOST_LAYERS}")


def check_report(hf: nn.Module, report: Mapping[str, Any], where: str) -> None:
    """Raise `HlensError` unless all weights came from the checkpoint, and all of it was used.

    Tied weights are not missing. Parts that the model has no place for at all (an image tower)
    may be left over; layers beyond its own and weights of its own modules may not.
    """
    missing = sorted(report["missing_keys"])
    if missing:
        raise HlensError(
            f"{where!r} lacks {_named(missing)}, which would be random; complete the "
            "checkpoint, or mend its config.json"
        )
    odd = sorted(report["mismatched_keys"])
    if odd:
        name, *shapes = odd[0]
        found, expected = (tuple(shape) for shape in shapes)
        raise HlensError(
            f"{where!r}: {name} is of shape {found}, its config asks for {expected}"
            f"{_and_more(odd)}; use the config.json that belongs to these weights"
        )
    modules = dict(hf.named_modules())
    unused = [key for key in sorted(report["unexpected_keys"]) if _belongs(key, modules)]
    if unused:
        raise HlensError(
            f"{where!r} holds {_named(unused)}, for which its config has no place; use the "
            "config.json that belongs to these weights"
        )
    if report.get("error_msgs"):
        raise HlensError(f"cannot load the weights of {where!r}: {report['error_msgs'][0]}")


def _belongs(key: str, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a weight is of a module that the model has, or of a layer beyond its own."""
    parent = key.rpartition(".")[0]
    if parent in modules:
        return bool(list(modules[parent].parameters(recurse=False)))
    beyond = re.match(r"(.*)\.\d+\.", key)
    return bool(beyond) and isinstance(modules.get(beyond[1]), nn.ModuleList)


def check_weights(hf: nn.Module, name: str) -> None:
    """Raise `HlensError` unless every weight is in memory, finite, and no matrix is all zeros."""
    weights = named_weights(hf)
    extremes, away = {}, []
    for key, weight in weights.items():
        held = fetch(hf, key, weight)  # one at a time: not all may fit
        if held is None:
            away.append(key)
        elif held.is_floating_point() and held.numel():
            wide = held if held.itemsize > 1 else held.float()
            extremes[key] = torch.stack(torch.aminmax(wide))
    if away:
        raise HlensError(
            f"{name}: {_named(away)} are nowhere (on the meta device, with nothing to fetch them); "
            "let hlens.load(..., device_map=...) place the model"
        )
    bad = [key for key, pair in extremes.items() if not bool(pair.isfinite().all())]
    if bad:
        raise HlensError(
            f"{name}: {_named(bad)} hold NaN or infinity; the checkpoint is damaged, or overflows "
            "in this dtype: fetch it again, or load it in bfloat16 or float32"
        )
    empty = [
        key
        for key, pair in extremes.items()
        # Zero points, and half of an adapter that is not trained, are zeros rightly.
        if weights[key].dim() > 1 and not pair.any() and not re.search(r"zero| \(", key)
    ]
    if empty:
        raise HlensError(
            f"{name}: {_named(empty)} hold zeros alone, as weights do that were never filled; "
            "complete the checkpoint"
        )


def check_head(hf: Any, name: str) -> None:
    """Raise `HlensError` for a loaded model that is no decoder with a head of tokens."""
    check_config(hf.config, name)
    find = getattr(hf, "get_output_embeddings", None)
    if find is None or find() is None:
        raise HlensError(
            f"{name} is of {type(hf).__name__}, which predicts no next token; load the model with "
            "AutoModelForCausalLM"
        )


def _named(keys: Iterable[str]) -> str:
    """The first of some weights by name, and how many more there are."""
    keys = list(keys)
    return keys[0] + _and_more(keys)


def _and_more(items: list[Any]) -> str:
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""
