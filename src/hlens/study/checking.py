"""What a study checks early: questions that can be judged, neurons that can be measured."""

from collections import Counter
from pathlib import Path

from hlens import judges, metrics
from hlens.contributions.regions import Ask
from hlens.errors import HlensError
from hlens.recipe import MeasureRecipe
from hlens.types import Example, Question, Response


def check_ids(questions: list[Question]) -> None:
    """Every question of a domain has an id of its own, whichever file it comes from."""
    counts = Counter((q.domain, q.id) for q in questions)
    twice = [key for key, n in counts.items() if n > 1]
    if twice:
        domain, one = twice[0]
        raise HlensError(
            f"{len(twice)} ids of questions occur twice, such as {one!r} of domain {domain!r}; "
            "files that form one domain need ids that differ"
        )


def check_judged(questions: list[Question], judge: judges.Judge | None) -> None:
    """Every question has what its judge needs: known before the model is asked, not after."""
    wrong: list[str] = []
    for question in questions:
        try:
            judges.judge([Response(question, "", (), 0)], judge)
        except HlensError as error:
            wrong.append(f"{question.domain}: {error}")
    if wrong:
        raise HlensError(
            f"{len(wrong)} of {len(questions)} questions cannot be judged, such as {wrong[0]}"
        )


def check_measured(how: MeasureRecipe) -> None:
    """A metric and a region that are there, and go together."""
    Ask(metrics.by_name(how.metric), how.region, reduce=how.reduce, position=how.position)


def check_labels(examples: list[Example]) -> None:
    """Both labels, or the reason why nothing can be found."""
    wrong = sum(example.hallucinated for example in examples)
    if 0 < wrong < len(examples):
        return
    said = "hallucinated" if examples and wrong else "true" if examples else "no"
    raise HlensError(
        f"all {len(examples)} examples are of one label ({said}); a probe needs both: use easier "
        'or harder questions, more samples, or keep = "all"'
    )


def existing(folder: Path) -> Path:
    """The folder, where a study is in it."""
    if not (folder / "recipe.toml").is_file():
        raise HlensError(f"no study at {folder}: it holds no recipe.toml; run one with `hlens run`")
    return folder
