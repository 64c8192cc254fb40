"""What the encoders say of given frames, kept: further instructions on a frame need not ask again.

`draw_videos` looks here before it asks the backbone. The key is the content of the very tensor that
the encoder would read, so a changed pixel, seed or noise augmentation never finds a stale answer.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import torch
from jaxtyping import Float
from torch import Tensor


class FrameEncodings:
    """The encodings of the frames seen last, for one backbone and one denoiser.

    Args:
        capacity: how many frames' encodings of each kind are kept, the latest used ones. Choice:
            32, about 120 MB at Stable Video Diffusion's full size.
    """

    def __init__(self, capacity: int = 32) -> None:
        self.capacity = capacity
        self._kept: dict[str, OrderedDict[bytes, tuple[Tensor, ...]]] = {}
        self._lock = Lock()

    def look_up(
        self,
        kind: str,
        frames: Float[Tensor, "b ..."],
        encode: Callable[[Tensor], tuple[Tensor, ...]],
    ) -> tuple[Tensor, ...]:
        """`encode(frames)`, where only frames that are not known yet are encoded, each once.

        Choice: each alone, because rounding differs between batches and a video must not depend on
        what was drawn before. The encoders' share of a prediction's time is small.

        Args:
            kind: which encoder; its answers are kept apart from the others'.
            frames: what the encoder reads, one row for each video.
            encode: gives tensors whose rows belong to the rows it was given and to nothing else.
        """
        keys = [hashlib.sha256(row.cpu().contiguous().numpy()).digest() for row in frames]
        with self._lock:
            kept = self._kept.setdefault(kind, OrderedDict())
            known = {key: kept[key] for key in keys if key in kept}
        for key, row in zip(keys, frames, strict=True):
            if key not in known:
                known[key] = tuple(part[0] for part in encode(row[None]))
        with self._lock:
            kept.update(known)
            for key in keys:
                kept.move_to_end(key)
            while len(kept) > self.capacity:
                kept.popitem(last=False)
        parts = zip(*(known[key] for key in keys), strict=True)
        return tuple(torch.stack(part).to(frames.device) for part in parts)
