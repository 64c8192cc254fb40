import pytest
import torch

from aid.config import SamplerConfig
from aid.diffusion.edm import karras_sigmas
from aid.diffusion.guidance import guidance_weights, guide
from aid.diffusion.sampler import sample_euler
from aid.models.denoiser import guided_denoise


@torch.no_grad()
def three_predictions(denoiser, conditions, null, x, sigma):
    image_only = conditions.without_text(null)
    return [
        denoiser(x, sigma, told) for told in (image_only.without_image(), image_only, conditions)
    ]


@pytest.mark.parametrize("null_text", ["empty", "zeros"])
def test_guided_denoise_is_the_formula_on_three_separate_passes(
    build, conditions, empty_text, latents, sigma, null_text
):
    denoiser = build(is_random=True, condition={"null_text": null_text})
    null = empty_text if null_text == "empty" else None
    parts = three_predictions(denoiser, conditions, null, latents, sigma)
    denoise = guided_denoise(denoiser, conditions, empty_text, SamplerConfig())
    weights = guidance_weights(SamplerConfig().image_guidance, SamplerConfig().text_guidance)
    expected = guide(parts, weights)
    torch.testing.assert_close(denoise(latents, sigma), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("image_guidance", "text_guidance", "num_passes"),
    [(1.5, 7.5, 3), (1.0, 7.5, 2), (2.0, 2.0, 2), (1.0, 1.0, 1), (1.0, 0.0, 1), (0.0, 0.0, 1)],
)
def test_passes_of_no_weight_are_not_run(
    build, conditions, empty_text, latents, sigma, calls, image_guidance, text_guidance, num_passes
):
    denoiser = build(is_random=True)
    config = SamplerConfig(image_guidance=image_guidance, text_guidance=text_guidance)
    seen = calls(denoiser)
    found = guided_denoise(denoiser, conditions, empty_text, config)(latents, sigma)
    assert [len(args[0]) for args, _ in seen] == [2 * num_passes]
    parts = three_predictions(denoiser, conditions, empty_text, latents, sigma)
    expected = guide(parts, guidance_weights(image_guidance, text_guidance))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_guidance_acts_only_inside_its_interval(build, conditions, empty_text, latents, calls):
    denoiser = build(is_random=True)
    seen = calls(denoiser)
    config = SamplerConfig(guidance_interval=(0.1, 10.0))
    denoise = guided_denoise(denoiser, conditions, empty_text, config)
    for level, num_passes in ((50.0, 1), (10.0, 3), (0.1, 3), (0.05, 1)):
        sigma = torch.full((2,), level)
        found = denoise(latents, sigma)
        assert len(seen[-1][0][0]) == 2 * num_passes
        if num_passes == 1:
            with torch.no_grad():
                expected = denoiser(latents, sigma, conditions)
            torch.testing.assert_close(found, expected)


def test_without_text_only_the_image_guides(build, conditions, latents, sigma, calls):
    denoiser = build(dqformer={"branches": "none"})
    seen = calls(denoiser)
    denoise = guided_denoise(denoiser, conditions, None, SamplerConfig(image_guidance=2.0))
    found = denoise(latents, sigma)
    assert len(seen[0][0][0]) == 4
    uncond, _, full = three_predictions(denoiser, conditions, None, latents, sigma)
    torch.testing.assert_close(found, uncond + 2 * (full - uncond), atol=1e-5, rtol=1e-5)


def test_empty_sentence_is_asked_for(build, conditions):
    with pytest.raises(ValueError, match="needs the tokens of the empty sentence, got None"):
        guided_denoise(build(), conditions, None, SamplerConfig())


def test_context_is_made_once_for_all_steps(build, conditions, empty_text, latents):
    denoiser = build()
    runs = []
    denoiser.trained["dqformer"].register_forward_hook(lambda *_: runs.append(1))
    denoise = guided_denoise(denoiser, conditions, empty_text, SamplerConfig())
    made = len(runs)
    sample_euler(denoise, latents, karras_sigmas(3, 0.002, 700.0, 7.0))
    assert len(runs) == made
