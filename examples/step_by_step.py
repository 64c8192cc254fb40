"""What `aid.Predictor` does inside, step by step: the left column of docs/architecture.md's figure.

COMMAND  python examples/step_by_step.py FRAME.png "put the red block in the blue bowl" OUT.mp4
"""

import sys
from functools import partial
from pathlib import Path

import torch

from aid.conditioning.encoders import encode_sentences, join_states
from aid.diffusion.edm import karras_sigmas
from aid.diffusion.sampler import SOLVERS
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import load_checkpoint
from aid.models.denoiser import Conditions, TextTokens, guided_denoise
from aid.predict import find_model
from aid.tabletop import language
from aid.video import fit, read_image, to_float, to_uint8, write_mp4

frame_path, instruction, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
checkpoint, folder = find_model(*sys.argv[4:])  # the shipped model, or: MODEL BACKBONE

# Everything frozen, and AID's trained part on top of it.
backbone = load_backbone(folder, ("unet", "vae", "image_encoder", "text_encoder", "tokenizer"))
denoiser, info = load_checkpoint(checkpoint, backbone.unet, backbone_hash(folder))
c, sampler = info.model.condition, info.sampler

# Words: the states, and t_1, t_2, the tokens of instruction and states.
states = language.states(language.understand(instruction).task)


def text(instruction: str, states: list[str]) -> TextTokens:
    """Both as the text tower's tokens, the states one after another."""
    encode = partial(encode_sentences, backbone.tokenizer, backbone.text_encoder)
    names = ("instruction_tokens", "instruction_mask", "state_tokens", "state_mask")
    joined = (part[None] for part in join_states(*encode(states)))
    return TextTokens(**dict(zip(names, (*encode([instruction]), *joined), strict=True)))


# Pixels: the given frame b k 3 H W, a little noise on it, its latents (unscaled) and v.
generator = torch.Generator().manual_seed(0)
given = to_float(fit(read_image(frame_path), info.height, info.width)[None])[None]
noised = given + c.noise_aug_strength * torch.randn(given.shape, generator=generator)
latents = backbone.encode_condition(noised, info.model.num_frames, c.frame_condition)
image_embedding, image_tokens = backbone.encode_image(given[:, 0])
conditions = Conditions(
    condition_latents=latents, image_embedding=image_embedding, image_tokens=image_tokens,
    fps=torch.tensor([c.fps or info.fps]), motion_bucket_id=torch.tensor([c.motion_bucket_id]),
    noise_aug_strength=torch.tensor([c.noise_aug_strength]), text=text(instruction, states),
)  # fmt: skip

# Noise -> latents -> frames, guided by frame and instruction.
sigmas = karras_sigmas(sampler.num_steps, sampler.sigma_min, sampler.sigma_max, sampler.rho)
noise = torch.randn(latents.shape, generator=generator) * sigmas[0]
denoise = guided_denoise(denoiser, conditions, text("", [""]), sampler)
frames = backbone.decode(SOLVERS[sampler.solver](denoise, noise, sigmas))
write_mp4(out, to_uint8(frames[0]), info.fps)
