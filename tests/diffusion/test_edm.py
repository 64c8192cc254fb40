import math

import pytest
import torch
from diffusers import EulerDiscreteScheduler

from aid.config import NoiseConfig
from aid.diffusion.edm import (
    Scalings,
    add_noise,
    edm_loss,
    karras_sigmas,
    motion_weights,
    over_latents,
    pseudo_huber,
    sample_sigmas,
    v_target,
)


def latents_and_noise(generator):
    shape = (3, 2, 4, 5, 5)
    draw = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    return *draw, torch.tensor([0.01, 1.0, 80.0], dtype=torch.float64)


def test_scalings_without_noise_hand_the_latents_through():
    s = Scalings.at(torch.tensor([1e-8], dtype=torch.float64))
    assert s.c_skip.item() == pytest.approx(1)
    assert s.c_in.item() == pytest.approx(1)
    assert s.c_out.item() == pytest.approx(0, abs=1e-7)


def test_scalings_in_pure_noise_use_only_the_network():
    s = Scalings.at(torch.tensor([1e8], dtype=torch.float64))
    assert s.c_skip.item() == pytest.approx(0, abs=1e-12)
    assert s.c_out.item() == pytest.approx(-1)
    assert s.c_in.item() == pytest.approx(1e-8)


def test_c_noise_is_a_quarter_of_the_log():
    assert Scalings.at(torch.tensor([math.exp(2)])).c_noise.item() == pytest.approx(0.5)


def test_network_input_has_unit_variance(generator):
    noise = torch.randn(4, 2, 4, 32, 32, generator=generator)
    latents = torch.randn(4, 2, 4, 32, 32, generator=generator)
    sigma = torch.tensor([0.1, 1.0, 10.0, 100.0])
    x = over_latents(Scalings.at(sigma).c_in) * add_noise(latents, noise, sigma)
    assert x.std(dim=(1, 2, 3, 4)).tolist() == pytest.approx([1] * 4, abs=0.03)


def test_target_is_what_makes_the_denoiser_right(generator):
    latents, noise, sigma = latents_and_noise(generator)
    s = Scalings.at(sigma)
    x = add_noise(latents, noise, sigma)
    denoised = over_latents(s.c_skip) * x + over_latents(s.c_out) * v_target(latents, noise, sigma)
    torch.testing.assert_close(denoised, latents, atol=1e-12, rtol=0)


def test_perfect_denoiser_has_no_loss(generator):
    latents, noise, sigma = latents_and_noise(generator)
    target = v_target(latents, noise, sigma)
    assert edm_loss(target, latents, noise, sigma).tolist() == [0, 0, 0]


def test_loss_is_svds_weighted_error_of_the_denoised_latents(generator):
    latents, noise, sigma = latents_and_noise(generator)
    output = torch.randn(latents.shape, generator=generator, dtype=torch.float64)
    s = Scalings.at(sigma)
    x = add_noise(latents, noise, sigma)
    denoised = over_latents(s.c_skip) * x + over_latents(s.c_out) * output
    weight = (1 + sigma**2) / sigma**2
    weighted = weight * ((denoised - latents) ** 2).mean(dim=(1, 2, 3, 4))
    loss = edm_loss(output, latents, noise, sigma)
    torch.testing.assert_close(loss.double(), weighted, rtol=1e-5, atol=0)


def test_frame_weights_leave_frames_out_of_the_loss(generator):
    latents, noise, sigma = latents_and_noise(generator)
    output = v_target(latents, noise, sigma)
    output[:, 0] += 2
    assert edm_loss(output, latents, noise, sigma).tolist() == pytest.approx([2, 2, 2], rel=1e-5)
    only_second = torch.tensor([0.0, 1.0])
    assert edm_loss(output, latents, noise, sigma, only_second).tolist() == [0, 0, 0]


def test_training_sigmas_are_log_normal(generator):
    sigmas = sample_sigmas(20_000, NoiseConfig(mean=0.7, std=1.6), generator)
    assert sigmas.log().mean().item() == pytest.approx(0.7, abs=0.05)
    assert sigmas.log().std().item() == pytest.approx(1.6, abs=0.05)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # inside diffusers' scheduler
def test_sampling_sigmas_are_the_stock_schedulers():
    stock = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
        timestep_spacing="leading",
        timestep_type="continuous",
        steps_offset=1,
    )
    stock.set_timesteps(25)
    torch.testing.assert_close(karras_sigmas(25, 0.002, 700.0, 7.0), stock.sigmas)


def test_sampling_sigmas_match_the_published_vector():
    sigmas = karras_sigmas(25, 0.002, 700.0, 7.0).tolist()
    assert sigmas[:4] == pytest.approx([700.0, 545.7292, 421.5691, 322.4537], rel=1e-6)
    assert sigmas[-4:] == pytest.approx([0.0248, 0.00788, 0.002, 0.0], rel=1e-3)


def test_one_step_goes_from_the_highest_noise_to_none():
    assert karras_sigmas(1, 0.002, 700.0, 7.0).tolist() == [700, 0]


def test_motion_weights_count_what_changes_more_and_keep_the_scale():
    latents = torch.zeros(2, 4, 3, 6, 6)
    latents[0, 2:, :, 1, 1] = 2.0  # one cell changes, from the third frame on
    weights = motion_weights(latents, 4.0)
    assert weights.shape == (2, 4, 1, 6, 6)
    torch.testing.assert_close(weights.mean(dim=(1, 2, 3, 4)), torch.ones(2))
    assert weights[0, 3, 0, 1, 1] > 4 * weights[0, 3, 0, 0, 0]
    assert torch.equal(weights[1], torch.ones(4, 1, 6, 6))


def test_pseudo_huber_squares_small_errors_and_counts_large_ones_in_proportion():
    small = torch.tensor([0.0, 1e-4, 4e-4])
    torch.testing.assert_close(pseudo_huber(small, 1.0), small, rtol=1e-3, atol=1e-8)
    once, twice = pseudo_huber(torch.tensor([400.0, 1600.0]), 0.5).tolist()
    assert twice / once == pytest.approx(2, rel=0.02)  # twice the error, not four times the loss


def test_the_loss_softens_large_errors_of_a_cell_only_if_asked():
    latents, noise = torch.zeros(1, 2, 4, 3, 3), torch.zeros(1, 2, 4, 3, 3)
    output, sigma = torch.zeros_like(latents), torch.ones(1)
    output[0, 1, 0, 2, 2] = 6.0  # one cell of 18 is wrong, by 3 over its four channels
    assert edm_loss(output, latents, noise, sigma).item() == pytest.approx(9 / 18)
    softened = edm_loss(output, latents, noise, sigma, huber_scale=0.5).item()
    assert softened == pytest.approx((9.25**0.5 - 0.5) / 18)
    twice = torch.full((1, 2, 1, 3, 3), 2.0)
    weighed = edm_loss(output, latents, noise, sigma, place_weights=twice, huber_scale=0.5)
    assert weighed.item() == pytest.approx(2 * softened)
