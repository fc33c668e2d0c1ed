"""Devign: is a function of FFmpeg or QEMU vulnerable?

Hub: ``google/code_x_glue_cc_defect_detection``, split test. C-UDA (CodeXGLUE). Zhou et al. 2019,
arXiv 1909.03496; Lu et al. 2021, arXiv 2102.04664. Labels, known to be noisy; the group is the
commit.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, group_name, id_of, label_fields
from hlens.types import Question

DISPLAY = "Devign"

HUB = Hub("devign", "google/code_x_glue_cc_defect_detection", "test")
PROMPT = "Does this code contain a security vulnerability? Answer yes or no."
LABELS = ("no", "yes")
ROW = {"id": 0, "func": "int f() {}", "target": False, "project": "qemu", "commit_id": "abc"}
EXAMPLE = {"data/test-00000-of-00001.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    return Question(
        id=id_of(row, "id", number),
        domain="devign",
        text=PROMPT,
        context=row["func"],
        group=group_name("devign", row["project"], row["commit_id"]),
        **label_fields(row["target"], LABELS),
    )


questions, questions_from = readers(HUB, _to_question)
