"""References to well-known papers. Economics, psychology, sociology and their statistics.

Each answer is a reference, judged field by field; see `hlens.judges.citation`. The papers exist;
the rows, bare facts of each, were written for hlens and are in `references/social_science.jsonl`.
"""

from hlens.domains._references import reference_questions

DISPLAY = "citations in social science"

questions = reference_questions("social_science")
