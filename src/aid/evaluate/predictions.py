"""The predicted videos of an evaluation as files, so that a killed one goes on where it stopped.

Every video is one lossless file, written whole or not at all; `predictions.json` beside them says
what they were made with, and a folder made with anything else is refused.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.evaluate.questions import Question
from aid.video import read_video, whole_file, write_mp4

Frame = UInt8[np.ndarray, "_ _ 3"]
Video = UInt8[np.ndarray, "_ _ _ 3"]
Predict = Callable[[list[Frame], list[str], list[int]], list[Video]]
"""(first frames, instructions, seeds) -> a video for each."""


class Predictions:
    """Predictions below one folder, a sub-folder for each set.

    Args:
        folder: made if it does not exist.
        made_with: plain JSON values that say what the videos come from: model, sampler, seed.

    Raises:
        ValueError: the folder holds predictions that were made with something else.
    """

    def __init__(self, folder: Path, made_with: dict[str, Any]) -> None:
        self.folder = folder
        note = folder / "predictions.json"
        made_with = json.loads(json.dumps(made_with))
        if note.is_file():
            before = json.loads(note.read_text(encoding="utf-8"))
            names = sorted(made_with.keys() | before.keys())
            if changed := [n for n in names if made_with.get(n) != before.get(n)]:
                raise ValueError(
                    f"{str(folder)!r} holds predictions with {changed[0]} = "
                    f"{before.get(changed[0])!r}, asked is {made_with.get(changed[0])!r}. "
                    "Choose another --out, or delete that folder to predict again."
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(note) as temporary:
            temporary.write_text(json.dumps(made_with, indent=1) + "\n", encoding="utf-8")

    def path(self, name: str, question: Question, mode: str) -> Path:
        """Where the video of one row of one set is, once made; told something else, elsewhere."""
        words = f"{question.seed} {question.told[mode]}".encode()
        told = hashlib.sha256(words).hexdigest()[:8]
        return self.folder / name / f"{question.row.id}-{told}.mp4"

    def of_batch(
        self, name: str, predict: Predict, batch: Sequence[Question], real: list[Video], mode: str
    ) -> list[Video]:
        """The videos of a batch; those that do not exist yet are made in one call of `predict`.

        Args:
            name: of the set; becomes a folder.
            predict: draws videos.
            batch: the questions.
            real: their real videos, which give the first frames.
            mode: which of the instructions is told.

        Raises:
            ValueError: `predict` returns another number of videos.
        """
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        paths = [self.path(name, question, mode) for question in batch]
        missing = [index for index, path in enumerate(paths) if not path.is_file()]
        if missing:
            made = predict(
                [real[index][0] for index in missing],
                [batch[index].told[mode] for index in missing],
                [batch[index].seed for index in missing],
            )
            if len(made) != len(missing):
                raise ValueError(
                    f"predict must return a video for each frame, {len(missing)}, got {len(made)}."
                )
            for index, video in zip(missing, made, strict=True):
                write_mp4(paths[index], video, batch[index].row.fps, lossless=True)
        return [read_video(path) for path in paths]
