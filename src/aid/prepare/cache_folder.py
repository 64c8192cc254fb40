"""The folder of a cache while it is made: checks before, the lock during, cleaning up after it.

Called by `run`. A folder with another cache is refused before anything is loaded or written, and a
run that fails before its first shard leaves nothing behind.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from aid.conditioning.states import StateWriter, provenances
from aid.data.cache import NUM_NOISED, OFFSETS, ROWS, SENTENCES, SETTINGS, cache_size
from aid.data.shards import (
    FORMAT,
    SHARD,
    STORED_AS,
    check_file,
    open_shard,
    pieces,
    video_digest,
)
from aid.files import alone_in
from aid.models.sizes import backbone_sizes
from aid.prepare.encoding import EncodingJob
from aid.prepare.videos import videos_name
from aid.types import VideoRow

IN_PROGRESS = "in_progress.json"
"""The settings of an unfinished cache; `cache.json` takes its place."""
TABLES = (ROWS, OFFSETS, SENTENCES)
ROW_SETTINGS = ("split", "camera", "limit", "fps", "hold_out", "hold_out_seed", "strip_distractors")
"""Settings of a `SourceConfig` that decide which rows a cache has."""
PREFIXES = ("videos-", "first_frames-", "sentences-", "filling-")


def fingerprint_of(job: EncodingJob, rows: list[VideoRow], states: StateWriter) -> dict:
    """Everything that decides the contents of a cache, under the names that errors use."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row.to_json(), sort_keys=True).encode())
    rate = job.frames.rate(job.num_frames)
    return {
        "backbone": job.backbone_id,
        "precision": job.precision,
        "num_videos": len(rows),
        "manifest": digest.hexdigest()[:16],
        "num_frames": job.num_frames,
        "height": job.height,
        "width": job.width,
        "sampling": job.frames.sampling,
        **({} if rate is None else {"frames.fps": rate}),
        "num_given_frames": job.condition.num_given_frames,
        "frame_condition": job.condition.frame_condition,
        "noise_aug": [job.condition.noise_aug_mean, job.condition.noise_aug_std, NUM_NOISED],
        "stored_as": STORED_AS,
        "state_writer": states.name,
        "states_see": provenances(states),
    }


def is_shard(name: str) -> bool:
    """Whether a file is a shard of a cache."""
    return name.startswith(PREFIXES) and name.endswith(".safetensors")


def is_unfinished(name: str) -> bool:
    """Whether a file is a temporary one of a killed process."""
    return name.startswith(".") and ".tmp" in name


def check_folder(job: EncodingJob, fingerprint: dict, source: dict) -> None:
    """Raises if the folder contains another cache or other files. Writes nothing.

    The shards of a killed run may stay: their names say what made them.

    Args:
        job: the encoding job.
        fingerprint: what decides the contents of its cache.
        source: how the data set is read; if that is what changed the contents, the error names it.

    Raises:
        ValueError: the folder contains something else.
    """
    store = job.store
    for name in (SETTINGS, IN_PROGRESS):
        if store.has(name):
            have = store.read_json(name)
            if have.get("format") != FORMAT:
                raise ValueError(
                    f"{store.place!r} holds a cache of another version. Choose another --out, or "
                    "delete that folder."
                )
            if have["fingerprint"] == fingerprint:
                return
            before = have.get("source", {}) | have["fingerprint"]
            now = source | fingerprint
            keys = list(fingerprint)
            if any(before.get(key) != now[key] for key in ("num_videos", "manifest")):
                place = keys.index("num_videos")
                keys[place:place] = ROW_SETTINGS  # which explain it better
            for key in keys:
                if (old := before.get(key)) != (new := now.get(key)):
                    raise ValueError(
                        f"{store.place!r} has a cache made with {key} = {old!r}, and {new!r} is "
                        "requested. Choose another --out, or delete that folder."
                    )
            return
    others = [n for n in store.names() if not (is_shard(n) or is_unfinished(n) or n in TABLES)]
    if others:
        raise ValueError(
            f"{store.place!r} is neither empty nor a cache (it contains {others[0]!r}). Choose "
            "another --out."
        )


@contextmanager
def reserved(job: EncodingJob, fingerprint: dict, source: dict) -> Iterator[None]:
    """Locks the folder and records the settings of its cache while the block runs.

    If the block fails before its first shard is written, everything is deleted, so that the folder
    can be used with other settings.

    Raises:
        ValueError: another process writes to the folder, or it cannot be written to.
    """
    store, folder = job.store, job.store.folder
    parents = [] if folder is None else [folder, *folder.parents]
    missing = [path for path in parents if not path.exists()]
    store.make()
    with nullcontext() if folder is None else alone_in(folder):
        check_folder(job, fingerprint, source)  # again: another process may have been faster
        try:
            if not store.has(IN_PROGRESS):
                store.write_json(IN_PROGRESS, _settings(fingerprint, source))
            yield
        except BaseException:
            names = store.names()
            if not any(is_shard(name) or name == SETTINGS for name in names):
                for name in names:
                    if is_unfinished(name) or name in (IN_PROGRESS, *TABLES):
                        store.remove(name)
                with suppress(OSError):  # another process has written a file there
                    for path in missing:
                        path.rmdir()
            raise


def _settings(fingerprint: dict, source: dict) -> dict:
    return {"format": FORMAT, "fingerprint": fingerprint, "source": source}


def remove_unused(job: EncodingJob, settings: dict) -> None:
    """Deletes what is not part of a finished cache.

    That is `in_progress.json`, shards of videos that have changed, and files of killed runs.
    """
    used = {name for kind in ("videos", "first_frames", "sentences") for name, _ in settings[kind]}
    used.add(settings["filling"])
    for name in job.store.names():
        if name == IN_PROGRESS or is_unfinished(name) or (is_shard(name) and name not in used):
            job.store.remove(name)


def check_space(job: EncodingJob, num_videos: int) -> None:
    """Raises if the cache does not fit on the disk, before hours are spent on it."""
    folder = job.store.folder
    if folder is None:
        return
    least = cache_size(
        backbone_sizes(Path(job.backbone)),
        num_videos=num_videos,
        num_firsts=1,
        num_tokens=0,
        num_frames=job.num_frames,
        num_given_frames=job.condition.num_given_frames,
        height=job.height,
        width=job.width,
    ).total
    written = sum((folder / name).stat().st_size for name in job.store.names())
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if least - written > free:
        raise ValueError(
            f"the cache takes at least {least / 1e9:.2f} GB and {job.store.place!r} has "
            f"{free / 1e9:.2f} GB free. Make room, or choose another --out."
        )


def damaged_files(job: EncodingJob, finished: dict) -> list[str]:
    """The files of a finished cache that are missing or damaged.

    On this machine all files are read; behind a URL only their names are checked.
    """
    damaged = []
    names = set(job.store.names())
    for name, facts in finished["files"].items():
        if job.store.folder is None:
            is_there = name in names
        else:
            try:
                check_file(job.store.folder / name, facts)
                is_there = True
            except ValueError:
                is_there = False
        if not is_there:
            damaged.append(name)
    return damaged


def reopen(job: EncodingJob, fingerprint: dict, source: dict, damaged: list[str]) -> None:
    """Turns a finished cache into an unfinished one without the damaged files."""
    job.store.write_json(IN_PROGRESS, _settings(fingerprint, source))
    for name in damaged:
        job.store.remove(name)
    job.store.remove(SETTINGS)


def check_unchanged(job: EncodingJob, rows: list[VideoRow], finished: dict) -> None:
    """Raises if the bytes of a video have changed since the cache was made.

    Raises:
        ValueError: one has changed or is missing.
    """
    shards = list(pieces(rows, SHARD))
    with ThreadPoolExecutor(job.num_threads) as pool:
        for members, (name, _) in zip(shards, finished["videos"], strict=True):
            with job.source.local([row.video for row in members]) as paths:
                digests = list(pool.map(video_digest, [paths[row.video] for row in members]))
            if videos_name(job, members, digests) == name:
                continue
            with job.store.local([name]) as paths:
                before = open_shard(paths[name])[1]["sources"]
            pairs = zip(members, before, digests, strict=True)
            changed = [row.video for row, old, now in pairs if old != now]
            what = f"video {changed[0]!r} has" if changed else "the decoding of videos has"
            raise ValueError(
                f"{job.store.place!r} is stale: {what} changed since that cache was made. Choose "
                "another --out, or delete that folder."
            )
