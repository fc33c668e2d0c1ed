"""What is shared comes back equal: through a folder, a hub, and the files of other tools."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pandas as pd
import pytest
import torch

import hlens
import hlens.figures as figures
from hlens.errors import HlensError
from hlens.evaluation import overlap
from hlens.store import export_neurons, import_neurons, to_folder
from hlens.types import Detector, NeuronSet, Provenance

HOSTILE = "</script> | `x` <bos> ---\nlicense: evil"


def found(model: str = "owner/tiny") -> Detector:
    weights = torch.zeros(3, 16)
    weights[0, 1], weights[2, 5], weights[1, 3] = 1.5, 0.1, -0.7
    about = Provenance(model, "abc", versions=(("hlens", "0"),))
    return Detector(weights, -0.25, domains=("general", HOSTILE), fit={"C": 0.5}, provenance=about)


def scores() -> pd.DataFrame:
    rows = [("probe", 0.84, 0.8, 0.88, 420), ("random neurons", 0.72, 0.68, 0.76, 420)]
    return pd.DataFrame(rows, columns=["control", "auroc", "low", "high", "n"])


def named(name: str, *members: tuple[int, int]) -> NeuronSet:
    return NeuronSet(frozenset(members), 3, 16, dict.fromkeys(members, 0.5), "abc", name)


def equal(one: Detector, other: Detector) -> bool:
    return torch.equal(one.weights, other.weights) and one.provenance == other.provenance


def test_a_folder_gives_the_same_detector_and_its_neurons(tmp_path: Path) -> None:
    folder = to_folder(found(), tmp_path / "mine", scores=scores())
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md", "detector.json", "detector.safetensors", "neurons.csv",
    ]  # fmt: skip
    assert equal(hlens.load_detector(folder), found())
    assert hlens.load_neurons(folder) == replace(found().neurons, name="mine")
    one = named("one", (0, 1), (2, 2))
    assert hlens.load_neurons(to_folder(one, tmp_path / "set")) == one
    assert hlens.load_neurons(tmp_path / "set" / "neurons.safetensors", name="b").name == "b"


def test_the_card_is_metadata_controls_and_limits_and_holds_no_foreign_markup(
    tmp_path: Path,
) -> None:
    folder = to_folder(found(), tmp_path / "mine", scores=scores(), note="My *own* words.")
    told = huggingface_hub.ModelCard.load(folder / "README.md")
    assert told.data.library_name == "hlens"
    assert told.data.base_model == "owner/tiny"
    assert told.data.to_dict().get("license") is None
    [result] = told.data.eval_results
    assert (result.metric_type, result.metric_value) == ("roc_auc", 0.84)
    expected = (
        "| random neurons | 0.720 | 0.680 to 0.760 | 420 |",
        "| L0N1 | `blocks.0.mlp.hook_post` | +1.5 |",
        "An H-neuron is a hypothesis",
        "My *own* words.",
    )
    for line in expected:
        assert line in told.text
    assert "<bos>" not in told.text
    assert "not checked" in to_folder(found(), tmp_path / "x").joinpath("README.md").read_text()
    hostile = to_folder(found(HOSTILE), tmp_path / "h") / "README.md"
    assert huggingface_hub.ModelCard.load(hostile).data.to_dict().keys() == {"library_name", "tags"}


def test_a_readme_of_others_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(HlensError, match="was not written by hlens"):
        to_folder(found(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]
    to_folder(found(), tmp_path / "twice")
    to_folder(replace(found(), bias=1.0), tmp_path / "twice")
    assert hlens.load_detector(tmp_path / "twice").bias == 1.0


class Hub:
    """The hub's client, over a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.made = root, {}

    def create_repo(self, repo: str, private: bool, exist_ok: bool) -> None:
        self.made[repo] = private

    def upload_folder(self, repo_id: str, folder_path: str) -> str:
        shutil.copytree(folder_path, self.root / repo_id)
        return f"https://hub.example/{repo_id}"

    def snapshot_download(self, repo: str, revision: str | None, allow_patterns: Any) -> str:
        if not (self.root / repo).is_dir():
            raise OSError("not there\nmore")
        return str(self.root / repo)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    monkeypatch.chdir(tmp_path)
    return hub


def test_what_is_pushed_is_loaded_by_its_name(hub: Hub) -> None:
    assert hlens.push(found(), "me/tiny-h") == "https://hub.example/me/tiny-h"
    assert hub.made == {"me/tiny-h": True}, "a repository is private unless asked"
    assert equal(hlens.load_detector("me/tiny-h"), found())
    assert hlens.load_neurons("me/tiny-h").name == "tiny-h"
    card = (hub.root / "me/tiny-h/README.md").read_text()
    assert 'hlens.load_detector("me/tiny-h")' in card
    with pytest.raises(HlensError, match=r"no name on a hub; expected owner/name"):
        hlens.push(found(), "tiny")


def test_a_hub_that_fails_is_one_clear_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HlensError, match=r"no file or folder here, and .* \(not there\)$"):
        hlens.load_detector("me/nothing")
    with pytest.raises(HlensError, match="no detector at nowhere"):
        hlens.load_detector("nowhere")
    refuse = SimpleNamespace(create_repo=lambda *_, **__: 1 / 0)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: refuse)
    with pytest.raises(HlensError, match=r"was not sent to the hub \(division by zero\)"):
        hlens.push(found(), "me/tiny-h")
    assert list(hub.root.parent.iterdir()) == []


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_exported_neurons_come_back_equal(tmp_path: Path, suffix: str) -> None:
    neurons = found().selected
    path = export_neurons(neurons, tmp_path / f"n{suffix}")
    again = hlens.load_neurons(path, n_layers=3, d_mlp=16, name="selected")
    assert again.members == neurons.members
    assert again.weights == neurons.weights
    plain = replace(neurons, weights=None)
    assert import_neurons(
        export_neurons(plain, tmp_path / f"p{suffix}"), n_layers=3, d_mlp=16
    ).weights is None  # fmt: skip


def test_other_tools_files_are_read_by_any_address(tmp_path: Path) -> None:
    wanted = frozenset({(0, 1), (2, 5)})
    for number, text in enumerate(
        ("layer,neuron\n0,1\n2,5\n", "\ufeffaddress,score\nL0N1,3\nL2·N5,4\n",
         "hook,neuron\nblocks.0.mlp.hook_post,1\nblocks.2.mlp.hook_post,5\n")
    ):  # fmt: skip
        path = tmp_path / f"{number}.csv"
        path.write_text(text, encoding="utf-8")
        assert hlens.load_neurons(path, n_layers=3, d_mlp=16).members == wanted
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"layer": 0, "neuron": 1}, {"layer": 2, "neuron": 5}]))
    assert hlens.load_neurons(listed, n_layers=3, d_mlp=16).members == wanted


def test_a_file_that_holds_no_neurons_says_so(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("layer,neuron\n0,1\n1,1.5\n")
    with pytest.raises(HlensError, match=r"n\.csv, neuron 2 has no address"):
        import_neurons(path, n_layers=3, d_mlp=16)
    with pytest.raises(HlensError, match="give n_layers= and d_mlp="):
        import_neurons(path)
    (tmp_path / "n.json").write_text("3")
    with pytest.raises(HlensError, match="holds no list of neurons"):
        import_neurons(tmp_path / "n.json", n_layers=3, d_mlp=16)
    path.write_text("layer,neuron\n7,1\n")
    with pytest.raises(HlensError, match="L7N1 is out of range"):
        import_neurons(path, n_layers=3, d_mlp=16)


def test_shared_sets_are_compared_in_the_overlap_pictures(tmp_path: Path) -> None:
    to_folder(found(), tmp_path / "detector")
    to_folder(named("theirs", (0, 1), (1, 1)), tmp_path / "set")
    export_neurons(named("", (0, 1), (2, 9)), tmp_path / "table.csv")
    shape = {"n_layers": 3, "d_mlp": 16}
    sets = [hlens.load_neurons(tmp_path / n, **shape) for n in ("detector", "set", "table.csv")]
    assert [one.name for one in sets] == ["detector", "theirs", "table"]
    assert "3 sets" in figures.upset(sets).meta["title"]
    assert figures.overlap(overlap(sets)).layout.xaxis.ticktext == ("detector", "theirs", "table")
