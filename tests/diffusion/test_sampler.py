import pytest
import torch

from aid.diffusion.edm import karras_sigmas
from aid.diffusion.sampler import SOLVERS, sample_dpmpp_2m, sample_euler


def test_euler_is_exact_when_the_path_is_a_line(generator):
    clean = torch.randn(2, 3, 4, 5, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 3, 4, 5, 5, generator=generator, dtype=torch.float64)
    for num_steps in (1, 2, 10):
        sigmas = karras_sigmas(num_steps, 0.002, 80.0, 7.0)
        found = sample_euler(lambda x, sigma: clean, clean + 80 * noise, sigmas)
        torch.testing.assert_close(found, clean, atol=1e-12, rtol=0)


def test_one_step_is_eulers_rule():
    x = torch.full((1, 1, 1, 1, 1), 6.0)
    found = sample_euler(lambda x, sigma: x / 3, x, torch.tensor([2.0, 1.0]))
    assert found.item() == 6 + (1 - 2) * (6 - 2) / 2


def test_gaussian_data_is_drawn_with_its_own_spread(generator):
    spread = 0.5
    x = 80 * torch.randn(1, 1, 1, 64, 64, generator=generator, dtype=torch.float64)

    def denoise(x, sigma):  # the exact posterior mean of N(0, spread^2)
        return x * spread**2 / (spread**2 + sigma[0] ** 2)

    found = sample_euler(denoise, x, karras_sigmas(200, 0.002, 80.0, 7.0))
    assert abs(found.std().item() - spread) < 0.02


def test_callback_sees_every_step():
    seen = []
    sigmas = karras_sigmas(4, 0.1, 10.0, 7.0)
    start = torch.zeros(2, 1, 1, 1, 1)
    sample_euler(
        lambda x, sigma: x + sigma.mean(),
        start,
        sigmas,
        lambda step, sigma, denoised: seen.append((step, sigma, denoised.shape)),
    )
    assert [(step, sigma) for step, sigma, _ in seen] == list(enumerate(sigmas[:-1].tolist()))
    assert seen[0][2] == start.shape


def test_the_second_order_solver_is_exact_when_the_path_is_a_line(generator):
    clean = torch.randn(2, 3, 4, 5, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 3, 4, 5, 5, generator=generator, dtype=torch.float64)
    sigmas = karras_sigmas(5, 0.002, 80.0, 7.0)
    found = sample_dpmpp_2m(lambda x, sigma: clean, clean + 80 * noise, sigmas)
    torch.testing.assert_close(found, clean, atol=1e-12, rtol=0)


def test_the_second_order_solver_needs_fewer_steps(generator):
    """On a Gaussian, whose path is known: x(s) = x(S) sqrt((spread^2 + s^2) / (spread^2 + S^2))."""
    spread = 0.5
    x = 80 * torch.randn(1, 1, 1, 4, 4, generator=generator, dtype=torch.float64)
    exact = x * spread / (spread**2 + 80**2) ** 0.5

    def denoise(x, sigma):
        return x * spread**2 / (spread**2 + sigma[0] ** 2)

    def error(name, num_steps):
        found = SOLVERS[name](denoise, x, karras_sigmas(num_steps, 0.002, 80.0, 7.0))
        return ((found - exact).norm() / exact.norm()).item()

    errors = {name: [error(name, steps) for steps in (32, 128)] for name in SOLVERS}
    assert errors["dpmpp_2m"][0] < errors["euler"][0] / 4
    # Four times the steps: first order gains 4, second order about 16.
    assert errors["euler"][0] / errors["euler"][1] == pytest.approx(4, rel=0.3)
    assert errors["dpmpp_2m"][0] / errors["dpmpp_2m"][1] > 10


def test_a_step_of_the_second_order_solver_is_the_papers():
    """By hand, with levels 4, 2, 1 (h = ln 2 both times) and D(x; s) = s."""
    start = torch.full((1, 1, 1, 1, 1), 8.0)
    found = sample_dpmpp_2m(
        lambda x, sigma: torch.full_like(x, float(sigma[0])), start, torch.tensor([4.0, 2.0, 1.0])
    )
    first = 8 / 2 + 4 / 2
    assert found.item() == pytest.approx(first / 2 + (2 + (2 - 4) / 2) / 2)
