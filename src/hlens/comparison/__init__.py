"""Several models in one comparison: each a study of its own, and one report of them all."""

from hlens.comparison.campaign import Campaign as Campaign
from hlens.comparison.collecting import Comparison as Comparison
from hlens.comparison.collecting import compare as compare
from hlens.comparison.page import comparison_page as comparison_page
from hlens.kinds import explain_public

explain_public(globals())
