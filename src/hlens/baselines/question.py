"""The question alone: how hard it looks, before any answer is given.

The classifier of `hlens.baselines.text` on the question's words. Needs nothing beside the text. A
detector that does no better may know which questions are hard and nothing of the answer. It
misleads where all samples of a question have one label (consistency filtering): the question is
then enough for a high AUROC.
"""

from hlens.baselines._learning import text_score
from hlens.baselines._rival import Rival

DISPLAY = "words of the question"

rival = Rival(
    "question",
    frozenset({"text"}),
    text_score(lambda evidence: evidence.questions),
    learns=True,
    says="words of the question alone",
)
