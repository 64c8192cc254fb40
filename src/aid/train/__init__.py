"""From a cache to a checkpoint: trains the DQFormer, the adapters and cross-attention.

`training` builds and runs; `batches` is the input of a step, `checking` the checks on unseen
videos. The loop itself is `optim.fit`.
"""

from aid.train.batches import conditions_of, empty_text
from aid.train.hard_examples import other_instruction
from aid.train.training import model_of, train

__all__ = ["conditions_of", "empty_text", "model_of", "other_instruction", "train"]
