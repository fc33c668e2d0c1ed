"""Devign: is a function of FFmpeg or QEMU vulnerable?

Hub: ``google/code_x_glue_cc_defect_detection``, split test. C-UDA (CodeXGLUE). Zhou et al. 2019,
arXiv 1909.03496; Lu et al. 2021, arXiv 2102.04664. Labels, known to be noisy; the group is the
commit.
"""

from hlens.domains import _hub
from hlens.domains._hub import Hub, Row
from hlens.types import Question

HUB = Hub("devign", "google/code_x_glue_cc_defect_detection", "test")
ASKED = "Does this code contain a security vulnerability? Answer yes or no."
LABELS = ("no", "yes")


def _question(row: Row, config: str, number: int) -> Question:
    index = int(row["target"])
    return Question(
        id=str(row.get("id", number)),
        domain="devign",
        text=ASKED,
        answers=(_hub.label_at(index, LABELS),),
        choices=LABELS,
        context=row["func"],
        group=_hub.group_of("devign", row["project"], row["commit_id"]),
        meta={"format": "label", "judge": "label", "answer_index": index},
    )


questions, questions_at = _hub.readers(HUB, _question)
