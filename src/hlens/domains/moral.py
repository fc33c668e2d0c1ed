"""Moral reasoning: judgements on which there is broad agreement, virtues, vices, theories.

Written for hlens; the rows are in `banks/moral.jsonl`.
"""

from hlens.domains._bank import bank_questions

questions = bank_questions("moral")
