"""Verb 1: videos and instructions -> a cache of latents, tokens and states, all encoded once.

`run` is the flow; `videos`, `first_frames` and `text` make the three kinds of shards.
"""

from aid.prepare.job import Job
from aid.prepare.ranks import help_out, joined
from aid.prepare.run import Prepared, prepare

__all__ = ["Job", "Prepared", "help_out", "joined", "prepare"]
