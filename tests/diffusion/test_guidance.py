import pytest
import torch

from aid.diffusion.edm import Scalings, over_latents
from aid.diffusion.guidance import guidance_weights, guide


@pytest.fixture
def predictions(generator):
    return [torch.randn(2, 3, 4, 5, 5, generator=generator) for _ in range(3)]


def guided(predictions, image_guidance, text_guidance):
    return guide(predictions, guidance_weights(image_guidance, text_guidance))


def test_weights_of_one_give_the_full_prediction(predictions):
    assert torch.equal(guided(predictions, 1.0, 1.0), predictions[2])


def test_image_weight_of_one_alone_gives_the_image_only_prediction(predictions):
    assert torch.equal(guided(predictions, 1.0, 0.0), predictions[1])


def test_weights_of_zero_give_the_unconditional_prediction(predictions):
    assert torch.equal(guided(predictions, 0.0, 0.0), predictions[0])


def test_formula_is_the_papers(predictions):
    uncond, image_only, full = predictions
    printed = uncond + 1.5 * (image_only - uncond) + 7.5 * (full - image_only)
    torch.testing.assert_close(guided(predictions, 1.5, 7.5), printed, atol=1e-5, rtol=1e-5)


def test_weights_sum_to_one():
    assert sum(guidance_weights(1.5, 7.5)) == 1


def test_a_ramp_guides_every_frame_by_its_own_weight(predictions):
    ramp = torch.linspace(1, 3, 3)
    ramped = guided(predictions, ramp, 2.0)
    for i, weight in enumerate(ramp.tolist()):
        frame = guided(predictions, weight, 2.0)[:, i]
        torch.testing.assert_close(ramped[:, i], frame)


def test_guiding_outputs_equals_guiding_denoised_latents(predictions, generator):
    x = torch.randn(predictions[0].shape, generator=generator)
    s = Scalings.at(torch.tensor([0.3, 5.0]))

    def denoised(output):
        return over_latents(s.c_skip) * x + over_latents(s.c_out) * output

    early = denoised(guided(predictions, 1.5, 7.5))
    late = guided([*map(denoised, predictions)], 1.5, 7.5)
    torch.testing.assert_close(early, late, atol=1e-5, rtol=1e-5)
