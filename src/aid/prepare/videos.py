"""Shards of videos: threads decode the next videos while the encoders work.

Called by `run` with the rows of each shard; an existing shard is not made again. Identical given
frames are stored once per shard, as decoded.
"""

import functools
import hashlib
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from aid.data.frames import Frames, floats, read_frames
from aid.data.shards import open_shard, shard_name, video_digest
from aid.prepare.encoding import EncodingJob, OnProgress, Progress, ShardResult
from aid.types import VideoRow
from aid.video import NoteCounter

NUM_PREFETCHED = 3
"""Decoded batches that wait for the encoders."""

T = TypeVar("T")
_END = object()


class Prefetched(Generic[T]):
    """The same items in the same order, computed up to `depth` ahead by a thread.

    An error of an item is raised when the item is due. The thread ends when the caller stops early.
    `waited` counts the seconds for which the caller waited for items.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self.waited = 0.0
        self._items = items
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._is_over = threading.Event()

    def _offer(self, item: Any) -> bool:
        while not self._is_over.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _work(self) -> None:
        try:
            for item in self._items:
                if not self._offer((item, None)):
                    return
            self._offer((_END, None))
        except BaseException as error:  # raised again in the caller's thread
            self._offer((_END, error))

    def __iter__(self) -> Iterator[T]:
        """The items, once."""
        thread = threading.Thread(target=self._work, name="decode", daemon=True)
        thread.start()
        try:
            while True:
                start = monotonic()
                item, error = self._queue.get()
                self.waited += monotonic() - start
                if error is not None:
                    raise error
                if item is _END:
                    return
                yield item
        finally:
            self._is_over.set()
            thread.join()


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
        """Adds a decoded row: its rate, and its given frames unless another row has the same."""
        given = frames.pixels[:num_given].contiguous()
        digest = _pixel_digest(given)
        self.kept.append(place)
        self.fps.append(frames.fps)
        self.given.setdefault(digest, given)
        self.given_of.append(digest)

    def tensors(self, latents: list[Tensor]) -> dict[str, Tensor]:
        """The tensors of the shard; empty ones if every row was left out."""
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


def videos_name(job: EncodingJob, rows: list[VideoRow], digests: list[str]) -> str:
    """The file name of a shard of videos with these bytes."""
    spans = [[d, row.start, row.stop, row.fps] for d, row in zip(digests, rows, strict=True)]
    return shard_name("videos", [job.arithmetic(), job.decoding(), spans])


def encode_videos(
    job: EncodingJob, shards: Iterable[list[VideoRow]], on_progress: OnProgress
) -> Iterator[ShardResult]:
    """Latents of every row, and the given frames as pixels.

    Raises:
        ValueError: a video is damaged and `job.skip_corrupt` is off.
    """
    latents: list[Tensor] = []
    batches = Prefetched(_decoded(job, shards), NUM_PREFETCHED)
    since, waited = monotonic(), 0.0
    for draft, batch in batches:
        if batch is not None:
            start = monotonic()
            parts = job.parts
            since += monotonic() - start  # loading them is not encoding time
            with job.memory():
                made = parts.encode(floats(job.put(batch)), job.batch_size)
                latents.append(made.half().cpu())  # waits until the device is done
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
        on_progress(
            Progress(
                done=done, encoded=encoded, seconds=now - since, waited=batches.waited - waited
            )
        )
        since, waited = now, batches.waited
        if batch is None:
            yield ShardResult(
                name=draft.name, num_rows=len(draft.kept), skipped=draft.skipped,
                notes=draft.notes.kinds, facts=job.store.facts(draft.name),
            )  # fmt: skip


def _decoded(
    job: EncodingJob, shards: Iterable[list[VideoRow]]
) -> Iterator[tuple[_Draft, Tensor | None]]:
    """Batches `b f 3 H W` of the missing shards; None after the last one of each shard."""
    with ThreadPoolExecutor(job.num_threads) as pool:
        for rows in shards:
            with job.source.local([row.video for row in rows]) as paths:
                digests = list(pool.map(video_digest, [paths[row.video] for row in rows]))
                name = videos_name(job, rows, digests)
                draft = _Draft(name, digests, is_made=job.has_whole(name))
                if draft.is_made:
                    _load_existing(job, draft)
                else:
                    for batch in _batches(job, draft, rows, paths, pool):
                        yield draft, batch
            yield draft, None


def _load_existing(job: EncodingJob, draft: _Draft) -> None:
    """Fills in the draft from the finished shard."""
    with job.store.local([draft.name]) as paths:
        tensors, remarks = open_shard(paths[draft.name])
        draft.kept = tensors["kept"].tolist()
        draft.skipped = [(row, why) for row, why in remarks["skipped"]]
        draft.notes.merge(remarks.get("notes", {}))
    if draft.skipped and not job.skip_corrupt:
        raise ValueError(_with_remedy(draft.skipped[0][1]))


def _with_remedy(reason: str) -> str:
    return f"{reason} Repair it, or leave damaged videos out: --skip_corrupt"


def _batches(
    job: EncodingJob,
    draft: _Draft,
    rows: list[VideoRow],
    paths: dict[str, Path],
    pool: ThreadPoolExecutor,
) -> Iterator[Tensor]:
    """The rows' frames in batches for the encoders; a bounded number of videos waits decoded."""
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
                    raise ValueError(_with_remedy(str(error))) from None
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
