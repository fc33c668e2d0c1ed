"""Engines: what a recipe says of them, and what it makes again."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hlens
from hlens import engines
from hlens import interventions as iv
from hlens.cli.studies import open_study
from hlens.engines.vllm.doses import Edited
from hlens.engines.vllm.passes import Piece
from hlens.engines.vllm.sums import Sums
from hlens.engines.vllm.tokens import Tokens
from hlens.engines.vllm.wire import pack, unpack
from hlens.engines.vllm.worker import find_module
from hlens.errors import HlensError
from hlens.model import RowSpans, Site, TokenBatch
from hlens.recipe import EngineRecipe, Recipe
from hlens.steps import sources
from hlens.steps.runner import Runner
from hlens.steps.sources import model, model_options
from hlens.types import NeuronSet

TOY = Recipe(model="toy")


def quiet(*_: Any) -> None:
    pass


def test_the_local_engine_is_what_load_does() -> None:
    local = hlens.load("toy", device="cpu", engine="local")
    assert local.fingerprint == hlens.load("toy", device="cpu").fingerprint


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"name": "locl"}, "unknown member of engines 'locl'; did you mean 'local'"),
        ({"options": {"workers": 2}}, "the local engine has no option 'workers'"),
        ({"name": ""}, "unknown member of engines ''"),
    ],
)
def test_a_recipe_refuses_what_an_engine_does_not_know(section: Any, said: str) -> None:
    with pytest.raises(HlensError, match=said) as refused:
        Recipe.from_dict({"engine": section})
    assert "\n" not in str(refused.value)


def test_the_section_goes_round_through_toml(tmp_path: Path) -> None:
    recipe = replace(TOY, engine=EngineRecipe("local"))
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    assert Recipe.read(tmp_path / "r.toml") == recipe == TOY


def test_only_another_rounding_makes_a_study_anew(tmp_path: Path) -> None:
    """A study from before there were engines stays current under the local one."""
    before = [Runner(tmp_path, TOY).key(source) for source in (model, model_options)]
    assert "engine.rounding" not in Runner(tmp_path, TOY)._plain_options(model)
    now = Runner(tmp_path, replace(TOY, engine=EngineRecipe("vllm")))
    assert now._plain_options(model)["engine.rounding"] == "vllm"
    assert all(now.key(s) != key for s, key in zip((model, model_options), before, strict=True))


def test_the_engine_is_asked_for_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text('model = "toy"')
    study = open_study("r.toml", None, None, quiet, (), {"engine": "local"})
    assert study.recipe.engine == EngineRecipe()
    asked: dict[str, Any] = {}

    def load(name: str, **options: Any) -> Any:
        asked.update(options)
        return engines.load(name)

    monkeypatch.setattr(sources, "load", load)
    _ = study.model
    assert (asked["engine"], asked["engine_options"]) == ("local", {})
    with pytest.raises(HlensError, match="--engine goes with a recipe"):
        open_study(str(study.folder), None, None, quiet, (), {"engine": "local"})


# --- vLLM, as far as it goes without vLLM ---------------------------------------------------------

WITH_VLLM = Recipe.from_dict(
    {"model": "toy", "engine": {"name": "vllm", "options": {"tensor_parallel_size": 2}}}
)


def test_vllm_in_a_recipe(tmp_path: Path) -> None:
    assert WITH_VLLM.engine.rounding == "vllm"
    (tmp_path / "r.toml").write_text(WITH_VLLM.to_toml())
    assert Recipe.read(tmp_path / "r.toml") == WITH_VLLM
    keys = [Runner(tmp_path, recipe).key(model) for recipe in (TOY, WITH_VLLM)]
    assert keys[0] != keys[1]
    # Over how many devices it is spread changes nothing that is made.
    alone = replace(WITH_VLLM, engine=EngineRecipe("vllm"))
    assert Runner(tmp_path, alone).key(model) == keys[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tensor_paralel_size": 2}, "did you mean 'tensor_parallel_size'"),
        ({"max_model_len": "long"}, "max_model_len of the engine vllm is 'long'; expected int"),
        ({"max_num_seqs": 0}, "max_num_seqs of the engine vllm is 0; expected above 0"),
        ({"enforce_eager": 1}, "enforce_eager of the engine vllm is 1; expected bool"),
    ],
)
def test_vllm_refuses_options(options: Any, said: str) -> None:
    with pytest.raises(HlensError, match=said) as refused:
        EngineRecipe("vllm", options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"measure": {"metric": "gradient_x_activation"}},
            "gradient_x_activation needs the gradient",
        ),
        ({"measure": {"metric": "projection"}}, "projection is no number of a token times"),
        (
            {"engine": {"name": "vllm", "options": {"enforce_eager": False}}},
            "measuring needs hooks, which a compiled vLLM does not run",
        ),
    ],
)
def test_a_study_is_refused_before_a_model_is_opened(
    changed: Any, said: str, tmp_path: Path
) -> None:
    recipe = Recipe.from_dict(WITH_VLLM.to_dict() | changed)
    with pytest.raises(HlensError, match=said) as refused:
        hlens.Study.run(recipe, tmp_path / "study")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "study" / "questions.jsonl").exists()


def test_a_model_of_another_engine_than_the_recipes_is_refused(tmp_path: Path) -> None:
    given = engines.load("toy", device="cpu")
    with pytest.raises(HlensError, match='run by the engine local, and the recipe names "vllm"'):
        hlens.Study(tmp_path, WITH_VLLM, model=given)


@pytest.mark.parametrize(
    ("source", "loading", "said"),
    [
        ("toy", {"adapter": "a"}, "adapter= is not taken by the engine vllm"),
        ("toy", {"device": "cpu"}, "device= is not taken by the engine vllm"),
        (3, {}, "vLLM opens a model itself, and got a int"),
    ],
)
def test_vllm_refuses_to_load(source: Any, loading: Any, said: str) -> None:
    with pytest.raises(HlensError, match=said):
        hlens.load(source, engine="vllm", **loading)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_the_package_is_named() -> None:
    with pytest.raises(HlensError, match=r"needs the package vllm: pip install 'hlens\[vllm\]'"):
        hlens.load("toy", engine="vllm")


def piece(first: int, rows: int, start: int, **asked: Any) -> Piece:
    return Piece(asked, first, rows, start, n_prompt=4)


def run_passes(reader: Any, passes: list[list[Piece]], act: Any, out: Any) -> None:
    """Lay the tokens of each request's pieces in rows, as vLLM does, and let them be read."""
    for pieces in passes:
        reader.begin(pieces)
        rows = [(p.asked["id"], p.start + i) for p in pieces for i in range(p.rows)]
        ids, places = map(list, zip(*rows, strict=True))
        reader.read(1, act[ids, places], out[ids, places])
        if hasattr(reader, "end"):
            reader.end()


@pytest.mark.parametrize("reduce", ["mean", "max"])
def test_sums_count_every_position_once_however_it_is_run(reduce: str) -> None:
    """In chunks beside others, and anew after a preemption."""
    draw = torch.Generator().manual_seed(0)
    act, out = torch.randn(2, 6, 5, generator=draw), torch.randn(2, 6, 3, generator=draw)
    plan = {"asks": [["cett", reduce], ["activation", reduce]], "slots": 3, "gains": {}}
    sums = Sums.of(plan, {1: 0}, 5, torch.device("cpu"))
    one = {"id": 0, "sums": [[0, [[[[1, 4]], 1.0], [[[5, 6]], 1.0]]], [2, [[[[3, 6]], 1.0]] * 2]]}
    two = {"id": 1, "sums": [[1, [[[[0, 2], [4, 5]], 1.0]] * 2]]}
    passes = [
        [piece(0, 2, 0, **one), piece(2, 3, 0, **two)],
        [piece(0, 3, 3, **two), piece(3, 1, 2, **one)],
        [piece(0, 6, 0, **one)],  # thrown out, and run again from its beginning
    ]
    run_passes(sums, passes, act, out)
    values = unpack(sums.collect())[:, 0]
    share = act.abs() / out.norm(dim=-1, keepdim=True)
    reduced = {"mean": lambda x: x.sum(0), "max": lambda x: x.amax(0)}[reduce]
    read = {0: ([1, 2, 3], [5]), 1: ([0, 1, 4],) * 2, 2: ([3, 4, 5],) * 2}
    for slot, places in read.items():
        request = 1 if slot == 1 else 0
        torch.testing.assert_close(values[0, slot], reduced(share[request, places[0]]))
        torch.testing.assert_close(values[1, slot], reduced(act[request, places[1]].abs()))


def test_tokens_are_read_in_order_and_shares_of_workers_add_up() -> None:
    draw = torch.Generator().manual_seed(0)
    act, out = torch.randn(2, 6, 4, generator=draw), torch.randn(2, 6, 3, generator=draw)
    weights = torch.tensor([[1.0], [-2.0], [0.5]])
    plan = {
        "metric": "signed_cett",
        "numbers": 1,
        "layers": {"1": [[0, 2, 3], pack(weights), None]},
    }
    device = torch.device("cpu")
    halves = [Tokens.of(plan, {1: 0}, range(at, at + 2), device) for at in (0, 2)]
    one, two = {"id": 0, "tokens": 2}, {"id": 1, "tokens": 0}
    passes = [
        [piece(0, 3, 0, **one), piece(3, 1, 0, **two)],
        [piece(0, 1, 1, **two), piece(1, 2, 3, **one)],
        [piece(0, 5, 0, **one)],  # anew
    ]
    for at, reader in zip((0, 2), halves, strict=True):
        run_passes(reader, passes, act[..., at : at + 2], out)
    read = [reader.collect() for reader in halves]
    scores = {name: sum(unpack(own[name]) for own in read) for name in ("0", "1")}
    wanted = (act[..., [0, 2, 3]] @ weights) / out.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(scores["0"], wanted[0, 2:5])
    torch.testing.assert_close(scores["1"], wanted[1, :2])
    assert halves[0].collect() == {}


def test_a_dose_changes_its_neurons_at_its_tokens_alone() -> None:
    sent = {
        "scope": "generated",
        "layers": {"1": [[1, 3], *([x, x] for x in (2.0, 0.5, -1.0, 1.0))]},
    }
    edit = Edited.of(sent, range(2, 4), torch.device("cpu"))  # the second worker: neurons 2 and 3
    act = torch.full((4, 2), 0.1)
    edit.begin([piece(0, 3, 2), piece(3, 1, 0)], torch.device("cpu"))  # of each a prompt of 4
    edit.change(1, act)
    edit.change(0, act)  # another layer
    changed = torch.full((4, 2), 0.1)
    changed[2, 1] = 0.7
    torch.testing.assert_close(act, changed)
    assert edit.tokens == 1


def test_edits_say_as_numbers_what_they_do() -> None:
    """The same as the function, for every edit that says so."""
    model = engines.load("toy", device="cpu")
    columns = torch.tensor([0, 3, 5])
    members = frozenset((1, int(j)) for j in columns)
    neurons = NeuronSet(members, model.n_layers, model.d_mlp, model=model.fingerprint)
    reference = iv.capture_reference(model, [model.encode("Where was Anna born?")], neurons)
    direction = torch.randn(model.n_layers, model.d_mlp)
    old = torch.randn(2, 7, 3)
    batch = TokenBatch(2, 7, 0, None, None, None, RowSpans(), torch.device("cpu"))
    site = Site(1, columns, batch)
    for edit in (
        iv.scale(-1.5),
        iv.ablate(),
        iv.ablate("mean", reference),
        iv.clamp(-0.2, 0.3),
        iv.clamp(low=0.0),
        iv.steer(direction, 0.7),
    ):
        assert edit.elementwise is not None
        made = edit.elementwise(1, columns)
        new = (old * made.scale + made.shift).clamp(made.low, made.high)
        torch.testing.assert_close(new, edit.change(old, site))
    assert iv.ablate("resample", reference).elementwise is None


def test_modules_are_found_by_the_checkpoints_path() -> None:
    layers = nn.ModuleList([nn.ModuleDict({"mlp": nn.Linear(2, 3)}) for _ in range(12)])
    tree = nn.ModuleDict({"language_model": nn.ModuleDict({"layers": layers})})
    found = find_module(tree, "model.layers.1.mlp")
    assert found is layers[1]["mlp"]  # not that of layer 11
    assert find_module(tree, "language_model.layers.11.mlp") is layers[11]["mlp"]
    assert find_module(tree, "model.layers.12.mlp") is None
