import pytest
import torch
from einops import rearrange

from aid.models.patch_autoencoder import PatchAutoencoder
from aid.tabletop.pretrain.autoencoder import (
    PATCH,
    Discriminator,
    _random_windows,
    adversarial_losses,
    as_patches,
    decoder_loss,
    fit_encoder,
    gradient_ratio,
    principal_components,
    psnr,
)
from aid.tabletop.pretrain.config import AutoencoderConfig
from aid.tabletop.pretrain.frames import as_floats
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
    return principal_components(as_patches(frames, PATCH), 8)


def test_components_are_orthonormal_and_sorted(videos):
    made = components_of(videos)
    assert torch.allclose(made.weights @ made.weights.T, torch.eye(8), atol=1e-4)
    assert torch.equal(made.std, made.std.sort(descending=True).values)


def test_components_reconstruct_as_well_as_their_variance_says(videos):
    patches = as_patches(as_floats(videos.flatten(0, 1)), PATCH)
    made = components_of(videos)
    centred = patches - made.mean
    kept = centred @ made.weights.T @ made.weights
    lost = (centred - kept).square().sum(1).mean()
    whole = float(centred.square().sum(1).mean())
    variance = float(made.std.square().sum()) * (len(patches) - 1) / len(patches)
    assert float(lost) == pytest.approx(whole - variance, abs=1e-3 * whole)


@torch.no_grad()
def test_the_encoder_computes_the_components(videos):
    """z = (patch - mean) . w_k / std_k^0.5."""
    made, network = components_of(videos), build_autoencoder(CONFIG)
    network.set_components(made.weights, made.mean, made.std**0.5)
    frames = as_floats(videos[:2].flatten(0, 1))
    got = network.encode(frames).latent_dist.mode()
    wanted = (as_patches(frames, PATCH) - made.mean) @ made.weights.T / made.std**0.5
    wanted = rearrange(wanted, "(n h w) k -> n k h w", h=4, w=4)
    assert torch.allclose(got, wanted, atol=1e-4 * float(wanted.abs().max()))


@torch.no_grad()
def test_an_untrained_decoder_is_the_linear_inverse(vae, videos):
    """Each patch is its projection on the components."""
    frames, made = as_floats(videos[2:4].flatten(0, 1)), components_of(videos)
    patches = as_patches(frames, PATCH) - made.mean
    wanted = patches @ made.weights.T @ made.weights + made.mean
    got = as_patches(vae(frames, num_frames=4), PATCH)
    assert torch.allclose(got, wanted, atol=1e-3)


@torch.no_grad()
def test_scaled_latents_have_the_spread_that_diffusion_expects(vae, videos):
    latents = vae.encoder(as_floats(videos.flatten(0, 1))) * vae.config.scaling_factor
    assert float(latents.square().mean().sqrt()) == pytest.approx(1, abs=0.1)


@torch.no_grad()
def test_frames_of_two_videos_do_not_mix_in_the_decoder():
    torch.manual_seed(0)
    network = PatchAutoencoder(latent_channels=8)
    for parameter in network.correction.parameters():
        parameter.normal_(std=0.05)
    z = torch.randn(8, 8, 4, 4)
    both = network.decode(z, num_frames=4).sample
    alone = torch.cat([network.decode(half, num_frames=4).sample for half in z.split(4)])
    assert torch.allclose(both, alone, atol=1e-5)
    mixed = network.decode(z, num_frames=8).sample
    assert not torch.allclose(both, mixed, atol=1e-3), "frames of one video do mix"


def test_the_losses_of_decoder_and_discriminator_do_not_touch_each_other():
    torch.manual_seed(0)
    network = Discriminator(width=8)
    decoded = torch.randn(2, 3, 32, 32, requires_grad=True)
    fooled, apart = adversarial_losses(network, decoded, torch.randn(2, 3, 32, 32))
    fooled.backward()
    assert decoded.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())
    decoded.grad = None
    apart.backward()
    assert decoded.grad is None
    assert all(p.grad is not None for p in network.parameters())


def test_the_discriminator_keeps_nothing_that_a_saved_state_does_not_hold():
    network = Discriminator(width=8)
    assert list(network.buffers()) == []
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    largest = torch.linalg.matrix_norm(network[2].weight.flatten(1), ord=2)
    assert float(largest) == pytest.approx(1, abs=1e-5)


def test_crops_hold_whole_patches_of_the_videos():
    at = torch.arange(32, dtype=torch.uint8)
    frames = torch.stack([at[:, None].expand(32, 32), at.expand(32, 32), at.expand(32, 32)])
    frames = frames.expand(2, 4, 3, 32, 32)
    generator = torch.Generator().manual_seed(0)
    made = _random_windows(frames, 20, 2, 16, generator)
    assert made.shape == (20, 2, 3, 16, 16)
    corners = made[:, 0, :2, 0, 0]
    assert set((corners % PATCH).flatten().tolist()) == {0}
    assert len(corners.unique(dim=0)) > 3


def test_frames_that_are_no_whole_patches_are_refused():
    with pytest.raises(ValueError, match=r"60 x 64 pixels .* multiples of 8"):
        PatchAutoencoder(latent_channels=4).encode(torch.zeros(1, 3, 60, 64))


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="12 and three widths"):
        build_autoencoder(AutoencoderConfig(channels=(32, 64)))


def test_a_saturated_pixel_weighs_more_than_a_grey_one():
    grey, red = torch.zeros(1, 3, 2, 2), torch.tensor([1.0, -1, -1])[None, :, None, None]
    off = torch.full((1, 3, 2, 2), 0.1)
    red = red.expand(1, 3, 2, 2)
    ratio = decoder_loss(red + off, red) / decoder_loss(grey + off, grey)
    assert ratio.item() == pytest.approx(4)
    assert decoder_loss(red, red) == 0


def test_psnr_of_a_known_error():
    frames = torch.zeros(2, 3, 4, 4)
    assert psnr(frames + 0.2, frames) == pytest.approx(20, abs=1e-4)


def test_blurred_frames_have_smaller_gradients():
    frames = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert gradient_ratio(frames, frames) == pytest.approx(1)
    assert gradient_ratio(torch.nn.functional.avg_pool2d(frames, 3, 1, 1), frames) < 0.6


def test_crops_that_are_no_whole_patches_are_refused():
    with pytest.raises(ValueError, match=r"crop must be a multiple of 8, got 60\. Try 64"):
        AutoencoderConfig(crop=60)
