"""Draws videos with a trained method, as `aid evaluate` calls it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors.torch import load_file
from torch import Tensor, nn

from aid.ablate.methods import code_digest, make_method
from aid.conditioning.encoders import encode_sentences
from aid.config import Precision
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.devices import choose_device, dtype_of
from aid.rivals.method import Method, Sizes
from aid.video import to_float, to_uint8

Video = UInt8[np.ndarray, "f H W 3"]
FACTS = "method.json"
ENCODERS = ("vae", "text_encoder", "tokenizer")


def weights_file(run: Path, stage: str) -> Path:
    """Where the network's weights lie after a stage."""
    return run / f"{stage}.safetensors"


def read_facts(run: Path) -> dict[str, Any]:
    """What `aid train --method` recorded of a run.

    Raises:
        ValueError: it is no such run's folder, or the run is not finished.
    """
    path = run / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        last = list(facts["stages"])[-1]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        reason = f"it has no {FACTS}" if isinstance(error, FileNotFoundError) else error
        raise ValueError(
            f"{str(run)!r} is not the run of a method ({reason}). Give the folder that "
            "aid train --method wrote: --model"
        ) from None
    if not weights_file(run, last).is_file():
        raise ValueError(f"the run in {str(run)!r} is not finished. Give its command again.")
    return facts


def draw_videos(
    name: str,
    method: Method,
    given: Float[Tensor, "b c h w"],
    text: Float[Tensor, "b n d"],
    text_mask: Bool[Tensor, "b n"],
    generator: torch.Generator,
    num_frames: int,
    num_steps: int | None = None,
) -> Float[Tensor, "b f c h w"]:
    """`method.draw`, checked.

    Raises:
        ValueError: the videos have another shape, or values that are not finite.
    """
    with torch.no_grad():
        drawn = method.draw(given, text, text_mask, generator, num_steps)
    wanted = (len(given), num_frames, *given.shape[1:])
    if not isinstance(drawn, Tensor) or drawn.shape != wanted:
        shape = list(drawn.shape) if isinstance(drawn, Tensor) else type(drawn).__name__
        raise ValueError(f"method {name!r} must draw videos {list(wanted)}, got {shape}.")
    if not bool(drawn.isfinite().all()):
        raise ValueError(
            f"method {name!r} drew a video with values that are not finite. Correct its draw."
        )
    return drawn.float()


class MethodPredictor:
    """A trained method on the shared autoencoder and text encoder, ready to predict.

    Args:
        name: of the method, as the user gave it; the run must be that method's.
        run: the folder that `aid train --method` wrote.
        backbone: folder of the backbone that the cache was made with.
        device: as for `choose_device`.
        precision: of the arithmetic; the method's weights are float32.
        num_steps: sampling steps; None takes the method's own number.

    Raises:
        ValueError: the run is another method's or not finished, or the backbone is another one.
    """

    def __init__(
        self,
        name: str,
        run: Path,
        backbone: Path,
        *,
        device: str | None = None,
        precision: Precision = "float32",
        num_steps: int | None = None,
    ) -> None:
        self.name, self.facts, self.num_steps = name, read_facts(run), num_steps
        own = {"method": name, "code": code_digest(name), "backbone": backbone_hash(backbone)}
        for key, value in own.items():
            if self.facts.get(key) != value:
                raise ValueError(
                    f"the run in {str(run)!r} has another {key} ({self.facts.get(key)!r}) than "
                    f"what was given ({value!r}). Give what it was trained with."
                )
        self.device = choose_device(device)
        self.sizes = Sizes(**self.facts["sizes"])
        self.method = make_method(name, self.sizes, self.facts["seed"])
        network = self.method.network
        weights = weights_file(run, list(self.facts["stages"])[-1])
        network.load_state_dict(load_file(weights), strict=True)
        network.to(self.device).eval().requires_grad_(False)
        self.backbone = load_backbone(backbone, ENCODERS, dtype_of(precision)).to(self.device)
        self.dtype = dtype_of(precision)

    @property
    def networks(self) -> list[nn.Module]:
        """Those of which an evaluation may be a call: the network and its parts."""
        parts = list(self.method.network.children())
        for part in list(parts):
            if isinstance(part, nn.ModuleDict | nn.ModuleList):
                parts += part.children()
        return [self.method.network, *parts]

    def __call__(
        self,
        given: Sequence[UInt8[np.ndarray, "H W 3"]],
        instructions: Sequence[str],
        seeds: Sequence[int],
        fps: Sequence[float],
    ) -> list[Video]:
        """A video for each given frame; each is drawn alone, so it depends on its own seed only."""
        rows = zip(given, instructions, seeds, strict=True)
        return [self._draw(*row) for row in rows]

    @torch.no_grad()
    def _draw(self, frame: UInt8[np.ndarray, "H W 3"], instruction: str, seed: int) -> Video:
        pixels = to_float(frame[None]).to(self.device)[None]
        is_latent = self.method.space == "latents"
        first = self.backbone.encode(pixels) if is_latent else pixels
        tokens, mask = encode_sentences(
            self.backbone.tokenizer, self.backbone.part("text_encoder"), [instruction]
        )
        generator = torch.Generator().manual_seed(seed)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            drawn = draw_videos(
                self.name, self.method, first[:, 0], tokens.float(), mask, generator,
                self.sizes.num_frames, self.num_steps,
            )  # fmt: skip
        video = to_uint8((self.backbone.decode(drawn) if is_latent else drawn.clamp(-1, 1))[0])
        video[0] = frame
        return video
