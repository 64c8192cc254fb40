"""Shards of videos: some are decoded, by several threads, while others are encoded.

Called by `run`, with the rows of each shard; one that is there already is not made again.
Identical given frames are kept once per shard, exactly as they came out of the video.
"""

import functools
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor

from aid.data.frames import Frames, floats, read_frames
from aid.data.shards import open_shard, shard_name, video_digest
from aid.prepare.ahead import Ahead
from aid.prepare.job import Job, Made, Spent, Tell
from aid.types import VideoRow
from aid.video import NoteCounter

AHEAD = 3
"""Batches that wait, decoded, to be encoded."""


@dataclass
class _Draft:
    """A shard of videos while its rows are decoded."""

    name: str
    digests: list[str]
    is_made: bool
    kept: list[int] = field(default_factory=list)
    fps: list[float] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: NoteCounter = field(default_factory=NoteCounter)
    given: dict[str, Tensor] = field(default_factory=dict)
    given_of: list[str] = field(default_factory=list)

    def add(self, place: int, frames: Frames, num_given: int) -> None:
        """A decoded row: its rate, and its given frames unless another row has the same."""
        given = frames.pixels[:num_given].contiguous()
        digest = _pixel_digest(given)
        self.kept.append(place)
        self.fps.append(frames.fps)
        self.given.setdefault(digest, given)
        self.given_of.append(digest)

    def tensors(self, latents: list[Tensor]) -> dict[str, Tensor]:
        """What is written of it; where every row was left out, tensors of nothing."""
        number = {digest: place for place, digest in enumerate(self.given)}
        return {
            "latents": torch.cat(latents) if latents else torch.zeros(0),
            "kept": torch.tensor(self.kept, dtype=torch.int32),
            "fps": torch.tensor(self.fps, dtype=torch.float64),
            "given_frames": torch.stack(list(self.given.values()))
            if self.given
            else torch.zeros(0),
            "given_of": torch.tensor([number[d] for d in self.given_of], dtype=torch.int32),
            "given_digests": _digest_tensor(list(self.given)),
        }


def _pixel_digest(pixels: Tensor) -> str:
    return hashlib.sha256(pixels.numpy().tobytes()).hexdigest()[:32]


def _digest_tensor(digests: list[str]) -> Tensor:
    """Digests as bytes, `n 16`."""
    return torch.tensor([list(bytes.fromhex(d)) for d in digests], dtype=torch.uint8).view(-1, 16)


def videos_name(job: Job, rows: list[VideoRow], digests: list[str]) -> str:
    """The file name of a shard of videos with these bytes."""
    spans = [[d, row.start, row.stop, row.fps] for d, row in zip(digests, rows, strict=True)]
    return shard_name("videos", [job.arithmetic(), job.decoding(), spans])


def encode_videos(job: Job, shards: Iterable[list[VideoRow]], tell: Tell) -> Iterator[Made]:
    """Latents of every row, with the given frames as they are.

    Raises:
        ValueError: a video is damaged and such are not to be skipped.
    """
    latents: list[Tensor] = []
    batches = Ahead(_decoded(job, shards), AHEAD)
    since, waited = monotonic(), 0.0
    for draft, batch in batches:
        if batch is not None:
            start = monotonic()
            parts = job.parts
            since += monotonic() - start  # the first batch has them loaded
            with job.memory():
                made = parts.encode(floats(job.put(batch)), job.batch_size)
                latents.append(made.half().cpu())  # waits until the device has done all of it
            done = encoded = len(batch)
        elif draft.is_made:
            done, encoded = len(draft.digests), 0
            since, waited = monotonic(), batches.waited  # nothing was encoded
        else:
            remarks = {
                "skipped": draft.skipped,
                "sources": draft.digests,
                "notes": draft.notes.kinds,
            }
            job.store.write_tensors(draft.name, draft.tensors(latents), remarks)
            latents = []
            done, encoded = len(draft.skipped), 0
        now = monotonic()
        tell(Spent(done=done, encoded=encoded, seconds=now - since, waited=batches.waited - waited))
        since, waited = now, batches.waited
        if batch is None:
            yield Made(
                name=draft.name, num_rows=len(draft.kept), skipped=draft.skipped,
                notes=draft.notes.kinds, facts=job.store.facts(draft.name),
            )  # fmt: skip


def _decoded(job: Job, shards: Iterable[list[VideoRow]]) -> Iterator[tuple[_Draft, Tensor | None]]:
    """Batches `b f 3 H W` of the shards that are not there yet; None where a shard ends."""
    with ThreadPoolExecutor(job.num_threads) as pool:
        for rows in shards:
            with job.source.local([row.video for row in rows]) as paths:
                digests = list(pool.map(video_digest, [paths[row.video] for row in rows]))
                name = videos_name(job, rows, digests)
                draft = _Draft(name, digests, is_made=job.has_whole(name))
                if draft.is_made:
                    _recall(job, draft)
                else:
                    for batch in _batches(job, draft, rows, paths, pool):
                        yield draft, batch
            yield draft, None


def _recall(job: Job, draft: _Draft) -> None:
    """What a finished shard says of itself."""
    with job.store.local([draft.name]) as paths:
        tensors, remarks = open_shard(paths[draft.name])
        draft.kept = tensors["kept"].tolist()
        draft.skipped = [(row, why) for row, why in remarks["skipped"]]
        draft.notes.merge(remarks.get("notes", {}))
    if draft.skipped and not job.skip_corrupt:
        raise ValueError(_unless_skipped(draft.skipped[0][1]))


def _unless_skipped(reason: str) -> str:
    return f"{reason} Mend it, or leave such videos out: --skip-corrupt"


def _batches(
    job: Job, draft: _Draft, rows: list[VideoRow], paths: dict[str, Path], pool: ThreadPoolExecutor
) -> Iterator[Tensor]:
    """The rows' frames, as many videos as are encoded at once; a bounded number are decoded."""
    size = max(1, job.batch_size // job.num_frames)
    waiting = size + job.num_threads
    read = functools.partial(
        read_frames, config=job.frames, num_frames=job.num_frames,
        height=job.height, width=job.width,
    )  # fmt: skip
    pending: deque[tuple[int, Future[Frames]]] = deque()
    batch: list[Tensor] = []
    for place in range(len(rows) + waiting):
        if place < len(rows):
            row = rows[place]
            pending.append((place, pool.submit(read, paths[row.video], row)))
        if pending and (len(pending) > waiting or place >= len(rows)):
            done, future = pending.popleft()
            try:
                frames = future.result()
            except ValueError as error:
                if not job.skip_corrupt:
                    raise ValueError(_unless_skipped(str(error))) from None
                draft.skipped.append((rows[done].id, str(error)))
                continue
            draft.notes.add(rows[done].id, frames.notes)
            draft.add(done, frames, job.condition.num_given_frames)
            batch.append(frames.pixels)
            if len(batch) == size:
                yield job.pin(torch.stack(batch))
                batch = []
    if batch:
        yield job.pin(torch.stack(batch))
