"""vLLM itself on the CPU: the same numbers as the local engine's, and what it refuses.

`make test-engines` makes an environment in which it runs; elsewhere it is skipped.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("vllm", reason="vLLM is not installed here: make test-engines")

import hlens
from hlens import interventions as iv
from hlens import metrics, monitor
from hlens.errors import HlensError
from hlens.interventions.scopes import GENERATED, PROMPT, first_generated
from hlens.model import Model
from hlens.monitor import at_probability
from hlens.monitor.reading import read_neurons
from hlens.types import Detector, NeuronSet, Question
from tiny_vllm import GREEDY, SMALL, apart, examples, folder_of, neurons_of, prompts

pytestmark = pytest.mark.filterwarnings("default")

DRAWN = hlens.Settings(12)
FACTORED = [
    metrics.cett,
    metrics.signed_cett,
    metrics.activation,
    metrics.activation_norm,
    metrics.post_norm,
]


@pytest.fixture(scope="module")
def vllm(folder: Path) -> Iterator[Model]:
    model = hlens.load(str(folder), engine="vllm", engine_options=SMALL)
    yield model
    model.close()  # type: ignore[attr-defined]


def detector_of(model: Model) -> Detector:
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(model.n_layers, model.d_mlp, generator=draw)
    weights[torch.rand(weights.shape, generator=draw) < 0.9] = 0.0
    return Detector(
        weights=weights,
        bias=0.3,
        metric="signed_cett",
        region="response",
        provenance=model.provenance,
    )


def test_its_geometry_norms_and_identity_are_those_of_the_weights(
    local: Model, vllm: Model
) -> None:
    assert vllm.fingerprint == local.fingerprint
    assert torch.equal(vllm.w_norms, local.w_norms)
    assert (vllm.n_layers, vllm.d_mlp, vllm.d_model) == (3, 56, 64)
    assert vllm.provenance.check_same_model(local.provenance, "vllm") is None
    assert ("vllm", "0.32.0") in vllm.provenance.versions or dict(vllm.provenance.versions)["vllm"]


@pytest.mark.parametrize("position", ["read", "predicted"])
@pytest.mark.parametrize("reduce", ["mean", "max", "last", "first", "routed"])
def test_measured_in_chunks_and_batches_is_measured(
    local: Model, vllm: Model, reduce: str, position: str
) -> None:
    asked = {
        "metrics": FACTORED,
        "regions": ["answer", "other", "last_prompt"],
        "reduce": reduce,
        "position": position,
    }
    ours = hlens.measure_many(local, examples(), **asked)
    theirs = hlens.measure_many(vllm, examples(), **asked)
    for key, one in ours.items():
        assert apart(one, theirs[key]) < 1e-5, key
        assert one.question_ids == theirs[key].question_ids


def test_one_at_a_time_is_all_together(vllm: Model) -> None:
    together = hlens.measure(vllm, examples())
    assert apart(together, hlens.measure(vllm, examples(), batch_size=1)) < 1e-5
    again = hlens.measure(vllm, examples())  # the beginnings are in the cache now, and read anew
    assert apart(together, again) < 1e-6


def test_it_measures_into_a_folder_that_the_local_engine_does_not_take_for_its_own(
    local: Model, vllm: Model, tmp_path: Path
) -> None:
    stored = hlens.measure(vllm, examples(6), store=tmp_path)
    assert apart(stored, hlens.measure(local, examples(6))) < 1e-5
    with pytest.raises(HlensError, match="holds another run"):
        hlens.measure(local, examples(6), store=tmp_path)


@pytest.mark.parametrize("settings", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("style", ["chat", "completion"])
def test_it_samples_what_the_local_engine_samples(
    local: Model, vllm: Model, settings: hlens.Settings, style: Any
) -> None:
    asked = [Question(f"q{i}", "general", f"Number {i}?", ("a",)) for i in range(12)]
    how = {"n": 1 if settings is GREEDY else 3, "settings": settings, "style": style}
    ours, theirs = hlens.sample(local, asked, **how), hlens.sample(vllm, asked, **how)
    assert [r.seed for r in ours] == [r.seed for r in theirs]
    same = [one.token_ids == two.token_ids for one, two in zip(ours, theirs, strict=True)]
    # A draw within rounding of a boundary may fall to the neighbouring token.
    assert np.mean(same) == 1 if settings is GREEDY else np.mean(same) > 0.9
    for one, two, equal in zip(ours, theirs, same, strict=True):
        if equal:
            assert (one.text, one.finish_reason) == (two.text, two.finish_reason)
            assert np.allclose(one.logprobs, two.logprobs, atol=1e-4)


def test_finished_batches_are_kept_apart_from_the_local_engines(
    local: Model, vllm: Model, tmp_path: Path
) -> None:
    asked = [Question("q", "general", "Number 1?", ("a",))]
    for model in (local, vllm):
        hlens.sample(model, asked, n=2, settings=DRAWN, folder=tmp_path)
    again = hlens.sample(vllm, asked, n=2, settings=DRAWN, folder=tmp_path)
    assert again == hlens.sample(vllm, asked, n=2, settings=DRAWN)


def test_watched_is_measured(local: Model, vllm: Model) -> None:
    detector = detector_of(local)
    ours = monitor.monitor(local, detector, prompts(), settings=GREEDY)
    theirs = monitor.monitor(vllm, detector, prompts(), settings=GREEDY)
    for prompt, one, two in zip(prompts(), ours, theirs, strict=True):
        assert one.generation.token_ids == two.generation.token_ids
        assert one.generation.finish_reason == two.generation.finish_reason
        assert len(two.risks) == len(two.generation.token_ids)  # the last one is read, too
        scores = [[risk.token_score for risk in of.risks] for of in (one, two)]
        assert np.allclose(*scores, atol=1e-5)
        ids = torch.tensor([*prompt, *two.generation.token_ids])
        whole = replace(
            examples(1)[0], token_ids=ids, n_prompt=len(prompt), start=len(prompt), stop=len(ids)
        )
        measured = hlens.measure(vllm, [whole], region="response")
        assert float(detector(measured)[0]) == pytest.approx(two.score, abs=1e-4)


def test_a_policy_cuts_an_answer_where_it_would_have_stopped(local: Model, vllm: Model) -> None:
    detector = detector_of(local)
    risks = [m.probability for m in monitor.monitor(local, detector, prompts(), settings=GREEDY)]
    # Between two answers: at the risk of one of them rounding would decide.
    threshold = float(np.mean(sorted(risks)[len(risks) // 2 - 1 :][:2]))
    how = {"settings": GREEDY, "policy": at_probability(threshold, "stop", after=2)}
    ours = monitor.monitor(local, detector, prompts(), **how)
    theirs = monitor.monitor(vllm, detector, prompts(), **how)
    stopped = [one.generation.finish_reason for one in ours]
    assert "risk" in stopped
    assert stopped == [two.generation.finish_reason for two in theirs]
    for one, two in zip(ours, theirs, strict=True):
        assert one.generation.token_ids == two.generation.token_ids
        assert one.flagged_at == two.flagged_at


def test_written_answers_are_scored_token_by_token(local: Model, vllm: Model) -> None:
    detector = detector_of(local)
    asked = [Question(f"q{i}", "general", f"Number {i}?", ("a",)) for i in range(6)]
    answers = hlens.sample(local, asked, n=2, settings=DRAWN)
    pairs = zip(
        monitor.score(local, detector, answers), monitor.score(vllm, detector, answers), strict=True
    )
    assert all(np.allclose(one.scores, two.scores, atol=1e-5) for one, two in pairs)
    ids, n_prompt = answers[0].token_ids, answers[0].n_prompt
    risks = [monitor.risks(model, detector, ids, n_prompt) for model in (local, vllm)]
    assert np.allclose(*[[r.score for r in own] for own in risks], atol=1e-5)
    wanted = [(0, 1), (2, 40)]
    ours, theirs = (read_neurons(model, list(ids), wanted) for model in (local, vllm))
    assert all(np.allclose(ours[one], theirs[one], rtol=1e-4, atol=1e-6) for one in wanted)


def reference_of(model: Model) -> Any:
    return iv.capture_reference(model, prompts()[:2], neurons_of(model))


EDITS: dict[str, Any] = {
    "scale(0)": lambda model: iv.scale(0.0),
    "scale(3)": lambda model: iv.scale(3.0),
    "ablate": lambda model: iv.ablate(),
    "mean": lambda model: iv.ablate("mean", reference_of(model)),
    "clamp": lambda model: iv.clamp(-0.05, 0.05),
    "steer": lambda model: iv.steer(torch.linspace(-1, 1, 168).reshape(3, 56), 0.5),
    "generated": lambda model: iv.scale(-2.0, GENERATED),
    "prompt": lambda model: iv.scale(-2.0, PROMPT),
    "first_2": lambda model: iv.scale(-2.0, first_generated(2)),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_the_local_one_and_leaves_no_trace(local: Model, vllm: Model, name: str) -> None:
    neurons, edit = neurons_of(local), EDITS[name](local)
    before = vllm.generate_many(prompts(), GREEDY)
    with local.editing(neurons, edit) as ours:
        here = local.generate_many(prompts(), GREEDY)
    with vllm.editing(neurons, edit) as theirs:
        there = vllm.generate_many(prompts(), GREEDY)
    assert [g.token_ids for g in there] == [g.token_ids for g in here]
    assert all(
        np.allclose(a.logprobs, b.logprobs, atol=1e-4) for a, b in zip(here, there, strict=True)
    )
    assert [g.logprobs for g in there] != [g.logprobs for g in before]
    after = vllm.generate_many(prompts(), GREEDY)
    assert [g.token_ids for g in after] == [g.token_ids for g in before]
    assert all(
        np.allclose(a.logprobs, b.logprobs, atol=1e-5) for a, b in zip(before, after, strict=True)
    )
    assert theirs.touched > 0
    if edit.scope.name == "prompt":
        assert theirs.touched == ours.touched


def test_edits_nest_and_are_undone_after_an_error(local: Model, vllm: Model) -> None:
    neurons = neurons_of(local)
    here, there = [], []
    for model, kept in ((local, here), (vllm, there)):
        with model.editing(neurons, iv.scale(2.0)):
            with model.editing(neurons, iv.clamp(-0.1, 0.1)):
                kept.append(hlens.measure(model, examples(6)))
            kept.append(hlens.measure(model, examples(6)))
        with pytest.raises(KeyError), model.editing(neurons, iv.scale(2.0)):
            raise KeyError
        kept.append(hlens.measure(model, examples(6)))
    assert all(apart(one, two) < 1e-5 for one, two in zip(here, there, strict=True))
    assert apart(here[0], here[1]) > 0.1
    with (
        pytest.raises(HlensError, match="not one token touched"),
        vllm.editing(neurons, iv.ablate()),
    ):
        pass


REFUSED: dict[str, tuple[Any, str]] = {
    "a gradient": (
        lambda m: hlens.measure(m, examples(2), metric=metrics.gradient_x_activation),
        "gradient_x_activation needs the gradient",
    ),
    "a formula without factors": (
        lambda m: hlens.measure(m, examples(2), metric=metrics.projection),
        "projection is no number of a token times one of a neuron",
    ),
    "a formula of one's own": (
        lambda m: hlens.measure(m, examples(2), metric=lambda trace: trace.act),
        "is no number of a token",
    ),
    "patching": (
        lambda m: hlens.effects.distinguished_pairs(m, []),
        "patching cannot be read from vLLM",
    ),
    "capability": (hlens.effects.CapabilityTest, "capability .* cannot be read from vLLM"),
    "its own modules": (
        lambda m: m.hf(input_ids=torch.tensor([[1, 2]])),
        "this cannot be read from vLLM, which runs",
    ),
    "a cache of the bridge": (
        lambda m: m.run_with_cache(torch.tensor([[1, 2]])),
        "this cannot be read from vLLM, which runs",
    ),
    "an edit by hash": (
        lambda m: m.editing(neurons_of(m), replace(iv.ablate(), elementwise=None)).__enter__(),
        "cannot be sent to vLLM's workers",
    ),
    "a scope that only the caller knows": (
        lambda m: m.editing(
            neurons_of(m), iv.scale(0.0, iv.scopes.ANSWER), answer=(1, 2)
        ).__enter__(),
        "acts on answer tokens as the caller places them",
    ),
    "too long a prompt": (
        lambda m: m.generate_many([[5] * 250], GREEDY),
        "a prompt of 250 tokens and 12 new ones do not fit the 256",
    ),
    "compiled, measuring": (
        lambda m: hlens.measure(replace(m, options={"enforce_eager": False}), examples(2)),
        "measuring needs hooks, which a compiled vLLM does not run",
    ),
    "another model's neurons": (
        lambda m: m.editing(NeuronSet(frozenset({(0, 1)}), 2, 56), iv.ablate()).__enter__(),
        "the neurons are of a model with 2 layers",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_it_cannot_do_is_one_line(vllm: Model, what: str) -> None:
    ask, said = REFUSED[what]
    with pytest.raises(HlensError, match=said) as refused:
        ask(vllm)
    assert "\n" not in str(refused.value)


def test_an_engine_that_does_not_boot_says_so_in_one_line(folder: Path) -> None:
    with pytest.raises(HlensError, match="vLLM cannot boot") as refused:
        hlens.load(str(folder), engine="vllm", engine_options={**SMALL, "max_model_len": 10**6})
    assert "\n" not in str(refused.value)


def test_a_second_architecture_with_norms_behind_its_mlps(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "gemma3")
    local = hlens.load(str(folder), device="cpu")
    vllm = hlens.load(str(folder), engine="vllm", engine_options=SMALL)
    try:
        asked = {"metrics": FACTORED, "regions": ["answer"]}
        ours = hlens.measure_many(local, examples(), **asked)
        theirs = hlens.measure_many(vllm, examples(), **asked)
        assert all(apart(ours[key], theirs[key]) < 1e-5 for key in ours)
        assert apart(ours["post_norm", "answer"], ours["cett", "answer"]) > 0.01
    finally:
        vllm.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("over", "layers", "widths"),
    [("tensor", [3, 3], [28, 28]), ("pipeline", [2, 1], [56, 56])],
)
def test_spread_over_two_workers_it_is_the_same(
    over: str, layers: list[int], widths: list[int], folder: Path, local: Model
) -> None:
    """Neurons split over workers, or layers: contributions, scores, samples and edits."""
    options = {**SMALL, f"{over}_parallel_size": 2}
    vllm = hlens.load(str(folder), engine="vllm", engine_options=options)
    try:
        shares = vllm.shares  # type: ignore[attr-defined]
        assert [len(share.layers) for share in shares] == layers
        assert [share.width for share in shares] == widths
        asked = {"metrics": FACTORED, "regions": ["answer"]}
        ours = hlens.measure_many(local, examples(), **asked)
        theirs = hlens.measure_many(vllm, examples(), **asked)
        assert all(apart(ours[key], theirs[key]) < 1e-5 for key in ours)
        detector, neurons = detector_of(local), neurons_of(local)
        read = [monitor.monitor(m, detector, prompts(), settings=GREEDY) for m in (local, vllm)]
        for one, two in zip(*read, strict=True):
            assert one.generation.token_ids == two.generation.token_ids
            assert one.score == pytest.approx(two.score, abs=1e-5)
        told = []
        for model in (local, vllm):
            with model.editing(neurons, iv.scale(3.0)):
                told.append([g.token_ids for g in model.generate_many(prompts(), GREEDY)])
        assert told[0] == told[1]
    finally:
        vllm.close()  # type: ignore[attr-defined]


@pytest.mark.model
def test_a_real_model_is_measured_alike_and_says_the_same() -> None:
    local = hlens.load("smollm2-135m", device="cpu", dtype="float32")
    options = {"max_model_len": 512, "max_num_batched_tokens": 512}
    vllm = hlens.load("smollm2-135m", dtype="float32", engine="vllm", engine_options=options)
    try:
        asked = hlens.domains.load("general", 16)
        settings = hlens.Settings(16, temperature=0.0)
        ours = hlens.sample(local, asked, n=1, settings=settings)
        theirs = hlens.sample(vllm, asked, n=1, settings=settings)
        assert [r.token_ids for r in ours] == [r.token_ids for r in theirs]
        some = [
            replace(
                examples(1)[0],
                token_ids=torch.tensor(r.token_ids),
                n_prompt=r.n_prompt,
                start=r.n_prompt,
                stop=len(r.token_ids),
                question_id=r.question.id,
            )
            for r in ours
            if len(r.token_ids) > r.n_prompt
        ]
        assert apart(hlens.measure(local, some), hlens.measure(vllm, some)) < 1e-5
    finally:
        vllm.close()  # type: ignore[attr-defined]


@pytest.mark.model
def test_the_demo_runs_on_it_to_a_report(tmp_path: Path) -> None:
    """From the command line, small; nothing is read of the local engine."""
    demo = hlens.Recipe.read(Path(hlens.__file__).parent / "recipes" / "demo.toml").to_dict()
    engine = {"name": "vllm", "options": {"max_model_len": 1024}}
    asked = {"domains": ["general"], "questions": 40, "engine": engine}
    recipe = hlens.Recipe.from_dict(demo | asked)
    small = replace(
        recipe,
        sampling=replace(recipe.sampling, n=3),
        evaluation=replace(recipe.evaluation, shuffles=3, n_boot=100, random_sets=20),
    )
    (tmp_path / "small.toml").write_text(small.to_toml())
    done = subprocess.run(
        [sys.executable, "-m", "hlens", "run", "small.toml", "--engine", "vllm", "--out", "study"],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "study" / "report.html").exists()
    stamps = (tmp_path / "study" / "stamps.json").read_text()
    assert '"engine.rounding": "vllm"' in stamps


def test_a_row_that_overflows_is_left_to_whoever_reads_its_probability() -> None:
    """An index out of range there would end every other request."""
    from hlens.engines.vllm.draws import SeededDraws

    draws = SeededDraws(None, torch.device("cpu"), False)
    for row in (0, 1):
        draws.rows[row] = hlens.Settings(4, 1.0), torch.full((4,), 0.3), []
    logits = torch.zeros(2, 5)
    logits[1, 2] = torch.nan
    left = draws.apply(logits)
    assert torch.isfinite(left[0]).sum() == 1
    assert left[1].isnan().all()
