"""PubMedQA (labelled): is it so, by this abstract? Yes, no or maybe.

Hub: ``qiaojin/PubMedQA``, config ``pqa_labeled``, split train (the only one). MIT. Jin et al.
2019, arXiv 1909.06146. Labels, with the abstract as context.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, group_name, label_fields
from hlens.types import Question

DISPLAY = "PubMedQA"

HUB = Hub("pubmedqa", "qiaojin/PubMedQA", "train", ("pqa_labeled",))
LABELS = ("yes", "no", "maybe")
ROW = {"pubid": 21645374, "question": "Do mitochondria play a role?", "final_decision": "yes"}
ROW |= {"context": {"contexts": ["One.", "Two."]}}
EXAMPLE = {"pqa_labeled/train-00000-of-00001.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    return Question(
        id=str(row["pubid"]),
        domain="pubmedqa",
        text=row["question"].strip(),
        context="\n".join(row["context"]["contexts"]),
        group=group_name("pubmedqa", row["pubid"]),
        **label_fields(LABELS.index(row["final_decision"]), LABELS),
    )


questions, questions_from = readers(HUB, _to_question)
