"""Who may write in a folder: nobody touches a cache that was made for something else.

Called by `run`: what is refused is refused before anything is loaded or written, and a run that
fails before its first shard leaves nothing behind.
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
from aid.prepare.job import Job
from aid.prepare.videos import videos_name
from aid.types import VideoRow

CLAIM = "claim.json"
TABLES = (ROWS, OFFSETS, SENTENCES)
PREFIXES = ("videos-", "first_frames-", "sentences-", "filling-")


def fingerprint_of(job: Job, rows: list[VideoRow], states: StateWriter) -> dict:
    """What the cache is made for, under the names that a refusal uses."""
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
    """Whether a file is what a killed process left of one that it wrote."""
    return name.startswith(".") and ".tmp" in name


def check_claim(job: Job, fingerprint: dict) -> None:
    """Refuses a folder that holds another cache, or anything else. Writes nothing.

    What a killed run left is no obstacle: its shards are named by what made them.

    Raises:
        ValueError: the folder holds something else.
    """
    store = job.store
    for name in (SETTINGS, CLAIM):
        if store.has(name):
            have = store.read_json(name)
            if have.get("format") != FORMAT:
                raise ValueError(
                    f"{store.place!r} holds a cache of another version. Choose another --out, or "
                    "delete that folder."
                )
            for key, value in fingerprint.items():
                if have["fingerprint"].get(key) != value:
                    raise ValueError(
                        f"{store.place!r} holds a cache made with {key} = "
                        f"{have['fingerprint'].get(key)!r}, asked is {value!r}. Choose another "
                        "--out, or delete that folder."
                    )
            return
    others = [n for n in store.names() if not (is_shard(n) or is_unfinished(n) or n in TABLES)]
    if others:
        raise ValueError(
            f"{store.place!r} is not empty and no cache (it holds {others[0]!r}). Choose another "
            "--out."
        )


@contextmanager
def claimed(job: Job, fingerprint: dict) -> Iterator[None]:
    """Marks the folder as being made with these settings, for as long as the block runs.

    A block that fails before its first shard is written leaves nothing behind, so that it does not
    stand in the way of the next try with other settings.

    Raises:
        ValueError: another process is at work in the folder, or it cannot be written to.
    """
    store, folder = job.store, job.store.folder
    parents = [] if folder is None else [folder, *folder.parents]
    missing = [path for path in parents if not path.exists()]
    store.make()
    with nullcontext() if folder is None else alone_in(folder):
        check_claim(job, fingerprint)  # another process may have been faster
        try:
            if not store.has(CLAIM):
                store.write_json(CLAIM, {"format": FORMAT, "fingerprint": fingerprint})
            yield
        except BaseException:
            names = store.names()
            if not any(is_shard(name) or name == SETTINGS for name in names):
                for name in names:
                    if is_unfinished(name) or name in (CLAIM, *TABLES):
                        store.remove(name)
                with suppress(OSError):  # somebody else's file is there by now
                    for path in missing:
                        path.rmdir()
            raise


def tidy(job: Job, settings: dict) -> None:
    """Deletes what is no part of a finished cache.

    That is the claim, shards of videos that changed, and what a killed run left.
    """
    used = {name for kind in ("videos", "first_frames", "sentences") for name, _ in settings[kind]}
    used.add(settings["filling"])
    for name in job.store.names():
        if name == CLAIM or is_unfinished(name) or (is_shard(name) and name not in used):
            job.store.remove(name)


def check_room(job: Job, num_videos: int) -> None:
    """Refuses to begin what cannot fit, before hours have gone into it."""
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
    there = sum((folder / name).stat().st_size for name in job.store.names())
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if least - there > free:
        raise ValueError(
            f"the cache takes at least {least / 1e9:.2f} GB and {job.store.place!r} has "
            f"{free / 1e9:.2f} GB free. Make room, or choose another --out."
        )


def damaged_files(job: Job, finished: dict) -> list[str]:
    """The files of a finished cache that are missing or not as they were written.

    All of it is read where it lies on this machine; behind a URL only the names are looked at.
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


def reopen(job: Job, fingerprint: dict, damaged: list[str]) -> None:
    """Makes a finished cache an unfinished one that lacks some files; the others are kept."""
    job.store.write_json(CLAIM, {"format": FORMAT, "fingerprint": fingerprint})
    for name in damaged:
        job.store.remove(name)
    job.store.remove(SETTINGS)


def check_unchanged(job: Job, rows: list[VideoRow], finished: dict) -> None:
    """Refuses a finished cache if the bytes of a video have changed since, by name.

    Raises:
        ValueError: one has, or is gone.
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
            what = f"video {changed[0]!r} has" if changed else "how videos are decoded has"
            raise ValueError(
                f"{job.store.place!r} is stale: {what} changed since that cache was made. Choose "
                "another --out, or delete that folder."
            )
