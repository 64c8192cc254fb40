"""Verb 2: a cache -> trained DQFormer, adapters and cross-attention, as a checkpoint folder.

The loop itself is `optim.fit`; here is what AID's loss is (`batches`), what is checked on unseen
videos (`checking`), and the run (`training`).
"""

from aid.train.batches import conditions_of, empty_text
from aid.train.hard_examples import other_instruction
from aid.train.training import model_of, train

__all__ = ["conditions_of", "empty_text", "model_of", "other_instruction", "train"]
