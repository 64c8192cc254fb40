"""Fixtures on top of the tiny backbone."""

import copy
from dataclasses import replace

import pytest
import torch

from aid.models.backbone import load_backbone
from aid.models.denoiser import Conditions, Denoiser, TextTokens

TEXT_DIM, IMAGE_DIM = 16, 24


@pytest.fixture(scope="session")
def untouched_unet(tiny_backbone):
    return load_backbone(tiny_backbone, ["unet"]).unet


@pytest.fixture
def unet(untouched_unet):
    """The tiny backbone's UNet, the test's own."""
    return copy.deepcopy(untouched_unet)


@pytest.fixture
def build(untouched_unet, tiny_config):
    """Builds a denoiser on a fresh UNet; `dqformer`, `adapter`, ... change the tiny config."""

    def make(is_random=False, **changes):
        config = tiny_config
        for room, values in changes.items():
            config = replace(config, **{room: replace(getattr(config, room), **values)})
        unet = copy.deepcopy(untouched_unet)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = Denoiser(unet, TEXT_DIM, IMAGE_DIM, config)
            if is_random:  # away from the zero start, where adapters say nothing
                for parameter in made.trained.parameters():
                    torch.nn.init.normal_(parameter, std=0.2)
        return made

    return make


def text_tokens(generator, batch=2, words=4, state_words=6):
    return TextTokens(
        instruction_tokens=torch.randn(batch, words, TEXT_DIM, generator=generator),
        instruction_mask=torch.arange(words).expand(batch, -1) < words - 1,
        state_tokens=torch.randn(batch, state_words, TEXT_DIM, generator=generator),
        state_mask=torch.arange(state_words).expand(batch, -1) < state_words - 2,
    )


@pytest.fixture
def empty_text(generator):
    return text_tokens(torch.Generator().manual_seed(5), batch=1, words=2, state_words=2)


@pytest.fixture
def conditions(generator):
    return Conditions(
        condition_latents=torch.randn(2, 3, 4, 8, 8, generator=generator),
        image_embedding=torch.randn(2, 1, 32, generator=generator),
        image_tokens=torch.randn(2, 5, IMAGE_DIM, generator=generator),
        fps=torch.tensor([7.0, 12.0]),
        motion_bucket_id=torch.tensor([127.0, 100.0]),
        noise_aug_strength=torch.tensor([0.02, 0.1]),
        text=text_tokens(generator),
    )


@pytest.fixture
def latents(generator):
    return torch.randn(2, 3, 4, 8, 8, generator=generator)


@pytest.fixture
def sigma():
    return torch.tensor([0.5, 3.0])


@pytest.fixture
def noise(generator, latents):
    return torch.randn(latents.shape, generator=generator)


@pytest.fixture
def calls(monkeypatch):
    """Records what a UNet is called with."""
    seen = []

    def watch(denoiser):
        forward = denoiser.unet.forward
        monkeypatch.setattr(
            denoiser.unet,
            "forward",
            lambda *args, **kwargs: seen.append((args, kwargs)) or forward(*args, **kwargs),
        )
        return seen

    return watch
