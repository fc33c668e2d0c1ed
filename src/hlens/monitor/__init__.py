"""Monitor: the risk of a detector, token by token, while the model writes.

Only the detector's own neurons are read. `monitor` writes under watch and stops where a policy says
so; `watching` watches any generation; `risks` reads an answer that is written already, `score` many
of them. `score_prompts` scores where a prompt ends, before a word is written. `recalibrate` takes
thresholds and probabilities from labelled answers; `drift` says whether live answers still look
like those. `risk_above` is a gate for edits:
``model.editing(neurons, edit, when=risk_above(detector, threshold))``.
"""

from hlens.kinds import explain_public
from hlens.monitor.before import score_prompts as score_prompts
from hlens.monitor.drifting import Drift as Drift
from hlens.monitor.drifting import drift as drift
from hlens.monitor.gating import prompt_risk_above as prompt_risk_above
from hlens.monitor.gating import risk_above as risk_above
from hlens.monitor.neurons import measure_answers as measure_answers
from hlens.monitor.policies import Action as Action
from hlens.monitor.policies import Policy as Policy
from hlens.monitor.policies import Risk as Risk
from hlens.monitor.policies import at_probability as at_probability
from hlens.monitor.policies import watch_only as watch_only
from hlens.monitor.recalibrating import check_labels as check_labels
from hlens.monitor.recalibrating import describe_labels as describe_labels
from hlens.monitor.recalibrating import fallback_domains as fallback_domains
from hlens.monitor.recalibrating import in_domain as in_domain
from hlens.monitor.recalibrating import recalibrate as recalibrate
from hlens.monitor.recalibrating import threshold_of as threshold_of
from hlens.monitor.recalibrating import warn_of_another_region as warn_of_another_region
from hlens.monitor.recalibrating import warn_of_fallback as warn_of_fallback
from hlens.monitor.scoring import score as score
from hlens.monitor.streaming import Monitored as Monitored
from hlens.monitor.streaming import monitor as monitor
from hlens.monitor.streaming import risks as risks
from hlens.monitor.tabulating import check_scores_file as check_scores_file
from hlens.monitor.tabulating import is_scores_file as is_scores_file
from hlens.monitor.tabulating import read_scores as read_scores
from hlens.monitor.tabulating import save_scores as save_scores
from hlens.monitor.tabulating import tabulate_scores as tabulate_scores
from hlens.monitor.watching import TokenScores as TokenScores
from hlens.monitor.watching import Watch as Watch
from hlens.monitor.watching import watching as watching

explain_public(globals())
