"""The predicted videos of an evaluation as files, so that a killed evaluation can continue.

`predictions.json` records the model and the sampler; a folder of another model is refused. Every
video has a record of its instruction, seed, given frames and checksum (`stored.py`).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.evaluate.cases import Case
from aid.evaluate.stored import StoredVideos, VideoRequest
from aid.video import whole_file

Video = UInt8[np.ndarray, "_ _ _ 3"]
Predict = Callable[..., list[Video]]
"""(given frames, instructions, seeds, frames per second) -> a video for each.

The given frames of a video are one frame `H W 3`, or `k H W 3` for k frames. If recorded states are
used, the fifth argument is the list of states of each video.
"""
Autoencode = Callable[[list[Video]], list[Video]]
"""Encodes and decodes videos."""
ENCODED = "encoded and decoded"
"""The real videos through the backbone's autoencoder: the best that the backbone can show."""


class Predictions:
    """Predictions in one folder, with a sub-folder for each set.

    Args:
        folder: made if it does not exist.
        made_with: plain JSON values that identify the videos' origin: model, sampler, seed.
        num_given_frames: number of frames of the real video that the model gets.
        with_states: whether the model gets the states that were recorded with the rows.

    Raises:
        ValueError: the folder holds predictions with another origin.
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
                    f"{before.get(changed[0])!r}, but now it is {made_with.get(changed[0])!r}. "
                    "Choose another --out, or delete that folder to predict again."
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(note) as temporary:
            temporary.write_text(json.dumps(made_with, indent=1) + "\n", encoding="utf-8")

    def path(self, name: str, case: Case, mode: str) -> Path:
        """The file of one case's video in one set; each instruction and seed has its own file."""
        return self._stored(name).path(_file_name(case, mode))

    def has(self, name: str, case: Case, mode: str) -> bool:
        """Whether a process has made it from the same words, seed, rate, frame and states."""
        known = self._known(case, mode)
        if self.num_given_frames == 1:
            known["given"] = case.real.first_frame
        return self._stored(name).has(_file_name(case, mode), **known)

    def of_batch(
        self, name: str, predict: Predict, batch: Sequence[Case], real: list[Video], mode: str
    ) -> list[Video]:
        """The videos of a batch; those that are missing or damaged are made by one `predict` call.

        Args:
            name: of the set; becomes a folder.
            predict: predicts videos.
            batch: the cases.
            real: their real videos, which contain the given frames.
            mode: which of the instructions the model gets.

        Raises:
            ValueError: `predict` returns another number of videos, or another size.
        """
        number = self.num_given_frames
        given = [video[0] if number == 1 else video[:number] for video in real]
        requests = [
            VideoRequest(
                name=_file_name(case, mode),
                made_from=self._known(case, mode) | {"given": _digest(frames)},
                fps=case.real.fps,
                row_id=case.row.id,
            )
            for case, frames in zip(batch, given, strict=True)
        ]

        def make(indices: list[int]) -> list[Video]:
            inputs = [requests[n].made_from for n in indices]
            words, seeds, fps = (
                [one[key] for one in inputs] for key in ("instruction", "seed", "fps")
            )
            states = [[one["states"] for one in inputs]] if self.with_states else []
            made = predict([given[n] for n in indices], words, seeds, fps, *states)
            if len(made) != len(indices):
                raise ValueError(
                    f"predict must return a video for each frame, {len(indices)}, got {len(made)}."
                )
            for n, video in zip(indices, made, strict=True):
                if video.shape[1:] != real[n].shape[1:]:
                    (height, width), (h, w) = video.shape[1:3], real[n].shape[1:3]
                    raise ValueError(
                        f"predict returned a video of {width}x{height} pixels, but its given frame "
                        f"is {w}x{h}. Predict at the size of the given frames."
                    )
            return made

        return self._stored(name).get(requests, make)

    def _known(self, case: Case, mode: str) -> dict[str, Any]:
        """What a video is made from besides the given frames."""
        states = {"states": case.states(mode)} if self.with_states else {}
        words, fps = case.instructions[mode], case.real.fps
        return {"instruction": words, "seed": case.seed, "fps": fps, **states}

    def _stored(self, name: str) -> StoredVideos:
        return StoredVideos(self.folder / name)


def encoded_videos(
    folder: Path, autoencode: Autoencode, batch: Sequence[Case], real: list[Video], backbone: str
) -> list[Video]:
    """The real videos of a batch after encoding and decoding, stored in `folder`.

    Args:
        folder: of the stored files.
        autoencode: encodes and decodes.
        batch: the cases.
        real: their real videos.
        backbone: identifies the autoencoder; videos of another one are made again.
    """
    requests = [
        VideoRequest(
            name=case.real.name,
            made_from={"real": _digest(video), "by": backbone},
            fps=case.real.fps,
            row_id=case.row.id,
        )
        for case, video in zip(batch, real, strict=True)
    ]
    return StoredVideos(folder).get(
        requests, lambda indices: autoencode([real[n] for n in indices])
    )


def _digest(pixels: UInt8[np.ndarray, "..."]) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()[:32]


def _file_name(case: Case, mode: str) -> str:
    words = f"{case.seed} {case.instructions[mode]}".encode()
    return f"{case.real.name}-{hashlib.sha256(words).hexdigest()[:8]}"
