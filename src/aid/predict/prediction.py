"""What a prediction is and how it becomes a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from aid.config import SamplerConfig
from aid.video import contact_sheet, write_gif, write_mp4, write_png

SUFFIXES = (".mp4", ".gif", ".png")
Video = UInt8[np.ndarray, "f H W 3"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The videos of one frame and one instruction, and what made them.

    `videos` are uint8 in [0, 255]; video i was drawn with seed + i. `state_writer` names who said
    the states, "caller" if they were given. `fps` is frames per second. `given` are the given
    frames as the model read them; a contact sheet shows them above the videos if there are several.
    """

    videos: list[Video]
    given: UInt8[np.ndarray, "k H W 3"]
    instruction: str | None
    states: list[str]
    state_writer: str
    seed: int
    sampler: SamplerConfig
    fps: float

    @property
    def frames(self) -> Video:
        """The first video."""
        return self.videos[0]

    def save(self, path: Path | str) -> list[Path]:
        """Writes an .mp4, .gif or .png (contact sheet); several videos get numbered files.

        Raises:
            ValueError: the suffix is none of these, or the folder cannot be written to.
        """
        path = Path(path)
        suffix, scale = path.suffix.lower(), max(1, 128 // self.frames.shape[1])
        if suffix not in SUFFIXES:
            raise ValueError(
                f"{str(path)!r} must end in {', '.join(SUFFIXES)}. Try {path.stem}.mp4"
            )
        if suffix == ".png":
            rows = [(self.instruction or "", video) for video in self.videos]
            if len(self.given) > 1:
                rows.insert(0, (f"{len(self.given)} given frames", self.given))
            write_png(path, contact_sheet(rows, scale=scale))
            return [path]
        paths = [path]
        if len(self.videos) > 1:
            paths = [path.with_stem(f"{path.stem}-{i}") for i in range(len(self.videos))]
        for one, video in zip(paths, self.videos, strict=True):
            if suffix == ".mp4":
                write_mp4(one, video, self.fps)
            else:
                write_gif(one, video, self.fps, scale)
        return paths
