"""The paper's two ablation tables from one command: eleven rows, trained, predicted and scored.

Called by `aid ablate`. Every step is one of the public commands, so a row can be repeated by hand;
each goes on where it stopped, and so does the whole.
"""

from aid.ablate.run import ablate

__all__ = ["ablate"]
