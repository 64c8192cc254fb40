"""Predictions against the truth, as a score card, for any data set.

Called by the command line with any `predict` callable: a model, a baseline, another program. Of
every row the given frames and an instruction go in; the video that comes out is compared with the
real one, next to trivial videos, which need no model. Where the rows are of a world with a judge
(`aid.worlds`), the judge also reads what every video shows.
"""

from aid.evaluate.baselines import ENCODED, mean_of
from aid.evaluate.card import ScoreCard
from aid.evaluate.judge import Judge, Verdict
from aid.evaluate.questions import MODES, can_shuffle, check_modes
from aid.evaluate.ranks import Ranks
from aid.evaluate.real import FrameSettings
from aid.evaluate.run import COPIED, REAL, TEXTLESS, evaluate

__all__ = [
    "COPIED", "ENCODED", "MODES", "REAL", "TEXTLESS", "FrameSettings", "Judge", "Ranks",
    "ScoreCard", "Verdict", "can_shuffle", "check_modes", "evaluate", "mean_of",
]  # fmt: skip
