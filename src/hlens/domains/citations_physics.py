"""References to well-known papers. Physics: particles, matter, cosmos, chaos and networks.

Each answer is a reference, judged field by field; see `hlens.judges.citation`. The papers exist;
the rows, bare facts of each, were written for hlens and are in `references/physics.jsonl`.
"""

from hlens.domains._references import reference_questions

DISPLAY = "citations in physics"

questions = reference_questions("physics")
