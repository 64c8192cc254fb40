"""The predicted videos of an evaluation as files, so that a killed one goes on where it stopped.

`predictions.json` says what they were made with, and a folder made with anything else is refused.
Every video has a record beside it: words, seed, given frames, and its checksum (`kept.py`).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.evaluate.kept import KeptVideos, Wanted
from aid.evaluate.questions import Question
from aid.video import whole_file

Given = UInt8[np.ndarray, "..."]
Video = UInt8[np.ndarray, "_ _ _ 3"]
Predict = Callable[..., list[Video]]
"""(given frames, instructions, seeds, frames per second) -> a video for each.

Given is one frame `H W 3`, or `k H W 3` where k frames are given. A fifth argument are the states
of each video, where recorded ones are to be told.
"""


class Predictions:
    """Predictions below one folder, a sub-folder for each set.

    Args:
        folder: made if it does not exist.
        made_with: plain JSON values that say what the videos come from: model, sampler, seed.
        num_given_frames: how many frames of the real video the model is given.
        with_states: whether it is told the states that were recorded with the rows.

    Raises:
        ValueError: the folder holds predictions that were made with something else.
    """

    def __init__(
        self,
        folder: Path,
        made_with: dict[str, Any],
        num_given_frames: int = 1,
        with_states: bool = False,
    ) -> None:
        self.folder, self.num_given_frames = folder, num_given_frames
        self.with_states = with_states
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
        return self._kept(name).path(_file_name(question, mode))

    def has(self, name: str, question: Question, mode: str) -> bool:
        """Whether some process has made it, from the same words, seed, rate, frame and states."""
        known = self._known(question, mode)
        if self.num_given_frames == 1:
            known["given"] = question.real.first_frame
        return self._kept(name).has(_file_name(question, mode), **known)

    def of_batch(
        self, name: str, predict: Predict, batch: Sequence[Question], real: list[Video], mode: str
    ) -> list[Video]:
        """The videos of a batch; those that are not there yet are made in one call of `predict`.

        A kept one that is damaged is named in a warning and made again.

        Args:
            name: of the set; becomes a folder.
            predict: draws videos.
            batch: the questions.
            real: their real videos, which give the first frames.
            mode: which of the instructions is told.

        Raises:
            ValueError: `predict` returns another number of videos, or another size.
        """
        number = self.num_given_frames
        given = [video[0] if number == 1 else video[:number] for video in real]
        wanted = [
            Wanted(
                name=_file_name(question, mode),
                made_from=self._known(question, mode)
                | {"given": hashlib.sha256(frames.tobytes()).hexdigest()[:32]},
                fps=question.real.fps,
                row_id=question.row.id,
            )
            for question, frames in zip(batch, given, strict=True)
        ]  # fmt: skip

        def make(places: list[int]) -> list[Video]:
            asked = [wanted[n].made_from for n in places]
            told, seeds, fps = ([one[key] for one in asked] for key in ("told", "seed", "fps"))
            states = [[one["states"] for one in asked]] if self.with_states else []
            made = predict([given[n] for n in places], told, seeds, fps, *states)
            if len(made) != len(places):
                raise ValueError(
                    f"predict must return a video for each frame, {len(places)}, got {len(made)}."
                )
            for n, video in zip(places, made, strict=True):
                if video.shape[1:] != real[n].shape[1:]:
                    (height, width), (h, w) = video.shape[1:3], real[n].shape[1:3]
                    raise ValueError(
                        f"predict returned a video of {width}x{height} pixels, but its given frame "
                        f"is {w}x{h}. Predict at the size of the given frames."
                    )
            return made

        return self._kept(name).ensure(wanted, make)

    def _known(self, question: Question, mode: str) -> dict[str, Any]:
        """What a video is made from besides the given frames."""
        states = {"states": question.states(mode)} if self.with_states else {}
        told, fps = question.told[mode], question.real.fps
        return {"told": told, "seed": question.seed, "fps": fps, **states}

    def _kept(self, name: str) -> KeptVideos:
        return KeptVideos(self.folder / name)


def _file_name(question: Question, mode: str) -> str:
    words = f"{question.seed} {question.told[mode]}".encode()
    return f"{question.real.name}-{hashlib.sha256(words).hexdigest()[:8]}"
