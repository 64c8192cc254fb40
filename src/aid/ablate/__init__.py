"""The paper's two ablation tables from one command: eleven rows are trained, predicted and scored.

Called by `aid ablate`. Every step is a public command, so a row can be repeated by hand. Each step
continues after a kill, and so does the whole ablation.
"""

from aid.ablate.run import ablate

__all__ = ["ablate"]
