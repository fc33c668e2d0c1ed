"""Citations: the banks, where a reply's fields stand, whether each is right, a detector a field."""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

import hlens
from hlens import domains, judges
from hlens.domains._references import GOLD, REFERENCES, read_references, write_reference
from hlens.domains._worked import shipped_worked
from hlens.errors import HlensError
from hlens.judges import citation, word_keys
from hlens.judges._reference import FIELDS, read_reference
from hlens.model import Model
from hlens.types import Question, Response, Verdict
from tiny_study import tiny_model

STUDIED = sorted(path.name.removesuffix(".jsonl") for path in REFERENCES.iterdir())
EVERY = pytest.mark.parametrize("field", STUDIED)
DOI = re.compile(r"10\.\d{4,9}/\S+")
ARXIV = re.compile(r"arXiv:(?:\d{4}\.\d{4,5}|[a-z-]+/\d{7})")

# The banks


def test_there_are_papers_of_several_fields_of_study() -> None:
    assert len(STUDIED) >= 4
    papers = [row["titles"][0] for field in STUDIED for row in read_references(field)]
    assert len(papers) >= 120
    assert len({word_keys(title) for title in papers}) == len(papers)


@EVERY
def test_rows_are_well_formed(field: str) -> None:
    rows = list(read_references(field))
    assert len({row["id"] for row in rows}) == len(rows) >= 24
    for row in rows:
        assert all(isinstance(row[name], list) for name in GOLD), row
        assert all(row[name] for name in GOLD if name != "identifiers"), row
        texts = [row["about"], *row["titles"], *row["authors"], *row["venues"]]
        assert all(text and text == text.strip() and "  " not in text for text in texts), row
        assert all(1600 < year < 2026 for year in row["years"]), row
        assert all(DOI.fullmatch(i) or ARXIV.fullmatch(i) for i in row["identifiers"]), row
        assert row["difficulty"] in range(1, 6), row
    counts = Counter(row["difficulty"] for row in rows)
    assert all(counts[level] for level in range(1, 6)), f"{field}: each difficulty occurs: {counts}"


def test_no_identifier_is_of_two_papers() -> None:
    rows = [row for field in STUDIED for row in read_references(field)]
    counts = Counter(one for row in rows for one in row["identifiers"])
    assert not [one for one, n in counts.items() if n > 1]


@EVERY
def test_what_a_paper_did_tells_no_title(field: str) -> None:
    for row in read_references(field):
        asked = set(word_keys(row["about"]))
        for title in citation.accepted_titles(row):
            assert not set(word_keys(title)) <= asked, row


@EVERY
def test_worked_examples_are_of_other_papers(field: str) -> None:
    titles = {word_keys(title) for row in read_references(field) for title in row["titles"]}
    examples = shipped_worked(f"citations_{field}")
    for example in examples:
        found = fields(example.answers[0])
        assert {*found} >= {"title", "authors", "year", "venue"}, example
        assert word_keys(found["title"]) not in titles
    assert not examples or len(examples) >= 4


@EVERY
def test_a_paper_is_asked_for_twice_in_one_group(field: str) -> None:
    questions = domains.load(f"citations_{field}")
    groups = Counter(question.group for question in questions)
    assert set(groups.values()) == {2}
    assert [question.meta["given"] for question in questions[:2]] == [[], ["title"]]


@EVERY
def test_every_field_of_a_gold_reference_is_right(field: str) -> None:
    for question in domains.load(f"citations_{field}"):
        judged = citation.judge_fields(reply(question.answers[0], question))
        verdicts = {name: one.verdict for name, one in judged.items()}
        unscored = {name for name, verdict in verdicts.items() if verdict is Verdict.UNSCORED}
        lacking = set() if question.meta["reference"]["identifiers"] else {"identifier"}
        assert unscored == {*question.meta["given"], *lacking}, question.answers
        assert Verdict.HALLUCINATED not in verdicts.values(), judged


# Where fields stand


def fields(text: str) -> dict[str, str]:
    return {name: text[slice(*place)] for name, place in read_reference(text).items()}


WHOLE = {"title": "On Engines", "authors": "Ada Lovelace and Charles Babbage", "year": "1843",
         "venue": "Nature", "identifier": "10.1000/xyz-1(2)"}  # fmt: skip
WAYS = [
    'Ada Lovelace and Charles Babbage. "On Engines." Nature, 1843. 10.1000/xyz-1(2).',
    'Ada Lovelace and Charles Babbage, “On Engines,” Nature 12(3), 533–536, 1843. '
    "doi:10.1000/xyz-1(2)",
    '[1] Ada Lovelace and Charles Babbage. "On Engines". In Nature, vol. 12, pp. 1735-1780, 1843, '
    "https://doi.org/10.1000/xyz-1(2)",
    "Ada Lovelace and Charles Babbage (1843). On Engines. Nature, 12(3), 1735-1780. "
    "https://doi.org/10.1000/xyz-1(2)",
    "- Ada Lovelace and Charles Babbage (1843). *On Engines*. Nature. (10.1000/xyz-1(2))",
    '"On Engines" by Ada Lovelace and Charles Babbage, Nature, 1843. DOI: 10.1000/xyz-1(2)',
    "Title: On Engines\nAuthors: Ada Lovelace and Charles Babbage\nYear: 1843\nJournal: Nature\n"
    "DOI: 10.1000/xyz-1(2)",
    "**Title:** On Engines; **Authors:** Ada Lovelace and Charles Babbage; **Year:** 1843; "
    "**Venue:** Nature; **DOI:** 10.1000/xyz-1(2)",
    'Here is the reference:\n\n1. Ada Lovelace and Charles Babbage. "On Engines." Nature, 1843. '
    "10.1000/xyz-1(2).\n\nIt is much cited.",
]  # fmt: skip


@pytest.mark.parametrize("text", WAYS)
def test_fields_are_found_however_a_reference_is_written(text: str) -> None:
    assert fields(text) == WHOLE


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('A. Lovelace et al. "In 1905, 2 + 2."', {"title": "In 1905, 2 + 2",
                                                 "authors": "A. Lovelace et al."}),
        ('"On Engines."', {"title": "On Engines"}),
        ('B. Bo. "What is it?" Phys. Rev. Lett. 12, 1999.',
         {"title": "What is it?", "authors": "B. Bo", "year": "1999", "venue": "Phys. Rev. Lett"}),
        ('B. Bo. "It." arXiv preprint arXiv:1706.03762v2, 2017.',
         {"title": "It", "authors": "B. Bo", "year": "2017", "venue": "arXiv preprint arXiv",
          "identifier": "1706.03762v2"}),
        ('B. Bo. "It." In Proceedings of the 31st Conference on X, 2017.',
         {"title": "It", "authors": "B. Bo", "year": "2017",
          "venue": "Proceedings of the 31st Conference on X"}),
        ('王小明. “引擎🎉论.” 自然, 1999.',
         {"title": "引擎🎉论", "authors": "王小明", "year": "1999", "venue": "自然"}),
        ("Bo, B., & Ann, A. (2017). Is it so? Science.",
         {"title": "Is it so?", "authors": "Bo, B., & Ann, A.", "year": "2017",
          "venue": "Science"}),
        ('B. Bo. "Itself." https://en.example.org/1999', {"title": "Itself", "authors": "B. Bo"}),
        ('B. Bo. "Itself." DOI: 10.1000/xyz', {"title": "Itself", "authors": "B. Bo",
                                              "identifier": "10.1000/xyz"}),
        ('B. Bo et al. 1999. "Itself." Nature.', {"title": "Itself", "authors": "B. Bo et al.",
                                                 "year": "1999", "venue": "Nature"}),
        ('B. Bo et al., 1999a, "Itself," Nature', {"title": "Itself", "authors": "B. Bo et al.",
                                                   "year": "1999", "venue": "Nature"}),
        ('[arXiv:1706.03762] B. Bo. "Itself."', {"title": "Itself", "authors": "B. Bo",
                                                 "identifier": "1706.03762"}),
        ("I don't know.", {}),
        ("It is 8.", {}),
        ("", {}),
        ("1999", {}),
        ('"', {}),
        ("Title:", {}),
    ],
)  # fmt: skip
def test_what_is_absent_is_not_found(text: str, found: dict[str, str]) -> None:
    if "title" in found and len(found["title"]) < 3:
        text, found = text.replace('"It."', '"Itself."'), {**found, "title": "Itself"}
    assert fields(text) == found


@pytest.mark.parametrize(
    "text",
    [
        '"' * 19_000,
        "Title: " * 2_500,
        "(1999) " * 2_500,
        "by A, " * 3_000,
        "1. " * 6_000,
        "_a_" * 6_000,
        '"On" by ' + "a " * 9_000,
    ],
)
def test_long_and_empty_replies_are_read_in_time(text: str) -> None:
    import time

    start = time.perf_counter()
    for place in read_reference(text).values():
        assert 0 <= place[0] < place[1] <= len(text)
    assert time.perf_counter() - start < 2


# Whether fields are right

PAPER: dict[str, Any] = {
    "titles": ["On Engines: A Study", "On Engines"],
    "authors": ["Ada K. Lovelace", "Charles Babbage", "Hendrik van der Bo"],
    "years": [1843, 1842],
    "venues": ["Proceedings of the IEEE", "Proc. IEEE"],
    "identifiers": ["10.1000/xyz", "arXiv:1706.03762"],
}
ASKED = Question("q", "d", "Which?", ("",), group="g", meta={"reference": PAPER})


def reply(text: str, question: Question = ASKED, **more: Any) -> Response:
    return Response(question, text, (), 0, **more)


def judged(field: str, value: str, **gold: Any) -> str:
    """The verdict on one field of a reply that has it as the only one beside a title."""
    names = {"title": "Title", "authors": "Authors", "year": "Year", "venue": "Venue"}
    other = "Year: 1843" if field == "title" else "Title: X"
    text = f"{names.get(field, 'DOI')}: {value}\n{other}"
    question = replace(ASKED, meta={"reference": {**PAPER, **gold}})
    return citation.judge_by(field)(reply(text, question)).verdict.value


RIGHT, WRONG, UNSCORED = "correct", "hallucinated", "unscored"


@pytest.mark.parametrize(
    ("field", "value", "verdict"),
    [
        ("title", "On engines: a study", RIGHT),
        ("title", "On Engines", RIGHT),
        ("title", "On Engines and Trains", WRONG),
        ("title", "Engines", WRONG),
        ("year", "1842", RIGHT),
        ("year", "1844", WRONG),
        ("venue", "Proceedings of the IEEE 12", RIGHT),
        ("venue", "arXiv preprint", RIGHT),
        ("venue", "Nature", WRONG),
        ("authors", "Ada K. Lovelace, Charles Babbage, and Hendrik van der Bo", RIGHT),
        ("authors", "A. Lovelace & C. Babbage", RIGHT),
        ("authors", "Lovelace, A. K., Babbage, C., & van der Bo, H.", RIGHT),
        ("authors", "Lovelace, Ada and Babbage, Charles", RIGHT),
        ("authors", "Lovelace et al.", RIGHT),
        ("authors", "Bob Lovelace et al.", WRONG),
        ("authors", "Charles Babbage, Ada Lovelace", WRONG),
        ("authors", "Ada Lovelace, Alan Turing", WRONG),
        ("authors", "Ada Turing", WRONG),
        ("identifier", "https://doi.org/10.1000/XYZ", RIGHT),
        ("identifier", "10.1000/abc", WRONG),
        ("identifier", "arXiv:1706.03762v5", RIGHT),
        ("identifier", "10.48550/arXiv.1706.03762", RIGHT),
        ("identifier", "arXiv:1706.03763", WRONG),
    ],
)
def test_a_field_is_judged(field: str, value: str, verdict: str) -> None:
    assert judged(field, value) == verdict


def test_a_title_may_lack_what_follows_its_colon_unless_a_mere_name_is_left() -> None:
    assert judged("title", "Of Many Engines", titles=["Of Many Engines: A Study"]) == RIGHT
    assert judged("title", "BERT", titles=["BERT: A Study of Engines"]) == WRONG


def test_what_the_gold_does_not_know_is_not_judged() -> None:
    assert judged("authors", "Ada Lovelace, Alan Turing", others=True) == UNSCORED
    assert judged("authors", "Alan Turing, Ada Lovelace", others=True) == WRONG
    assert judged("identifier", "arXiv:1706.03762", identifiers=["10.1/a"]) == UNSCORED
    assert judged("identifier", "10.1/a", identifiers=[]) == UNSCORED
    assert judged("venue", "arXiv", identifiers=["10.1/a"]) == WRONG


def test_a_reply_has_a_verdict_for_each_field_and_one_of_all() -> None:
    text = 'Ada Lovelace. "On Engines." Nature, 1843. 10.1000/abc.'
    found = citation.judge_fields(reply(text))
    assert {name: one.verdict.value for name, one in found.items()} == {
        "title": RIGHT, "authors": RIGHT, "year": RIGHT, "venue": WRONG, "identifier": WRONG,
    }  # fmt: skip
    one = citation.judge(reply(text))
    assert (one.verdict, one.reason) == (Verdict.HALLUCINATED, "wrong: venue, identifier")
    assert text[slice(*one.answer or ())] == text[:-1]
    whole = citation.judge(reply('"On Engines." 1843.'))
    assert (whole.verdict, whole.reason) == (Verdict.CORRECT, "right: title, year")
    given = replace(ASKED, meta={"reference": PAPER, "given": ["title"]})
    assert citation.judge(reply('"On Trains." 1843.', given)).verdict is Verdict.UNSCORED
    assert citation.judge(reply('A. Lovelace. "On Trains."', given)).verdict is Verdict.CORRECT


def test_what_is_cut_off_declined_or_absent_is_unscored() -> None:
    text = 'Ada Lovelace. "On Engines." Nat'
    cut = citation.judge_fields(reply(text, finish_reason="length"))
    assert (cut["venue"].verdict, cut["venue"].reason) == (Verdict.UNSCORED, "cut off")
    assert cut["title"].verdict is Verdict.CORRECT
    assert cut["year"].reason == "absent"
    assert citation.judge(reply("I don't know.")).verdict is Verdict.REFUSED
    bare = Question("q", "d", "Which?", ("",))
    assert citation.judge(reply(text, bare)).reason == "no reference to judge by"
    broken = replace(ASKED, meta={"reference": {"titles": ["a"]}})
    with pytest.raises(HlensError, match=r"meta\.reference is .* expected lists of titles"):
        citation.judge(reply(text, broken))
    with pytest.raises(
        HlensError, match="unknown field of a reference 'yaer'; did you mean 'year'"
    ):
        citation.judge_by("yaer")


def test_a_thought_is_not_judged_and_moves_no_span() -> None:
    text = '<think>"On Trains." 1999</think> Ada Lovelace. "On Engines." 1843.'
    row = citation.labelled_row(reply(text))
    assert [(text[start:stop], label) for start, stop, label in row["spans"]] == [
        ("Ada Lovelace", "authors correct"),
        ("On Engines", "title correct"),
        ("1843", "year correct"),
    ]
    [judged] = judges.judge([reply(text)], citation.judge_by("year"))
    assert text[slice(*judged.answer or ())] == "1843"


# A detector for each field


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def replies(model: Model) -> list[Response]:
    """Gold references, half of them with another year and a third with another venue."""
    made = []
    for field in ("physics", "biology"):
        questions = [q for q in domains.load(f"citations_{field}") if q.id.endswith("-about")]
        for at, question in enumerate(questions[:24]):
            gold = dict(question.meta["reference"])
            gold["years"] = [gold["years"][0] - 7] if at % 2 else gold["years"]
            gold["venues"] = ["Zeus"] if at % 3 == 0 else gold["venues"]
            text = write_reference(gold)
            prompt = model.encode(question.text)
            ids = (*prompt, *model.encode_words(text))
            made.append(Response(question, text, ids, len(prompt)))
    return made


@pytest.mark.parametrize("field", ["year", "venue"])
def test_examples_of_one_field_are_its_tokens(
    field: str, model: Model, replies: list[Response]
) -> None:
    by_judge = hlens.locate(hlens.judge(replies, citation.judge_by(field)), model)
    rows = [citation.labelled_row(one) for one in replies]
    by_row = hlens.labelled(rows, model, labels=citation.labels_of(field)).examples
    assert [(e.start, e.stop, e.hallucinated) for e in by_judge] == [
        (e.start, e.stop, e.hallucinated) for e in by_row
    ]
    assert {e.group for e in by_row} == {one.question.group for one in replies}
    wrong = [model.decode(e.token_ids[e.start : e.stop].tolist()) for e in by_row if e.hallucinated]
    assert len(wrong) == (24 if field == "year" else 16)
    assert field == "year" or {*wrong} == {"Zeus"}


def test_detectors_of_fields_overlap_and_transfer_between_fields_of_study(
    model: Model, replies: list[Response]
) -> None:
    rows = [citation.labelled_row(one) for one in replies]
    sets, probe = [], hlens.SparseProbe(C=20.0)
    for field in ("year", "venue"):
        held = hlens.labelled(rows, model, labels=citation.labels_of(field))
        data = hlens.measure(model, held.examples)
        sets.append(replace(hlens.find(data, probe).neurons, name=field))
        table = hlens.evaluation.transfer(data, probe, folds=3, pooled=False)
        cells = set(zip(table["train"], table["test"], strict=True))
        assert cells == {(a, b) for a in data.domains for b in data.domains}
        assert not table["auroc"].isna().to_numpy().any()
    assert len(hlens.evaluation.overlap(sets)) == 1
    assert all(len(one) for one in sets)


def test_all_fields_of_a_reply_are_spans_of_one_group(
    model: Model, replies: list[Response]
) -> None:
    held = hlens.labelled(
        [citation.labelled_row(one) for one in replies], model, labels=citation.labels_of()
    )
    counts = Counter(example.group for example in held.examples)
    assert min(counts.values()) >= len(FIELDS) - 1
