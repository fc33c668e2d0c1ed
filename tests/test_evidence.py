"""Evidence keeps its rows together, on disk as in memory, and refuses what is not whole."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hlens.audit import score_all
from hlens.baselines import NotAvailableError, named
from hlens.errors import HlensError
from hlens.probe import SparseProbe
from hlens.store import load_evidence, save_evidence
from hlens.types import Contributions, Detector, Evidence
from planted import evidence


def assert_equal(one: Evidence, other: Evidence) -> None:
    assert list(one.measured) == list(other.measured)
    pairs = [(field.name, getattr(one, field.name), getattr(other, field.name))
             for field in fields(Evidence) if field.name != "measured"]  # fmt: skip
    pairs += [(name, one.measured[name], other.measured[name]) for name in one.measured]
    for name, a, b in pairs:
        if isinstance(a, Contributions):
            assert torch.equal(a.values, b.values)
            assert torch.equal(a.labels, b.labels)
            assert (a.groups, a.metric) == (b.groups, b.metric)
        elif isinstance(a, torch.Tensor):
            assert torch.equal(a, b), name
        else:
            assert a == b, name


def test_every_field_is_selected_alike() -> None:
    whole = evidence(30)
    order = [7, 3, 28]
    part = whole.select(order)
    assert len(part) == 3
    for row, at in enumerate(order):
        for field in fields(Evidence):
            a, b = getattr(part, field.name), getattr(whole, field.name)
            if isinstance(a, Contributions):
                assert torch.equal(a.values[row], b.values[at])
            elif isinstance(a, torch.Tensor):
                assert torch.equal(a[row], b[at])
            elif not isinstance(a, Mapping):
                assert a[row] == b[at]
        other = part.measured["otherwise"].values[row]
        assert torch.equal(other, whole.measured["otherwise"].values[at])
    mask = torch.zeros(30, dtype=torch.bool)
    mask[[3, 7]] = True
    assert_equal(whole.select(mask), whole.select([3, 7]))


def test_rows_of_another_number_are_refused() -> None:
    with pytest.raises(HlensError, match="answers of 29"):
        replace(evidence(30), answers=("x",) * 29)
    with pytest.raises(HlensError, match="otherwise of 29"):
        replace(evidence(30), measured={"otherwise": evidence(30).contributions.select(range(29))})


def test_a_blind_copy_has_no_labels_anywhere() -> None:
    hidden = evidence(30).blind()
    assert not hidden.labels.any()
    assert hidden.activations is not None
    assert not hidden.activations.labels.any()


@pytest.mark.parametrize("absent", [(), ("lookback", "p_true", "activations", "samples")])
def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path, absent: tuple[str, ...]) -> None:
    whole = replace(evidence(20), **dict.fromkeys(absent), why_not=dict.fromkeys(absent, "no"))
    save_evidence(whole, tmp_path / "evidence")
    assert_equal(load_evidence(tmp_path / "evidence", whole.contributions), whole)


def test_evidence_of_an_earlier_version_says_what_it_lacks(tmp_path: Path) -> None:
    """It was gathered before layers were read through the unembedding, and says nothing of it."""
    whole = evidence(80)
    earlier = replace(whole, lens=None, sae_features=None, lookback=None, why_not={"lookback": "x"})
    save_evidence(earlier, tmp_path)
    found = load_evidence(tmp_path, whole.contributions)
    assert found.why_not["lookback"] == "x"
    for name in ("logit_lens", "sae"):
        with pytest.raises(NotAvailableError, match="by a version of hlens that did not read"):
            named(name).check(found)
    table = score_all(
        found,
        np.arange(80) >= 40,
        probe=SparseProbe(C=1.0),
        detector=Detector(torch.zeros(3, 6), 0.0, "cett", "answer"),
        rivals=[named(name) for name in ("logit_lens", "sae", "drift")],
    )
    notes = table.drop_duplicates("detector").set_index("detector")["note"]
    assert "did not read it" in notes["logit_lens"]
    assert "did not read it" in notes["sae"]
    assert notes["drift"] == ""


def test_what_is_not_whole_or_not_of_these_examples_is_refused(tmp_path: Path) -> None:
    one, other = evidence(20), evidence(20, seed=1)
    with pytest.raises(HlensError, match="no file"):
        load_evidence(tmp_path, one.contributions)
    save_evidence(one, tmp_path)
    with pytest.raises(HlensError, match="not on these 5"):
        load_evidence(tmp_path, one.contributions.select(range(5)))
    tensors = (tmp_path / "evidence.safetensors").read_bytes()
    save_evidence(other, tmp_path)
    (tmp_path / "evidence.safetensors").write_bytes(tensors)  # as after a kill between the files
    with pytest.raises(HlensError, match="of another run"):
        load_evidence(tmp_path, other.contributions)
