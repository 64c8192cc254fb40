from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image

from aid.config import SamplerConfig
from aid.diffusion.edm import karras_sigmas
from aid.diffusion.sampler import sample_euler
from aid.models.backbone import load_backbone
from aid.models.denoiser import Conditions, Denoiser, guided_denoise

ABLATIONS = {
    "no condition tokens": {"dqformer": {"branches": "none"}},
    "multimodal only": {"dqformer": {"branches": "multimodal"}},
    "decomposed only": {"dqformer": {"branches": "decomposed"}},
    "both without states": {"dqformer": {"use_states": False}},
    "full": {},
    "no adapters": {
        "adapter": {"use_spatial": False, "use_short_term": False, "use_long_term": False}
    },
    "no spatial": {"adapter": {"use_spatial": False}},
    "no temporal": {"adapter": {"use_short_term": False, "use_long_term": False}},
    "no short-term": {"adapter": {"use_short_term": False}},
    "no long-term": {"adapter": {"use_long_term": False}},
    "global layout": {"dqformer": {"mcondition_layout": "global"}},
}
SETTINGS = [
    {"dqformer": {"branches": "decomposed"}},
    {"dqformer": {"use_states": False}},
    {"dqformer": {"queries_per_frame": 3}},
    {"dqformer": {"dim": 16}},
    {"dqformer": {"depth": 2}},
    {"dqformer": {"num_heads": 4}},
    {"dqformer": {"use_feed_forward": True}},
    {"dqformer": {"upper_residual": True}},
    {"dqformer": {"mcondition_layout": "global"}},
    {"adapter": {"use_spatial": False}},
    {"adapter": {"use_short_term": False}},
    {"adapter": {"use_long_term": False}},
    {"adapter": {"ratio": 0.5}},
    {"adapter": {"short_term_ratio": 0.25}},
    {"adapter": {"short_term_kernel": (3, 3, 3)}},
    {"adapter": {"short_term_sites": "all"}},
    {"adapter": {"parallel_input": "raw"}},
    {"adapter": {"parallel_scale": 0.5}},
    {"adapter": {"long_term_site": "after_blend"}},
    {"adapter": {"long_term_site": "after_blend", "parallel_input": "raw"}},
    {"adapter": {"long_term_heads": 4}},
    {"adapter": {"is_causal": True}},
    {"cross_attention": {"trained": "keys_values"}},
    {"cross_attention": {"trained": "none"}},
    {"cross_attention": {"train_temporal": True}},
    {"cross_attention": {"prepend_image_token": False}},
]


# The oracle -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # inside diffusers' scheduler
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_sampling_without_text_equals_the_stock_pipeline(build, tiny_backbone, generator, guidance):
    pipeline = StableVideoDiffusionPipeline.from_pretrained(tiny_backbone)
    pipeline.set_progress_bar_config(disable=True)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    noise = torch.randn(1, 3, 4, 8, 8, generator=generator)
    stock = pipeline(
        Image.fromarray(pixels),
        height=64,
        width=64,
        num_frames=3,
        num_inference_steps=5,
        min_guidance_scale=guidance,
        max_guidance_scale=guidance,
        fps=7,
        noise_aug_strength=0.02,
        generator=torch.Generator().manual_seed(7),
        latents=noise,
        output_type="latent",
    ).frames

    backbone = load_backbone(tiny_backbone, ["vae", "image_encoder"])
    denoiser = build(dqformer={"branches": "none"})
    frame = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    augmentation = torch.randn(frame.shape, generator=torch.Generator().manual_seed(7))
    given_frames = (frame + 0.02 * augmentation)[:, None]
    image_embedding, image_tokens = backbone.encode_image(frame)
    conditions = Conditions(
        condition_latents=backbone.encode_condition(given_frames, 3, "repeat_first"),
        image_embedding=image_embedding,
        image_tokens=image_tokens,
        fps=torch.tensor([7.0]),
        motion_bucket_id=torch.tensor([127.0]),
        noise_aug_strength=torch.tensor([0.02]),
    )
    sampler = SamplerConfig(num_steps=5, image_guidance=guidance)
    sigmas = karras_sigmas(5, sampler.sigma_min, sampler.sigma_max, sampler.rho)
    start = noise * (sigmas[0] ** 2 + 1).sqrt()  # the stock scheduler's init_noise_sigma
    ours = sample_euler(guided_denoise(denoiser, conditions, None, sampler), start, sigmas)
    torch.testing.assert_close(ours, stock, atol=1e-5, rtol=1e-5)


# Padding ----------------------------------------------------------------------------------------


def test_the_image_token_stands_first_under_its_own_mask(build, conditions):
    """An instruction whose first token is padding tells the order of the two masks."""
    denoiser = build(dqformer={"branches": "multimodal"})
    mask = torch.tensor([[False, True, True, False], [False, False, False, True]])
    text = replace(conditions.text, instruction_mask=mask)
    context = denoiser.context(replace(conditions, text=text))
    assert torch.equal(context.shared[:, :1], conditions.image_embedding)
    assert torch.equal(context.shared_mask, torch.cat([mask.new_ones(2, 1), mask], dim=1))


def test_neither_padding_of_the_instruction_nor_its_place_changes_the_output(
    build, conditions, latents, sigma
):
    denoiser = build(is_random=True)
    with torch.no_grad():
        found = denoiser.model_output(latents, sigma, conditions)
        padded = torch.where(conditions.text.instruction_mask[..., None],
                             conditions.text.instruction_tokens, 100.0)  # fmt: skip
        text = replace(conditions.text, instruction_tokens=padded)
        other = denoiser.model_output(latents, sigma, replace(conditions, text=text))
        without = replace(conditions, image_embedding=conditions.image_embedding + 1)
        seen = denoiser.model_output(latents, sigma, without)
    torch.testing.assert_close(other, found)
    assert not torch.allclose(seen, found)


@pytest.mark.parametrize("branches", ["multimodal", "both"])
@pytest.mark.parametrize("prepend", [True, False])
def test_zeros_for_the_dropped_text_give_numbers_in_every_setting(
    build, conditions, latents, sigma, noise, branches, prepend
):
    denoiser = build(
        condition={"null_text": "zeros"}, dqformer={"branches": branches},
        cross_attention={"prepend_image_token": prepend},
    ).train()  # fmt: skip
    nothing = conditions.without_text(denoiser.null_text(None))
    losses = denoiser.loss(latents, noise, sigma, nothing)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert all(p.grad.isfinite().all() for p in denoiser.trained.parameters() if p.grad is not None)


# SVD's four traps -------------------------------------------------------------------------------


def test_trap_condition_latents_reach_the_unet_unscaled_and_last(
    build, conditions, latents, sigma, calls
):
    denoiser = build()
    seen = calls(denoiser)
    denoiser(latents, sigma, conditions)
    sample = seen[0][0][0]
    assert torch.equal(sample[:, :, 4:], conditions.condition_latents)
    c_in = 1 / (sigma**2 + 1).sqrt()
    torch.testing.assert_close(sample[:, :, :4], latents * c_in[:, None, None, None, None])


def test_trap_the_unets_timestep_is_c_noise(build, conditions, latents, sigma, calls):
    denoiser = build()
    seen = calls(denoiser)
    denoiser(latents, sigma, conditions)
    assert torch.equal(seen[0][0][1], 0.25 * sigma.log())


def test_trap_the_unet_is_told_one_frame_per_second_less(build, conditions, latents, sigma, calls):
    denoiser = build()
    seen = calls(denoiser)
    denoiser(latents, sigma, conditions)
    expected = torch.tensor([[6.0, 127.0, 0.02], [11.0, 100.0, 0.1]])
    torch.testing.assert_close(seen[0][1]["added_time_ids"], expected)


def test_trap_per_frame_context_enters_at_spatial_cross_attention_only(
    build, conditions, latents, sigma
):
    denoiser = build(is_random=True)
    read = {"spatial": [], "temporal": []}
    for name, module in denoiser.unet.named_modules():
        if name.endswith("attn2"):
            kind = "temporal" if "temporal" in name else "spatial"
            module.register_forward_hook(
                lambda m, args, kwargs, output, kind=kind: read[kind].append(
                    (kwargs["encoder_hidden_states"].detach(), output.detach())
                ),
                with_kwargs=True,
            )
    context = denoiser.context(conditions)
    own = context.per_frame.clone()
    own[:, 2] += 1  # the stock UNet would drop all frames' contexts but the first
    for told in (context, replace(context, per_frame=own)):
        denoiser(latents, sigma, conditions, told)
    first, second = read["spatial"][:4], read["spatial"][4:]
    assert not torch.equal(first[0][1], second[0][1])
    for tokens, _ in read["temporal"]:
        image_token = conditions.image_embedding.repeat_interleave(len(tokens) // 2, dim=0)
        assert torch.equal(tokens, image_token)


# Training ---------------------------------------------------------------------------------------


def test_frozen_means_frozen(build, conditions, latents, noise, sigma):
    denoiser = build()
    before = {name: tensor.clone() for name, tensor in denoiser.state_dict().items()}
    groups = denoiser.trainable_parameters()
    optimizer = torch.optim.Adam([{"params": group} for group in groups.values()], lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        denoiser.loss(latents, noise, sigma, conditions).sum().backward()
        optimizer.step()
    changed = {n for n, t in denoiser.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {f"trained.{name}" for name in denoiser.trained_state_dict()}
    with_gradient = {n for n, p in denoiser.named_parameters() if p.grad is not None}
    assert with_gradient == changed


def test_trained_names_and_their_number_are_known(build):
    denoiser = build()
    names = list(denoiser.trained_state_dict())
    assert {name.split(".")[0] for name in names} == {"adapters", "cross_attention", "dqformer"}
    assert "adapters.spatial.mid_block-attentions-0-transformer_blocks-0.up.weight" in names
    count = {
        group: sum(p.numel() for p in parameters)
        for group, parameters in denoiser.trainable_parameters().items()
    }
    assert count == {
        "dqformer": 18560,
        "adapters": 10112,
        "cross_attention": 16512,
        "lora": 0,
        "weights": 0,
    }


def test_training_mode_leaves_the_frozen_unet_in_evaluation_mode(build):
    denoiser = build().train()
    assert denoiser.trained.training
    assert not denoiser.unet.training


def test_loss_may_leave_out_the_given_frames(build, conditions, latents, noise, sigma):
    settings = {"loss_on_given_frames": False, "num_given_frames": 2}
    some, all_of_them = build(condition=settings), build()
    output = some.model_output(
        latents + sigma[:, None, None, None, None] * noise, sigma, conditions
    )
    s = sigma[:, None, None, None, None]
    error = (output - (noise - s * latents) / (1 + s**2).sqrt()) ** 2
    found = some.loss(latents, noise, sigma, conditions)
    torch.testing.assert_close(found, error[:, 2:].mean(dim=(1, 2, 3, 4)))
    found = all_of_them.loss(latents, noise, sigma, conditions)
    torch.testing.assert_close(found, error.mean(dim=(1, 2, 3, 4)))


def test_samples_of_a_batch_do_not_mix(build, conditions, latents, sigma):
    denoiser = build(is_random=True)
    with torch.no_grad():
        both = denoiser(latents, sigma, conditions)
        masked = torch.tensor([False, True])
        other = conditions.without_text(None, masked).without_image(masked)
        torch.testing.assert_close(denoiser(latents, sigma, other)[0], both[0])
        assert not torch.allclose(denoiser(latents, sigma, other)[1], both[1])


@pytest.mark.parametrize("changes", ABLATIONS.values(), ids=ABLATIONS)
def test_ablations_of_the_paper_train_and_sample(
    build, conditions, latents, noise, sigma, empty_text, changes
):
    denoiser = build(**changes)
    denoiser.loss(latents, noise, sigma, conditions).sum().backward()
    assert all(p.grad.isfinite().all() for p in denoiser.trained.parameters())
    denoise = guided_denoise(denoiser, conditions, empty_text, SamplerConfig())
    found = sample_euler(denoise, 700 * noise, karras_sigmas(2, 0.002, 700.0, 7.0))
    assert found.isfinite().all()


def test_every_setting_takes_effect(build, conditions, latents, sigma):
    def look(**changes):
        denoiser = build(is_random=True, **changes)
        shapes = {name: tuple(t.shape) for name, t in denoiser.trained_state_dict().items()}
        with torch.no_grad():
            return shapes, denoiser(latents, sigma, conditions)

    plain_shapes, plain = look()
    without_effect = []
    for changes in SETTINGS:
        shapes, output = look(**changes)
        if shapes == plain_shapes and torch.allclose(output, plain):
            without_effect.append(changes)
    assert without_effect == []


def test_text_is_required_when_the_model_reads_it(build, conditions, latents, sigma):
    with pytest.raises(ValueError, match="the conditions have text=None"):
        build()(latents, sigma, replace(conditions, text=None))


def test_another_number_of_frames_runs(build, conditions, generator, sigma):
    longer = replace(conditions, condition_latents=torch.zeros(2, 5, 4, 8, 8))
    latents = torch.randn(2, 5, 4, 8, 8, generator=generator)
    assert build()(latents, sigma, longer).shape == latents.shape


def test_other_latent_channels_run(tiny_config, conditions, sigma, generator, unet):
    torch.manual_seed(0)
    wide = type(unet)(**{**unet.config, "in_channels": 16, "out_channels": 8})
    latents = torch.randn(2, 3, 8, 8, 8, generator=generator)
    denoiser = Denoiser(wide, 16, 24, tiny_config)
    told = replace(conditions, condition_latents=latents.flip(0))
    assert denoiser(latents, sigma, told).shape == latents.shape
