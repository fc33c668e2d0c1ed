"""What a study asks of its finding: two domains compared, an edit beside random neurons."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hlens
from hlens import effects
from hlens.claims import collect_findings, decide
from hlens.cli import app
from hlens.cli.editing import AskedEdits, choose_intervention
from hlens.errors import HlensError
from hlens.report.sections import dose_response
from hlens.report.tables import Tables
from hlens.steps.audit import slopes_of_finding
from hlens.steps.chosen import choose_neurons
from hlens.steps.detection import split
from hlens.steps.domains import alone_in_domains
from hlens.steps.effects import outcomes
from hlens.steps.neuron_pages import pages_by_domain
from hlens.store import export_neurons, save_neurons
from hlens.study import Study
from hlens.types import NeuronSet
from report_pages import unpacked
from tiny_study import question_file, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    home = tmp_path_factory.mktemp("deeper")
    first, second = question_file(home / "a.jsonl"), question_file(home / "b.jsonl")
    recipe = tiny_recipe(
        first,
        domains=[f"jsonl:{first}", f"jsonl:{second}"],
        intervene={"behaviours": ["plain_qa", "plain_choice"], "items": 2, "alphas": [0, 1]},
    )
    return hlens.Study(home / "study", recipe, tiny_model())


def test_domains_are_compared(study: Study) -> None:
    names = study.domains()
    assert len(names) == 2
    transfer = study.transfer()
    assert set(names) <= set(transfer["train"])
    overlap = study.overlap()
    assert list(overlap[["a", "b"]].iloc[0]) == names
    assert [one.name for one in study.neuron_sets()] == names


def test_an_edit_is_run_beside_its_controls_and_drawn(study: Study) -> None:
    outcomes = study.outcomes()
    assert outcomes.loc[outcomes["kind"] == "random", "set"].nunique() == 8
    assert {"perplexity", "kl", "multiple_choice"} <= set(outcomes["behaviour"])
    patched = study.patching()
    assert set(patched["kind"]) == {"neuron", "layer", "members", "random", "everything"}
    assert set(study.patching_map()["layer"]) == {layer for layer, _ in study.detector().neurons}
    page = study.report().read_text()
    for heading in ("How many neurons are needed?", "Is the selection stable?", "carry over?",
                    "share neurons?", "Does editing them change behaviour?", "Which replies turn?",
                    "What does it cost?", "Do they carry the difference?"):  # fmt: skip
        assert heading in page


def test_the_report_explores_what_domains_share(study: Study) -> None:
    study.make_report_data()
    names, sets = study.domains(), study.neuron_sets()
    pages = study[pages_by_domain]
    assert list(pages) == names
    members = set().union(*(one.members for one in sets))
    neurons = set(pages[names[0]])
    assert neurons == set(pages[names[1]])
    assert neurons <= members
    assert len(neurons) == min(24, len(members))
    for name, own in pages.items():
        for page in own.values():
            assert page.promotes
            assert [name in strip.caption for strip in page.strongest] == [True, True]
    again = study.runner.value_without_model(pages_by_domain)
    assert again == pages
    data = json.loads(unpacked(study.report().read_text(), "overlap-json"))
    assert data["names"] == names
    assert set(data["pages"][next(iter(data["pages"]))]["answers"]) == {"0", "1"}
    alone = study[alone_in_domains]
    assert len(alone) == 2 * len(members)
    assert alone["domain"].unique().tolist() == names


def test_the_report_says_whether_choice_and_open_generation_part(study: Study) -> None:
    study.outcomes()
    shown = dose_response.section(Tables(study.runner, dose_response.NEEDS))
    assert shown is not None
    assert str(shown.content[-1]).startswith("Choice among answers and open generation")


def test_no_edit_is_tried_on_what_its_neurons_were_chosen_on(study: Study, tmp_path: Path) -> None:
    before, file = study.recipe, question_file(tmp_path / "again.jsonl")
    asked = {"behaviours": (f"plain_qa:{file}",), "items": 0, "alphas": (0.0,), "capability": False}
    study.revise(replace(before, intervene=replace(before.intervene, **asked)))
    groups, trained = {*study.outcomes()["group"]}, {*study[split].train.groups}
    study.revise(before)
    assert len(groups) >= 5
    assert trained
    assert not groups & trained


def test_the_command_line_tells_what_edits_and_patches_did(study: Study) -> None:
    study.outcomes()
    study.patching_map()

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, str(study.folder)], env={"COLUMNS": "100"})
        assert done.exit_code == 0, done.output
        return done.stdout

    told = said("intervene")
    for line in ("Right answers to plain questions (points)", "8 random sets", "• Perplexity on"):
        assert line in told
    assert len(json.loads(said("intervene", "--json"))["slopes"]) > 8
    assert "• Choice among answers and open generation" in told
    assert (
        "over 2 questions put both ways" in json.loads(said("intervene", "--json"))["in_words"][-1]
    )
    told = said("patch")
    assert "every neuron" in told
    assert "of the difference, over" in told
    assert json.loads(said("patch", "--json"))["patching"]


@pytest.fixture
def own(study: Study, tmp_path: Path) -> Study:
    """A copy of the study, which edits on one question and one dose, without capability."""
    study.scores()
    shutil.copytree(study.folder, tmp_path / "own")
    copy = Study(tmp_path / "own", model=study.model)
    few = replace(copy.recipe.intervene, capability=False, alphas=(0.0,), perturbations=0, items=1)
    copy.revise(replace(copy.recipe, intervene=few))
    return copy


def _target(study: Study) -> tuple[set[str], int]:
    """Names of the edited sets, and how many of their neurons were edited, over all tokens."""
    rows = study.outcomes()
    target = rows.loc[(rows["kind"] == "target") & (rows["alpha"] == 0.0)]
    random = rows.loc[(rows["set"] == "random 0") & (rows["alpha"] == 0.0)]
    assert len(random) == len(target)
    return set(target["set"]), int(target["touched"].iloc[0])


def _intervene(study: Study, *words: str) -> tuple[int, str]:
    """Exit code and what is said by the verb, on a study whose model cannot be loaded by name."""
    asked = {"--neurons": None} | dict(zip(words[::2], words[1::2], strict=True))
    try:
        choose_intervention(study, AskedEdits(neurons=asked["--neurons"]))
    except HlensError as error:
        return 2, str(error)
    return 0, ""


def test_other_neurons_are_edited_where_they_are_asked_for(own: Study, tmp_path: Path) -> None:
    detector = own.detector()
    assert len(detector.truth_neurons) != len(detector.neurons) > 0
    file = export_neurons(detector.neurons, tmp_path / "some.csv")
    for which, name, n in (
        ("truth", "truth neurons", len(detector.truth_neurons)),
        (str(file), "neurons of some.csv", len(detector.neurons)),
    ):
        assert _intervene(own, "--neurons", which) == (0, "")
        assert Study(own.folder, model=own.model).recipe.intervene.neurons == which
        names, touched = _target(own)
        assert names == {name}
        assert touched % n == 0 < touched
    assert _intervene(own, "--neurons", "h") == (0, "")
    assert _target(own) == ({"H-neurons"}, touched)  # the file held the same


def test_neurons_of_other_selectors_are_edited_beside_them(own: Study) -> None:
    asked = ("best_alone", "cna")
    choose_intervention(own, AskedEdits(), selector=asked)
    rows = own.outcomes()
    selected = rows.loc[(rows["kind"] == "selected") & (rows["alpha"] == 0.0)]
    assert set(selected["set"]) == {"best alone", "CNA"}
    assert (selected["touched"] > 0).all()
    assert set(rows.loc[rows["kind"] == "target", "set"]) == {"H-neurons"}
    lines = effects.slope_table(effects.slopes(rows, n_boot=50))["neurons"]
    assert {"H-neurons", "best alone", "CNA", "8 random sets"} <= set(lines)
    drawn = effects.dose_table(effects.rates(rows, n_boot=50))
    assert {"best alone", "CNA"} <= set(drawn["neurons"])
    kept = own.seconds()
    choose_intervention(own, AskedEdits(), selector=asked)
    assert own.seconds() == kept
    with pytest.raises(HlensError, match="did you mean 'cna'"):
        choose_intervention(own, AskedEdits(), selector=("can",))


def test_the_claim_control_is_about_the_h_neurons_alone(study: Study) -> None:
    edited = study.outcomes()
    assert len(slopes_of_finding(edited)) > 0
    assert slopes_of_finding(edited.replace({"set": {"H-neurons": "truth neurons"}})) is None
    claims = decide(collect_findings(scores=study.scores(), n_selected=1, n_neurons=9))
    control = next(claim for claim in claims if claim.name == "Control")
    assert "H-neurons were not edited" in control.checks[0].reads


def test_a_file_of_neurons_that_changed_is_another_edit(own: Study, tmp_path: Path) -> None:
    file = export_neurons(own.detector().neurons, tmp_path / "some.csv")
    assert _intervene(own, "--neurons", str(file)) == (0, "")
    own.outcomes()
    assert own.has(outcomes)
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:2]) + "\n")  # the header and one neuron
    again = Study(own.folder, model=own.model)
    assert not again.has(outcomes)
    file.unlink()
    gone = Study(own.folder, model=own.model)
    assert not gone.has(outcomes)
    with pytest.raises(HlensError, match="unknown set of neurons, or file"):
        gone.outcomes()


def test_neurons_that_are_not_there_are_one_line_and_the_recipe_stays(
    own: Study, tmp_path: Path
) -> None:
    shape = own.model.n_layers, own.model.d_mlp
    other = NeuronSet(frozenset({(0, 1)}), *shape, model="f" * 72, name="theirs")
    wide = NeuronSet(frozenset({(0, 1)}), shape[0], shape[1] + 1)
    none = own.detector().neurons - own.detector().neurons
    (tmp_path / "empty.csv").write_text("layer,neuron\n")
    before = (own.folder / "recipe.toml").read_bytes()
    for which, said in (
        ("H", "unknown set of neurons, or file, 'H'. Known: h, truth"),
        (str(tmp_path / "no.csv"), "unknown set of neurons, or file"),
        (str(tmp_path / "empty.csv"), "there are none to edit"),
        (str(save_neurons(none, tmp_path / "none")), "there are none to edit"),
        (str(save_neurons(wide, tmp_path / "wide")), "of different models"),
        (str(export_neurons(wide, tmp_path / "wide.json")), "was given"),
        (str(save_neurons(other, tmp_path / "other")), "of different models"),
        ("", "give h, truth, both or a file"),
        (str(tmp_path), "no|none"),
    ):
        code, line = _intervene(own, "--neurons", which)
        assert (code, "\n" in line) == (2, False), which
        assert re.search(said, line), (which, line)
        assert (own.folder / "recipe.toml").read_bytes() == before
    done = CliRunner().invoke(app, ["bake", str(own.folder), str(tmp_path / "b"), "--neurons", "H"])
    assert "unknown set of neurons" in str(done.exception)
    assert not (tmp_path / "b").exists()


def test_a_detector_of_truth_neurons_alone_says_which_to_choose(own: Study) -> None:
    found = own.detector()
    truths = replace(found, weights=-found.weights.abs(), means=())
    with pytest.raises(HlensError, match=r"H-neurons: there are none .*--neurons h, truth, both"):
        choose_neurons(truths, "h")
    assert len(choose_neurons(truths, "truth")) == len(found.selected)


def test_an_opened_study_speaks_of_what_it_asked(study: Study, tmp_path: Path) -> None:
    study.questions()
    asked = [q.text for q in Study(study.folder).questions()]
    for path in study.folder.parent.glob("?.jsonl"):
        path.unlink()  # the domain is gone; what was asked is not
    assert [q.text for q in Study(study.folder).questions()] == asked
