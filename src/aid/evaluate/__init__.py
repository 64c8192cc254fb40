"""Verb 4: predictions against what was asked, as a score card.

Called by the command line with any `predict` callable: a model, a baseline, another program. Of
every row the first frame and an instruction go in; the video that comes out is read by its pixels
(`aid.metrics`), next to the real video and the copied first frame, which need no model.
"""

from aid.evaluate.questions import MODES
from aid.evaluate.run import COPIED, REAL, TEXTLESS, evaluate

__all__ = ["COPIED", "MODES", "REAL", "TEXTLESS", "evaluate"]
