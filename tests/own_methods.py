"""Methods of the tests' own, as a user would add a row: a small one for each kind of space."""

from collections.abc import Mapping

import torch
from torch import nn


class Linear:
    """Every frame is the given one, each pixel through a learned linear map."""

    space = "pixels"
    reads_text = False
    stages: Mapping[str, float] = {"only": 1.0}

    def __init__(self, sizes):
        self.sizes = sizes
        self.network = nn.Linear(sizes.channels, sizes.num_frames * sizes.channels)

    def trained(self, stage):
        return dict(self.network.named_parameters())

    def predicted(self, given):
        made = self.network(given.permute(0, 2, 3, 1))
        made = made.unflatten(-1, (self.sizes.num_frames, self.sizes.channels))
        return made.permute(0, 3, 4, 1, 2)

    def loss(self, stage, batch, generator):
        noise = 0.01 * torch.randn(batch.videos.shape, generator=generator)
        errors = self.predicted(batch.videos[:, 0]) - batch.videos - noise.to(batch.videos.device)
        return errors.square().mean((1, 2, 3, 4))

    def draw(self, given, text, text_mask, generator, num_steps=None):
        return self.predicted(given)


class Worded:
    """Latents moved by a direction for the words, learned in two stages: the frame, the words."""

    space = "latents"
    reads_text = True
    stages: Mapping[str, float] = {"frame": 0.25, "words": 0.75}
    learning_rates: Mapping[str, float] = {"words": 1e-2}
    title = "Worded (test)"

    def __init__(self, sizes):
        self.sizes = sizes
        self.network = nn.ModuleDict(
            {
                "frame": nn.Conv2d(sizes.channels, sizes.num_frames * sizes.channels, 1),
                "words": nn.Linear(sizes.text_dim, sizes.num_frames * sizes.channels),
            }
        )

    def trained(self, stage):
        return dict(self.network[stage].named_parameters(prefix=stage))

    def predicted(self, given, text, text_mask):
        words = (text * text_mask[..., None]).sum(1) / text_mask.sum(1, keepdim=True)
        made = self.network["frame"](given) + self.network["words"](words)[..., None, None]
        return made.unflatten(1, (self.sizes.num_frames, self.sizes.channels))

    def loss(self, stage, batch, generator):
        made = self.predicted(batch.videos[:, 0], batch.text, batch.text_mask)
        return (made - batch.videos).square().mean((1, 2, 3, 4))

    def draw(self, given, text, text_mask, generator, num_steps=None):
        for _ in range(num_steps or 2):
            made = self.predicted(given, text, text_mask)
        return made + 0.01 * torch.randn(made.shape, generator=generator).to(made.device)
