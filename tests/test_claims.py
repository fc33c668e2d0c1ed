"""Report, terminal and audit card of one study never disagree: random studies build all three.

Only numbers vary: random tables of scores, transfer, edits and an audit. A statement of one place
is compared with the verdict of the card, claim by claim.
"""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hlens import claims, figures
from hlens.claims import conventions
from hlens.cli import show
from hlens.cli.forms import Form
from hlens.effects import describe_slopes
from hlens.report.data import ReportData, Section
from hlens.report.page import page
from hlens.report.sections.transfer import describe_transfer
from hlens.report.summary import describe_study
from hlens.types import AuditCard, Claim, Support
from hlens.types.labels import H_NEURONS, SetKind, View

SEEDS = range(40)


class Tables:
    """The tables of one study that was audited, at random near every threshold."""

    def __init__(self, seed: int) -> None:
        self.draw = draw = np.random.default_rng(seed)
        names = ["probe", "selected neurons, refit", "random neurons", "shuffled labels",
                 "answer length"]  # fmt: skip
        repeats = int(draw.choice([5, 20, 200]))
        self.scores = pd.DataFrame(
            [
                {"control": name, **self.auroc(0.45, 0.85), "neurons": 9.0, "note": "",
                 "repeats": repeats if name in names[2:4] else 1,
                 "p": self.p() if name in names[:2] else None}
                for name in names
            ]
        )  # fmt: skip
        rivals = ["perplexity", "text", "dense_probe"]
        self.board = pd.DataFrame(
            [{"detector": H_NEURONS, **self.auroc(0.6, 0.9), "passes": 1, "samples": 0}]
            + [
                {"detector": name, **self.auroc(0.4, 0.7), **self.difference(), "passes": 1,
                 "samples": 0, "p_corrected": self.p()}
                for name in rivals
            ]
        )  # fmt: skip
        # What the rules take for beaten must lie below, as in a table of paired differences.
        self.board.loc[1:, "auroc"] = self.board.auroc[0] - self.board.difference[1:]
        self.board["note"] = ""
        self.added = pd.DataFrame(
            [{"detector": name, **self.auroc(5, 40, "gain", 20), "p": self.p()} for name in rivals]
        )
        self.confounds = pd.DataFrame(
            [
                {"covariate": name, "view": view, "stratum": "", "note": "",
                 **self.auroc(0.5, 0.8), "hallucinated": int(draw.integers(5, 60))}
                for name in ("length", "log-probability")
                for view in (View.ALONE, View.ALIKE_PAIRS, View.ADJUSTED)
            ]
        )  # fmt: skip
        self.refits = pd.DataFrame(
            [
                {"control": "another split", "shared": draw.uniform(0.3, 0.9), "n": 100},
                {"control": "without its neurons", **self.difference(), "n": 100},
            ]
        )
        self.halves = pd.DataFrame(
            [
                {"what": "halves", **self.auroc(0.3, 0.9, "shared", 0.2)},
                {"what": "chance, same layers", **self.auroc(0.0, 0.4, "shared", 0.1)},
            ]
        )
        pairs = [(a, b) for a in ("general", "legal") for b in ("general", "legal")]
        self.transfer = pd.DataFrame(
            [
                {"train": a, "test": b, **self.auroc(0.5, 0.75), "p_chance": self.p() / 2,
                 "p_corrected": self.p(), "auroc_drop": draw.uniform(-0.1, 0.3)}
                for a, b in pairs
            ]
        )  # fmt: skip
        self.slopes = pd.DataFrame(
            [self.slope(name) for name in ("false_premises", "misleading_context", "perplexity")]
        )

    def auroc(self, low: float, high: float, name: str = "auroc", wide: float = 0.15) -> dict:
        value = self.draw.uniform(low, high)
        below, above = self.draw.uniform(0, wide, size=2)
        return {name: value, "low": value - below, "high": value + above, "n": 100}

    def difference(self) -> dict:
        value = self.draw.uniform(-0.1, 0.2)
        half = self.draw.uniform(0, 0.2)
        ends = {"difference_low": value - half, "difference_high": value + half}
        return {"difference": value, **ends}

    def p(self) -> float:
        return float(self.draw.choice([0.001, 0.05, 0.06, 0.5]))

    def slope(self, name: str) -> dict:
        value, over = self.draw.uniform(-0.1, 0.2, size=2)
        own, half = self.draw.uniform(0, 0.15, size=2)
        rank = int(self.draw.choice([0, 0, 3]))
        return {"behaviour": name, "unit": "share", "set": "H-neurons", "kind": SetKind.TARGET,
                "slope": value, "low": value - own, "high": value + own, "n": 40,
                "over_random": over, "over_low": over - half, "over_high": over + half,
                "rank": rank, "n_random": 8, "beyond_random": rank == 0}  # fmt: skip

    def claims(self, audited: bool = True) -> tuple[Claim, ...]:
        numbers = claims.collect_findings(
            scores=self.scores, n_selected=9, n_neurons=10_000, transfer=self.transfer,
            slopes=self.slopes, **(self.audit() if audited else {}),
        )  # fmt: skip
        return claims.decide(numbers)

    def audit(self) -> dict[str, pd.DataFrame]:
        return {"leaderboard": self.board, "added": self.added, "confounds": self.confounds,
                "refits": self.refits, "halves": self.halves}  # fmt: skip


def contradictions(text: str, card: AuditCard) -> list[str]:
    """Claims of which the text says anything but the card's verdict, or says nothing at all."""
    wrong = []
    for claim in card.claims:
        said = set(re.findall(rf"{claim.name}: (supported|not supported|not tested)\.", text))
        # A claim whose words are stated must be supported.
        boast = claim.says in text and claim.verdict is not Support.SUPPORTED
        if said != {claim.verdict.value} or boast:
            wrong.append(claim.name)
    return wrong


def report_text(told: list[str]) -> str:
    """Text of the report without its card, whose own words would be found anywhere."""
    made = page(ReportData("t", finding=told[0], sections=[Section("Says", content=told[1:])]))
    return re.sub(r"<[^>]+>", "\n", made.split("<body>")[1].split("<script")[0])


def terminal_text(told: list[str], scores: pd.DataFrame, capsys: pytest.CaptureFixture) -> str:
    recipe = SimpleNamespace(model="m")
    study = SimpleNamespace(recipe=recipe, in_words=lambda: told, seconds=dict)
    capsys.readouterr()
    show.scores(study, scores, None, Form.PLAIN)  # type: ignore[arg-type]
    return capsys.readouterr().out


@pytest.mark.parametrize("audited", [True, False])
def test_report_terminal_and_card_agree(audited: bool, capsys: pytest.CaptureFixture) -> None:
    seen = set()
    for seed in SEEDS:
        tables = Tables(seed)
        card = AuditCard("m", "", tables.claims(audited))
        told = describe_study(tables.scores, card.claims, audited=audited)
        assert contradictions(report_text(told), card) == [], seed
        assert contradictions(terminal_text(told, tables.scores, capsys), card) == [], seed
        seen |= {(claim.name, claim.verdict) for claim in card.claims}
    # The studies are random enough that most claims come out more than one way.
    assert len(seen) >= (10 if audited else 8)


def test_a_sentence_that_parts_from_the_card_is_found() -> None:
    """The twin: sentences made of other verdicts than the card's, as before, are caught."""
    for seed in SEEDS:
        card = AuditCard("m", "", Tables(seed).claims())
        told = describe_study(Tables(seed).scores, card.claims, audited=True)
        index, claim = next(
            (i, one) for i, one in enumerate(card.claims) if one.verdict is Support.NOT_SUPPORTED
        )
        found = next(i for i, line in enumerate(told) if line.startswith(f"{claim.name}: "))
        told[found] = f"{claim.name}: supported. {claim.says}"
        assert contradictions(report_text(told), card) == [card.claims[index].name]


def test_an_audit_never_takes_back_what_failed_before_it() -> None:
    for seed in SEEDS:
        tables = Tables(seed)
        after = {claim.name: claim.verdict for claim in tables.claims()}
        for claim in tables.claims(audited=False):
            if claim.verdict is Support.NOT_SUPPORTED:
                assert after[claim.name] is Support.NOT_SUPPORTED
            if claim.verdict is Support.SUPPORTED:
                assert after[claim.name] is Support.SUPPORTED


def test_titles_and_sentences_of_tables_follow_the_checks() -> None:
    for seed in SEEDS:
        tables = Tables(seed)
        checks = {check.name: check for claim in tables.claims() for check in claim.checks}
        title = figures.scores(tables.scores).layout.meta["title"]
        rows = tables.scores.set_index("control")
        shown = rows.low["probe"] > 0.5
        if rows.repeats["shuffled labels"] >= conventions.FEWEST_DRAWS:
            shown = shown and rows.p["probe"] <= conventions.LEVEL
        assert ("not shown to be above chance" in title) == (not shown)
        title = figures.confounds(tables.confounds).layout.meta["title"]
        for name in ("length", "log-probability"):
            lost = checks[f"at equal {name}"].holds is False
            assert (name in title) == lost, (seed, title)
        title = figures.leaderboard(tables.board, None).layout.meta["title"]
        assert ("beat all" in title) == bool(checks["beats the cheap"].holds)
        moved = [
            line
            for line, row in zip(
                describe_slopes(tables.slopes), tables.slopes.to_dict("records"), strict=True
            )
            if "beyond all" in line and row["over_low"] > 0 and row["behaviour"] != "perplexity"
        ]
        assert bool(moved) == checks["moves behaviour"].holds
        said = " ".join(describe_transfer(tables.transfer))
        transfer = tables.claims()[3]
        above = next(check for check in transfer.checks if check.name == "above chance")
        assert ("2 are above chance" in said) == above.holds


def test_every_tested_condition_names_the_number_of_its_control() -> None:
    for seed in SEEDS:
        for claim in Tables(seed).claims():
            for check in claim.checks:
                if check.holds is None or check.name == "few":
                    continue
                if check.beside is not None and check.beside.known:
                    own = (f"{check.beside.value:.2f}", f"{100 * check.beside.value:.0f} %")
                    assert any(number in check.reads for number in own), check
                elif check.unit == "AUROC":
                    assert "chance 0.5" in check.reads, check


def test_what_decides_is_written_down_once() -> None:
    """No package above the claims has a level of its own."""
    from pathlib import Path

    import hlens

    root = Path(hlens.__file__).parent
    judged = re.compile(r"p(_\w+)?\"?\]?\)? *<=? *0?\.05|low\"?\]? *[<>]=? *0\.5\b(?! <)")
    above = ("figures", "report", "cli", "effects", "origin", "audit", "monitor")
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for package in above
        for path in (root / package).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if judged.search(line)
    ]
    assert found == []
    assert conventions.LEVEL == 0.05
