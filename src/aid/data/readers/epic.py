"""EPIC-KITCHENS-100: narrated segments of long videos, as mp4 or as folders of frames.

    EPIC_100_train.csv, EPIC_100_validation.csv, EPIC_100_test_timestamps.csv
    EPIC-KITCHENS/P01/videos/P01_01.MP4
    EPIC-KITCHENS/P01/rgb_frames/P01_01/frame_0000000001.jpg

The lists may be in `epic-kitchens-100-annotations`; the folder `EPIC-KITCHENS` may be the data set
itself. Test segments have no narration.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aid.data.files import number_in, read_table
from aid.data.readers import unopened_row
from aid.types import VideoRow
from aid.video.notes import IssueCounter

LISTS = {
    "train": "EPIC_100_train.csv",
    "validation": "EPIC_100_validation.csv",
    "test": "EPIC_100_test_timestamps.csv",
}
FOLDERS = (".", "epic-kitchens-100-annotations", "annotations")
VIDEOS = ("{p}/videos/{v}.MP4", "{p}/videos/{v}.mp4", "{p}/{v}.MP4", "{p}/{v}.mp4")
VIDEOS += ("{p}/rgb_frames/{v}", "videos/{v}.MP4", "videos/{v}.mp4", "{v}.MP4", "{v}.mp4")
COLUMNS = ["narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp"]
COLUMNS += ["start_frame", "stop_frame"]
NAME = re.compile(r"P\d+(_\d+)*")
SAME_RATE = 2e-2
"""Relative difference below which two rates count as equal: times are rounded to hundredths."""


def is_epic(folder: Path) -> bool:
    """Whether one of the lists exists."""
    return any(_place(folder, name) for name in LISTS.values())


def read_epic(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per narrated segment, in the order of the lists.

    Raises:
        ValueError: a list is malformed.
    """
    facts = _facts(folder)
    roots = [r for r in ("EPIC-KITCHENS", ".") if (folder / r).is_dir()]
    unseen = _unseen(folder)
    found: dict[str, str] = {}
    rates: dict[str, _Rate] = {}
    issues = IssueCounter()
    for split, name in LISTS.items():
        place = _place(folder, name)
        if place is None:
            continue
        if split == "test":
            notes.append("the test split has no narrations.")
        if split == "validation":
            notes.append(
                "validation shares participants and kitchens with train, but no videos; split "
                "strict-validation has only participants that are not in train."
            )
        table = read_table(folder, place, COLUMNS)
        counted = _counted_rates(table)
        for number, row in enumerate(table, start=2):
            where = f"{str(folder / place)!r}, row {number}"
            person, video = row["participant_id"], row["video_id"]
            if not NAME.fullmatch(person) or not NAME.fullmatch(video):
                raise ValueError(
                    f"{where}: {person!r}, {video!r} are not a participant and a video."
                )
            if video not in found:
                paths = [p.format(p=person, v=video) for p in VIDEOS]
                paths = [
                    path if root == "." else f"{root}/{path}" for root in roots for path in paths
                ]
                found[video] = next((p for p in paths if (folder / p).exists()), paths[0])
                video_facts = facts.get(video, _Video(0.0, 0.0))
                path = folder / found[video]
                rates[video] = _rate_of(path, video_facts, counted[video], issues)
            strict = split == "validation" and person in unseen
            yield unopened_row(
                [(row.get("narration") or "").strip()],
                id=row["narration_id"],
                video=found[video],
                split=split,
                world={
                    "episode": video,
                    "participant": person,
                    "also_in": ["strict-validation"] if strict else [],
                },
                **_span(row, rates[video], where),
            )
    notes += issues.notes()


@dataclass(frozen=True)
class _Video:
    """A row of the table of videos: rate and duration in seconds, 0 if unknown."""

    fps: float
    duration: float


@dataclass(frozen=True)
class _Rate:
    """Frames a second of a video, and whether its segments are given by frame numbers or times."""

    fps: float
    is_counted: bool


def _rate_of(path: Path, facts: _Video, counted: float, issues: IssueCounter) -> _Rate:
    """The rate of a video file or a folder of frames.

    Frames are numbered at 50 or 60 a second, whatever the rate of the video in the table of videos.
    A folder that was extracted at another rate is recognized by its number of files; then the times
    are used instead of the frame numbers.
    """
    if path.suffix:
        return _Rate(facts.fps, is_counted=False)
    number = sum(not file.name.startswith(".") for file in path.iterdir()) if path.is_dir() else 0
    own = number / facts.duration if facts.duration > 0 else 0.0
    if not own or abs(own / counted - 1) < SAME_RATE:
        return _Rate(counted, is_counted=True)
    known = (facts.fps, 50.0, 60.0)
    own = next((rate for rate in known if rate and abs(own / rate - 1) < SAME_RATE), own)
    reason = (
        "folders of frames have another rate than the frame numbers of the lists; times are used"
    )
    issues.add(reason, f"{path.name}: {own:g}, not {counted:g}")
    return _Rate(own, is_counted=False)


def _span(row: dict[str, str], rate: _Rate, where: str) -> dict:
    """Rate, number of frames, start and stop. Frame numbers start at 1; both ends are included."""
    start, stop = (seconds(row[f"{end}_timestamp"], where) for end in ("start", "stop"))
    first, last = (int(number_in(row, f"{end}_frame", where)) for end in ("start", "stop"))
    if not 0 <= start < stop or not 0 <= first < last:
        raise ValueError(f"{where}: the segment ends before it begins, or is empty.")
    if not rate.is_counted:
        return {"fps": rate.fps, "num_frames": 0, "start": start, "stop": stop}
    # At the rate of the frame numbers the span has exactly these frames.
    span = {"start": max(0, first - 1) / rate.fps, "stop": last / rate.fps}
    return {"fps": rate.fps, "num_frames": last - max(1, first) + 1, **span}


def _counted_rates(table: list[dict[str, str]]) -> dict[str, float]:
    """The rate of each video's frame numbers: numbers over times."""
    ends: dict[str, tuple[float, float]] = {}
    for row in table:
        try:
            end = seconds(row["stop_timestamp"], ""), float(row["stop_frame"])
        except ValueError:
            end = (0.0, 0.0)  # an error is raised where the row is read
        ends[row["video_id"]] = max(ends.get(row["video_id"], (0.0, 0.0)), end)
    return {video: _rate_between(*end) for video, end in ends.items()}


def _rate_between(time: float, frame: float) -> float:
    """50 or 60 if the quotient is near it: times and numbers are rounded."""
    if not time > 0 or not 0 < frame < 1e9:
        return 60.0
    rate = frame / time
    nearest = min(50.0, 60.0, key=lambda known: abs(rate - known))
    return nearest if abs(rate / nearest - 1) < SAME_RATE + 1 / frame else rate


def seconds(text: str, where: str) -> float:
    """`00:01:02.50` in seconds."""
    found = re.fullmatch(r"(\d+):(\d{1,2}):(\d{1,2}(?:\.\d+)?)", text.strip())
    if not found:
        raise ValueError(f"{where}: {text[:40]!r} is not a time like 00:01:02.50.")
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


def _place(folder: Path, name: str) -> str | None:
    places = (f"{place}/{name}" if place != "." else name for place in FOLDERS)
    return next((place for place in places if (folder / place).is_file()), None)


def _facts(folder: Path) -> dict[str, _Video]:
    """The table of videos, if it exists."""
    place = _place(folder, "EPIC_100_video_info.csv")
    rows = read_table(folder, place, ["video_id", "fps"]) if place else []
    return {
        row["video_id"]: _Video(
            number_in(row, "fps", repr(place)),
            number_in(row, "duration", repr(place)) if row.get("duration") else 0.0,
        )
        for row in rows
    }


def _unseen(folder: Path) -> set[str]:
    """Participants of the validation split that are not in train, as published."""
    place = _place(folder, "EPIC_100_unseen_participant_ids_validation.csv")
    rows = read_table(folder, place, ["participant_id"]) if place else []
    return {row["participant_id"] for row in rows}
