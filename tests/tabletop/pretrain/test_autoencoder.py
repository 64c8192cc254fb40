import pytest
import torch
from einops import rearrange

from aid.tabletop.pretrain.autoencoder import (
    as_patches,
    decoder_loss,
    fit_encoder,
    principal_components,
    psnr,
    set_encoder,
)
from aid.tabletop.pretrain.config import AutoencoderConfig
from aid.tabletop.pretrain.frames import as_floats
from aid.tabletop.pretrain.image_to_video import linear_encode
from aid.tabletop.pretrain.parts import build_autoencoder

CONFIG = AutoencoderConfig(image_size=32, latent_channels=8, whitening=0.5)


@pytest.fixture(scope="module")
def videos():
    """Smooth pictures with an edge: patches that have principal components."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(24, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, 32, mode="bilinear")
    smooth[:, :, 10:20, 8:24] = torch.rand(24, 3, 1, 1, generator=generator)
    return rearrange((smooth * 255).to(torch.uint8), "(n f) c h w -> n f c h w", f=4)


@pytest.fixture(scope="module")
def vae(videos):
    made = build_autoencoder(CONFIG)
    fit_encoder(made, videos, CONFIG)
    return made.eval()


def components_of(videos):
    frames = as_floats(videos[:, ::1].flatten(0, 1))
    return principal_components(as_patches(frames, 4), 8)


def test_components_are_orthonormal_and_sorted(videos):
    made = components_of(videos)
    assert torch.allclose(made.weights @ made.weights.T, torch.eye(8), atol=1e-4)
    assert torch.equal(made.std, made.std.sort(descending=True).values)


def test_components_reconstruct_as_well_as_their_variance_says(videos):
    patches = as_patches(as_floats(videos.flatten(0, 1)), 4)
    made = components_of(videos)
    centred = patches - made.mean
    kept = centred @ made.weights.T @ made.weights
    lost = (centred - kept).square().sum(1).mean()
    whole = float(centred.square().sum(1).mean())
    assert float(lost) == pytest.approx(whole - float(made.std.square().sum()), abs=1e-3 * whole)


@torch.no_grad()
def test_the_set_encoder_computes_the_components(videos):
    """SVD's own encoder class, nonlinearities and all, gives w_k . (patch - mean) / std_k^0.5."""
    made, network = components_of(videos), build_autoencoder(CONFIG)
    set_encoder(network, made, whitening=0.5)
    frames = as_floats(videos[:2].flatten(0, 1))
    got = network.encode(frames).latent_dist.mode()
    wanted = (as_patches(frames, 4) - made.mean) @ made.weights.T / made.std**0.5
    wanted = rearrange(wanted, "(n h w) k -> n k h w", h=8, w=8)
    assert got.shape == wanted.shape
    assert torch.allclose(got, wanted, atol=2e-3 * float(wanted.abs().max()))


@torch.no_grad()
def test_the_linear_short_cut_equals_the_encoder(vae, videos):
    frames = as_floats(videos[2:4].flatten(0, 1))
    wanted = vae.encode(frames).latent_dist.mode()
    got = linear_encode(vae, frames)
    assert torch.allclose(got, wanted, atol=2e-3 * float(wanted.abs().max()))


@torch.no_grad()
def test_scaled_latents_have_the_spread_that_diffusion_expects(vae, videos):
    latents = linear_encode(vae, as_floats(videos.flatten(0, 1))) * vae.config.scaling_factor
    assert float(latents.square().mean().sqrt()) == pytest.approx(1, abs=0.1)


def test_other_shapes_are_refused_with_the_channels_to_use(videos):
    network = build_autoencoder(AutoencoderConfig(channels=(32, 64), latent_channels=4))
    with pytest.raises(ValueError, match=r"Use channels \[32, 32, 96\]"):
        set_encoder(network, components_of(videos), whitening=0.5)


def test_a_saturated_pixel_weighs_more_than_a_grey_one():
    grey, red = torch.zeros(1, 3, 2, 2), torch.tensor([1.0, -1, -1])[None, :, None, None]
    off = torch.full((1, 3, 2, 2), 0.1)
    red = red.expand(1, 3, 2, 2)
    ratio = decoder_loss(red + off, red) / decoder_loss(grey + off, grey)
    assert ratio.item() == pytest.approx(7)
    assert decoder_loss(red, red) == 0


def test_psnr_of_a_known_error():
    frames = torch.zeros(2, 3, 4, 4)
    assert psnr(frames + 0.2, frames) == pytest.approx(20, abs=1e-4)
