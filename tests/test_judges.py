"""Judges: a table of hard cases for the alias judge, and the laws of the others."""

import random
import time
from dataclasses import replace

import pytest

from hlens import judges
from hlens.errors import HlensError
from hlens.judges import alias, choice, label, numeric
from hlens.types import Question, Response, Verdict

RIGHT, WRONG, REFUSED, UNSCORED = (
    Verdict.CORRECT,
    Verdict.HALLUCINATED,
    Verdict.REFUSED,
    Verdict.UNSCORED,
)
EXACT = {"case_sensitive": True}

# response, gold answers, verdict, meta
HARD = [
    # whole words, never substrings
    ("Mozart", ["art"], WRONG),
    ("Große weiße Straße, no doubt it is Paris", ["Paris"], RIGHT),  # ß is two letters casefolded
    ("The art of war", ["art"], RIGHT),
    ("Romania", ["Oman"], WRONG),
    ("Nigeria", ["Niger"], WRONG),
    ("It is called ironing.", ["iron"], WRONG),
    ("Pop-art", ["art"], WRONG),
    ("Austria-Hungary", ["Hungary"], WRONG),
    ("New Mexico", ["Mexico"], WRONG),
    ("Papua New Guinea", ["Guinea"], WRONG),
    ("It lies in South Korea.", ["Korea", "South Korea"], RIGHT),
    ("in southern France", ["France"], RIGHT),
    ("It is in East Asia.", ["Asia"], RIGHT),
    ("South Korea", ["Korea"], WRONG),
    ("strcpy_s", ["strcpy"], WRONG),
    # articles, case, punctuation
    ("the Eiffel tower!", ["Eiffel Tower"], RIGHT),
    ("Beatles", ["The Beatles"], RIGHT),
    ("**Paris**", ["Paris"], RIGHT),
    ("“Paris.”", ["Paris"], RIGHT),
    ("The The", ["The The"], RIGHT),
    ("The Who", ["The The"], WRONG),
    ("Hepatitis B", ["Hepatitis A"], WRONG),
    ("Hepatitis A", ["Hepatitis A"], RIGHT),
    ("A rose", ["rose"], RIGHT),
    ("J.R.R. Tolkien", ["J. R. R. Tolkien"], RIGHT),
    ("U.S.A.", ["USA"], RIGHT),
    ("Spiderman", ["Spider-Man"], RIGHT),
    ("Rock & Roll", ["rock and roll"], RIGHT),
    ("C", ["C++"], WRONG),
    ("C++", ["C"], WRONG),
    ("C#", ["C#", "C Sharp"], RIGHT),
    # apostrophes and Unicode
    ("Ronnie O’Sullivan", ["Ronnie O'Sullivan"], RIGHT),
    ("McDonalds", ["McDonald’s"], RIGHT),
    ("Beyonce", ["Beyoncé"], RIGHT),
    ("Beyonce\u0301", ["Beyoncé"], RIGHT),
    ("Tromso", ["Tromsø"], RIGHT),
    ("Ｐａｒｉｓ", ["Paris"], RIGHT),
    ("\ufeffPar\u00adis\u200b", ["Paris"], RIGHT),
    ("巴黎", ["巴黎"], RIGHT),
    ("答案是巴黎。", ["巴黎"], RIGHT),
    ("Москва", ["москва"], RIGHT),
    ("हिन्दू", ["हिन्दी"], WRONG),
    ("STRASSE", ["Straße"], RIGHT),
    ("H₂O", ["H2O"], RIGHT),
    ("🇫🇷", ["🇫🇷"], RIGHT),
    ("🇩🇪", ["🇫🇷"], UNSCORED),
    ("Paris 🇩🇪", ["🇫🇷", "Lyon"], WRONG),
    # numbers
    ("eight", ["8"], RIGHT),
    ("There are 8 of them.", ["eight"], RIGHT),
    ("18", ["8"], WRONG),
    ("8.5", ["8"], WRONG),
    ("8.0", ["8"], RIGHT),
    ("1000", ["1,000"], RIGHT),
    ("1,000 metres", ["1000"], RIGHT),
    ("1,0001", ["1000"], WRONG),
    ("Twenty-one", ["21"], RIGHT),
    ("forty two", ["42"], RIGHT),
    ("twenty, one", ["21"], WRONG),
    ("1 2", ["12"], WRONG),
    ("-5", ["5"], WRONG),
    ("−5 degrees", ["-5"], RIGHT),
    ("1939-1945", ["1945"], WRONG),
    ("5 million", ["5"], WRONG),
    ("2^6", ["2"], WRONG),
    ("one of the largest", ["1"], WRONG),
    ("Only one.", ["1"], RIGHT),
    ("the 8th", ["eighth"], RIGHT),
    ("the 8th", ["8"], WRONG),
    ("1/2", ["2"], WRONG),
    ("½", ["1/2"], RIGHT),
    ("10:30", ["10"], WRONG),
    ("5 percent", ["5%"], RIGHT),
    # case-sensitive symbols
    ("Co", ["Co"], RIGHT, EXACT),
    ("CO", ["Co"], WRONG, EXACT),
    ("The symbol is Co.", ["Co"], RIGHT, EXACT),
    ("As far as I know, Ar", ["As"], WRONG, EXACT),
    ("He is the symbol of helium.", ["He"], RIGHT, EXACT),
    ("na", ["Na"], WRONG, EXACT),
    # negation
    ("not Paris", ["Paris"], WRONG),
    ("It is not Paris.", ["Paris"], WRONG),
    ("It isn't Paris", ["Paris"], WRONG),
    ("It isn’t in Paris", ["Paris"], WRONG),
    ("I do not think it is Paris", ["Paris"], WRONG),
    ("It is not London but Paris.", ["Paris"], RIGHT),
    ("It is not London, it is Paris.", ["Paris"], RIGHT),
    ("Not only Paris", ["Paris"], RIGHT),
    ("Paris is not correct.", ["Paris"], WRONG),
    ("London rather than Paris", ["Paris"], WRONG),
    ("No, it is Paris", ["Paris"], RIGHT),
    ("not wrong", ["wrong"], WRONG),
    ("not wrong", ["not wrong"], RIGHT),
    ("wrong", ["not wrong"], WRONG),
    # yes and no
    ("Yes, there is no doubt.", ["no"], WRONG),
    ("No.", ["no"], RIGHT),
    ("No, that is true", ["false", "no"], RIGHT),
    # what denies nothing, and what does
    ("There is no doubt that it is Paris.", ["Paris"], RIGHT),
    ("Without a doubt Paris", ["Paris"], RIGHT),
    ("It is none other than Odin.", ["Odin"], RIGHT),
    ("Anything but Paris", ["Paris"], WRONG),
    ("That is not true.", ["true"], WRONG),
    ("It isn't true.", ["false"], RIGHT),
    ("Yes and no", ["yes"], UNSCORED),
    # names that are common words
    ("Tell us more", ["United States", "US"], WRONG),
    ("It is in the US.", ["United States", "US"], RIGHT),
    ("us", ["United States", "US"], RIGHT),
    ("A band who played in London", ["The Who"], WRONG),
    ("The Who", ["The Who"], RIGHT),
    ("It is a novel called Carrie.", ["It"], WRONG),
    ("He wrote It in 1986.", ["It"], RIGHT),
    # days and numbers written otherwise
    ("4 July 1776", ["July 4, 1776"], RIGHT),
    ("on the 4th of July, 1776", ["July 4, 1776"], RIGHT),
    ("July 4th, 1776", ["4 July 1776"], RIGHT),
    ("July 14, 1776", ["July 4, 1776"], WRONG),
    ("July 4, 1775", ["July 4, 1776"], WRONG),
    ("May 2010", ["May 20"], WRONG),
    ("minus 40 degrees", ["-40"], RIGHT),
    ("minus 40 degrees", ["40"], WRONG),
    ("one hundred", ["100"], RIGHT),
    ("two thousand", ["2,000"], RIGHT),
    ("five hundred", ["5"], WRONG),
    ("World War Two", ["World War II"], RIGHT),
    ("World War I", ["World War II"], WRONG),
    ("Henry VII", ["Henry VIII"], WRONG),
    ("President Xi Jinping", ["Xi Jinping"], RIGHT),
    # hedges and corrections
    ("Paris or London", ["Paris"], UNSCORED),
    ("Either London or Paris.", ["Paris"], UNSCORED),
    ("Paris/London", ["Paris"], UNSCORED),
    ("AC/DC", ["AC/DC"], RIGHT),
    ("soccer or football", ["football", "soccer"], RIGHT),
    ("Paris, London, Rome", ["Paris"], UNSCORED),
    ("Paris, France", ["Paris"], RIGHT),
    ("Gravity and friction", ["gravity"], UNSCORED),
    ("Romeo and Juliet", ["Romeo and Juliet"], RIGHT),
    ("Trinidad & Tobago", ["Trinidad and Tobago"], RIGHT),
    ("Paris. No, London.", ["Paris"], UNSCORED),
    ("London. No, Paris.", ["Paris"], RIGHT),
    ("Paris, no doubt", ["Paris"], RIGHT),
    # refusals
    ("I don't know", ["Paris"], REFUSED),
    ("I don’t know.", ["Paris"], REFUSED),
    ("I'm sorry, but I cannot answer that.", ["Paris"], REFUSED),
    ("I cannot determine whether it is Paris", ["Paris"], REFUSED),
    ("As an AI, I have no access to this.", ["Paris"], REFUSED),
    ("Unknown", ["Paris"], REFUSED),
    ("I'm not sure.", ["Paris"], REFUSED),
    ("A good question! I don't know.", ["Paris"], REFUSED),
    ("It is Khmer. I am not familiar with any other.", ["Khmer"], RIGHT),
    ("It is Thai. I am not familiar with any other.", ["Khmer"], WRONG),
    ("I'm not sure, but I think it is Paris.", ["Paris"], RIGHT),
    ("I'm not sure, but I think it is London.", ["Paris"], WRONG),
    ("I Don't Know How to Love Him", ["I Don't Know How to Love Him"], RIGHT),
    ("Penguins, because they cannot fly.", ["penguin", "penguins"], RIGHT),
    ("Ostriches cannot fly.", ["penguins"], WRONG),
    ("Unknown Pleasures", ["Unknown Pleasures"], RIGHT),
    # nothing to score
    ("", ["Paris"], UNSCORED),
    ("  \n", ["Paris"], UNSCORED),
    ("...", ["Paris"], UNSCORED),
]


def respond(text: str, *answers: str, asked: str = "What is it?", **meta: object) -> Response:
    question = Question("q", "test", asked, answers, meta=meta)
    return Response(question, text, (), 0)


def test_there_are_sixty_hard_cases() -> None:
    assert len(HARD) >= 60


@pytest.mark.parametrize("case", HARD, ids=lambda c: f"{c[0]!r}-{c[1][0]!r}")
def test_hard_cases(case: tuple) -> None:
    text, answers, verdict, *meta = case
    judged = alias.judge(respond(text, *answers, **(meta[0] if meta else {})))
    assert judged.verdict is verdict, judged.reason
    if judged.answer:
        start, stop = judged.answer
        assert 0 <= start < stop <= len(text)


ABSTAIN = [
    ("I don't know.", RIGHT),
    ("There is no town called Trinkioth.", RIGHT),
    ("Trinkioth does not exist.", RIGHT),
    ("I am not aware of a town of that name.", RIGHT),
    ("I couldn't find any information about it.", RIGHT),
    ("It appears to be a fictional place.", RIGHT),
    ("It has not been assigned yet.", RIGHT),
    ("Trinkioth is in Norway.", WRONG),
    ("There is no doubt that it is in Norway.", WRONG),
    ("I'm not sure, but I think it is in Norway.", WRONG),
    ("Norway", WRONG),
    ("", UNSCORED),
]


@pytest.mark.parametrize(("text", "verdict"), ABSTAIN)
def test_a_question_without_answers_asks_for_abstaining(text: str, verdict: Verdict) -> None:
    response = respond(text, judge="abstain")
    for judged in (judges.judge([response])[0], alias.judge(response)):
        assert judged.verdict is verdict, judged.reason


SPANS = [
    # response, question, its answer
    ("Paris", "What is the capital of France?", "Paris"),
    ("Paris.\n\nIt is big.", "What is the capital of France?", "Paris"),
    ("The answer is: **Paris**.", "What is the capital of France?", "Paris"),
    ("Sure! The correct answer is London, on the Thames.", "Capital?", "London, on the Thames"),
    ("It's St. Petersburg. A city.", "Where?", "St. Petersburg"),
    ("The capital of France is Lyon.", "What is the capital of France?", "Lyon"),
    ("Lyon is the capital of France.", "What is the capital of France?", "Lyon"),
    ("Answer: J. K. Rowling", "Who?", "J. K. Rowling"),
    ("- Ronnie O’Sullivan", "Who?", "Ronnie O’Sullivan"),
    ("-40 °C", "How cold?", "-40 °C"),
    ("C++", "Which language?", "C++"),
    ("Jeopardy!", "Which show?", "Jeopardy"),
    ("Mercury (the planet)", "Which?", "Mercury (the planet)"),
    ("1. A hammer\n2. A saw", "Which tool?", "A hammer"),
    ("That's a great question! It is Paris.", "Where?", "Paris"),
    ("Here is the answer:\nParis", "Where?", "Paris"),
    ("答案是巴黎。", "?", "答案是巴黎"),
    ("Jupiter is larger than Mars.", "Is Jupiter or Mars larger?", "Jupiter is larger than Mars"),
]


@pytest.mark.parametrize(("text", "asked", "answer"), SPANS)
def test_the_answer_span_does_not_depend_on_the_label(text: str, asked: str, answer: str) -> None:
    for gold in (answer, "Quito"):
        judged = alias.judge(respond(text, gold, asked=asked))
        assert judged.answer is not None
        assert text[slice(*judged.answer)] == answer


def test_words_of_the_question_do_not_count_as_yes_or_no() -> None:
    text = "The opposite of true is false."
    judged = alias.judge(respond(text, "false", asked="What is the opposite of true?"))
    assert judged.verdict is RIGHT, judged.reason


@pytest.mark.parametrize(
    ("asked", "text", "gold", "verdict"),
    [
        ("True or false: fish swim?", "True", "true", RIGHT),
        ("True or false: fish swim?", "False.", "true", WRONG),
        ("True or false: fish sing?", "That is not true.", "false", RIGHT),
        ("Is it true that fish swim?", "It is true.", "true", RIGHT),
        ("Is it true that fish swim?", "Yes, it is true that they do.", "yes", RIGHT),
        ("Is it true that fish sing?", "No, it is not true.", "no", RIGHT),
        ("Is it true that fish swim?", "Not true", "true", WRONG),
        ("Answer yes or no: do fish swim?", "Yes", "yes", RIGHT),
        ("Answer yes or no: do fish swim?", "No", "yes", WRONG),
    ],
)
def test_what_the_question_offers_is_an_answer(
    asked: str, text: str, gold: str, verdict: Verdict
) -> None:
    judged = alias.judge(respond(text, gold, asked=asked))
    assert judged.verdict is verdict, judged.reason


def test_an_alias_outside_of_the_first_sentence_is_the_answer() -> None:
    judged = alias.judge(respond("A good one to ask! Many wonder. It is Paris.", "Paris"))
    assert judged.verdict is RIGHT
    assert "A good one to ask! Many wonder. It is Paris."[slice(*judged.answer or ())] == "Paris"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Jupiter is larger than Mars.", RIGHT),
        ("Mars is larger than Jupiter.", WRONG),
        ("Not Mars but Jupiter.", RIGHT),
        ("Jupiter", RIGHT),
        ("Mars", WRONG),
    ],
)
def test_the_first_named_of_two_offered_options_counts(text: str, verdict: Verdict) -> None:
    judged = alias.judge(respond(text, "Jupiter", asked="Which is larger, Jupiter or Mars?"))
    assert judged.verdict is verdict, judged.reason


def test_the_question_names_its_judge() -> None:
    question = respond("Paris", "Paris").question
    assert judges.judge_of(question) is alias.judge
    with pytest.raises(HlensError, match="unknown judge 'allias'; did you mean 'alias'"):
        judges.judge([respond("Paris", "Paris", judge="allias")])
    always = judges.judge([respond("x", "y")], lambda r: alias.judge(respond("y", "y")))
    assert always[0].verdict is RIGHT


@pytest.mark.parametrize("name", judges.names())
def test_a_judge_leaves_an_empty_response_unscored_and_repeats_itself(name: str) -> None:
    question = Question("q", "test", "Which?", ("8",), ("8", "9"))
    judge = judges.named(name)
    empty = judge(Response(question, "", (), 0))
    assert empty.verdict is UNSCORED, f"judges/{name}.py must leave an empty response unscored"
    for text in ("8", "It is 8.", "9", "I don't know.", "Hm?"):
        response = Response(question, text, (), 0)
        judged = judge(response)
        assert judged == judge(response)
        assert judged.response is response
        assert judged.reason, f"judges/{name}.py must give a reason"
        start, stop = judged.answer or (0, len(text))
        assert 0 <= start < stop <= len(text), f"judges/{name}.py: answer is not within the text"


ANIMALS = ("ant", "bat", "fruit bat", "C++")
CHOICES = [
    # response, verdict where "bat" (B) is right
    ("B", RIGHT),
    ("b.", RIGHT),
    ("(B)", RIGHT),
    ("B) bat", RIGHT),
    ("**B**", RIGHT),
    ("The answer is B.", RIGHT),
    ("The correct option is (B) because bats fly", RIGHT),
    ("A bat", RIGHT),
    ("Option B", RIGHT),
    ("Option C", WRONG),
    ("The answer is B because bats fly", RIGHT),
    ("The answer is A bat", RIGHT),
    ("B\nExplanation: bats fly.", RIGHT),
    ("It is the bat, not the ant.", RIGHT),
    ("BAT!", RIGHT),
    ("A", WRONG),
    ("C", WRONG),
    ("fruit bat", WRONG),
    ("C++", WRONG),
    ("C) fruit bat", WRONG),
    ("It is not the bat", WRONG),
    ("a moth", WRONG),
    ("B) ant", UNSCORED),
    ("bat or ant", UNSCORED),
    ("I don't know", REFUSED),
    ("", UNSCORED),
]


@pytest.mark.parametrize(("text", "verdict"), CHOICES)
def test_choices_by_letter_and_text(text: str, verdict: Verdict) -> None:
    question = Question("q", "test", "Which flies?", ("bat",), ANIMALS, meta={"answer_index": 1})
    judged = choice.judge(Response(question, text, (), 0))
    assert judged.verdict is verdict, judged.reason


def test_a_response_without_an_option_is_unscored_where_options_were_shown() -> None:
    meta = {"answer_index": 1, "options_in_question": True}
    question = Question("q", "test", "Which flies?", ("bat",), ANIMALS, meta=meta)
    assert choice.judge(Response(question, "a moth", (), 0)).verdict is UNSCORED
    with pytest.raises(HlensError, match="no right option among 0"):
        choice.judge(respond("B", "bat"))


def test_choices_by_likelihood() -> None:
    question = Question("q", "test", "Which flies?", ("bat",), ANIMALS, meta={"answer_index": 1})
    response = Response(question, "A", (), 0)
    for scores, verdict in [
        ([-3.0, -1.0, -2.0, -9.0], RIGHT),
        ([-1.0, -3.0, -2.0, -9.0], WRONG),
        ([-1.0, -1.0, -2.0, -9.0], UNSCORED),
    ]:
        assert choice.by_logprob(lambda q, s=scores: s)(response).verdict is verdict
    with pytest.raises(HlensError, match="1 scores for 4 options"):
        choice.by_logprob(lambda q: [0.0])(response)


LABELS = [
    (("yes", "no"), "yes", "Yes, it does.", RIGHT),
    (("yes", "no"), "yes", "No.", WRONG),
    (("yes", "no"), "no", "There is no vulnerability, yes.", RIGHT),
    (("yes", "no"), "no", "Yes or no?", UNSCORED),
    (("yes", "no"), "no", "It depends.", UNSCORED),
    (("yes", "no"), "no", "I can't say", REFUSED),
    (("yes", "no"), "no", "", UNSCORED),
    (("wrong", "not wrong"), "not wrong", "not wrong", RIGHT),
    (("wrong", "not wrong"), "wrong", "not wrong", WRONG),
    (("wrong", "not wrong"), "wrong", "It isn't wrong.", WRONG),
    (("wrong", "not wrong"), "wrong", "Wrong", RIGHT),
    (("wrong", "not wrong"), "not wrong", "There is nothing wrong with it.", RIGHT),
    (("good", "neutral", "bad"), "bad", "This is not good, it is bad.", RIGHT),
    (("UCC", "Common Law"), "Common Law", "common law", RIGHT),
]


@pytest.mark.parametrize(("labels", "gold", "text", "verdict"), LABELS)
def test_the_first_label_counts(labels: tuple, gold: str, text: str, verdict: Verdict) -> None:
    question = Question("q", "test", "Is it?", (gold,), labels)
    judged = label.judge(Response(question, text, (), 0))
    assert judged.verdict is verdict, judged.reason
    with pytest.raises(HlensError, match="has no labels"):
        label.judge(respond("yes", "yes"))
    with pytest.raises(HlensError, match="is none of its choices"):
        label.judge(Response(Question("q", "test", "Is it?", ("perhaps",), labels), "x", (), 0))


NUMBERS = [
    ("60.94", "60.94", "What?", RIGHT),
    ("61.0", "60.94", "What?", RIGHT),
    ("62", "60.94", "What?", WRONG),
    ("$1,577", "$1577.00", "What?", RIGHT),
    ("1.577 billion", "1577000000", "How much?", RIGHT),
    ("1,577 million", "1577", "How much in USD millions?", RIGHT),
    ("1,577 million", "1577", "How much?", WRONG),
    ("-5", "5", "What?", WRONG),
    ("(5)", "-5", "What?", RIGHT),
    ("−5%", "-0.05", "What?", RIGHT),
    ("0.05", "5%", "What?", RIGHT),
    ("5 percent", "5%", "What?", RIGHT),
    ("In 2018 it was 7", "7", "What was it in 2018?", RIGHT),
    ("2018", "2018", "Which came first, 2018 or 2019?", RIGHT),
    ("eight", "8", "How many?", RIGHT),
    ("828 m", "828", "How tall is it, in metres?", RIGHT),
    ("$5m", "5000000", "How much?", RIGHT),
    ("First 3, then 8", "8", "How many?", WRONG),
    ("0", "0", "What?", RIGHT),
    ("unknown", "8", "How many?", REFUSED),
    ("many", "8", "How many?", UNSCORED),
    ("", "8", "How many?", UNSCORED),
]


@pytest.mark.parametrize(("text", "gold", "asked", "verdict"), NUMBERS)
def test_numbers_within_tolerance(text: str, gold: str, asked: str, verdict: Verdict) -> None:
    judged = numeric.judge(respond(text, gold, asked=asked))
    assert judged.verdict is verdict, judged.reason


IN_WORDS = [
    ("twelve hundred thousand", 1_200_000),
    ("Two hundred and five thousand three hundred", 205_300),
    ("two hundred and five thousand, three hundred and one", 205_301),
    ("One million, two hundred thousand and six", 1_200_006),
    ("nine hundred ninety-nine trillion one", 999_000_000_000_001),
    ("two thousand million", 2_000_000_000),
    ("a hundred thousand people", 100_000),
    ("about a million", 1_000_000),
    ("half a million", 500_000),
    ("half a hundred", 50),
    ("two and a half million", 2_500_000),
    ("three point one four", 3.14),
    ("one point oh five billion", 1_050_000_000),
    ("minus two hundred", -200),
    ("seventy-five percent", 75),
    ("5 hundred thousand", 500_000),
    ("two dozen", 24),
    ("two x 10^6", 2_000_000),
    ("three lakh fifty thousand", 350_000),
    ("nineteen ninety-nine", 1999),
    ("nineteen hundred", 1900),
    ("nineteen hundred and five", 1905),
    ("nineteen oh five", 1905),
    ("ten sixty-six", 1066),
    ("twenty twenty", 2020),
    ("twenty-one hundred", 2100),
    ("two thousand and five", 2005),
    # Two numbers, of which the first counts.
    ("ten-fifteen people", 10),
    ("two thousand, three thousand or four", 2000),
    ("in two thousand, five of them", 2000),
    ("between one hundred and two thousand", 100),
    ("two hundred and three hundred", 200),
    ("twenty twenty thousand", 20),
    ("five six", 5),
    ("two dozen five-star hotels", 24),
    ("one in a million", 1),
]


@pytest.mark.parametrize(("text", "number"), IN_WORDS)
def test_numbers_in_words(text: str, number: float) -> None:
    exact = numeric.within(1e-15)
    assert exact(respond(text, f"{number}")).verdict is RIGHT
    assert exact(respond(f"{number}", text)).verdict is RIGHT
    assert exact(respond(text, f"{number + 1}")).verdict is WRONG


SPELLED = """
one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen
twenty thirty forty fifty sixty seventy eighty ninety"""
UNITS, TENS = SPELLED.split()[:19], SPELLED.split()[19:]


def spell(number: int, joint: str) -> str:
    """A whole number in English words."""
    for size, name in ((10**9, " billion"), (10**6, " million"), (1000, " thousand")):
        if number >= size:
            rest = spell(number % size, joint) if number % size else ""
            return f"{spell(number // size, joint)}{name} {rest}".strip()
    if number >= 100:
        rest = joint + spell(number % 100, joint) if number % 100 else ""
        return f"{UNITS[number // 100 - 1]} hundred{rest}"
    if number < 20:
        return UNITS[number - 1]
    return TENS[number // 10 - 2] + (f"-{UNITS[number % 10 - 1]}" if number % 10 else "")


def test_numbers_are_read_as_they_are_spelled() -> None:
    draw = random.Random(0)
    for _ in range(500):
        number = int(10 ** draw.uniform(0, 12))
        text = spell(number, draw.choice((" ", " and ")))
        judged = numeric.within(1e-15)(respond(f"It was {text}.", str(number)))
        assert judged.verdict is RIGHT, (number, text, judged.reason)
        start, stop = judged.answer or (0, 0)
        assert judged.response.text[start:stop] == text


def test_a_long_list_of_number_words_takes_no_time() -> None:
    begun = time.monotonic()
    numeric.judge(respond("one and a " * 20_000, "7"))
    numeric.judge(respond("one " * 20_000, "7"))
    assert time.monotonic() - begun < 10


def test_the_tolerance_can_be_set() -> None:
    assert numeric.within(0.2)(respond("90", "100")).verdict is RIGHT
    assert numeric.judge(respond("90", "100", tolerance=0.2)).verdict is RIGHT
    assert numeric.within(0.0)(respond("100.5", "100")).verdict is WRONG
    with pytest.raises(HlensError, match=r"tolerance=2\.0"):
        numeric.within(2.0)
    with pytest.raises(HlensError, match="no number among its answers"):
        numeric.judge(respond("8", "many"))


# --- What is no answer ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("How can I help you today?", "no attempt: offers help"),
        ("I'm ready to assist you. What would you like to know", "no attempt: offers help"),
        ("The capital of France is", "no attempt: repeats the question"),
        ("What is the capital of France?", "no attempt: asks back"),
        ("From which country is that capital?", "no attempt: asks back"),
        ("Include only the country name.", "no attempt: repeats the instruction"),
        ("To find the capital, we need to look at a map.", "no attempt: talks about explaining"),
        ("My purpose is to be of use.", "no attempt: talks about itself"),
        ("[city name]", "no attempt: only a placeholder"),
        ("The answer", "no attempt: repeats the question"),
        ("Here are some capitals:", "no attempt: talks about explaining"),
    ],
)
def test_what_attempts_no_answer_is_unscored(text: str, reason: str) -> None:
    judged = alias.judge(respond(text, "Paris", asked="What is the capital of France?"))
    assert (judged.verdict, judged.reason) == (Verdict.UNSCORED, reason)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("The capital of France is", Verdict.UNSCORED),
        ("The capital of France is the city of", Verdict.UNSCORED),
        ("Lyon.", Verdict.HALLUCINATED),
        ("The capital of France is Lyon.", Verdict.HALLUCINATED),
        ("Lyon, which lies on the", Verdict.HALLUCINATED),
        ('It is called "Lyon" by those who', Verdict.HALLUCINATED),
        ("The capital of France is Paris, which", Verdict.CORRECT),
        ("It is Paris, while the capital of", Verdict.UNSCORED),
    ],
)
def test_a_reply_that_was_cut_counts_where_its_answer_was_whole(
    text: str, verdict: Verdict
) -> None:
    whole = respond(text, "Paris", asked="What is the capital of France?")
    assert alias.judge(replace(whole, finish_reason="length")).verdict is verdict


@pytest.mark.parametrize(
    "text",
    ["I Want to Hold Your Hand", "use after free", "SELECT", "My Name Is Red", "Venus", "1. Lyon"],
)
def test_titles_and_terms_are_answers(text: str) -> None:
    assert alias.judge(respond(text, "Paris")).verdict is Verdict.HALLUCINATED


def test_a_label_or_an_option_that_is_named_is_an_answer_whatever_follows() -> None:
    asked = Question(
        "q", "d", "Is the Moon larger? Answer yes or no.", ("no",), ("yes", "no"),
        meta={"format": "label", "judge": "label", "options_in_question": True},
    )  # fmt: skip
    cut = Response(asked, "Yes, the Moon is larger than", (), 0, finish_reason="length")
    assert judges.judge([cut])[0].verdict is Verdict.HALLUCINATED
    options = ("Treaty of Paris", "Peace of Westphalia")
    asked = Question(
        "q", "d", "Which treaty?\nA. Treaty of Paris\nB. Peace of Westphalia", options[:1], options,
        meta={"format": "mcq", "judge": "choice", "answer_index": 0, "options_in_question": True},
    )  # fmt: skip
    picked = Response(asked, "B. Peace of Westphalia", (), 0)
    assert judges.judge([picked])[0].verdict is Verdict.HALLUCINATED


RESTATED = [
    ("The comparative form of thick is {}.", "{}"),
    ("{} is the comparative form of thick.", "{}"),
    ('"{}" is the comparative form of "thick".', "{}"),
    ("What is the comparative form of thick? {}.", "{}"),
    ("What is the comparative form of thick?\n\nIt is {}.", "{}"),
    ("You asked: what is the comparative form of thick? It is {}.", "{}"),
    ("The question is what is the comparative form of thick. It is {}.", "{}"),
]


@pytest.mark.parametrize(("form", "span"), RESTATED)
def test_a_restated_question_has_one_span_whatever_the_label(form: str, span: str) -> None:
    question = Question("1", "general", 'What is the comparative form of "thick"?', ("thicker",))
    for word, verdict in (("thicker", Verdict.CORRECT), ("thinner", Verdict.HALLUCINATED)):
        text = form.format(word)
        judged = alias.judge(Response(question, text, (), 0))
        assert (judged.verdict, judged.answer is None) == (verdict, False)
        assert text[slice(*judged.answer)] == span.format(word)
    echo = form.format("thick")
    if not form.startswith(("What", "You", "The question")):
        assert alias.judge(Response(question, echo, (), 0)).verdict is Verdict.UNSCORED
