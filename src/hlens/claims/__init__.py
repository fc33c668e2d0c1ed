"""What may be said of a study: six claims, the rule of each, and the sentence that follows.

Problem: a report, a terminal and an audit that each judge a number by thresholds of their own say
different things of one study.

Idea: whatever says that something holds asks the rules of this package. `collect_findings` reads
the numbers out of the tables at hand, `decide` gives the claims with their verdicts, and
`describe_claim` puts one into a sentence. A claim of which some numbers were not measured yet is
not tested, or, where one of its conditions fails already, not supported.
"""

from hlens.claims.findings import Findings as Findings
from hlens.claims.findings import collect_findings as collect_findings
from hlens.claims.rules import decide as decide
from hlens.claims.sentences import describe_claim as describe_claim
from hlens.claims.sentences import describe_drop as describe_drop
from hlens.claims.sentences import describe_gain as describe_gain
