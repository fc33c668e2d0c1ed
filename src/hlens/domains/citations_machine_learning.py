"""References to well-known papers. Machine learning: networks, language models, training.

Each answer is a reference, judged field by field; see `hlens.judges.citation`. The papers exist;
the rows, bare facts of each, were written for hlens and are in `references/machine_learning.jsonl`.
"""

from hlens.domains._references import reference_questions

DISPLAY = "citations in machine learning"

questions = reference_questions("machine_learning")
