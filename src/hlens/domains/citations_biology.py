"""References to well-known papers. Biology and medicine: genes, cells, methods, evolution, trials.

Each answer is a reference, judged field by field; see `hlens.judges.citation`. The papers exist;
the rows, bare facts of each, were written for hlens and are in `references/biology.jsonl`.
"""

from hlens.domains._references import reference_questions

DISPLAY = "citations in biology"

questions = reference_questions("biology")
