"""PopQA: facts about entities of known popularity, from Wikidata.

Hub: ``akariasai/PopQA``, split test. MIT. Mallen et al. 2023, arXiv 2212.10511. Short answers;
``s_pop`` and ``o_pop`` (monthly page views of subject and object) are kept in meta. The group is
the subject, since several questions ask about one entity.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, alias_fields, group_name, id_of, index_of, unique_texts
from hlens.types import Question

DISPLAY = "PopQA"

HUB = Hub("popqa", "akariasai/PopQA", "test")
ROW = {"subj": "George Rankin", "prop": "occupation", "obj": "politician", "id": 4222362}
ROW |= {"question": "What is George Rankin's occupation?", "s_pop": 142, "o_pop": 25692}
ROW |= {"possible_answers": '["politician", "political leader"]'}
EXAMPLE = {"test.tsv": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    return Question(
        id=id_of(row, "id", number),
        domain="popqa",
        text=row["question"].strip(),
        group=group_name("popqa", row["subj"]),
        **alias_fields(
            [row["obj"], *unique_texts(row["possible_answers"])],
            relation=row["prop"],
            s_pop=index_of(row["s_pop"]),
            o_pop=index_of(row["o_pop"]),
        ),
    )


questions, questions_from = readers(HUB, _to_question)
