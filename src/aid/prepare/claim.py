"""Who may write in a folder: nobody touches a cache that was made for something else.

Called by `run`, before anything is decoded or loaded.
"""

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aid.conditioning.states import StateWriter, provenances
from aid.data.cache import SETTINGS
from aid.data.forecast import NUM_NOISED, cache_size
from aid.data.shards import FORMAT, SHARD, STORED_AS, open_shard, pieces, video_digest
from aid.models.sizes import backbone_sizes
from aid.prepare.job import Job
from aid.prepare.videos import videos_name
from aid.types import VideoRow

CLAIM = "claim.json"


def fingerprint_of(job: Job, rows: list[VideoRow], states: StateWriter) -> dict:
    """What the cache is made for, under the names that a refusal uses."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row.to_json(), sort_keys=True).encode())
    return {
        "backbone": job.backbone_id,
        "num_videos": len(rows),
        "manifest": digest.hexdigest()[:16],
        "num_frames": job.num_frames,
        "height": job.height,
        "width": job.width,
        "sampling": job.frames.sampling,
        "num_given_frames": job.condition.num_given_frames,
        "frame_condition": job.condition.frame_condition,
        "noise_aug": [job.condition.noise_aug_mean, job.condition.noise_aug_std, NUM_NOISED],
        "stored_as": STORED_AS,
        "state_writer": states.name,
        "states_see": provenances(states),
    }


def claim(job: Job, fingerprint: dict) -> None:
    """Marks the folder as being made with these settings, or refuses it if made with others."""
    store = job.store
    store.make()
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
    if store.names():
        raise ValueError(f"{store.place!r} is not empty and no cache. Choose another --out.")
    store.write_json(CLAIM, {"format": FORMAT, "fingerprint": fingerprint})


def check_room(job: Job, num_videos: int) -> None:
    """Refuses to begin what cannot fit, before hours have gone into it."""
    if job.store.folder is None or job.store.has(SETTINGS):
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
    there = sum(path.stat().st_size for path in job.store.folder.iterdir())
    free = shutil.disk_usage(job.store.folder).free
    if least - there > free:
        raise ValueError(
            f"the cache takes at least {least / 1e9:.2f} GB and {job.store.place!r} has "
            f"{free / 1e9:.2f} GB free. Make room, or choose another --out."
        )


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
