"""LegalBench: six of its classification tasks that need no long document.

Hub: ``nguha/legalbench``, split test, parquet branch (the set itself has a loading script only).
The licence differs by task; see the set's card. Guha et al. 2023, arXiv 2308.11462. Labels; the
task is kept in meta. The questions are worded here.
"""

from hlens.domains._hub import PARQUET, Hub, readers
from hlens.domains._rows import Row, group_name, id_of, label_fields
from hlens.types import Question

DISPLAY = "LegalBench"

YES_NO = ("Yes", "No")
# task: column of the text, question, labels
TASKS = {
    "hearsay": ("text", "Is this evidence hearsay? Answer Yes or No.", YES_NO),
    "personal_jurisdiction": (
        "text",
        "Is there personal jurisdiction over the defendant? Answer Yes or No.",
        YES_NO,
    ),
    "abercrombie": (
        "text",
        "Where does the mark stand on the Abercrombie scale? Answer generic, descriptive, "
        "suggestive, arbitrary or fanciful.",
        ("generic", "descriptive", "suggestive", "arbitrary", "fanciful"),
    ),
    "proa": ("text", "Does this statute hold a private right of action? Answer Yes or No.", YES_NO),
    "ucc_v_common_law": (
        "contract",
        "Is this contract governed by the UCC or by the common law? Answer UCC or Common Law.",
        ("UCC", "Common Law"),
    ),
    "international_citizenship_questions": ("question", "Answer Yes or No.", YES_NO),
}
HUB = Hub("legalbench", "nguha/legalbench", "test", tuple(TASKS), PARQUET)
EXAMPLE = {"hearsay/test/0000.parquet": {"index": 5, "text": "He said so.", "answer": "Yes"}}


def _to_question(row: Row, config: str, number: int) -> Question:
    column, prompt, labels = TASKS[config]
    text = row[column].strip()
    index = [label.casefold() for label in labels].index(row["answer"].strip().casefold())
    return Question(
        id=f"{config}-{id_of(row, 'index', number)}",
        domain="legalbench",
        text=f"{prompt}\n{text}",
        group=group_name("legalbench", text),
        **label_fields(index, labels, task=config),
    )


questions, questions_from = readers(HUB, _to_question)
