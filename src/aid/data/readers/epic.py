"""EPIC-KITCHENS-100: narrated segments of long videos, as mp4 or as folders of frames.

    EPIC_100_train.csv, EPIC_100_validation.csv, EPIC_100_test_timestamps.csv
    EPIC-KITCHENS/P01/videos/P01_01.MP4
    EPIC-KITCHENS/P01/rgb_frames/P01_01/frame_0000000001.jpg

The lists may lie in `epic-kitchens-100-annotations`; the folder `EPIC-KITCHENS` may be the data set
itself. Test segments have no narration.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from aid.data.files import number_in, read_table
from aid.types import VideoRow

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


def is_epic(folder: Path) -> bool:
    """Whether one of the lists is there."""
    return any(_place(folder, name) for name in LISTS.values())


def read_epic(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per narrated segment, in the order of the lists.

    Raises:
        ValueError: a list is malformed, or a time in it is none.
    """
    rates = _rates(folder)
    roots = [r for r in ("EPIC-KITCHENS", ".") if (folder / r).is_dir()]
    unseen = _unseen(folder)
    found: dict[str, str] = {}
    for split, name in LISTS.items():
        place = _place(folder, name)
        if place is None:
            continue
        if split == "test":
            notes.append("the test split has no narrations.")
        if split == "validation":
            notes.append(
                "validation shares participants and kitchens with train, though no video; split "
                "strict-validation keeps only participants that train never saw."
            )
        for number, row in enumerate(read_table(folder, place, COLUMNS), start=2):
            where = f"{str(folder / place)!r}, row {number}"
            person, video = row["participant_id"], row["video_id"]
            if not NAME.fullmatch(person) or not NAME.fullmatch(video):
                raise ValueError(f"{where}: {person!r}, {video!r} are no participant and video.")
            if video not in found:
                paths = [p.format(p=person, v=video) for p in VIDEOS]
                paths = [
                    path if root == "." else f"{root}/{path}" for root in roots for path in paths
                ]
                found[video] = next((p for p in paths if (folder / p).exists()), paths[0])
            strict = split == "validation" and person in unseen
            yield VideoRow(
                id=row["narration_id"],
                video=found[video],
                instruction=(row.get("narration") or "").strip(),
                height=0,
                width=0,
                split=split,
                world={
                    "episode": video,
                    "participant": person,
                    "also_in": ["strict-validation"] if strict else [],
                },
                **_span(row, rates.get(video), not Path(found[video]).suffix, where),
            )


def _span(row: dict[str, str], rate: float | None, is_frames: bool, where: str) -> dict:
    """Rate, number of frames, start and stop. Frames are counted from 1, both ends included."""
    start, stop = (seconds(row[f"{end}_timestamp"], where) for end in ("start", "stop"))
    first, last = (int(number_in(row, f"{end}_frame", where)) for end in ("start", "stop"))
    if not 0 <= start < stop or not 0 <= first < last:
        raise ValueError(f"{where}: the segment ends before it begins, or is empty.")
    if is_frames:
        # The rate that the frames were counted with, so that the span hits exactly these frames.
        fps = rate or last / stop
        span = {"start": max(0, first - 1) / fps, "stop": last / fps}
        return {"fps": fps, "num_frames": last - max(1, first) + 1, **span}
    return {"fps": rate or 0.0, "num_frames": 0, "start": start, "stop": stop}


def seconds(text: str, where: str) -> float:
    """`00:01:02.50` in seconds."""
    found = re.fullmatch(r"(\d+):(\d{1,2}):(\d{1,2}(?:\.\d+)?)", text.strip())
    if not found:
        raise ValueError(f"{where}: {text[:40]!r} is no time like 00:01:02.50.")
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


def _place(folder: Path, name: str) -> str | None:
    places = (f"{place}/{name}" if place != "." else name for place in FOLDERS)
    return next((place for place in places if (folder / place).is_file()), None)


def _rates(folder: Path) -> dict[str, float]:
    """Frames a second of each video, if the table of videos is there."""
    place = _place(folder, "EPIC_100_video_info.csv")
    rows = read_table(folder, place, ["video_id", "fps"]) if place else []
    return {row["video_id"]: number_in(row, "fps", repr(place)) for row in rows}


def _unseen(folder: Path) -> set[str]:
    """Participants of the validation split that train never saw, as published."""
    place = _place(folder, "EPIC_100_unseen_participant_ids_validation.csv")
    rows = read_table(folder, place, ["participant_id"]) if place else []
    return {row["participant_id"] for row in rows}
