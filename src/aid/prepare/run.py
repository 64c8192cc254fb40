"""The flow of `prepare`: what is asked, the three kinds of shards, and last the cache's own list.

Finished shards are kept, so a killed run goes on where it stopped; `cache.json` is written last.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from aid.conditioning.states import StateWriter
from aid.config import ConditionConfig, FrameConfig, Precision, SourceConfig, to_json
from aid.data.cache import SENTENCES, SETTINGS
from aid.data.shards import FORMAT, SHARD, open_shard, pieces
from aid.data.sources import read_source
from aid.data.windows import cut_windows
from aid.models.backbone import backbone_hash
from aid.prepare.claim import (
    TABLES,
    check_claim,
    check_room,
    check_unchanged,
    claimed,
    damaged_files,
    fingerprint_of,
    reopen,
    tidy,
)
from aid.prepare.cluster import on_cluster
from aid.prepare.first_frames import First, encode_filling, encode_first_frames
from aid.prepare.job import Encode, Job, Made, Spent, Tell
from aid.prepare.ranks import Ranks, help_out, joined, on_ranks, share
from aid.prepare.text import encode_text, sentence_sizes, write_rows, write_states
from aid.prepare.videos import encode_videos
from aid.types import VideoRow
from aid.video import NoteCounter

Engine = Literal["local", "ray"]
OnStep = Callable[[str, int, int, str], None]
"""Told the step, how many rows are done, how many there are, and how fast it goes, in words."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """How it went: videos in the cache, and those left out with the reason of each.

    `notes` are sentences: what was done to the videos' files beyond plain decoding.

    `num_encoded` videos were encoded now, by all processes together in `seconds`; `waited_share` is
    the part of their time, from 0 to 1, in which the encoders waited for frames to be decoded.
    `remade` files of a finished cache were damaged.
    """

    num_videos: int
    skipped: list[tuple[str, str]]
    notes: list[str] = field(default_factory=list)
    num_encoded: int = 0
    seconds: float = 0.0
    waited_share: float = 0.0
    remade: list[str] = field(default_factory=list)


def prepare(
    data: Path | str,
    out: Path | str,
    backbone: Path,
    *,
    condition: ConditionConfig,
    num_frames: int,
    states: StateWriter,
    rows: list[VideoRow] | None = None,
    asked: SourceConfig | None = None,
    limit: int | None = None,
    frames: FrameConfig | None = None,
    skip_corrupt: bool = False,
    num_workers: int | None = None,
    licence: str | None = None,
    engine: Engine = "local",
    device: str | None = None,
    precision: Precision = "float32",
    batch_size: int = 16,
    on_step: OnStep = lambda step, done, total, speed: None,
) -> Prepared:
    """Encodes videos and instructions into the cache `out`.

    Under a launcher (`torchrun`, `accelerate launch`) every process calls this; rank 0 does what
    is said here, and the others make shards for it.

    Args:
        data: folder or URL that the rows' videos are in; without `rows` any data set that
            `read_source` knows.
        backbone: folder of the backbone whose VAE and encoders are used.
        num_frames: frames per video.
        states: who says which states a video passes through.
        rows: what is encoded, windows as `cut_windows` makes them; None reads `data` and cuts it.
        asked: how the data set is or was read; the cache keeps it.
        limit: only the first so many rows, without `rows` so many of the data set's.
        frames: which frames of a video are taken, at which size.
        skip_corrupt: leaves damaged videos out instead of stopping at the first.
        num_workers: threads that decode, by default one per core; or processes of the cluster, by
            default one per GPU, or per core where there is none.
        engine: who makes the shards: this process, or the workers of a Ray cluster.
        device: where the encoders compute; None takes CUDA if there is one, else MPS, else the CPU.
        precision: in which they are kept and compute. A cache is stored in float16 in any case.
        batch_size: frames that are encoded at once; fewer take less of the device's memory.
        licence: of the data, as its source says it; without `rows` it is read with them.
        on_step: told how far it is, after every batch.

    Raises:
        ValueError: nothing to encode, a damaged video, the device is not there or too small, or
            `out` holds another or a stale cache.
        OSError: the disk is full, or another rank has died.
    """
    with joined() as ranks:
        if ranks is not None and ranks.rank:
            return Prepared(**help_out(ranks))
        asked, frames = asked or SourceConfig(limit=limit), frames or FrameConfig()
        if rows is None:
            source = read_source(data, asked)
            data, licence = source.folder, source.licence  # another folder if they were unpacked
            rows = cut_windows(source.rows[:limit], frames, num_frames)
        else:
            rows = rows[:limit]
        _require_instructions(rows)
        own = device if engine == "local" or device == "cpu" else None  # words are encoded here
        height, width = _size(rows, frames)
        job = Job(
            data=str(data), out=str(out), backbone=str(backbone),
            backbone_id=backbone_hash(backbone), condition=condition, frames=frames,
            num_frames=num_frames, height=height, width=width, skip_corrupt=skip_corrupt,
            device=own, precision=precision, batch_size=batch_size,
            num_threads=num_workers or _threads(),
        )  # fmt: skip
        fingerprint = fingerprint_of(job, rows, states)
        check_claim(job, fingerprint)
        finished, damaged = None, []
        if job.store.has(SETTINGS):
            finished = job.store.read_json(SETTINGS)
            check_unchanged(job, rows, finished)
            damaged = damaged_files(job, finished)
        if finished is not None and not damaged:
            tidy(job, finished)  # a kill may have come after the list was written
            skipped = [(name, reason) for name, reason in finished["skipped"]]
            result = Prepared(
                num_videos=finished["num_videos"], skipped=skipped, notes=finished.get("notes", [])
            )
        else:
            check_room(job, len(rows))
            if engine == "local" and job.place.type != "cpu":
                job.parts  # noqa: B018  loads the encoders and tries the device's memory
            if ranks is not None:
                share(job, ranks)
            making = _maker(engine, ranks, num_workers, device)
            with claimed(job, fingerprint):
                if damaged:
                    reopen(job, fingerprint, damaged)
                about = {"source": to_json(asked), "licence": licence}
                result = _make_cache(job, rows, states, fingerprint, about, making, on_step)
        result = replace(result, remade=damaged)
        if ranks is not None:
            ranks.say("end", asdict(result))
        return result


def _maker(
    engine: Engine, ranks: Ranks | None, num_workers: int | None, device: str | None
) -> Callable[..., Iterator[Made]]:
    """Who makes the shards.

    Raises:
        ValueError: both a launcher and a Ray cluster have been asked.
    """
    if ranks is None:
        return (
            _here
            if engine == "local"
            else partial(on_cluster, num_workers=num_workers, device=device)
        )
    if engine == "ray":
        raise ValueError("--engine ray has workers of its own. Start it without a launcher.")
    return partial(on_ranks, ranks=ranks)


def _threads() -> int:
    """That decode in a process unless it is said how many: the launcher's share the cores."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, (os.cpu_count() or 1) // processes)


def _make_cache(
    job: Job,
    rows: list[VideoRow],
    states: StateWriter,
    fingerprint: dict,
    about: dict,
    engine: Callable[..., Iterator[Made]],
    on_step: OnStep,
) -> Prepared:
    """Makes what is not there yet, and last the cache's own list."""
    start = monotonic()
    making = partial(engine, encode_videos, job, restore=VideoRow.from_json)
    made, on_videos = _make("videos", list(pieces(rows, SHARD)), making, on_step)
    kept, facts, places, firsts = _gather(job, made)
    skipped = [one for shard in made for one in shard.skipped]
    tally = NoteCounter()
    for shard in made:
        tally.merge(shard.notes)
    if not kept:
        raise ValueError(f"all {len(rows)} videos are damaged, the first: {skipped[0][1]}")
    written = write_states(job, rows, kept, places, states)
    sentences = write_rows(job, [rows[index] for index in kept], facts, written)
    making = partial(engine, encode_first_frames, job, restore=lambda row: First(**row))
    first_frames, on_firsts = _make("first frames", list(pieces(firsts, SHARD)), making, on_step)
    text = list(encode_text(job, list(pieces(sentences, SHARD))))
    length, dim = sentence_sizes(job, text[0].name)
    job.store.write_json(SENTENCES, sentences)
    filling = encode_filling(job)
    files = {shard.name: shard.facts for shard in (*made, *first_frames, *text)}
    files |= {name: job.store.facts(name) for name in (*TABLES, *([filling] if filling else []))}
    settings = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "num_videos": len(kept),
        "skipped": skipped,
        "notes": tally.lines(),
        "videos": [[shard.name, shard.num_rows] for shard in made],
        "first_frames": [[shard.name, shard.num_rows] for shard in first_frames],
        "sentences": [[shard.name, shard.num_rows] for shard in text],
        "filling": filling,
        "sentence_length": length,
        "text_dim": dim,
        "frames": to_json(job.frames),
        **about,
        "files": files,
    }
    job.store.write_json(SETTINGS, settings)
    tidy(job, settings)
    spent = on_videos + on_firsts
    return Prepared(
        num_videos=len(kept), skipped=skipped, notes=tally.lines(), num_encoded=on_videos.encoded,
        seconds=monotonic() - start, waited_share=spent.waited / max(spent.seconds, 1e-9),
    )  # fmt: skip


def _here(
    encode: Encode,
    job: Job,
    shards: list[list[Any]],
    restore: Callable[[dict], Any],
    tell: Tell,
) -> Iterator[Made]:
    """Shards made by this process; nothing needs to be restored."""
    return encode(job, iter(shards), tell)


def _make(
    step: str, shards: list[list], making: Callable[..., Iterator[Made]], on_step: OnStep
) -> tuple[list[Made], Spent]:
    """All shards of a step, in order, and what that took."""
    total, spent, start = sum(map(len, shards)), Spent(), monotonic()

    def tell(more: Spent) -> None:
        nonlocal spent
        spent += more
        on_step(step, spent.done, total, _speed(spent, monotonic() - start))

    on_step(step, 0, total, "")
    return list(making(shards=shards, tell=tell)), spent


def _speed(spent: Spent, seconds: float) -> str:
    """Videos a second, and how much of the encoders' time they waited."""
    if not spent.encoded:
        return ""
    share = spent.waited / max(spent.seconds, 1e-9)
    return f"{spent.encoded / max(seconds, 1e-9):.2f} a second, {share:.0%} waiting for decoding"


def _require_instructions(rows: list[VideoRow]) -> None:
    if not rows:
        raise ValueError("there is no video to prepare. Give a data set that has some.")
    if missing := [row.id for row in rows if not row.instruction]:
        raise ValueError(
            f"{len(missing)} of {len(rows)} videos have no instruction, the first is "
            f"{missing[0]!r}. AID learns from instructions: use a split that has them, or write "
            "them (docs/data.md says where)."
        )


def _size(rows: list[VideoRow], frames: FrameConfig) -> tuple[int, int]:
    """The height and width that every video is brought to."""
    known = next(((row.height, row.width) for row in rows if row.height and row.width), (0, 0))
    height, width = frames.height or known[0], frames.width or known[1]
    if not height or not width:
        raise ValueError(
            "no video says its size. Say which one to make: --frames.height 256 --frames.width 256"
        )
    if height % 8 or width % 8:
        raise ValueError(
            f"the first video has {width} x {height} pixels, and both must be multiples of 8. Say "
            f"which size to make: --frames.height {height // 8 * 8} --frames.width {width // 8 * 8}"
        )
    return height, width


def _gather(
    job: Job, made: Sequence[Made]
) -> tuple[list[int], list[tuple[int, float]], list[tuple[str, int]], list[First]]:
    """What the videos' shards say, row by row.

    Returns:
        The numbers of the rows that are kept; of each the number of its first frame and its frames
        a second; of each the shard that keeps its first frame and the place there; the distinct
        first frames.
    """
    kept: list[int] = []
    facts: list[tuple[int, float]] = []
    places: list[tuple[str, int]] = []
    firsts: dict[str, First] = {}
    number: dict[str, int] = {}
    for start, shard in enumerate(made):
        with job.store.local([shard.name]) as paths:
            tensors, _ = open_shard(paths[shard.name])
            digests = [bytes(one).hex() for one in tensors["given_digests"].tolist()]
            for place, digest in enumerate(digests):
                firsts.setdefault(digest, First(digest=digest, shard=shard.name, place=place))
                number.setdefault(digest, len(number))
            columns = (tensors[name].tolist() for name in ("kept", "fps", "given_of"))
            for row, fps, given in zip(*columns, strict=True):
                kept.append(start * SHARD + row)
                facts.append((number[digests[given]], fps))
                places.append((shard.name, given))
    return kept, facts, places, list(firsts.values())
