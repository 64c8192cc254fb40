"""VideoMAE, V-JEPA 2 and CLIP from a folder that transformers has saved.

Nothing is downloaded: the folder must exist, with safetensors weights. The card states its hash,
because scores depend on the weights.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from aid.metrics.distances import CUBIC

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class Pretrained:
    """One of the three networks, with the preprocessing of its frames.

    Args:
        kind: videomae, vjepa2 or clip.
        folder: of the model, as transformers saves it.
        device: where it runs.

    Raises:
        ValueError: the folder holds no such model with safetensors weights.
    """

    is_tuned_to, kernel = "what the folder's model card says", CUBIC

    def __init__(self, kind: str, folder: Path, device: str = "cpu") -> None:
        self.kind, self.name, self.device = kind, kind, device
        self.hash = _folder_hash(folder)
        self.network = _load(kind, folder).eval().requires_grad_(False).to(device)
        config: Any = self.network.config
        self.mean, self.std = OPENAI if kind == "clip" else IMAGENET
        if kind == "clip":
            self.side, self.dim = config.image_size, config.projection_dim
        elif kind == "vjepa2":
            self.side, self.dim = config.crop_size, config.hidden_size
            self.kernel = (2, 0.0)  # JEDi's (Luo et al. 2025); its factor of 100 is left out
        else:
            self.side, self.dim = config.image_size, config.hidden_size

    @torch.no_grad()
    def features(self, frames: Float[Tensor, "b f 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of frames in [-1, 1].

        VideoMAE: the mean over its tokens. V-JEPA 2: its attentive probe, before the classifier.
        CLIP: the mean over frames, which does not depend on their order.
        """
        x = frames.to(self.device)
        mean, std = (x.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        x = ((x + 1) / 2 - mean) / std
        if self.kind == "clip":
            made = self.network(pixel_values=rearrange(x, "b f c h w -> (b f) c h w")).image_embeds
            return rearrange(made, "(b f) d -> b f d", b=len(x)).mean(1)
        if self.kind == "vjepa2":
            even = spread(x, -(-x.shape[1] // self.network.config.tubelet_size)
                          * self.network.config.tubelet_size)  # fmt: skip
            output = self.network.vjepa2(pixel_values_videos=even, skip_predictor=True)
            return self.network.pooler(output.last_hidden_state)
        x = spread(x, self.network.config.num_frames)
        return self.network(pixel_values=x).last_hidden_state.mean(1)


def spread(frames: Float[Tensor, "b f *_"], num: int) -> Float[Tensor, "b n *_"]:
    """`num` frames by index, evenly over the video; some are repeated if there are fewer."""
    at = np.linspace(0, frames.shape[1] - 1, num).round().astype(int)
    return frames[:, torch.from_numpy(at).to(frames.device)]


def _load(kind: str, folder: Path) -> torch.nn.Module:
    from transformers import (
        CLIPVisionModelWithProjection,
        VideoMAEModel,
        VJEPA2ForVideoClassification,
    )

    classes = {
        "clip": CLIPVisionModelWithProjection,
        "videomae": VideoMAEModel,
        "vjepa2": VJEPA2ForVideoClassification,
    }
    settings = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    try:
        network, info = classes[kind].from_pretrained(folder, **settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{str(folder)!r} holds no {kind} with safetensors weights ({error}). Give a folder "
            "that transformers saved."
        ) from None
    if missing := sorted(info["missing_keys"]):
        raise ValueError(
            f"{str(folder)!r} lacks {len(missing)} tensors of {kind}, the first is {missing[0]!r}: "
            "its features would be random. Give a folder with all weights of that model."
        )
    return network


def _folder_hash(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        raise ValueError(
            f"{str(folder)!r} holds no safetensors file. Give the folder of a model that "
            "transformers saved (--weights)."
        )
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
