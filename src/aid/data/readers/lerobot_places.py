"""Where each episode lies in the video files of a LeRobot v3 set, which hold many episodes each.

The tables claim where an episode begins (`from_timestamp`), mostly where it ends (`to_timestamp`),
and how many frames it has (`length`). The file's header says how many frames there are in all.
Where these contradict each other, the episodes' lengths are believed if together they fill the
file; else episodes that overlap or run beyond the file's end are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aid.data.probing import probe
from aid.data.tally import Tally
from aid.types import VideoRow

SAME_RATE, SAME_CLOCK = 1e-2, 5e-4
"""Relative differences of two rates: below the first they are one rate, below the second the frames
of an hour are counted alike."""
HALF = 0.5
"""Of a frame: by how much a time may be off its frame's."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the tables say of an episode in a video file: seconds, and the number of frames."""

    episode: int
    begin: float
    end: float | None
    length: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an episode lies: its first frame in the file, how many there are, frames a second."""

    first: int
    length: int
    rate: float

    def seconds(self, frame: int) -> float:
        """When a frame of the episode is shown, in seconds of the file."""
        return (self.first + frame) / self.rate


def places_of(
    folder: Path, claims: dict[str, list[Claim]], fps: float, tally: Tally
) -> dict[tuple[str, int], Place]:
    """Places by file and episode; those that cannot be are missing, and counted.

    Args:
        claims: by file.
        fps: of the data set, as it says.
    """
    found: dict[tuple[str, int], Place] = {}
    for name, header in zip(claims, _headers(folder, claims), strict=True):
        rate, there = header.fps or fps, header.num_frames
        if abs(rate / fps - 1) > SAME_RATE:
            reason = "video files play at another rate than info.json says; theirs is used"
            tally.add(reason, f"{name}: {rate:g}, not {fps:g}")
        elif abs(rate / fps - 1) < SAME_CLOCK:
            rate = fps
        ordered = sorted(claims[name], key=lambda claim: (claim.begin, claim.episode))
        for claim, place in zip(ordered, _placed(ordered, rate, fps, there), strict=True):
            one = f"{name}, episode {claim.episode}"
            if place is None:
                tally.add(
                    "episodes are left out: where the table says that they lie contradicts the "
                    "video file", one,
                )  # fmt: skip
                continue
            if abs(place.first - claim.begin * rate) > HALF:
                tally.add(
                    "episodes lie elsewhere in the video file than their table says; their "
                    "lengths fill the file and are believed", one,
                )  # fmt: skip
            if place.length != round(claim.length * rate / fps) and place.length != claim.length:
                tally.add(
                    "episodes have another number of frames in the video than their table says; "
                    "the video's are read", f"{one}: {place.length}, not {claim.length}",
                )  # fmt: skip
            found[name, claim.episode] = place
    return found


def _headers(folder: Path, names: Iterable[str]) -> list[VideoRow]:
    facts = {"instruction": "", "num_frames": 0, "fps": 0.0, "height": 0, "width": 0}
    return probe(folder, [VideoRow(id=name, video=name, **facts) for name in names])


def _placed(claims: list[Claim], rate: float, fps: float, there: int) -> list[Place | None]:
    """The places of a file's episodes in the order of their beginnings; None for what cannot be."""
    lengths = [claim.length for claim in claims]
    if there and sum(lengths) == there:  # one after another, whatever the times say
        firsts = [sum(lengths[:number]) for number in range(len(lengths))]
        return [
            Place(first=first, length=length, rate=rate)
            for first, length in zip(firsts, lengths, strict=True)
        ]
    spans = []
    for claim in claims:
        first, length = round(claim.begin * rate), claim.length * rate / fps
        if claim.end is not None and claim.end > claim.begin:
            length = (claim.end - claim.begin) * rate
        spans.append((first, max(1, round(length))))
    placed: list[Place | None] = [
        Place(first=first, length=length, rate=rate) for first, length in spans
    ]
    if not there:  # the file cannot be opened: whoever decodes it says so
        return placed
    for number, (first, length) in enumerate(spans):
        if first + length > there:
            placed[number] = None
        if number and sum(spans[number - 1]) > first:
            placed[number - 1] = placed[number] = None
    return placed
