"""Windows of time: the parts of an episode that a model sees, each a row of its own.

Called after a data set's rows are read. A window is a span of its episode's video, so whoever reads
rows needs to know nothing of windows; `data.frames` takes its frames by their times.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from aid.config import FrameConfig
from aid.types import State, VideoRow


def cut_windows(
    rows: Sequence[VideoRow],
    frames: FrameConfig,
    num_frames: int,
    notes: list[str] | None = None,
) -> list[VideoRow]:
    """The windows of every row, in order; the rows themselves where whole episodes are seen.

    A window lasts `num_frames / rate` seconds, from `start` to `stop` of its row. Its id is the
    episode's with the milliseconds from the episode's start: `EPISODE@12500ms`. `world["episode"]`
    names the episode. States are those that overlap with the window, their frames counted from its
    start. An episode that is shorter than a window is one window, which repeats its last frame. Of
    a video whose length is not known before it is decoded one window is taken, at its start.

    Args:
        rows: whole episodes, with what the headers of their videos say.
        frames: how many windows of an episode, at which rate.
        num_frames: of a window.
        notes: gets sentences that a person should read: what windows cover, repeated frames,
            unknown lengths.

    Raises:
        ValueError: the rate of a video with a known number of frames is not known; or all episodes
            end before a window's second frame.
    """
    rate = frames.rate(num_frames)
    if rate is None:
        return list(rows)
    for row in rows:
        if row.num_frames and not row.fps:
            raise ValueError(
                f"{row.id!r} does not say how many frames a second it has, so windows at "
                f"{rate:g} frames a second cannot be cut from it. Say it: --fps 12"
            )
    _require_motion(rows, rate, num_frames)
    starts = [window_starts(row, frames, num_frames) for row in rows]
    if notes is not None and rows:
        notes.append(_coverage(rows, starts, frames, num_frames))
        notes += _notes(rows, rate, num_frames)
    return [
        _window(row, first, rate, num_frames)
        for row, firsts in zip(rows, starts, strict=True)
        for first in firsts
    ]


def covered(row: VideoRow, starts: Sequence[int], frames: FrameConfig, num_frames: int) -> float:
    """The share of a row's frames that lie in a window, 0 to 1; of an unknown length 0."""
    rate = frames.rate(num_frames)
    if rate is None or not row.num_frames or not row.fps:
        return float(rate is None)
    length = num_frames / rate * row.fps
    ends = [*starts[1:], row.num_frames]
    seen = sum(min(length, end - start) for start, end in zip(starts, ends, strict=True))
    return seen / row.num_frames


def window_starts(row: VideoRow, frames: FrameConfig, num_frames: int) -> list[int]:
    """Numbers of the row's own frames at which its windows start; [0] where a whole row is one.

    A window fits if the row has a frame within half a frame of the window's last one.
    """
    rate = frames.rate(num_frames)
    if rate is None or not row.num_frames or not row.fps:
        return [0]
    room = row.num_frames - 1 - (num_frames - 1) / rate * row.fps
    if room <= 0:
        return [0]
    if frames.windows == "all":
        seconds = frames.stride_seconds or num_frames / rate
        starts = np.arange(0, room + 0.5, max(1.0, seconds * row.fps))
    else:
        starts = np.linspace(0, room, frames.windows)
    return np.unique(starts.round().astype(int)).tolist()


def episode_of(row: VideoRow) -> str:
    """The episode that a row shows, the same for all its cameras, windows and tasks.

    What its source calls its episode; else its scene, whose videos share a first frame; else its id
    without the camera.
    """
    for key in ("episode", "scene"):
        if key in row.world:
            return str(row.world[key])
    cameras = {row.camera, row.camera.rpartition(".")[2]} - {""}
    return "/".join(part for part in row.id.split("/") if part not in cameras) or row.id


def _window(row: VideoRow, first: int, rate: float, num_frames: int) -> VideoRow:
    """The window that starts at frame `first` of a row."""
    number = f"{row.id}@{round(1000 * first / row.fps) if first else 0}ms"
    world = {"episode": episode_of(row)} | row.world
    if not row.num_frames or not row.fps:
        return replace(row, id=number, world=world)
    length = min(round(num_frames / rate * row.fps) or 1, row.num_frames - first)
    is_last = first + length >= row.num_frames
    start = row.start + first / row.fps
    return replace(
        row,
        id=number,
        world=world,
        start=start,
        stop=row.stop if is_last else start + num_frames / rate,
        num_frames=length,
        states=[_cut(s, first, length) for s in row.states if _overlaps(s, first, length)],
    )


def _overlaps(state: State, first: int, length: int) -> bool:
    return state.first_frame < first + length and state.last_frame >= first


def _cut(state: State, first: int, length: int) -> State:
    """A state in the frames of the window."""
    return replace(
        state,
        first_frame=max(0, state.first_frame - first),
        last_frame=min(length - 1, state.last_frame - first),
    )


def _require_motion(rows: Sequence[VideoRow], rate: float, num_frames: int) -> None:
    """Refuses windows whose second frame lies behind the end of every episode."""
    known = [row.num_frames / row.fps for row in rows if row.num_frames and row.fps]
    if num_frames > 1 and known and len(known) == len(rows) and max(known) <= 1 / rate:
        raise ValueError(
            f"at {rate:g} frames a second a window's second frame lies {1 / rate:g} s after its "
            f"first, and the longest episode lasts {max(known):g} s. Give a higher frames.fps, "
            f"such as {num_frames / max(known):.3g}, or a lower frames.seconds."
        )


def _coverage(
    rows: Sequence[VideoRow], starts: list[list[int]], frames: FrameConfig, num_frames: int
) -> str:
    """How many windows there are, and how much of the data they show."""
    total = sum(row.num_frames for row in rows)
    pairs = zip(rows, starts, strict=True)
    seen = sum(row.num_frames * covered(row, own, frames, num_frames) for row, own in pairs)
    number, rate = sum(map(len, starts)), frames.rate(num_frames)
    said = f"{number:,} windows of {num_frames / rate:g} s are cut from {len(rows):,} videos"
    if not total:
        return f"{said}."
    said += f" and show {seen / total:.0%} of their time."
    if frames.windows != "all" and seen < 0.9 * total:
        said += " --frames.windows all shows the rest, too."
    return said


def _notes(rows: Sequence[VideoRow], rate: float, num_frames: int) -> list[str]:
    known = [row for row in rows if row.num_frames and row.fps]
    needed = (num_frames - 1) / rate
    short = [row for row in known if (row.num_frames - 0.5) / row.fps < needed]
    slow = [row for row in known if row.fps < rate * 0.999]
    notes = []
    if short:
        notes.append(
            f"{len(short)} of {len(rows)} episodes are shorter than a window of "
            f"{num_frames / rate:g} s, the first is {short[0].id!r}: their last frame is repeated."
        )
    if slow:
        notes.append(
            f"{len(slow)} of {len(rows)} videos have fewer frames a second than the {rate:g} of a "
            f"window, the first is {slow[0].id!r} with {slow[0].fps:g}: their frames are repeated."
        )
    if len(known) < len(rows):
        notes.append(
            f"{len(rows) - len(known)} of {len(rows)} videos do not say how long they are: one "
            "window is taken of each, at its start."
        )
    return notes
