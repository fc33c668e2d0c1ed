"""Science: physics, chemistry, biology, earth, space, mathematics and their history.

Written for hlens; the rows are in `banks/science.jsonl`.
"""

from hlens.domains._bank import bank_questions

questions = bank_questions("science")
