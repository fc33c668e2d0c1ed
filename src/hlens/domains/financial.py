"""Finance: currencies, markets, accounting, banking, economics and their history.

Written for hlens; the rows are in `banks/financial.jsonl`.
"""

from hlens.domains._bank import bank_questions

questions = bank_questions("financial")
