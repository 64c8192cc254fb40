"""The frozen parts: Stable Video Diffusion's UNet, VAE and image encoder, and a text encoder.

Every verb starts with `load_backbone`. `prepare/` and `predict.py` use its VAE and image-encoder
methods; `denoiser.py` gets its UNet. The folder has SVD's own layout (`unet/ vae/ image_encoder/
feature_extractor/ scheduler/ model_index.json`) plus `text_encoder/` and `tokenizer/`.

Reference: Blattmann et al. 2023 (SVD); diffusers' `StableVideoDiffusionPipeline`, which is repeated
here exactly where it turns images into conditions. The protocol `VideoBackbone` is what the rest of
the code needs; docs/svd.md says what the network itself must offer.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from accelerate.hooks import ModelHook, add_hook_to_module, send_to_device
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
    _resize_with_antialiasing,
)
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)
from transformers.utils import logging

from aid.models.folder import backbone_hash, part_folder, weight_files
from aid.models.patch_autoencoder import PatchAutoencoder

__all__ = ["NETWORKS", "PARTS", "Backbone", "VideoBackbone", "backbone_hash", "load_backbone"]

NETWORKS = {
    "unet": UNetSpatioTemporalConditionModel,
    "vae": AutoencoderKLTemporalDecoder,
    "image_encoder": CLIPVisionModelWithProjection,
    "text_encoder": CLIPTextModel,
}
PARTS = (*NETWORKS, "tokenizer")
AUTOENCODERS = {kind.__name__: kind for kind in (AutoencoderKLTemporalDecoder, PatchAutoencoder)}


def network_class(name: str, config: dict[str, Any]) -> type[nn.Module]:
    """The class of a part; the autoencoder's configuration may name one of `AUTOENCODERS`.

    Raises:
        ValueError: it names another class.
    """
    kind = config.get("_class_name", NETWORKS[name].__name__)
    if name != "vae":
        return NETWORKS[name]
    if kind not in AUTOENCODERS:
        raise ValueError(
            f"the autoencoder's config.json names the class {kind!r}. Known: "
            f"{', '.join(AUTOENCODERS)}."
        )
    return AUTOENCODERS[kind]


@runtime_checkable
class VideoBackbone(Protocol):
    """Frozen encoders and decoder around a denoising network.

    Frames are in [-1, 1], latents scaled to about unit variance, and what is returned is float32.
    """

    @property
    def latent_channels(self) -> int:
        """Channels c of the latents."""

    @property
    def down_scaling(self) -> int:
        """Pixels per latent cell and side."""

    @property
    def text_dim(self) -> int:
        """Width of the text tower's tokens."""

    @property
    def image_dim(self) -> int:
        """Width of the image tower's tokens."""

    def part(self, name: str) -> nn.Module:
        """A loaded network: "unet" is the denoising one, whatever it is inside."""

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "VideoBackbone":
        """Moves every network."""

    def offload(self, device: torch.device | str) -> None:
        """Keeps the networks in CPU memory; each is on the device only while it runs."""

    def encode(self, frames: Float[Tensor, "b f 3 H W"]) -> Float[Tensor, "b f c h w"]:
        """Latents of frames."""

    def encode_condition(
        self,
        given_frames: Float[Tensor, "b k 3 H W"],
        num_frames: int,
        frame_condition: Literal["grey_pixels", "repeat_first", "zero_latents"],
    ) -> Float[Tensor, "b f c h w"]:
        """Condition latents of the given frames, for every frame of the video."""

    def decode(self, latents: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f 3 H W"]:
        """Frames of latents."""

    def encode_image(
        self, frame: Float[Tensor, "b 3 H W"]
    ) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b p image"]]:
        """The network's own context token, and tokens of the patches for the DQFormer."""


@dataclass(kw_only=True)
class Backbone:
    """The loaded parts; a part that was not requested is None and using it is an error.

    `decode_chunk` is how many frames are decoded at a time, of all videos together: fewer take less
    memory.
    `image_mean` and `image_std` are the feature extractor's, per colour of an image in [0, 1].
    """

    folder: Path
    unet: nn.Module | None = None
    vae: nn.Module | None = None
    image_encoder: nn.Module | None = None
    text_encoder: nn.Module | None = None
    tokenizer: CLIPTokenizer | None = None
    decode_chunk: int = 16
    image_mean: Sequence[float] = ()
    image_std: Sequence[float] = ()

    @property
    def name(self) -> str:
        """The folder's name, for people; `backbone_hash` is for machines."""
        return self.folder.resolve().name

    @property
    def latent_channels(self) -> int:
        """Channels of the latents: 4 in SVD, others elsewhere."""
        return self.part("vae").config.latent_channels

    @property
    def down_scaling(self) -> int:
        """Pixels per latent cell and side: 8 in SVD."""
        return 2 ** (len(self.part("vae").config.block_out_channels) - 1)

    @property
    def text_dim(self) -> int:
        """Width of the text encoder's tokens."""
        return self.part("text_encoder").config.hidden_size

    @property
    def image_dim(self) -> int:
        """Width of `image_tokens`."""
        return self.part("image_encoder").config.hidden_size

    def part(self, name: str) -> nn.Module:
        """A loaded part.

        Raises:
            ValueError: it was not loaded.
        """
        if (found := getattr(self, name)) is None:
            raise ValueError(
                f"this backbone was loaded without {name!r}. "
                f"Load it, too: load_backbone(folder, parts=({name!r}, ...))"
            )
        return found

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Backbone":
        """Moves every loaded network, in place."""
        for name in NETWORKS:
            if (network := getattr(self, name)) is not None:
                network.to(device) if dtype is None else network.to(device, dtype)
        return self

    def offload(self, device: torch.device | str) -> None:
        """Keeps the loaded networks in CPU memory; each is on the device only while it runs."""
        networks = [getattr(self, name) for name in NETWORKS]
        offload([network for network in networks if network is not None], device)

    def _mode(self, frames: Float[Tensor, "n 3 H W"], chunk: int) -> Float[Tensor, "n c h w"]:
        """The most likely latents of each frame, not scaled.

        A VAE of 16 bits with `force_upcast` encodes in float32 and decodes in its own type. The
        stock pipeline does so in float16 only, because the encoder's activations overflow there;
        in bfloat16 the shipped encoder loses 3 dB (docs/experiments/bfloat16_encoder.md).
        """
        vae = self.part("vae")
        stored = vae.dtype
        is_upcast = stored.itemsize < 4 and vae.config.force_upcast
        if is_upcast:
            vae.to(dtype=torch.float32)
        try:
            frames = frames.to(vae.dtype)
            return torch.cat(
                [vae.encode(p).latent_dist.mode() for p in frames.split(chunk)]
            ).float()
        finally:
            if is_upcast:
                vae.to(dtype=stored)

    @torch.no_grad()
    def encode(
        self, frames: Float[Tensor, "b f 3 H W"], chunk: int = 16
    ) -> Float[Tensor, "b f c h w"]:
        """Latents: the VAE's mode times its scaling factor. `chunk` frames at a time."""
        latents = self._mode(rearrange(frames, "b f c h w -> (b f) c h w"), chunk)
        latents = latents * self.part("vae").config.scaling_factor
        return rearrange(latents, "(b f) c h w -> b f c h w", f=frames.shape[1])

    @torch.no_grad()
    def encode_condition(
        self,
        given_frames: Float[Tensor, "b k 3 H W"],
        num_frames: int,
        frame_condition: Literal["grey_pixels", "repeat_first", "zero_latents"],
        chunk: int = 16,
    ) -> Float[Tensor, "b f c h w"]:
        """Condition latents of whole videos: the VAE's mode of the given frames, *not* scaled.

        The unknown frames are grey (0 in [-1, 1]), the first frame, or zero latents. Noise
        augmentation, if any, is already in `given_frames`; the filling gets none.

        Raises:
            ValueError: more given than all frames, or "repeat_first" with more than one given.
        """
        b, k = given_frames.shape[:2]
        if k > num_frames:
            raise ValueError(
                f"{k} given frames do not fit in a video of {num_frames} frames. "
                f"Give at most {num_frames}, or ask for more frames."
            )
        if frame_condition == "repeat_first" and k != 1:
            raise ValueError(
                f"frame_condition='repeat_first' knows one given frame, got {k}. "
                "Set num_given_frames=1 or frame_condition='grey_pixels'."
            )
        flat = rearrange(given_frames, "b k c h w -> (b k) c h w")
        given = rearrange(self._mode(flat, chunk), "(b k) c h w -> b k c h w", b=b)
        if frame_condition == "repeat_first":
            return repeat(given, "b 1 c h w -> b f c h w", f=num_frames)
        if frame_condition == "grey_pixels":
            # The encoder sees each frame alone, so all grey frames share one result.
            grey = torch.zeros_like(flat[:1], memory_format=torch.contiguous_format)
            one = self._mode(grey, chunk)
        else:
            one = torch.zeros_like(given[0, :1])
        unknown = repeat(one, "1 c h w -> b n c h w", b=b, n=num_frames - k)
        return torch.cat([given, unknown], dim=1)

    @torch.no_grad()
    def decode(
        self, latents: Float[Tensor, "b f c h w"], chunk: int | None = None
    ) -> Float[Tensor, "b f 3 H W"]:
        """Frames in [-1, 1] of scaled latents.

        At most `chunk` frames are decoded at a time (None: `decode_chunk`): several whole videos,
        or a part of one. The decoder mixes the frames of a part over time, never those of two
        videos.
        """
        chunk = chunk or self.decode_chunk
        vae = self.part("vae")
        latents = (latents / vae.config.scaling_factor).to(vae.dtype)
        videos = []
        for some in latents.split(max(1, chunk // latents.shape[1])):
            parts = []
            for part in some.split(chunk, dim=1):
                flat = rearrange(part, "b n c h w -> (b n) c h w")
                frames = vae.decode(flat, num_frames=part.shape[1]).sample
                parts.append(rearrange(frames, "(b n) c h w -> b n c h w", b=len(some)))
            videos.append(torch.cat(parts, dim=1).float().clamp(-1, 1))
        return torch.cat(videos)

    @torch.no_grad()
    def encode_image(
        self, frame: Float[Tensor, "b 3 H W"]
    ) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b p image"]]:
        """`image_embedding` and `image_tokens` of frames in [-1, 1].

        The first is SVD's own context, the encoder's projected, pooled output. The second is AID's
        v, the last hidden state: class token, then patches. The steps are the stock pipeline's:
        blurred bicubic resize without crop, to [0, 1], then the feature extractor's normalization.
        """
        encoder = self.part("image_encoder")
        size, mean, std = encoder.config.image_size, self.image_mean, self.image_std
        pixels = clip_pixels(frame, size, mean, std)
        output = encoder(pixels.to(encoder.dtype))
        embedding, tokens = output.image_embeds.float(), output.last_hidden_state.float()
        return rearrange(embedding, "b d -> b 1 d"), tokens

    def image_embedding(self, frame: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 1 d"]:
        """The first of `encode_image`."""
        return self.encode_image(frame)[0]


def clip_pixels(
    frame: Float[Tensor, "b 3 H W"], size: int, mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "b 3 size size"]:
    """What CLIP's image encoder reads of frames in [-1, 1], by the stock pipeline's own steps."""
    image = (_resize_with_antialiasing(frame.float(), (size, size)) + 1) / 2
    mean, std = (torch.tensor(values, device=image.device)[:, None, None] for values in (mean, std))
    return (image - mean) / std


def load_backbone(
    folder: Path | str,
    parts: Sequence[str] = ("unet", "vae", "image_encoder"),
    dtype: torch.dtype = torch.float32,
) -> Backbone:
    """The requested parts of a backbone folder, frozen and in evaluation mode.

    Weights come from safetensors only and must fit exactly.

    Args:
        folder: SVD's layout.
        parts: any of "unet", "vae", "image_encoder", "text_encoder", "tokenizer".
        dtype: in which the weights are stored and used. What the methods return is float32.

    Raises:
        ValueError: folder, part or file is missing, or a file is damaged or does not fit.
    """
    folder = Path(folder)
    if not (folder / "model_index.json").is_file():
        raise ValueError(
            f"{str(folder)!r} is not a backbone: it has no model_index.json. Give the folder that "
            "holds unet/, vae/ and image_encoder/."
        )
    if unknown := sorted(set(parts) - set(PARTS)):
        raise ValueError(f"no part is called {', '.join(unknown)}. Known: {', '.join(PARTS)}.")
    loaded = {name: load_network(folder, name, dtype) for name in parts if name in NETWORKS}
    if "tokenizer" in parts:
        loaded["tokenizer"] = CLIPTokenizer.from_pretrained(
            part_folder(folder, "tokenizer"), local_files_only=True
        )
    if "image_encoder" in parts:
        file = part_folder(folder, "feature_extractor") / "preprocessor_config.json"
        if not file.is_file():
            raise ValueError(f"{str(file)!r} is missing. Copy the backbone's folder again.")
        settings = json.loads(file.read_text())
        loaded |= {"image_mean": settings["image_mean"], "image_std": settings["image_std"]}
    return Backbone(folder=folder, **loaded)


def empty_network(name: str, config: dict[str, Any]) -> nn.Module:
    """A network of this configuration with fresh weights, in the default dtype and device."""
    kind = network_class(name, config)
    if name in ("unet", "vae"):
        return kind.from_config(config)
    return kind({"image_encoder": CLIPVisionConfig, "text_encoder": CLIPTextConfig}[name](**config))


REACHING = ("attn_implementation", "_attn_implementation", "auto_map", "quantization_config")
"""Settings with which transformers and diffusers fetch kernels or run code of the folder's own."""


def _check_reach(part: Path) -> None:
    """Refuses a backbone that would load anything but weights and sizes."""
    file = part / "config.json"
    if not file.is_file():
        raise ValueError(f"{str(file)!r} is missing. Copy it again.")
    if (part / "adapter_config.json").exists():
        raise ValueError(
            f"{str(part)!r} holds an adapter_config.json, which names another model to load. "
            "Delete it, or copy the part again from where the backbone comes from."
        )
    if found := [key for key in REACHING if json.loads(file.read_text()).get(key) is not None]:
        raise ValueError(
            f"{str(file)!r} sets {found[0]!r}, with which code or kernels from elsewhere would be "
            "run. Delete that line, or copy the file again from where the backbone comes from."
        )


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Loads without transformers' progress bars, unless the user's environment decides on them."""
    hide = logging.is_progress_bar_enabled() and "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ
    if hide:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if hide:
            logging.enable_progress_bar()


def load_network(folder: Path, name: str, dtype: torch.dtype) -> nn.Module:
    """A network of a backbone folder, frozen and in evaluation mode.

    Raises:
        ValueError: a file is missing, damaged, or does not fit its `config.json` exactly.
    """
    files = weight_files(folder, name)
    _check_reach(folder / name)
    type_is_called = "dtype" if name in ("image_encoder", "text_encoder") else "torch_dtype"
    kind = network_class(name, json.loads((folder / name / "config.json").read_text()))
    with _without_progress_bars():
        network, report = kind.from_pretrained(
            folder / name,
            use_safetensors=True,
            variant="fp16" if ".fp16." in files[0].name else None,
            output_loading_info=True,
            local_files_only=True,
            **{type_is_called: dtype},
        )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # Older CLIP files carry the numbers 0, 1, 2, ... as a tensor.
        keys = sorted(str(key) for key in report[problem] if not str(key).endswith("position_ids"))
        if keys:
            raise ValueError(
                f"weights of {str(folder / name)!r} do not fit its config.json: "
                f"{problem.replace('_', ' ')} {', '.join(keys[:5])}. Copy both files again."
            )
    return network.requires_grad_(False).eval()


class OneAtATime(ModelHook):
    """Before a network runs, moves it to the device and the others to the CPU."""

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        self.networks, self.execution_device = networks, device

    def pre_forward(self, module: nn.Module, *args: object, **kwargs: object) -> tuple:
        """Accelerate calls this before `forward`, and diffusers before `encode` and `decode`."""
        for other in self.networks:
            if other is not module:
                other.to("cpu")
        module.to(self.execution_device)
        device = self.execution_device
        return send_to_device(args, device), send_to_device(kwargs, device)


def offload(networks: Sequence[nn.Module], device: torch.device | str) -> None:
    """From here on at most one of the networks is on the device; all start on the CPU."""
    for network in networks:
        network.to("cpu")
        add_hook_to_module(network, OneAtATime(networks, torch.device(device)))
