"""The question alone: how hard it looks, before any answer is given.

The classifier of `hlens.baselines.text` on the question's words. Needs nothing beside the text. A
detector that does no better may know which questions are hard and nothing of the answer; where all
samples of a question have one label (consistency filtering), that is enough for a high AUROC.
"""

from hlens.baselines._learning import text_score
from hlens.baselines._rival import Rival

rival = Rival(
    "question",
    frozenset({"text"}),
    text_score(lambda evidence: evidence.questions),
    learns=True,
    says="words of the question alone",
)
