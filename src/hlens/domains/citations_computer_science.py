"""References to well-known papers. Computer science: systems, algorithms, cryptography, languages.

Each answer is a reference, judged field by field; see `hlens.judges.citation`. The papers exist;
the rows, bare facts of each, were written for hlens and are in `references/computer_science.jsonl`.
"""

from hlens.domains._references import reference_questions

DISPLAY = "citations in computer science"

questions = reference_questions("computer_science")
