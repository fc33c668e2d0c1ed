"""Ray on this machine: two nodes, and what they give is what one process gives, to the bit."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (its name; else it starves when busy)
pytest.importorskip("ray", reason="Ray is not installed: make test-engines")
from ray.cluster_utils import Cluster

import architectures
import hlens
import tiny_vllm
from hlens.contributions import results
from hlens.engines.ray.workers import RayWorkers
from hlens.errors import HlensError
from hlens.model import Model
from hlens.recipe import Recipe
from hlens.steps import detection
from hlens.study import Study
from hlens.types import Question
from test_measure import sharing
from tiny_study import question_file, saved_model, tiny_recipe
from tiny_tokenizer import VOCAB, byte_tokenizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # Ray's own
]
FILES = ("responses.jsonl", "contributions.safetensors")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "auto_tokens", lambda model: 64)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head with two CPUs, and a node with one."""
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 100 << 20}
    )
    add_node(made)
    made.wait_for_nodes()
    yield made
    import ray

    ray.shutdown()
    made.shutdown()


def add_node(cluster: Cluster) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=100 << 20)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    """The model, as a folder that every node finds."""
    return saved_model(home / "model")


def recipe_of(home: Path, folder: Path, **options: Any) -> Recipe:
    questions = home / "questions.jsonl"
    if not questions.exists():
        question_file(questions)
    return tiny_recipe(
        questions,
        model=str(folder),
        sampling={"n": 3, "max_new_tokens": 10, "rows": 12},
        engine={"name": "ray", "options": options} if options else {},
    )


@pytest.fixture(scope="module")
def local(home: Path, folder: Path) -> Study:
    """The study of one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "auto_tokens", lambda model: 64)
        torch.set_num_threads(1)
        study = Study(home / "local", recipe_of(home, folder))
        study.contributions()
    return study


def same(study: Study, local: Study) -> bool:
    return all((study.folder / f).read_bytes() == (local.folder / f).read_bytes() for f in FILES)


def test_two_nodes_give_what_one_process_gives(
    cluster: Cluster, home: Path, folder: Path, local: Study
) -> None:
    seen: list[tuple[str, int, int]] = []
    recipe = recipe_of(home, folder, address=cluster.address, workers=2)
    study = Study(home / "two", recipe, progress=lambda *told: seen.append(told))
    study.contributions()
    assert same(study, local)
    for label in ("sample: responses", "measure: contributions"):
        told = [(done, total) for name, done, total in seen if name == label][1:-1]
        assert len(told) > 8
        assert [done for done, _ in told] == sorted({done for done, _ in told})
        assert told[-1][0] == told[-1][1]
    assert Study(home / "two", local.recipe).has(detection.measured)


def test_a_node_killed_while_it_measures(
    cluster: Cluster, home: Path, folder: Path, local: Study
) -> None:
    """Ray does its blocks again elsewhere, and no bit differs."""
    doomed = [add_node(cluster)]
    cluster.wait_for_nodes()

    def kill(step: str, done: int, total: int) -> None:
        if step == "measure: contributions" and 8 < done < total and doomed:
            cluster.remove_node(doomed.pop(), allow_graceful=False)

    recipe = recipe_of(home, folder, address=cluster.address, workers=3)
    study = Study(home / "killed", recipe, progress=kill)
    study.contributions()
    assert not doomed
    assert same(study, local)


def test_in_memory_it_is_the_same(cluster: Cluster, folder: Path) -> None:
    spread = hlens.load(folder, engine="ray", engine_options={"address": cluster.address})
    items = sharing(6)
    expected = hlens.measure(hlens.load(folder), items).values
    assert torch.equal(hlens.measure(spread, items).values, expected)


def test_an_edit_is_not_lost_in_silence(cluster: Cluster, folder: Path) -> None:
    """Edits act in this process; elsewhere they would act on nothing, which is an error."""
    spread = hlens.load(folder, engine="ray", engine_options={"address": cluster.address})
    neurons = hlens.NeuronSet(frozenset({(0, 1)}), n_layers=spread.n_layers, d_mlp=spread.d_mlp)
    with (
        pytest.raises(HlensError, match="not one token touched"),
        spread.editing(neurons, hlens.interventions.ablate()),
    ):
        hlens.measure(spread, sharing(2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"workers": 9},
            "9 workers of 1 CPUs each, with one CPU left for Ray's own readers, do not fit",
        ),
        ({"cpus": 3}, "a worker of 3 CPUs each, with one CPU left for Ray's own readers"),
        ({"gpus": 1}, "a worker of 1 CPUs and 1 GPUs each"),
    ],
)
def test_with_no_cpu_left_for_readers_it_refuses(
    cluster: Cluster, folder: Path, options: dict[str, Any], said: str
) -> None:
    """Ray itself would wait for ever."""
    spread = hlens.load(
        folder, engine="ray", engine_options={"address": cluster.address, **options}
    )
    with pytest.raises(HlensError) as refused:
        hlens.measure(spread, sharing(2))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_machine_with_another_model_is_refused(
    cluster: Cluster, folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(99)
    architectures.llama(
        vocab_size=VOCAB, max_position_embeddings=512, intermediate_size=24
    ).save_pretrained(tmp_path / "other")
    byte_tokenizer().save_pretrained(tmp_path / "other")
    workers = RayWorkers(partial(hlens.model.load, str(tmp_path / "other")), cluster.address)
    model: Model = hlens.load(folder).with_workers(workers)
    with pytest.raises(HlensError, match="the model's weights on machine") as refused:
        hlens.measure(model, sharing(2))
    assert "\n" not in str(refused.value)


def test_each_worker_boots_vllm_where_it_is_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    """The numbers are vLLM's, and go from and to the same blocks."""
    pytest.importorskip("vllm", reason="vLLM is not installed here")
    folder = str(tiny_vllm.folder_of(tmp_path))
    options = {"address": cluster.address, "engine": "vllm", "engine_options": tiny_vllm.SMALL}
    assert hlens.engines.rounding_of("ray", options) == "vllm"
    local = hlens.load(folder, device="cpu")
    spread = hlens.load(folder, engine="ray", engine_options=options | {"workers": 2})
    try:
        items = tiny_vllm.examples(12)
        ours, theirs = (hlens.measure(model, items) for model in (local, spread))
        assert tiny_vllm.apart(ours, theirs) < 1e-5
        asked = [Question(f"q{i}", "general", f"Number {i}?", ("a",)) for i in range(4)]
        told = [
            [r.token_ids for r in hlens.sample(m, asked, n=1, settings=tiny_vllm.GREEDY)]
            for m in (local, spread)
        ]
        assert told[0] == told[1]
    finally:
        spread.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "ray"}, 'is \'ray\'; expected "local" or "vllm"'),
        ({"engine_options": 3}, "is 3; expected a table of options"),
        ({"engine": "vllm", "engine_options": {"workers": 3}}, "unknown option of the engine vllm"),
        ({"engine_options": {"workers": 3}}, "the local engine has no option 'workers'"),
    ],
)
def test_an_engine_of_workers_that_there_is_not(options: dict[str, Any], said: str) -> None:
    with pytest.raises(HlensError) as refused:
        hlens.engines.rounding_of("ray", options)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_a_wrong_address_is_one_line(home: Path, folder: Path, address: str) -> None:
    (home / "tiny.toml").write_text(recipe_of(home, folder).to_toml())
    command = ["run", "tiny.toml", "--engine", "ray", "--address", address, "--out", "wrong"]
    done = subprocess.run(
        [sys.executable, "-m", "hlens.cli", *command],
        capture_output=True, text=True, cwd=home, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"hlens: no Ray cluster at {address!r}" in done.stderr.splitlines()[-1]
