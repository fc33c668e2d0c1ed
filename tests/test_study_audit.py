"""The audit of a whole study: made once, kept, shown on the command line and in the report."""

import html
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor
from typer.testing import CliRunner

import hlens
from hlens import baselines
from hlens.baselines import p_true
from hlens.claims import describe_claim
from hlens.cli.app import app
from hlens.errors import HlensError
from hlens.model import Model, next_token_logprobs
from hlens.steps import audit as audit_steps
from hlens.steps.audit import Audit
from hlens.types import AuditCard
from tiny_study import question_file, tiny_model, tiny_recipe

FEW = ("length", "perplexity", "lookback")  # the last needs a context, and is not available


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> hlens.Study:
    folder = tmp_path_factory.mktemp("audit")
    recipe = tiny_recipe(question_file(folder / "questions.jsonl"))
    return hlens.Study(folder / "study", recipe, tiny_model())


@pytest.fixture(scope="module")
def audited(study: hlens.Study) -> Audit:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "rivals", lambda: [baselines.named(name) for name in FEW])
        return hlens.audit(study)


def test_a_completion_study_is_audited_as_it_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    recipe = tiny_recipe(question_file(tmp_path / "questions.jsonl"))
    recipe = replace(recipe, sampling=replace(recipe.sampling, style="completion"))
    study = hlens.Study(tmp_path / "study", recipe, model)
    prompts: list[list[int]] = []

    def spied(model: Model, asked: list[list[int]]) -> Iterator[tuple[list[int], Tensor]]:
        prompts.extend(asked)
        return next_token_logprobs(model, asked)

    monkeypatch.setattr(p_true, "next_token_logprobs", spied)
    evidence = study[audit_steps.evidence]
    texts = [model.tokenizer.decode(prompt) for prompt in prompts]
    assert len(texts) == len(evidence)
    # Neither the turns of a chat nor, in any sample, a second line.
    assert all(text.endswith("\nThe proposed answer is") for text in texts)
    assert not any("\n" in sample for row in evidence.samples or () for sample in row)
    own = study.responses()[0]
    assert model.tokenizer.decode(own.token_ids[: own.n_prompt]).endswith("\nAnswer:")


def test_noise_gets_no_support(audited: Audit) -> None:
    names = [claim.name for claim in audited.card.claims]
    assert names == ["Readout", "Sparsity", "Identity", "Transfer", "Control", "Cost"]
    assert "supported" not in [claim.verdict.value for claim in audited.card.claims]
    board = audited.leaderboard.set_index("detector")
    assert board.loc["lookback", "note"].startswith("not available: ")
    assert (board.loc["H-neurons", "passes"], board.loc["length", "passes"]) == (1, 0)


def test_every_table_keeps_its_rows(study: hlens.Study, audited: Audit) -> None:
    n_test = len(study.split()[1])
    assert set(audited.leaderboard.n) == {n_test, 0}
    strata = audited.confounds[audited.confounds["view"] == "stratum"]
    assert (strata.groupby("covariate").n.sum() == n_test).all()
    assert audited.factorial.n.iloc[:4].sum() == n_test
    assert {
        "as found",
        "second judge",
        "where tokens are predicted",
        "over the whole response",
    } <= {*audited.refits.control}


def test_it_is_made_once(study: hlens.Study, audited: Audit) -> None:
    again = hlens.Study(study.folder)  # whose recipe names a model that nobody can load
    assert again.has_audit()
    assert again.audit().card == audited.card
    for name, table in vars(audited).items():
        if name != "card":
            assert getattr(again.audit(), name).equals(table)


def test_the_card_lies_in_three_forms(study: hlens.Study, audited: Audit) -> None:
    folder = study.folder / "audit"
    kept = AuditCard.from_dict(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    assert kept == audited.card
    assert (folder / "card.md").read_text(encoding="utf-8").startswith("# Audit of tiny\n")
    page = (folder / "card.html").read_text(encoding="utf-8")
    assert page.endswith("</html>")
    assert '<section class="ha-claim">' in page
    # The figure behind a claim is on the same page.
    assert 'href="#s1-who-else-can-tell"' in page
    assert 'id="s1-who-else-can-tell"' in page
    assert audited._repr_html_().count('<section class="ha-claim">') == 6


def test_the_report_shows_an_audit_where_one_stands(study: hlens.Study, audited: Audit) -> None:
    page = study.report().read_text(encoding="utf-8")
    assert page.index('<section class="ha-claim">') < page.index(
        "Does it tell wrong from right?</h2>"
    )
    assert "Is it truth, or what comes with it?</h2>" in page
    assert "No audit was made" not in page


@pytest.mark.parametrize("with_audit", [True, False])
def test_page_terminal_and_words_of_one_study_are_the_same(
    study: hlens.Study, audited: Audit, tmp_path: Path, with_audit: bool
) -> None:
    folder = Path(shutil.copytree(study.folder, tmp_path / "study"))
    if not with_audit:
        shutil.rmtree(folder / "audit")
    own = hlens.Study(folder)
    words = own.in_words()
    page = html.unescape(re.sub(r"<[^>]+>", "", own.report().read_text(encoding="utf-8")))
    assert words[0] in page
    terminal = CliRunner().invoke(app, ["evaluate", str(folder)], env={"COLUMNS": "100000"})
    facts = json.loads(CliRunner().invoke(app, ["evaluate", str(folder), "--json"]).stdout)
    assert facts["in_words"] == words
    assert [line for line in words if line not in terminal.stdout] == []
    if with_audit:
        assert words[0] == describe_claim(audited.card.claims[0])


def test_the_command_line_tells_it(study: hlens.Study, audited: Audit) -> None:
    told = CliRunner().invoke(app, ["audit", str(study.folder), "--json"])
    assert told.exit_code == 0
    facts = json.loads(told.stdout)
    assert [c["verdict"] for c in facts["card"]["claims"]] == [
        claim.verdict.value for claim in audited.card.claims
    ]
    assert len(facts["confounds"]) == len(audited.confounds)
    plain = CliRunner().invoke(app, ["audit", str(study.folder)])
    assert "Readout" in plain.stdout
    assert "not supported" in plain.stdout


def test_a_quick_audit_runs_no_model(tmp_path: Path, study: hlens.Study, audited: Audit) -> None:
    folder = Path(shutil.copytree(study.folder, tmp_path / "study"))
    quick = hlens.Study(folder)  # whose recipe names a model that nobody can load
    assert quick.has_audit()
    assert not quick.has_audit(quick=True)
    board = quick.audit(quick=True).leaderboard.set_index("detector")
    assert quick.has_audit(quick=True)
    assert quick.has_audit()  # the full audit is kept beside the quick one
    assert board.loc["p_true", "note"] == "not available: a quick audit runs the model no further"
    for name in ("perplexity", "self_consistency", "text"):
        assert board.loc[name, "n"] == len(study.split()[1])
    same = audited.leaderboard.set_index("detector").loc["perplexity"]
    assert board.loc["perplexity", "auroc"] == pytest.approx(same.auroc, abs=1e-6)


def test_only_a_study_is_audited(study: hlens.Study) -> None:
    with pytest.raises(HlensError, match="takes a Study, got str"):
        hlens.audit("runs/demo")  # type: ignore[type-var]
