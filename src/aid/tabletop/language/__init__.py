"""The table-top's language, without physics or pixels.

`tasks` names what can be asked and the states of its videos, `wordings` has the sentences of the
data sets, `lexicon` the words of free speech, and `understanding` finds the task in a sentence that
somebody says.
"""

from aid.tabletop.language.tasks import (
    COLOURS,
    CONTAINERS,
    DIRECTIONS,
    FAMILIES,
    NAMING_WORDS,
    OBJECTS,
    Task,
    every_task,
    states,
)
from aid.tabletop.language.understanding import NotUnderstood, Understanding, understand
from aid.tabletop.language.wordings import GROUPS, Group, instructions, sentences, vocabulary

__all__ = [
    "COLOURS",
    "CONTAINERS",
    "DIRECTIONS",
    "FAMILIES",
    "GROUPS",
    "NAMING_WORDS",
    "OBJECTS",
    "Group",
    "NotUnderstood",
    "Task",
    "Understanding",
    "every_task",
    "instructions",
    "sentences",
    "states",
    "understand",
    "vocabulary",
]
