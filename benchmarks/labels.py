"""How far the labels hold: the judge beside two readings by hand, by the way of asking.

    python benchmarks/labels.py

The replies and their readings are those of `tests/read_replies.jsonl`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_labels import table

for part in ("fixed on", "reported"):
    print(part, table(part).round(3).to_string(), "", sep="\n")
