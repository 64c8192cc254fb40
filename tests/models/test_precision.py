"""Frozen weights in half precision, and activations computed again."""

import copy
from dataclasses import replace

import pytest
import torch

from aid.config import DQFormerConfig
from aid.models.backbone import load_backbone
from aid.models.denoiser import Denoiser

BF16 = torch.bfloat16


@pytest.fixture
def half(untouched_unet):
    return copy.deepcopy(untouched_unet).to(BF16)


@torch.no_grad()
def test_a_fresh_denoiser_in_bfloat16_is_the_stock_unet_bit_for_bit(
    half, tiny_config, latents, sigma, conditions
):
    scaled = latents / (sigma**2 + 1).sqrt().view(-1, 1, 1, 1, 1)
    stock = half(
        torch.cat([scaled, conditions.condition_latents], dim=2).to(BF16),
        sigma.log() / 4,
        encoder_hidden_states=conditions.image_embedding.to(BF16),
        added_time_ids=conditions.added_time_ids,
        return_dict=False,
    )[0]
    config = replace(tiny_config, dqformer=DQFormerConfig(branches="none"))
    denoiser = Denoiser(half, 16, 24, config)
    for context in (torch.autocast("cpu", BF16), torch.autocast("cpu", enabled=False)):
        with context:
            assert torch.equal(denoiser.model_output(latents, sigma, conditions), stock.float())


def test_trained_weights_stay_float32_on_a_bfloat16_backbone(
    build, half, tiny_config, latents, sigma, noise, conditions
):
    exact = build(is_random=True)
    denoiser = Denoiser(half, 16, 24, tiny_config)
    assert {p.dtype for p in denoiser.trained.parameters()} == {torch.float32}
    denoiser.load_trained_state_dict(exact.trained_state_dict())
    losses = []
    for one in (exact, denoiser):
        loss = one.loss(latents, noise, sigma, conditions)
        loss.sum().backward()
        losses.append(loss.detach())
    torch.testing.assert_close(losses[1], losses[0], atol=0, rtol=0.1)
    for ours, theirs in zip(denoiser.trained.parameters(), exact.trained.parameters(), strict=True):
        assert ours.grad.dtype == torch.float32
        if theirs.grad.norm() > 1e-3:
            likeness = torch.cosine_similarity(ours.grad.flatten(), theirs.grad.flatten(), dim=0)
            assert likeness > 0.9


def saved_bytes(denoiser, latents, conditions, sigma):
    found = 0

    def count(tensor):
        nonlocal found
        found += tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        denoiser.loss(latents, latents.flip(0), sigma, conditions)
    return found


def test_every_checkpointed_level_saves_memory(build, latents, conditions, sigma):
    plain = saved_bytes(build(), latents, conditions, sigma)
    found = []
    for levels in (1, None):
        denoiser = build()
        denoiser.enable_gradient_checkpointing(levels)
        found.append(saved_bytes(denoiser, latents, conditions, sigma))
    assert found[1] < found[0] < plain


def test_temporal_blocks_run_again_in_the_backward_pass(build, latents, conditions, sigma):
    denoiser = build(is_random=True)
    runs = 0

    def count(*_):
        nonlocal runs
        runs += 1

    block = "down_blocks.0.attentions.0.temporal_transformer_blocks.0"
    denoiser.unet.get_submodule(block).attn1.register_forward_hook(count)
    denoiser.enable_gradient_checkpointing()
    denoiser.enable_gradient_checkpointing()  # twice changes nothing
    denoiser.loss(latents, latents.flip(0), sigma, conditions).sum().backward()
    assert runs == 2
    with torch.no_grad():
        denoiser.loss(latents, latents.flip(0), sigma, conditions)
    assert runs == 3


def test_a_backbone_in_bfloat16_speaks_float32(tiny_backbone, generator):
    backbone = load_backbone(tiny_backbone, ("vae", "image_encoder"), BF16)
    assert backbone.vae.dtype == backbone.image_encoder.dtype == BF16
    frames = torch.rand(1, 3, 3, 64, 64, generator=generator)
    latents = backbone.encode(frames)
    spoken = [latents, backbone.decode(latents), *backbone.encode_image(frames[:, 0])]
    spoken.append(backbone.encode_condition(frames[:, :1], 3, "grey_pixels"))
    assert {tensor.dtype for tensor in spoken} == {torch.float32}
