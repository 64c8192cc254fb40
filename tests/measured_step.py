"""One real training step of AID in a process of its own; prints what memory it took.

    python measured_step.py SETTINGS   (JSON: backbone, model, train; written by test_forecast.py)

The last line is JSON: bytes resident before anything was built, and the most that were ever.
"""

import json
import sys

import torch
from backbones import tiny_unet
from memory_use import resident
from torch import nn

import aid.train  # noqa: F401  (so that the process has all that a training process has)
from aid.cli.checking import resident_bytes
from aid.config import ModelConfig, TrainConfig, from_json
from aid.models.attention import use_plain_attention
from aid.models.backbone import empty_network
from aid.models.conditions import Conditions, TextTokens
from aid.models.denoiser import Denoiser
from aid.models.devices import dtype_of
from aid.models.sizes import Configs, read_configs
from aid.optim import AveragedWeights
from aid.optim.optimizer import make_optimizer
from aid.predict import find_backbone

SIDES = {"small": 256, "tabletop": 64}
SMALL = {
    "unet": dict(tiny_unet(channels=(64, 128)).config),
    "vae": {"block_out_channels": (32, 32, 32, 32), "latent_channels": 4},
    "image_encoder": {
        "hidden_size": 24, "image_size": 32, "patch_size": 8, "projection_dim": 32,
    },
    "text_encoder": {"hidden_size": 16, "max_position_embeddings": 16},
}  # fmt: skip


def configs_named(name: str) -> Configs:
    """Of the small networks above, or of the shipped ones."""
    return SMALL if name == "small" else read_configs(find_backbone(name))


def main(settings: str) -> None:
    """Builds the model, makes two steps, prints the peak."""
    values = json.loads(settings)
    model, train = from_json(ModelConfig, values["model"]), from_json(TrainConfig, values["train"])
    configs = configs_named(values["backbone"])
    vae, image, text = (configs[name] for name in ("vae", "image_encoder", "text_encoder"))
    cells = SIDES[values["backbone"]] // 2 ** (len(vae["block_out_channels"]) - 1)
    words, patches = text["max_position_embeddings"], image["image_size"] // image["patch_size"]
    before, b = resident_bytes(), train.batch_size
    unet = empty_network("unet", configs["unet"]).to(dtype_of(values["precision"]))
    use_plain_attention(unet, cells**2)
    denoiser = Denoiser(unet, text["hidden_size"], image["hidden_size"], model).train()
    if train.use_gradient_checkpointing:
        denoiser.enable_gradient_checkpointing(train.checkpointed_levels)
    parameters = dict(denoiser.trained.named_parameters())
    optimizer = make_optimizer(parameters, train, None)
    average = AveragedWeights(parameters, 0.9)
    latents = torch.randn(b, model.num_frames, vae["latent_channels"], cells, cells)
    mask = torch.ones(b, words, dtype=torch.bool)
    told = Conditions(
        condition_latents=torch.randn_like(latents),
        image_embedding=torch.randn(b, 1, image["projection_dim"]),
        image_tokens=torch.randn(b, 1 + patches**2, image["hidden_size"]), fps=torch.ones(b),
        motion_bucket_id=torch.ones(b), noise_aug_strength=torch.ones(b),
        text=TextTokens(
            instruction_tokens=torch.randn(b, words, text["hidden_size"]), instruction_mask=mask,
            state_tokens=torch.randn(b, 4 * words, text["hidden_size"]),
            state_mask=mask.repeat(1, 4),
        ),
    )  # fmt: skip
    for step in range(2):
        loss = denoiser.loss(latents, torch.randn_like(latents), torch.ones(b), told).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(parameters, step)
    peak = resident("VmHWM")
    print(json.dumps({"before": before, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
