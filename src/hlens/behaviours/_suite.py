"""What a behavioural suite is: questions, how they are put, and a parser that reads the reply.

Most suites are a `single_turn` with a parser of their own; a conversation writes its own `Ask`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hlens.behaviours._graders import LIKELIHOOD, grader_named
from hlens.behaviours._outcome import RULES, Contrast, Outcome
from hlens.errors import HlensError
from hlens.judges import refusal
from hlens.model import Generation, Model, Settings
from hlens.types import Question, Response

ANSWER_ONLY = "Respond with the answer only, without any explanation."
BATCH = 64  # sequences at a time


Ask = Callable[[Model, Sequence[Question], Settings], list[Outcome]]
Parse = Callable[[Response], tuple[bool | None, str]]
# (Question, all questions put) -> a reply that shows the behaviour, and one that does not.
Contrasts = Callable[[Question, Sequence[Question]], tuple[str, str]]


@dataclass(frozen=True)
class Suite:
    """One behaviour and how it is measured; each file of this folder makes one.

    Attributes:
        hit: What a hit is, in words, for tables and figures.
        settings: Decoding.
        ask: Puts the questions to a model and parses the replies.
        measures: What is counted: first the behaviour itself, then what is read beside it.
        labels: What figures call the rate of each measure; empty where it has none.
        needs_chat: It is a conversation of several turns, which needs a chat template.
        needs_modules: It reads likelihoods, which an engine in another process does not give.
    """

    name: str
    hit: str
    settings: Settings
    ask: Ask
    measures: tuple[str, ...]
    labels: tuple[str, ...] = ()
    needs_chat: bool = False
    needs_modules: bool = False


@dataclass(frozen=True)
class Behaviour:
    """A suite with its questions.

    Attributes:
        suite: How they are put, and the rules that grade the replies.
        questions: The questions.
        second: A second grader of the same replies, as `load` names it; empty for none.
    """

    suite: Suite
    questions: tuple[Question, ...]
    second: str = ""

    def __post_init__(self) -> None:
        if self.second:
            grader_named(self.second)  # which says what graders there are

    @property
    def name(self) -> str:
        return self.suite.name

    @property
    def graders(self) -> tuple[str, ...]:
        """Names of its graders, the rules first."""
        return (RULES, self.second) if self.second else (RULES,)

    def check(self, model: Model) -> None:
        """Raise `HlensError` unless these questions can be put to this model."""
        if self.suite.needs_chat and not getattr(model.tokenizer, "chat_template", None):
            raise HlensError(
                f"{self.name} is a conversation of several turns, and {model.name} has no chat "
                "template; use an instruction-tuned model, or leave this behaviour out"
            )
        if self.suite.needs_modules:
            model.need_modules(self.name)
        if self.second == LIKELIHOOD:
            model.need_modules("a grade by likelihood (intervene.second_grader names others)")

    def run(self, model: Model) -> list[Outcome]:
        """Put all questions to the model as it is now, edits included; an outcome a grader."""
        self.check(model)
        outcomes = self.suite.ask(model, self.questions, self.suite.settings)
        if not self.second:
            return outcomes
        return outcomes + grader_named(self.second)(model, outcomes, self.suite.hit)


def texts_in(question: Question, key: str) -> tuple[str, ...]:
    """A text, or several, of a question's meta; a number is taken as it is written.

    Raises:
        HlensError: Something else stands there, or a text is empty.
    """
    given = question.meta.get(key, ())
    several = given if isinstance(given, list | tuple) else [given]
    is_plain = (isinstance(one, str | int | float) and not isinstance(one, bool) for one in several)
    if not all(is_plain) or not all(str(one).strip() for one in several):
        raise HlensError(
            f"question {question.id!r}: meta.{key} is {given!r:.60}; expected a text, or a list of "
            "texts"
        )
    return tuple(map(str, several))


def single_turn(
    name: str,
    parse: Parse,
    *,
    hit: str,
    label: str,
    max_new_tokens: int,
    instruction: str = "",
    contrasts: Contrasts | None = None,
) -> Suite:
    """The suite of one user turn a question, one greedy reply, one outcome.

    `parse` says whether a response is a hit, and why. `hit` and `label` are as in `Suite`; a reply
    is cut at `max_new_tokens`, and `instruction` is put after each question. `contrasts` gives the
    two replies whose likelihoods a second grader compares.
    """

    def ask(model: Model, questions: Sequence[Question], settings: Settings) -> list[Outcome]:
        prompts = [model.encode(user_message(q, instruction)) for q in questions]
        replies = generate_replies(model, prompts, settings)
        outcomes = []
        for question, prompt, reply in zip(questions, prompts, replies, strict=True):
            shown, reason = parse(as_response(question, reply))
            texts = contrasts(question, questions) if contrasts else ("", "")
            contrast = Contrast(question, tuple(prompt), *texts)
            made = make_outcome(
                question, reply, measure=name, hit=shown, reason=reason, contrast=contrast
            )
            outcomes.append(made)
        return outcomes

    return Suite(name, hit, Settings(max_new_tokens, temperature=0.0), ask, (name,), (label,))


def user_message(question: Question, instruction: str) -> str:
    r"""The user's turn: context, question, instruction.

    >>> user_message(Question("1", "d", "Who?", (), context="Once."), "Be brief.")
    'Once.\n\nWho? Be brief.'
    """
    head = f"{question.context}\n\n" if question.context else ""
    joint = "\n" if "\n" in question.text else " "  # after a list of options: its own line
    return f"{head}{question.text}{joint}{instruction}".strip()


def generate_replies(
    model: Model, prompts: Sequence[Sequence[int]], settings: Settings
) -> list[Generation]:
    """Replies in the order of the prompts, generated in batches of like length."""
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    ordered = [prompts[i] for i in order]
    generated = model.generate_many(ordered, settings, batch_size=BATCH, share_beginning=True)
    replies = dict(zip(order, generated, strict=True))
    return [replies[i] for i in range(len(prompts))]


def as_response(question: Question, reply: Generation) -> Response:
    """A reply as what a judge takes."""
    about = {"finish_reason": reply.finish_reason, "thought": reply.thought}
    return Response(question, reply.text, reply.token_ids, 0, **about)


def make_outcome(
    question: Question,
    reply: Generation,
    *,
    measure: str,
    hit: bool | None,
    reason: str,
    applies: bool = True,
    contrast: Contrast | None = None,
) -> Outcome:
    """One outcome of one reply."""
    return Outcome(
        measure=measure,
        question_id=question.id,
        group=question.group,
        hit=hit,
        reason=reason,
        text=reply.text,
        n_tokens=len(reply.token_ids),
        capped=reply.finish_reason == "length",
        refused=refusal(reply.text) is not None,
        applies=applies,
        contrast=contrast,
    )
