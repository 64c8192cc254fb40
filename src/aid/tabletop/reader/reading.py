"""Reads from the pixels of a video where each named item starts and ends, and what is held.

`instruction` judges the reading. The reader gets the names of the items and the camera, but not the
simulator's positions.

The given frame shows each item once and almost completely. Its colour map in that frame is the
template (`matching`) that is searched for in the last frames. Two items of one colour are searched
for together. Positions are in metres on the table (x towards the camera, y to the right).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from aid.tabletop.reader.arm import black_parts, forearm, grip, is_out
from aid.tabletop.reader.camera import Camera
from aid.tabletop.reader.colour import HUES, colour_maps, smooth, table_colour
from aid.tabletop.reader.matching import (
    Blob,
    GainMap,
    best_pair,
    gain_map,
    halves,
    is_still,
    main_part,
    shifted,
)
from aid.tabletop.reader.sighting import MEASURES, Reading, Sighting

WORKING_HEIGHT = 64
"""Larger frames are reduced to this many rows, which is enough for centimetres and much faster."""
NUM_LAST_FRAMES = 2
"""Number of last frames, with everything at rest, from which an item's end is read."""
FOUND = 0.08
"""Least share of a template's energy that must be found; with less the item is lost or hidden."""
STAY_BONUS = 0.10
"""Additional gain of an unmoved item, as a share of its energy, because most items do not move."""
MISSING = 0.45
"""Least share of a template that is visibly missing for an item to be lost instead of hidden."""
HIDDEN_MARGIN = 2
"""Pixels around other items in which a missing colour does not count."""
TINT = (0.8, 1.25)
"""Least and largest factor of a channel that restores the table's colour."""
GRIP = 14.0
"""Fewest black pixels directly above an item in the gripper; a lift has 20 and more."""
HELD_RISE = 3
"""Least rise of a held item, in pixels."""


class OutcomeReader:
    """Reads videos that begin with one given frame."""

    def __init__(
        self,
        given_frame: UInt8[np.ndarray, "H W 3"],
        names: Sequence[str],
        camera: dict[str, Any],
    ):
        """Finds the items in the given frame.

        Args:
            given_frame: the first frame, as given to the model.
            names: the items that it shows, such as "red block"; at most two of one colour.
            camera: position, rotation and fovy (`camera_world` in the manifest).

        Raises:
            ValueError: a name has an unknown colour or shape, or an item cannot be seen.
        """
        self.names = list(names)
        _check_names(self.names)
        self._size = given_frame.shape[:2]
        frame = working_size(given_frame[None])[0]
        self.camera = Camera.from_world(camera, *frame.shape[:2])
        self._table = table_colour(frame)
        self._hues = {colour: HUES[colour] for colour in _colours(self.names)}
        maps = colour_maps(frame, self._hues, self._table)
        self._at_home = black_parts(frame, maps, self._table)
        self.blobs = self._find_blobs(maps)

    def read(self, frames: UInt8[np.ndarray, "f H W 3"]) -> Reading:
        """Where the items end in a video.

        Raises:
            ValueError: the video's frames are not of the given frame's size.
        """
        if frames.shape[1:3] != self._size:
            (height, width), (h, w) = self._size, frames.shape[1:3]
            raise ValueError(
                f"the video is {w}x{h} pixels, but its given frame {width}x{height}. "
                "Predict at the size of the data set's videos."
            )
        views = [self._view(frame) for frame in working_size(frames[-NUM_LAST_FRAMES:])]
        offsets = {}
        for colour in self._hues:
            offsets |= self._follow(colour, views)
        items = {name: self._sighting(name, *offsets[name], views[-1]) for name in self.names}
        return Reading(items=items, camera=self.camera)

    def _find_blobs(self, maps: dict[str, np.ndarray]) -> dict[str, Blob]:
        blobs = {}
        for colour, weights in maps.items():
            names = [name for name in self.names if name.split()[0] == colour]
            weights = main_part(weights, len(names))
            if (weights > 0.5).sum() < 8 * len(names):
                raise ValueError(
                    f"the first frame does not show {' and '.join(names)}. Check the frame and the "
                    "names of its items."
                )
            if len(names) == 1:
                blobs[names[0]] = Blob(map=weights)
                continue
            # The larger blob is the larger shape, and MEASURES lists the larger first.
            names.sort(key=lambda name: list(MEASURES).index(name.split()[1]))
            blobs |= dict(zip(names, halves(weights), strict=True))
        return blobs

    def _view(self, frame: Float[np.ndarray, "H W 3"]) -> "_View":
        # A decoder may tint the whole frame; the table's colour shows by how much.
        tint = np.clip(self._table / np.maximum(table_colour(frame), 0.05), *TINT)
        frame = np.minimum(frame * tint, 1)
        maps = colour_maps(frame, self._hues, self._table)
        black = black_parts(frame, maps, self._table)
        gripper = main_part(np.maximum(black - self._at_home, 0), 1)
        arm = np.maximum(black, forearm(self._at_home, gripper))
        return _View(maps=maps, black=black, arm=arm, is_arm_out=is_out(self._at_home, black))

    def _follow(self, colour: str, views: list["_View"]) -> dict[str, tuple]:
        """The offset of each item of a colour (None if lost), and the quality of the match."""
        names = [name for name in self.names if name.split()[0] == colour]
        weights = np.mean([view.maps[colour] for view in views], 0)
        visible = np.mean([view.visible(colour) for view in views], 0)
        gains = [gain_map(self.blobs[name], weights, visible) for name in names]
        if len(names) == 1:
            choice = [self._best(self.blobs[names[0]], gains[0])]
        else:
            choice = best_pair(
                [self.blobs[name] for name in names],
                [gain.peaks(8) for gain in gains],
                weights,
                visible,
                STAY_BONUS,
            )
        return {
            name: self._judge(self.blobs[name], gain, *chosen, visible)
            for name, gain, chosen in zip(names, gains, choice, strict=True)
        }

    def _best(self, blob: Blob, gain: GainMap) -> tuple[tuple[int, int], float]:
        offset = gain.peaks(1)[0]
        if not is_still(offset) and gain.at(offset) < gain.at((0, 0)) + STAY_BONUS * blob.energy:
            offset = (0, 0)
        return offset, gain.at(offset)

    def _judge(
        self, blob: Blob, gain: GainMap, offset: tuple[int, int], worth: float, visible: np.ndarray
    ) -> tuple[np.ndarray | None, float]:
        """The exact offset, or None if the item is lost, and the quality of the match."""
        quality = worth / blob.energy
        if quality >= FOUND:
            return gain.refined(offset), quality
        seen = float((visible * blob.map**2).sum())
        missing = (seen - gain.at((0, 0))) / blob.energy
        # An item whose first position is hidden counts as unmoved.
        return (np.zeros(2) if missing < MISSING else None), quality

    def _sighting(
        self, name: str, offset: np.ndarray | None, quality: float, view: "_View"
    ) -> Sighting:
        blob, measures = self.blobs[name], MEASURES[name.split()[1]]
        start = blob.centre
        middle = measures.sight_height
        if offset is None:
            end_pixel, end, is_gripped = None, None, False
        else:
            is_gripped = view.is_arm_out and grip(blob, offset, view.black) >= GRIP
            end_pixel = tuple(map(float, start + offset))
            end = tuple(map(float, self.camera.place(start + offset, middle)))
        return Sighting(
            name=name,
            start_pixel=tuple(map(float, start)),
            end_pixel=end_pixel,
            start=tuple(map(float, self.camera.place(start, middle))),
            end=end,
            is_gripped=is_gripped,
            is_held=is_gripped and float(offset[1]) < -HELD_RISE,
            quality=float(quality),
        )


@dataclass(frozen=True, kw_only=True)
class _View:
    """One later frame: a map for each colour, the arm's black parts, the arm, its extension."""

    maps: dict[str, Float[np.ndarray, "H W"]]
    black: Float[np.ndarray, "H W"]
    arm: Float[np.ndarray, "H W"]
    is_arm_out: bool

    def visible(self, colour: str) -> Float[np.ndarray, "H W"]:
        """The degree to which nothing else covers a pixel."""
        others = [values for name, values in self.maps.items() if name != colour]
        # Pixels at an edge mix two colours and look like a third, so hiding regions are enlarged.
        hidden = np.max(shifted(np.max([self.arm, *others], axis=0), HIDDEN_MARGIN), axis=0)
        return 1 - hidden * (1 - self.maps[colour])


def read_outcome(
    frames: UInt8[np.ndarray, "f H W 3"], names: Sequence[str], camera: dict[str, Any]
) -> Reading:
    """Reads one video whose own first frame shows the items at their start."""
    return OutcomeReader(frames[0], names, camera).read(frames)


def working_size(frames: UInt8[np.ndarray, "f H W 3"]) -> Float[np.ndarray, "f h w 3"]:
    """Frames in [0, 1], smoothed, reduced to `WORKING_HEIGHT` rows if they have more."""
    height, width = frames.shape[1:3]
    if height > WORKING_HEIGHT:
        size = (round(width * WORKING_HEIGHT / height), WORKING_HEIGHT)
        frames = np.stack(
            [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BOX)) for f in frames]
        )
    return smooth(frames.astype(np.float32) / 255)


def _colours(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name.split()[0] for name in names))


def _check_names(names: list[str]) -> None:
    for name in names:
        colour, _, shape = name.partition(" ")
        if colour not in HUES or shape not in MEASURES:
            raise ValueError(
                f"item {name!r} has no known colour and shape. "
                f"Colours: {', '.join(HUES)}; shapes: {', '.join(MEASURES)}."
            )
    for colour, group in itertools.groupby(sorted(names), key=lambda name: name.split()[0]):
        if len(list(group)) > 2:
            raise ValueError(
                f"more than two items are {colour}, and the reader cannot distinguish them. Name "
                "at most two items of one colour."
            )
