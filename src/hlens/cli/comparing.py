"""Several models in one comparison: a campaign that is run, or studies that are read."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hlens.cli import show
from hlens.cli.forms import Form
from hlens.comparison import Campaign, Comparison, compare, comparison_page
from hlens.comparison.collecting import usual_name
from hlens.comparison.page import describe_comparison
from hlens.drawing.html import check_page
from hlens.errors import HlensError
from hlens.report.page import report
from hlens.study import Study

CAPTIONS = {
    "models": "H-neurons of each model on its held-out answers, beside as many random neurons and "
    "the numbers of the model's own output; 95 % intervals, of random neurons the central 95 % of "
    "the draws, of halves the least and the greatest share.",
    "published": "Balanced accuracy in per cent of as many random neurons and of the H-neurons.",
    "drops": "AUROC within domains and across, and the drop with its 95 % interval over samples of "
    "questions.",
    "claims": "Verdicts of each model's audit.",
    "slopes": "Slopes per unit of α in each model.",
    "related": "H-neurons that a model shares with its base.",
    "failed": "Models that failed.",
    "not_made": "What was not made.",
}


def compare_models(named: Sequence[str], out: Path | None, to: Path | None, form: Form) -> None:
    """Run a campaign, or read studies, and write their report.

    Args:
        named: A campaign's file, or two folders of studies and more.
        out: Where a campaign keeps its studies; ``runs/NAME`` of its file by default.
        to: Where the report is written; by default in the campaign's folder, or
            ``runs/comparison.html`` of studies.
        form: In which form the tables are written.

    Raises:
        HlensError: Something else was named, or nothing could be read.
    """
    folders, files = (
        [Path(one) for one in named if Path(one).is_dir() is is_dir] for is_dir in (True, False)
    )
    if files and (folders or len(files) > 1):
        raise HlensError(
            f"{files[0]} is no folder of a study; give one campaign file, or folders of studies"
        )
    if folders and out is not None:
        raise HlensError("--out goes with a campaign file; these are folders of studies")
    if len(folders) == 1:
        raise HlensError(f"only one study to compare ({folders[0]}); name another beside it")
    if folders:
        path = check_page(to or Path("runs/comparison.html"))
        compared = compare(_open(folders))
    else:
        campaign = Campaign.read(files[0])
        folder = out or Path("runs") / files[0].stem
        path = check_page(to or folder / "report.html")
        with show.progress() as progress:
            compared = campaign.run(folder, progress)
    report(comparison_page(compared), path)
    _show(compared, path, form)


def _open(folders: Sequence[Path]) -> dict[str, Study]:
    """The studies by their models; by their folders where two are of one model."""
    studies = [Study(folder) for folder in folders]
    places = [folder.resolve() for folder in folders]
    if len({*places}) < len(places):
        raise HlensError(f"the same study twice: {', '.join(map(str, folders))}; name each once")
    usual = [usual_name(study.recipe) for study in studies]
    names = [
        name if usual.count(name) == 1 else str(folder)
        for name, folder in zip(usual, folders, strict=True)
    ]
    return dict(zip(names, studies, strict=True))


def _show(compared: Comparison, path: Path, form: Form) -> None:
    told = describe_comparison(compared)
    if form:
        facts = {**compared.tables(), "in_words": told, "report": str(path)}
        show.write(facts, form, captions=CAPTIONS)
        return
    for name, table in compared.tables().items():
        if name not in ("claims", "slopes"):
            show.table(name.replace("_", " "), table)
    if len(compared.claims):
        show.table("claims", _matrix(compared.claims))
    for line in told:
        show.out.print(f"• {line}", soft_wrap=True)
    show.say("report", path)


def _matrix(claims: pd.DataFrame) -> pd.DataFrame:
    """A row an audit, a column a claim, both as they come."""
    matrix = claims.pivot(index=["model", "audit"], columns="claim", values="verdict")
    audits = dict.fromkeys(zip(claims["model"], claims["audit"], strict=True))
    return matrix.loc[list(audits), list(dict.fromkeys(claims["claim"]))].reset_index()
