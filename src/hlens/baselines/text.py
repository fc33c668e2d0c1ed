"""Surface text: what question and answer say, without any look inside the model.

TF-IDF (words, pairs of words, pieces of two to four letters; question and answer apart) and L2
logistic regression, C chosen by group inside the training part (scikit-learn throughout). Needs
nothing beside the text. It learns what kinds of questions are failed and what wrong answers look
like ("the answer is a year"), and so measures what answer type alone reveals: a reading of neurons
that does not beat it may be a reading of the text. It misleads where a domain's answers all look
alike, and it has nothing to read.
"""

from hlens.baselines._learning import text_score
from hlens.baselines._rival import Rival

DISPLAY = "words of question and answer"

rival = Rival(
    "text",
    frozenset({"text"}),
    text_score(lambda evidence: evidence.questions, lambda evidence: evidence.answers),
    learns=True,
    says="words of question and answer",
)
