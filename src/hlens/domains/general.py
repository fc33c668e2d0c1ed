"""General knowledge: places, people, arts, history, language, everyday things.

Written for hlens; the rows are in `banks/general.jsonl`.
"""

from hlens.domains._bank import bank_questions

DISPLAY = "general knowledge"

questions = bank_questions("general")
