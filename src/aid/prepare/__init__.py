"""Videos and instructions -> a cache of latents and tokens, all encoded once.

`run` is the flow; `videos`, `first_frames` and `text` make the three kinds of shards.
"""

from aid.prepare.encoding import EncodingJob
from aid.prepare.processes import process_group, work_for_rank_0
from aid.prepare.run import Prepared, prepare

__all__ = ["EncodingJob", "Prepared", "prepare", "process_group", "work_for_rank_0"]
