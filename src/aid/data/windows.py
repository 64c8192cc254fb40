"""Windows: spans of an episode of equal frame rate, each a row of its own.

Called after the rows of a data set are read. A window is a span of its episode's video like any
other, so code that reads rows does not treat it specially; `data.frames` takes its frames by time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aid.config import FrameConfig
from aid.types import VideoRow

SQUEEZED_FROM = 0.5
"""Seconds between two frames above which a whole episode counts as squeezed. Not in the paper."""
SUGGESTED_RATE = 1 / SQUEEZED_FROM
"""Frames a second of windows that are suggested in place of squeezed episodes. SVD is conditioned
on the rate minus 1, which must stay well above 0."""


def cut_windows(
    rows: Sequence[VideoRow],
    frames: FrameConfig,
    num_frames: int,
    notes: list[str] | None = None,
) -> list[VideoRow]:
    """The windows of every row, in order; the rows themselves if `frames` gives no rate.

    A window lasts `num_frames / rate` seconds, from `start` to `stop` of its row. Its id is the
    episode's with the milliseconds from the episode's start: `EPISODE@12500ms`. `world["episode"]`
    names the episode, and `world["window"]`, unless the window is all of it, the seconds from its
    start at which the window starts and ends. A window has the states that overlap with it, their
    frames counted from its start. An episode shorter than a window becomes one window that repeats
    its last frame. A video of unknown length becomes one window, at its start.

    Args:
        rows: whole episodes, with the facts of their videos' headers.
        frames: how many windows of an episode, at which rate.
        num_frames: of a window.
        notes: receives sentences for the user: what windows cover, repeated frames, unknown
            lengths.

    Raises:
        ValueError: the rate of a video with a known number of frames is unknown; or all episodes
            end before a window's second frame.
    """
    rate = frames.rate(num_frames)
    if rate is None:
        return list(rows)
    for row in rows:
        if row.num_frames and not row.fps:
            raise ValueError(
                f"the frame rate of {row.id!r} is unknown, so windows at {rate:g} frames a second "
                "cannot be cut from it. Give it: --fps 12"
            )
    _require_motion(rows, rate, num_frames)
    if notes is not None and rows:
        notes.append(_coverage(rows, frames, num_frames))
        notes += _notes(rows, rate, num_frames)
    return [
        _window(row, first, rate, num_frames)
        for row in rows
        for first in window_starts(row.num_frames, row.fps, frames, num_frames)
    ]


def suited_frames(rows: Sequence[VideoRow], frames: FrameConfig, num_frames: int) -> FrameConfig:
    """`frames`, with windows chosen if the settings give neither rate nor duration.

    Whole episodes are kept if one of median length then has at least `SUGGESTED_RATE` frames a
    second; otherwise all windows at that rate are cut, one after another.
    """
    if frames.rate(num_frames) is not None or frames.sampling != "uniform_index":
        return frames
    seconds = [(row.num_frames - 1) / row.fps for row in rows if row.num_frames > 1 and row.fps]
    if not seconds or (num_frames - 1) / float(np.median(seconds)) >= SUGGESTED_RATE:
        return frames
    return replace(frames, fps=SUGGESTED_RATE, windows="all")


def common_size(rows: Sequence[VideoRow], frames: FrameConfig) -> tuple[int, int]:
    """The height and width in pixels to which all videos are fitted.

    That of `frames`, or else of the first video whose size is known.

    Raises:
        ValueError: no size is known, or it is not a multiple of 8.
    """
    known = next(((row.height, row.width) for row in rows if row.height and row.width), (0, 0))
    height, width = frames.height or known[0], frames.width or known[1]
    if not height or not width:
        raise ValueError(
            "the size of the videos is unknown. Give the one to use: --frames.height 256 "
            "--frames.width 256"
        )
    if height % 8 or width % 8:
        raise ValueError(
            f"the first video has {width} x {height} pixels, which must be multiples of 8. Give "
            f"the size to use: --frames.height {height // 8 * 8} --frames.width {width // 8 * 8}"
        )
    return height, width


def window_starts(length: int, fps: float, frames: FrameConfig, num_frames: int) -> list[int]:
    """The frame numbers of an episode at which its windows start; [0] if it is one window.

    A window fits if the episode has a frame within half a frame of the window's last one.

    Args:
        length: frames of the episode; 0 if unknown.
        fps: the episode's own; likewise.
        frames: how many windows, at which rate.
        num_frames: of a window.
    """
    rate = frames.rate(num_frames)
    if rate is None or not length or not fps:
        return [0]
    room = length - 1 - (num_frames - 1) / rate * fps
    if room <= 0:
        return [0]
    if frames.windows == "all":
        seconds = frames.stride_seconds or num_frames / rate
        starts = np.arange(0, room + 0.5, max(1.0, seconds * fps))
    else:
        starts = np.linspace(0, room, frames.windows)
    return np.unique(starts.round().astype(int)).tolist()


def window_report(
    counted: Iterable[tuple[int, float, int]], frames: FrameConfig, num_frames: int
) -> dict[str, Any]:
    """What windows cover of the episodes of a data set, as JSON values.

    Args:
        counted: number of frames (0: unknown), frames a second and number of such episodes.
        frames: how many windows of each, at which rate.
        num_frames: of a window.

    Returns:
        `number` of windows; `known`, the number of episodes of known length and rate. Of those, as
        [minimum, maximum]: `per_episode`, windows; `seconds`, duration; `apart`, seconds from frame
        to frame; `own_apart`, likewise in frames of the episode. `share` of their time that windows
        cover and `repeated`, the share of windows' frames that repeat another, both 0 to 1.
        `squeezed`, the number of whole episodes with more than `SQUEEZED_FROM` seconds from frame
        to frame.
    """
    rate = frames.rate(num_frames)
    spreads: dict[str, list[float]] = {}
    number, known, squeezed, time, seen, shown, repeated = 0, 0, 0, 0.0, 0.0, 0, 0
    for length, fps, count in counted:
        starts = window_starts(length, fps, frames, num_frames)
        number += count * len(starts)
        if not length or not fps:
            continue
        whole = (length - 1) / fps / max(1, num_frames - 1)
        apart = 1 / rate if rate else whole
        distinct = _num_distinct(length, fps, 1 / apart, num_frames) if apart else 1
        known += count
        squeezed += count * (rate is None and apart > SQUEEZED_FROM)
        time += count * length / fps
        seen += count * length / fps * _share(length, fps, starts, frames, num_frames)
        shown += count * len(starts) * num_frames
        repeated += count * len(starts) * (num_frames - distinct)
        facts = {"per_episode": len(starts), "seconds": length / fps, "apart": apart,
                 "own_apart": apart * fps}  # fmt: skip
        for name, value in facts.items():
            least, most = spreads.get(name, (value, value))
            spreads[name] = [min(least, value), max(most, value)]
    return {
        "number": number, "known": known, **spreads, "squeezed": squeezed,
        "share": seen / time if time else None, "repeated": repeated / shown if shown else None,
    }  # fmt: skip


def _share(
    length: int, fps: float, starts: Sequence[int], frames: FrameConfig, num_frames: int
) -> float:
    """The share of an episode's frames that lie in one of its windows."""
    rate = frames.rate(num_frames)
    if rate is None:
        return 1.0
    each = num_frames / rate * fps
    ends = [*starts[1:], length]
    return sum(min(each, end - at) for at, end in zip(starts, ends, strict=True)) / length


def episode_of(row: VideoRow) -> str:
    """The episode of a row, the same for all its cameras, windows and tasks.

    It is `world["episode"]`, else `world["scene"]`, else the row's id without the camera.
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
    last_shown = round((num_frames - 1) / rate * row.fps)
    whole = max(round(num_frames / rate * row.fps), last_shown + 1)
    length = min(whole, row.num_frames - first)
    is_last = first + length >= row.num_frames
    if length < row.num_frames:
        world["window"] = [round(first / row.fps, 3), round((first + length) / row.fps, 3)]
    start = row.start + first / row.fps
    return replace(
        row,
        id=number,
        world=world,
        start=start,
        stop=row.stop if is_last else start + max(num_frames / rate, whole / row.fps),
        num_frames=length,
        states=[part for s in row.states if (part := s.within(first, first + length))],
    )


def _require_motion(rows: Sequence[VideoRow], rate: float, num_frames: int) -> None:
    """Raises if every window would be one frame, repeated."""
    known = [(row.num_frames, row.fps) for row in rows if row.num_frames > 1 and row.fps]
    if num_frames < 2 or not known or len(known) < len(rows):
        return
    longest, fastest = max(length / fps for length, fps in known), max(fps for _, fps in known)
    if longest <= 1 / rate:
        raise ValueError(
            f"at {rate:g} frames a second a window's second frame lies {1 / rate:g} s after its "
            f"first, and the longest episode lasts {longest:g} s. Give a higher frames.fps, such "
            f"as {num_frames / longest:.3g}, or a lower frames.seconds."
        )
    if all(_num_distinct(length, fps, rate, num_frames) == 1 for length, fps in known):
        raise ValueError(
            f"at {rate:g} frames a second a window of {num_frames} frames lasts "
            f"{num_frames / rate:g} s, and the videos have {fastest:g} frames a second: every "
            f"window would be one frame. Give a lower frames.fps, such as {fastest:g}, or a higher "
            "frames.seconds."
        )


def _num_distinct(length: int, fps: float, rate: float, num_frames: int) -> int:
    """Number of different frames in a window at the start of an episode."""
    wanted = np.arange(num_frames) * (fps / rate)
    return len(np.unique(np.minimum(wanted.round(), length - 1)))


def _coverage(rows: Sequence[VideoRow], frames: FrameConfig, num_frames: int) -> str:
    """The note about the number of windows and their share of the data."""
    counted = ((row.num_frames, row.fps, 1) for row in rows)
    report = window_report(counted, frames, num_frames)
    seconds = num_frames / frames.rate(num_frames)
    note = f"{report['number']:,} windows of {seconds:g} s are cut from {len(rows):,} videos"
    if report["share"] is None:
        return f"{note}."
    note += f" and cover {report['share']:.0%} of their time."
    if frames.windows != "all" and report["share"] < 0.9:
        note += " --frames.windows all covers the rest, too."
    return note


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
            f"the length of {len(rows) - len(known)} of {len(rows)} videos is unknown: one window "
            "is taken of each, at its start."
        )
    return notes
