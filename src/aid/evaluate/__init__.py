"""Scores predictions against real videos of any data set, and writes a score card.

The command line calls it with any `predict` callable: a model, a baseline, another program.
`predict` gets the given frames and an instruction of every row; its video is compared with the real
one, next to trivial videos, which need no model. If the rows are of a world with a judge
(`aid.worlds`), the judge also reads what every video shows.
"""

from aid.evaluate.card import ScoreCard
from aid.evaluate.cases import MODES, can_shuffle, check_modes
from aid.evaluate.judge import Judge, Scores, Verdict
from aid.evaluate.predictions import ENCODED
from aid.evaluate.ranks import Ranks
from aid.evaluate.real import FrameSettings, mean_of
from aid.evaluate.run import COPIED, REAL, TEXTLESS, evaluate

__all__ = [
    "COPIED", "ENCODED", "MODES", "REAL", "TEXTLESS", "FrameSettings", "Judge", "Ranks",
    "ScoreCard", "Scores", "Verdict", "can_shuffle", "check_modes", "evaluate", "mean_of",
]  # fmt: skip
