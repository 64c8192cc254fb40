"""One module per format, one function each: a folder -> rows. Called by `data.sources` only.

A reader lists the videos of a data set. It opens no video, except for the headers of files that
hold several episodes. Unknown facts of a video (size, rate, length) are 0 in the row;
`data.sources` fills them in from the headers of the selected videos. A reader appends to `notes`
what the user should know beyond the rows.
"""

from collections.abc import Sequence
from typing import Any

from aid.types import VideoRow


def unopened_row(words: Sequence[str] = (), **values: Any) -> VideoRow:
    """A row of a video that was not opened yet: length, rate and size are 0 unless given.

    Args:
        words: descriptions of the video; the first is the instruction. Several are kept as
            wordings, too.
        values: other fields of the row.
    """
    facts: dict[str, Any] = {"num_frames": 0, "fps": 0.0, "height": 0, "width": 0}
    wordings = list(words) if len(words) > 1 else []
    return VideoRow(**facts | {"instruction": next(iter(words), ""), "wordings": wordings} | values)
