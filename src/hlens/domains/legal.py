"""Law: courts and procedure, crimes, US amendments and cases, Latin terms, law's history.

Written for hlens; the rows are in `banks/legal.jsonl`.
"""

from hlens.domains._bank import bank_questions

questions = bank_questions("legal")
