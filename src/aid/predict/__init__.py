"""Predicts the video that follows a frame and an instruction.

`Predictor` is the left column of the figure in docs/architecture.md. The command line, the demo and
the evaluation use it.
"""

from aid.predict.loading import find_backbone, find_checkpoint, find_model, state_writer_of
from aid.predict.predictor import Prediction, Predictor

__all__ = [
    "Prediction",
    "Predictor",
    "find_backbone",
    "find_checkpoint",
    "find_model",
    "state_writer_of",
]
