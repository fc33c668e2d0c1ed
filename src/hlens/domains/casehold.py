"""CaseHOLD: which holding does a United States court opinion cite?

Hub: ``coastalcph/lex_glue``, config ``case_hold``, split test; the columns of the original
``casehold/casehold`` are read too. CC BY 4.0 (LexGLUE), Apache-2.0 (CaseHOLD). Zheng et al. 2021,
arXiv 2104.08671; Chalkidis et al. 2022, arXiv 2110.00976. Multiple choice with five options.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, choice_fields, group_name, id_of, items_of
from hlens.types import Question

DISPLAY = "CaseHOLD"

HUB = Hub("casehold", "coastalcph/lex_glue", "test", ("case_hold",))
PROMPT = "Which holding stands at <HOLDING> in this excerpt of a court opinion?"
ROW = {"context": "See A v. B (<HOLDING>).", "endings": list("abcde"), "label": 3}
EXAMPLE = {"case_hold/test-00000-of-00001.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    excerpt = row["context"] if "context" in row else row["citing_prompt"]
    whole = "endings" in row
    endings = items_of(row["endings"]) if whole else [row[f"holding_{i}"] for i in range(5)]
    choices = tuple(ending.strip() for ending in endings)
    return Question(
        id=id_of(row, "example_id", number),
        domain="casehold",
        text=PROMPT,
        context=excerpt,
        group=group_name("casehold", excerpt),
        **choice_fields(row["label"], choices),
    )


questions, questions_from = readers(HUB, _to_question)
