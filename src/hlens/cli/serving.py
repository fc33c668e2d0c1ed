"""``hlens serve``: model, detectors and doses are opened, and offered."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hlens.cli.models import open_model
from hlens.cli.scoring import live_detector_of, recipe_of
from hlens.errors import HlensError
from hlens.interventions import load_dose
from hlens.monitor.flagging import Flagging, flagging
from hlens.monitor.requests import Dose
from hlens.recipe import Recipe

KEY = "HLENS_API_KEY"


def offered(
    *,
    model: str | None,
    detectors: Sequence[str],
    adapters: Sequence[str],
    engine: str | None,
    loading: Mapping[str, str],
    policies: Sequence[str],
    threshold: str | None,
    limits: Mapping[str, int | None],
    abstention: str | None,
    log_text: bool,
) -> Any:
    """What is to be served.

    Args:
        model: The model; None takes that of the first detector.
        detectors: ``PATH`` or ``NAME=PATH``: a study, or what holds a detector.
        adapters: ``FOLDER`` or ``NAME=FOLDER``, from `hlens export-adapter`.
        engine: What runs the model; None for this process, or what the study names.
        loading: How its weights are loaded, by the names of `hlens.load`.
        policies: Those that a request may choose; empty for all.
        threshold: As `hlens.monitor.flagging` takes it.
        limits: Of `hlens.server.Limits`; None for its defaults.
        abstention: What is said in the place of an answer that is withheld.
        log_text: Write texts into the log, too.

    Raises:
        HlensError: Something that cannot be opened, or does not fit together.
    """
    try:
        from hlens.server import Limits, Offer
    except ImportError as error:
        raise HlensError(
            f"serving needs the package {error.name}: pip install 'hlens[serve]'"
        ) from None
    chosen: Flagging | None = None if threshold is None else flagging(threshold)
    given = {name: number for name, number in limits.items() if number is not None}
    named = [_named(one, "detector") for one in detectors]
    _check_once([name for name, _ in named], "detector")
    opened = {name: live_detector_of(path) for name, path in named}
    named_doses = [_named(one, "adapter") for one in adapters]
    _check_once([name for name, _ in named_doses], "adapter")
    recipe = next((one for _, path in named if (one := recipe_of(path))), None)
    folders = [folder for _, folder in named_doses]
    running = _engine_of(recipe, engine, folders)
    served = open_model(model, recipe, list(opened.values()), loading, **running)
    for detector in opened.values():
        detector.provenance.check_same_model(served.provenance, "served model")
    doses = {name: Dose(load_dose(folder, served), folder) for name, folder in named_doses}
    further = {} if abstention is None else {"abstention": abstention}
    return Offer(
        served,
        # As it was called here, so that clients need not know what its folder holds.
        model if model and not Path(model).exists() else served.name,
        detectors=opened,
        doses=doses,
        **({"policies": tuple(policies)} if policies else {}),
        threshold=chosen,
        limits=Limits(**given),
        api_key=os.environ.get(KEY) or None,
        log_text=log_text,
        **further,
    )


def _named(text: str, what: str) -> tuple[str, str]:
    """Name and path of ``NAME=PATH``; a path alone is called by its last part."""
    name, equals, path = text.partition("=")
    if equals and name and "/" not in name:
        return name, path
    if not text.strip():
        raise HlensError(f"an empty {what}; give a path, or NAME=PATH")
    return Path(text).name.removesuffix(".safetensors"), text


def _check_once(names: Sequence[str], what: str) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise HlensError(f"two of the name {twice[0]!r}; call each {what} otherwise: NAME=PATH")


def _engine_of(recipe: Recipe | None, engine: str | None, folders: Sequence[str]) -> dict[str, Any]:
    """The engine that is named, else the study's with its options, with room for the doses."""
    own, options = None, {}
    if recipe is not None:
        own, options = recipe.engine.name, dict(recipe.engine.options)
        if own == "ray":  # which spreads a study over machines: one of its workers is served
            own, options = options.get("engine"), dict(options.get("engine_options", {}))
    if engine not in (None, own):
        options = {}
    engine = engine or own
    if engine in (None, "local"):
        return {}
    if engine == "vllm" and folders:
        from hlens.engines.vllm.options import options_for_adapters

        options |= options_for_adapters(folders)
    return {"engine": engine, "engine_options": options}
