"""Shards of first frames: image tokens and noised latents of each distinct one.

Called by `run`. The pixels are those stored with the videos, so nothing is decoded again. The noise
is a function of the pixels, so it can be reproduced exactly from the stored frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import monotonic

import torch
from jaxtyping import Float
from torch import Tensor

from aid.config import ConditionConfig
from aid.data.cache import NUM_NOISED
from aid.data.frames import floats
from aid.data.shards import open_shard, pieces, shard_name
from aid.prepare.encoding import EncodingJob, OnProgress, Progress, ShardResult


@dataclass(frozen=True, kw_only=True)
class First:
    """A distinct first frame: the digest of its pixels, and the shard of videos with them."""

    digest: str
    shard: str
    place: int


def noised(
    given: Float[Tensor, "k 3 H W"], digest: str, condition: ConditionConfig
) -> tuple[Float[Tensor, "v k 3 H W"], Float[Tensor, " v"]]:
    """The given frames under several noise augmentations, and the strength of each.

    given + s * noise,  ln s ~ N(noise_aug_mean, noise_aug_std);  both drawn from the digest.
    """
    generator = torch.Generator().manual_seed(int(digest[:15], 16))
    draws = torch.randn(NUM_NOISED, generator=generator)
    strength = (condition.noise_aug_mean + condition.noise_aug_std * draws).exp()
    noise = torch.randn(NUM_NOISED, *given.shape, generator=generator)
    return given + strength[:, None, None, None, None] * noise, strength


def encode_first_frames(
    job: EncodingJob, shards: Iterable[list[First]], on_progress: OnProgress
) -> Iterator[ShardResult]:
    """Image tokens, and the given frames' latents under several noise augmentations."""
    for firsts in shards:
        c = job.condition
        digests = [first.digest for first in firsts]
        noise = [NUM_NOISED, c.noise_aug_mean, c.noise_aug_std]
        name = shard_name("first_frames", [job.arithmetic(), job.decoding(), noise, digests])
        if job.has_whole(name):
            on_progress(Progress(done=len(firsts)))
        else:
            with job.store.local({first.shard for first in firsts}) as paths:
                kept = {shard: open_shard(path)[0]["given_frames"] for shard, path in paths.items()}
                made: dict[str, list[Tensor]] = {}
                size = max(1, job.batch_size // job.condition.num_given_frames)
                for batch in pieces(firsts, size):
                    since = monotonic()
                    given = torch.stack([floats(kept[f.shard][f.place]) for f in batch])
                    for key, tensor in encoded(job, given, [f.digest for f in batch]).items():
                        made.setdefault(key, []).append(tensor.half().cpu())
                    on_progress(Progress(done=len(batch), seconds=monotonic() - since))
            tensors = {key: torch.cat(parts) for key, parts in made.items()}
            job.store.write_tensors(name, tensors)
        yield ShardResult(name=name, num_rows=len(firsts), facts=job.store.facts(name))


def encoded(
    job: EncodingJob, given: Float[Tensor, "b k 3 H W"], digests: list[str]
) -> dict[str, Tensor]:
    """The encoders' outputs for given frames in [-1, 1], and the strengths of the noise."""
    k = given.shape[1]
    drawn = [noised(one, digest, job.condition) for one, digest in zip(given, digests, strict=True)]
    frames = torch.stack([frames for frames, _ in drawn], dim=1)
    with job.memory():
        latents = [
            job.parts.encode_condition(job.put(version), k, "zero_latents", job.batch_size)
            for version in frames
        ]
        embedding, tokens = job.parts.encode_image(job.put(given[:, 0]))
    return {
        "given_latents": torch.stack(latents, dim=1),
        "noise_aug_strength": torch.stack([strength for _, strength in drawn]),
        "image_embedding": embedding,
        "image_tokens": tokens,
    }


def encode_filling(job: EncodingJob) -> str | None:
    """The file of the latent in place of frames that are not given; None for `repeat_first`."""
    kind = job.condition.frame_condition
    if kind == "repeat_first":
        return None
    size = [job.height, job.width]
    name = shard_name("filling", [job.arithmetic(), kind, size])
    if not job.has_whole(name):
        grey = job.put(torch.zeros(1, 1, 3, *size))
        latent = job.parts.encode_condition(grey, 1, "grey_pixels") * (kind == "grey_pixels")
        job.store.write_tensors(name, {"latent": latent[0, 0].half().cpu()})
    return name
