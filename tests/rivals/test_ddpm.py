"""Noise levels and DDIM steps against the formulas, and what guided sampling returns."""

import pytest
import torch

from aid.rivals.ddpm import NoiseSchedule, sample_ddim, with_guidance

SCHEDULES = [
    NoiseSchedule(beta_start=0.0015, beta_end=0.0195),
    NoiseSchedule(beta_start=0.00085, beta_end=0.012, spacing="scaled_linear"),
]


def betas(schedule):
    root = 0.5 if schedule.spacing == "scaled_linear" else 1.0
    even = torch.linspace(
        schedule.beta_start**root, schedule.beta_end**root, 1000, dtype=torch.float64
    )
    return even ** (1 / root)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_levels_are_products_of_what_is_kept(schedule):
    expected = (1 - betas(schedule)).cumprod(0)
    torch.testing.assert_close(schedule.alphas_cumprod().double(), expected, rtol=1e-4, atol=0)
    assert expected[-1] < 0.01  # nothing is left of the video at the end


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noise_is_added_by_each_samples_own_level(schedule):
    clean, noise = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    noisy = schedule.add_noise(clean, noise, torch.tensor([0, 700]))
    kept = (1 - betas(schedule)).cumprod(0)[[0, 700], None, None, None].float()
    torch.testing.assert_close(noisy, kept.sqrt() * clean + (1 - kept).sqrt() * noise)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("num_steps", [1, 4, 50])
def test_sampling_follows_the_formula(schedule, num_steps):
    kept = (1 - betas(schedule)).cumprod(0)
    expected = noise = torch.randn(2, 3, dtype=torch.float64)
    seen = []

    def predict(noisy, timesteps):
        seen.append(timesteps.tolist())
        return noisy.sin() + timesteps[:, None] / 1000

    drawn = sample_ddim(predict, noise, schedule, num_steps)

    times = [1000 * i // num_steps - 1 for i in range(num_steps, 0, -1)]
    assert seen == [[t, t] for t in times]
    for t, s in zip(times, [*times[1:], -1], strict=True):
        to = kept[s] if s >= 0 else torch.tensor(1.0)
        eps = expected.sin() + t / 1000
        x0 = (expected - (1 - kept[t]).sqrt() * eps) / kept[t].sqrt()
        expected = to.sqrt() * x0 + (1 - to).sqrt() * eps
    torch.testing.assert_close(drawn, expected, rtol=1e-4, atol=1e-4)


def test_the_true_noise_leads_back_to_the_video():
    schedule = SCHEDULES[0]
    clean, noise = torch.randn(2, 6), torch.randn(2, 6)
    kept = schedule.alphas_cumprod()

    def truth(noisy, timesteps):
        level = kept[timesteps][:, None]
        return (noisy - level.sqrt() * clean) / (1 - level).sqrt()

    torch.testing.assert_close(sample_ddim(truth, noise, schedule, 20), clean, atol=1e-4, rtol=0)


def test_a_limit_holds_for_the_estimate_of_the_clean_sample():
    schedule = NoiseSchedule(beta_start=0.0015, beta_end=0.0195, limit=0.5)
    noise = torch.randn(2, 50)
    noise += noise.sign()  # far enough from 0 for every estimate to be beyond the limit
    drawn = sample_ddim(lambda x, t: torch.zeros_like(x), noise, schedule, 1)  # x_0 = 100 x_t
    assert drawn.equal(noise.sign() / 2)


def test_every_timestep_is_drawn_and_the_generator_decides():
    schedule = SCHEDULES[0]
    drawn = schedule.draw_timesteps(20000, torch.Generator().manual_seed(0))
    assert (drawn.min(), drawn.max(), len(drawn.unique())) == (0, 999, 1000)
    assert drawn.equal(schedule.draw_timesteps(20000, torch.Generator().manual_seed(0)))


def test_guidance_goes_beyond_the_condition():
    calls = []

    def predictor(name, value):
        def predict(noisy, timesteps):
            calls.append(name)
            return torch.full_like(noisy, value)

        return predict

    x, t = torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)
    with_text, without = predictor("with", 3.0), predictor("without", 1.0)
    assert with_guidance(with_text, without, 2.0)(x, t).tolist() == [[5.0, 5.0]]
    assert with_guidance(with_text, without, 0.0)(x, t).tolist() == [[1.0, 1.0]]
    calls.clear()
    assert with_guidance(with_text, without, 1.0)(x, t).tolist() == [[3.0, 3.0]]
    assert calls == ["with"]


@pytest.mark.parametrize("num_steps", [0, 3, 1001])
def test_uneven_steps_are_refused(num_steps):
    with pytest.raises(ValueError, match=f"^{num_steps} sampling steps"):
        sample_ddim(lambda x, t: x, torch.zeros(1, 1), SCHEDULES[0], num_steps)
