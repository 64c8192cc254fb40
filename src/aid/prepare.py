"""Verb 1: videos and instructions -> a cache of latents, tokens and states, all encoded once.

Called by the command line. Finished shards are kept, so a killed run goes on where it stopped.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from rich.progress import Progress
from torch import Tensor

from aid.conditioning.encoders import encode_sentences
from aid.conditioning.states import ReplayStateWriter, StateWriter, provenances
from aid.config import ConditionConfig
from aid.data.cache import SETTINGS, SHARD, write_json, write_tensors
from aid.data.manifest import MANIFEST, read_manifest
from aid.models.backbone import Backbone, backbone_hash, load_backbone
from aid.types import VideoRow
from aid.video import fit, read_video, to_float

NUM_NOISED = 4
BATCH = 16


@dataclass(frozen=True)
class Job:
    """What `prepare` was asked for."""

    data: Path
    out: Path
    condition: ConditionConfig
    num_frames: int
    height: int
    width: int


def prepare(
    data: Path,
    out: Path,
    backbone: Path,
    *,
    condition: ConditionConfig,
    num_frames: int,
    states: StateWriter,
    limit: int | None = None,
) -> None:
    """Encodes the manifest in `data` into the cache `out`.

    Args:
        backbone: folder of the backbone whose VAE and encoders are used.
        num_frames: frames per video, taken evenly from first to last.
        states: who says which states a video passes through.
        limit: only the first so many videos.

    Raises:
        ValueError: no manifest, a damaged video, or `out` holds a cache made otherwise.
    """
    rows = read_manifest(data)[:limit]
    if missing := [row.id for row in rows if not row.instruction]:
        raise ValueError(
            f"{len(missing)} of {len(rows)} videos have no instruction, the first is "
            f"{missing[0]!r}. AID learns from instructions; use a split that has them."
        )
    height, width = rows[0].height, rows[0].width
    job = Job(data, out, condition, num_frames, height, width)
    manifest = hashlib.sha256((data / MANIFEST).read_bytes()).hexdigest()[:16]
    fingerprint = {
        "backbone": backbone_hash(backbone),
        "manifest": manifest,
        "num_videos": len(rows),
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "num_given_frames": condition.num_given_frames,
        "frame_condition": condition.frame_condition,
        "noise_aug": [condition.noise_aug_mean, condition.noise_aug_std],
        "state_writer": states.name,
        "states_see": provenances(states),
    }
    _claim(out, fingerprint)
    if (out / SETTINGS).exists():
        return
    parts = load_backbone(backbone, ("vae", "image_encoder", "text_encoder", "tokenizer"))
    firsts, first_of = _distinct_first_frames(rows, condition.num_given_frames)
    with Progress() as progress:
        _encode_videos(job, parts, rows, progress)
        _encode_first_frames(job, parts, [rows[i] for i in firsts], progress)
    _encode_text(job, parts, rows, first_of, states)
    write_json(out / SETTINGS, {"fingerprint": fingerprint})
    (out / "claim.json").unlink()


def _claim(out: Path, fingerprint: dict) -> None:
    """Marks `out` as being made with these settings, or refuses it if made with others."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (SETTINGS, "claim.json"):
        if (out / name).exists():
            have = json.loads((out / name).read_text())["fingerprint"]
            for key, value in fingerprint.items():
                if have.get(key) != value:
                    raise ValueError(
                        f"{str(out)!r} holds a cache made with {key} = {have.get(key)!r}, asked is "
                        f"{value!r}. Choose another --out, or delete that folder."
                    )
            return
    if any(out.iterdir()):
        raise ValueError(f"{str(out)!r} is not empty and no cache. Choose another --out.")
    write_json(out / "claim.json", {"fingerprint": fingerprint})


def _distinct_first_frames(
    rows: list[VideoRow], num_given_frames: int
) -> tuple[list[int], list[int]]:
    """Rows that show a first frame for the first time, and for each row the number of its own.

    Videos of one table-top scene share their first frame; elsewhere, and where more than the first
    frame is given, each video has its own.
    """
    seen: dict[object, int] = {}
    firsts, first_of = [], []
    for index, row in enumerate(rows):
        key = row.world.get("scene", row.id) if num_given_frames == 1 else row.id
        if key not in seen:
            seen[key] = len(firsts)
            firsts.append(index)
        first_of.append(seen[key])
    return firsts, first_of


def _decode(job: Job, row: VideoRow) -> UInt8[np.ndarray, "f H W 3"]:
    """`num_frames` frames spread evenly over the video, at the job's size."""
    pixels = read_video(job.data / row.video)
    chosen = np.linspace(0, len(pixels) - 1, job.num_frames).round().astype(int)
    pixels = pixels[chosen]
    if pixels.shape[1:3] != (job.height, job.width):
        pixels = np.stack([fit(frame, job.height, job.width) for frame in pixels])
    return pixels


def _decoded(job: Job, rows: list[VideoRow]) -> Iterator[Tensor]:
    """Batches of decoded videos `b f 3 H W`; the next one is decoded while this one is encoded."""
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]

    def load(batch: list[VideoRow]) -> Tensor:
        return torch.stack([to_float(_decode(job, row)) for row in batch])

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(load, batches[0])
        for following in [*batches[1:], None]:
            ready = pending.result()
            if following is not None:
                pending = pool.submit(load, following)
            yield ready


def _shards(rows: list[VideoRow]) -> Iterator[tuple[int, list[VideoRow]]]:
    for start in range(0, len(rows), SHARD):
        yield start // SHARD, rows[start : start + SHARD]


def _encode_videos(job: Job, parts: Backbone, rows: list[VideoRow], progress: Progress) -> None:
    task = progress.add_task("videos", total=len(rows))
    for number, members in _shards(rows):
        path = job.out / f"videos-{number:05d}.safetensors"
        if not path.exists():
            latents = [parts.encode(frames).half() for frames in _decoded(job, members)]
            write_tensors(path, {"latents": torch.cat(latents)})
        progress.advance(task, len(members))


def _encode_first_frames(
    job: Job, parts: Backbone, rows: list[VideoRow], progress: Progress
) -> None:
    """Image tokens, and the given frames' latents under several noise augmentations."""
    condition, k = job.condition, job.condition.num_given_frames
    task = progress.add_task("first frames", total=len(rows))
    for number, members in _shards(rows):
        path = job.out / f"first_frames-{number:05d}.safetensors"
        if not path.exists():
            made: dict[str, list[Tensor]] = {}
            for index, frames in enumerate(_decoded(job, members)):
                for name, tensor in _first_frame_facts(
                    parts, frames[:, :k], condition, seed=number * SHARD + index
                ).items():
                    made.setdefault(name, []).append(tensor.half())
            write_tensors(path, {name: torch.cat(tensors) for name, tensors in made.items()})
        progress.advance(task, len(members))
    if condition.frame_condition != "repeat_first":
        grey = torch.zeros(1, 1, 3, job.height, job.width)
        latent = parts.encode_condition(grey, 1, "grey_pixels")
        latent = latent * (condition.frame_condition == "grey_pixels")
        write_tensors(job.out / "filling.safetensors", {"latent": latent[0, 0].half()})


def _first_frame_facts(
    parts: Backbone, given: Tensor, condition: ConditionConfig, seed: int
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    b, k = given.shape[:2]
    strength = condition.noise_aug_mean + condition.noise_aug_std * torch.randn(
        b, NUM_NOISED, generator=generator
    )
    strength = strength.exp()
    noised = []
    for version in range(NUM_NOISED):
        noise = torch.randn(given.shape, generator=generator)
        frames = given + strength[:, version, None, None, None, None] * noise
        noised.append(parts.encode_condition(frames, k, "zero_latents"))
    embedding, tokens = parts.encode_image(given[:, 0])
    return {
        "given_latents": torch.stack(noised, dim=1),
        "noise_aug_strength": strength,
        "image_embedding": embedding,
        "image_tokens": tokens,
    }


def _encode_text(
    job: Job, parts: Backbone, rows: list[VideoRow], first_of: list[int], states: StateWriter
) -> None:
    """Every distinct sentence once; the empty one is number 0."""
    number: dict[str, int] = {"": 0}
    frames = [np.zeros((job.height, job.width, 3), np.uint8)] * len(rows)
    if states.sees == "first_frame" and not isinstance(states, ReplayStateWriter):
        frames = [_decode(job, row)[0] for row in rows]
    written = states.write(frames, [row.instruction for row in rows])
    entries = []
    for row, first, stages in zip(rows, first_of, written, strict=True):
        said = list(dict.fromkeys([row.instruction, *row.wordings]))
        for sentence in [*said, *stages]:
            number.setdefault(sentence, len(number))
        entries.append(
            {
                "id": row.id,
                "first_frame": first,
                "fps": row.fps * (job.num_frames - 1) / max(1, row.num_frames - 1),
                "instructions": [number[sentence] for sentence in said],
                "states": [number[sentence] for sentence in stages],
            }
        )
    tokens, mask = encode_sentences(parts.tokenizer, parts.part("text_encoder"), list(number))
    write_tensors(job.out / "sentences.safetensors", {"tokens": tokens.half(), "mask": mask})
    write_json(job.out / "sentences.json", list(number))
    write_json(job.out / "rows.json", entries)
