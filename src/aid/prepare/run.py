"""The flow of `prepare`: checks, the three kinds of shards, and at last the list of the cache.

Finished shards are kept, so a killed run continues where it stopped; `cache.json` is written last.
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
from aid.data.windows import common_size, cut_windows
from aid.models.backbone import backbone_hash
from aid.prepare.cache_folder import (
    TABLES,
    check_folder,
    check_space,
    check_unchanged,
    damaged_files,
    fingerprint_of,
    remove_unused,
    reopen,
    reserved,
)
from aid.prepare.cluster import on_cluster
from aid.prepare.encoding import Encode, EncodingJob, OnProgress, Progress, ShardResult
from aid.prepare.first_frames import First, encode_filling, encode_first_frames
from aid.prepare.processes import ProcessGroup, on_ranks, process_group, send_job, work_for_rank_0
from aid.prepare.text import encode_text, sentence_sizes, write_rows, write_states
from aid.prepare.videos import encode_videos
from aid.types import VideoRow
from aid.video import NoteCounter

Engine = Literal["local", "ray"]
OnStep = Callable[[str, int, int, str], None]
"""Called with the step, the number of rows that are done, their total, and the speed in words."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The result of `prepare`.

    Attributes:
        num_videos: in the cache.
        skipped: ids of videos that were left out, and the reasons.
        notes: sentences about what was done to the videos' files beyond plain decoding.
        num_encoded: videos that were encoded now, by all processes together.
        seconds: that it took.
        waited_share: share of the encoders' time, 0 to 1, in which they waited for decoding.
        remade: names of files of a finished cache that were damaged and made again.
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
    selection: SourceConfig | None = None,
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

    Under a launcher (`torchrun`, `accelerate launch`) every process calls this; ranks other than 0
    only make shards.

    Args:
        data: folder or URL of the rows' videos; without `rows`, any data set that `read_source`
            reads.
        out: folder or URL of the cache.
        backbone: folder of the backbone whose VAE and encoders are used.
        condition: how frames and text condition the model.
        num_frames: frames per video.
        states: the state writer.
        rows: to encode, windows as `cut_windows` makes them; None reads `data` and cuts it.
        selection: how the data set is or was read; it is recorded in the cache.
        limit: only the first so many rows; without `rows`, so many videos of the data set.
        frames: which frames of a video are taken, at which size.
        skip_corrupt: leaves damaged videos out instead of raising an error.
        num_workers: threads for decoding, by default one per core; or processes of the cluster, by
            default one per GPU, or per core without GPUs.
        engine: whether this process makes the shards, or the workers of a Ray cluster.
        device: of the encoders; None takes CUDA if there is one, else MPS, else the CPU.
        precision: of the encoders. A cache is always stored in float16.
        batch_size: frames that are encoded at once; fewer take less of the device's memory.
        licence: of the data; without `rows` it is read with them.
        on_step: called after every batch.

    Raises:
        ValueError: there is nothing to encode, a video is damaged, the device does not exist or is
            too small, or `out` has another or a stale cache.
        OSError: the disk is full, or another rank has died.
    """
    with process_group() as group:
        if group is not None and group.rank:
            return Prepared(**work_for_rank_0(group))
        selection, frames = selection or SourceConfig(limit=limit), frames or FrameConfig()
        if rows is None:
            source = read_source(data, selection)
            data, licence = source.place, source.licence  # another folder if they were unpacked
            rows = cut_windows(source.rows[:limit], frames, num_frames)
        else:
            rows = rows[:limit]
        _require_instructions(rows)
        own = device if engine == "local" or device == "cpu" else None  # text is encoded here
        height, width = common_size(rows, frames)
        job = EncodingJob(
            data=str(data), out=str(out), backbone=str(backbone),
            backbone_id=backbone_hash(backbone), condition=condition, frames=frames,
            num_frames=num_frames, height=height, width=width, skip_corrupt=skip_corrupt,
            device=own, precision=precision, batch_size=batch_size,
            num_threads=num_workers or _threads(),
        )  # fmt: skip
        fingerprint, source = fingerprint_of(job, rows, states), to_json(selection)
        check_folder(job, fingerprint, source)
        finished, damaged = None, []
        if job.store.has(SETTINGS):
            finished = job.store.read_json(SETTINGS)
            check_unchanged(job, rows, finished)
            damaged = damaged_files(job, finished)
        if finished is not None and not damaged:
            remove_unused(job, finished)  # a run may have been killed after it wrote the list
            skipped = [(name, reason) for name, reason in finished["skipped"]]
            result = Prepared(
                num_videos=finished["num_videos"], skipped=skipped, notes=finished.get("notes", [])
            )
        else:
            check_space(job, len(rows))
            if engine == "local" and job.place.type != "cpu":
                job.parts  # noqa: B018  loads the encoders and tries the device's memory
            if group is not None:
                send_job(job, group)
            make_shards = _engine(engine, group, num_workers, device)
            with reserved(job, fingerprint, source):
                if damaged:
                    reopen(job, fingerprint, source, damaged)
                about = {"source": source, "licence": licence}
                result = _make_cache(job, rows, states, fingerprint, about, make_shards, on_step)
        result = replace(result, remade=damaged)
        if group is not None:
            group.send("end", asdict(result))
        return result


def _engine(
    engine: Engine, group: ProcessGroup | None, num_workers: int | None, device: str | None
) -> Callable[..., Iterator[ShardResult]]:
    """The function that makes the shards.

    Raises:
        ValueError: both a launcher and a Ray cluster are requested.
    """
    if group is not None and engine == "ray":
        raise ValueError("--engine ray starts its own workers. Run it without a launcher.")
    if group is not None:
        return partial(on_ranks, group=group)
    if engine == "ray":
        return partial(on_cluster, num_workers=num_workers, device=device)
    return _in_process


def _threads() -> int:
    """Threads for decoding by default: the launcher's processes share the cores."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, (os.cpu_count() or 1) // processes)


def _make_cache(
    job: EncodingJob,
    rows: list[VideoRow],
    states: StateWriter,
    fingerprint: dict,
    about: dict,
    make_shards: Callable[..., Iterator[ShardResult]],
    on_step: OnStep,
) -> Prepared:
    """Makes the missing files, and at last `cache.json`."""
    start = monotonic()
    make = partial(make_shards, encode_videos, job, restore=VideoRow.from_json)
    made, on_videos = _run_step("videos", list(pieces(rows, SHARD)), make, on_step)
    kept, facts, places, firsts = _gather(job, made)
    skipped = [one for shard in made for one in shard.skipped]
    notes = NoteCounter()
    for shard in made:
        notes.merge(shard.notes)
    if not kept:
        raise ValueError(f"all {len(rows)} videos are damaged, the first: {skipped[0][1]}")
    written = write_states(job, rows, kept, places, states)
    sentences = write_rows(job, [rows[index] for index in kept], facts, written)
    make = partial(make_shards, encode_first_frames, job, restore=lambda row: First(**row))
    first_frames, on_firsts = _run_step("first frames", list(pieces(firsts, SHARD)), make, on_step)
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
        "notes": notes.lines(),
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
    remove_unused(job, settings)
    progress = on_videos + on_firsts
    return Prepared(
        num_videos=len(kept), skipped=skipped, notes=notes.lines(), num_encoded=on_videos.encoded,
        seconds=monotonic() - start, waited_share=progress.waited / max(progress.seconds, 1e-9),
    )  # fmt: skip


def _in_process(
    encode: Encode,
    job: EncodingJob,
    shards: list[list[Any]],
    restore: Callable[[dict], Any],
    on_progress: OnProgress,
) -> Iterator[ShardResult]:
    """Shards made by this process; `restore` is not needed."""
    return encode(job, iter(shards), on_progress)


def _run_step(
    step: str, shards: list[list], make: Callable[..., Iterator[ShardResult]], on_step: OnStep
) -> tuple[list[ShardResult], Progress]:
    """All shards of a step, in order, and their progress."""
    total, progress, start = sum(map(len, shards)), Progress(), monotonic()

    def on_progress(more: Progress) -> None:
        nonlocal progress
        progress += more
        on_step(step, progress.done, total, _speed(progress, monotonic() - start))

    on_step(step, 0, total, "")
    return list(make(shards=shards, on_progress=on_progress)), progress


def _speed(progress: Progress, seconds: float) -> str:
    """Videos a second, and the share of the encoders' time in which they waited."""
    if not progress.encoded:
        return ""
    rate = progress.encoded / max(seconds, 1e-9)
    share = progress.waited / max(progress.seconds, 1e-9)
    return f"{rate:.2f} a second, {share:.0%} waiting for decoding"


def _require_instructions(rows: list[VideoRow]) -> None:
    if not rows:
        raise ValueError("there is no video to prepare. Give a data set with videos.")
    if missing := [row.id for row in rows if not row.instruction]:
        raise ValueError(
            f"{len(missing)} of {len(rows)} videos have no instruction, the first is "
            f"{missing[0]!r}. Use a split that has them, or write them (docs/data.md "
            "says where)."
        )


def _gather(
    job: EncodingJob, made: Sequence[ShardResult]
) -> tuple[list[int], list[tuple[int, float]], list[tuple[str, int]], list[First]]:
    """Collects from the shards of videos what the rows need.

    Returns:
        The numbers of the rows that are kept; of each, the number of its first frame and its frames
        a second; of each, the shard with its first frame and the index there; the distinct first
        frames.
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
