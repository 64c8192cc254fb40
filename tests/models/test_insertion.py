import copy
from dataclasses import replace

import pytest
import torch

from aid.config import CrossAttentionConfig, LoraConfig, ModelConfig
from aid.models.denoiser import Denoiser
from aid.models.dqformer import Context
from aid.models.insertion import attention_sites, check_sites, residual_blocks

ADAPTER_VARIANTS = {
    "default": {},
    "raw_input": {"parallel_input": "raw"},
    "after_blend": {"long_term_site": "after_blend"},
    "short_term_everywhere": {"short_term_sites": "all"},
    "wide_kernel": {"short_term_kernel": (3, 3, 3)},
    "none": {"use_spatial": False, "use_short_term": False, "use_long_term": False},
}
CROSS_ATTENTION_VARIANTS = [
    CrossAttentionConfig(trained="all", train_temporal=True),
    CrossAttentionConfig(trained="keys_values"),
    CrossAttentionConfig(trained="none"),
]
SPATIAL_ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
TEMPORAL_ATTENTION = "down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn2"


@pytest.fixture
def arguments(generator):
    """What the stock UNet is called with: sample, timestep, its one-token context, time ids."""
    return (
        torch.randn(2, 3, 8, 8, 8, generator=generator),
        torch.rand(2, generator=generator),
        torch.randn(2, 1, 32, generator=generator),
        torch.rand(2, 3, generator=generator),
    )


@pytest.fixture
def context(generator):
    return Context(
        torch.randn(2, 4, 32, generator=generator),
        torch.tensor([[True, True, True, False], [True, False, False, False]]),
        torch.randn(2, 3, 2, 32, generator=generator),
    )


@torch.no_grad()
def run(unet, arguments):
    return unet(*arguments, return_dict=False)[0]


@pytest.mark.parametrize("adapter", ADAPTER_VARIANTS.values(), ids=ADAPTER_VARIANTS)
@pytest.mark.parametrize("cross_attention", CROSS_ATTENTION_VARIANTS, ids=lambda c: c.trained)
def test_fresh_denoiser_equals_svd(unet, tiny_config, arguments, adapter, cross_attention):
    stock = run(unet, arguments)
    config = replace(
        tiny_config,
        adapter=replace(tiny_config.adapter, **adapter),
        dqformer=replace(tiny_config.dqformer, branches="none"),
        cross_attention=cross_attention,
    )
    Denoiser(unet, 16, 24, config)
    assert torch.equal(run(unet, arguments), stock)


def test_a_fresh_default_model_differs_from_svd_by_what_cross_attention_reads_alone(
    unet, tiny_config, arguments, context
):
    stock = run(unet, arguments)
    denoiser = Denoiser(unet, 16, 24, replace(tiny_config, lora=LoraConfig(rank=2)))
    assert torch.equal(run(unet, arguments), stock)
    with denoiser.insertion.reading(context):
        assert not torch.allclose(run(unet, arguments), stock)


def test_detached_unet_is_stock_again(unet, tiny_config, arguments):
    stock = run(unet, arguments)
    denoiser = Denoiser(unet, 16, 24, tiny_config)
    with torch.no_grad():
        for parameter in denoiser.trained.parameters():
            parameter.add_(0.1)
    changed = run(unet, arguments)
    assert not torch.allclose(changed, stock)
    denoiser.insertion.detach()
    assert torch.equal(run(unet, arguments), stock)
    denoiser.insertion.attach()
    assert torch.equal(run(unet, arguments), changed)


def test_join_leaves_keys_and_tensors_of_the_unet_alone(unet, tiny_config):
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    Denoiser(unet, 16, 24, tiny_config)
    after = unet.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_unet_takes_only_one_join(unet, tiny_config):
    Denoiser(unet, 16, 24, tiny_config)
    with pytest.raises(ValueError, match="AID's parts are already attached"):
        Denoiser(unet, 16, 24, tiny_config)


def test_sites_are_where_we_expect_them(unet):
    check_sites(unet)
    assert attention_sites(unet) == [
        ("down_blocks.0.resnets.0", "down_blocks.0.attentions.0"),
        ("mid_block.resnets.0", "mid_block.attentions.0"),
        ("up_blocks.1.resnets.0", "up_blocks.1.attentions.0"),
        ("up_blocks.1.resnets.1", "up_blocks.1.attentions.1"),
    ]
    assert len(residual_blocks(unet)) == 8


def test_svd_has_16_attention_sites_and_22_residual_blocks(unet):
    with torch.device("meta"):
        svd = type(unet)()  # diffusers' defaults are SVD
    check_sites(svd)
    assert len(attention_sites(svd)) == 16
    assert len(residual_blocks(svd)) == 22


@pytest.mark.parametrize(
    "path", ["mid_block", "up_blocks.1.resnets", "norm1", "attn2.to_k", "time_mixer"]
)
def test_a_renamed_block_is_reported_by_name(unet, path):
    inside = "down_blocks.0.attentions.0"
    where = {
        "norm1": f"{inside}.transformer_blocks.0.norm1",
        "attn2.to_k": f"{inside}.temporal_transformer_blocks.0.attn2.to_k",
        "time_mixer": f"{inside}.time_mixer",
    }.get(path, path)
    parent, _, name = where.rpartition(".")
    delattr(unet.get_submodule(parent), name)
    with pytest.raises(ValueError, match=rf"has no '{where}.*' in its SVD UNet"):
        check_sites(unet)


def test_every_adapter_reaches_the_output(build, arguments):
    denoiser = build(dqformer={"branches": "none"})
    fresh = run(denoiser.unet, arguments)
    for kind, sites in denoiser.insertion.adapters.items():
        for site, adapter in sites.items():
            torch.nn.init.ones_(adapter.up.bias)
            assert not torch.equal(run(denoiser.unet, arguments), fresh), (kind, site)
            torch.nn.init.zeros_(adapter.up.bias)


def test_parallel_adapter_adds_to_what_the_frozen_attention_says(build, generator):
    denoiser = build(adapter={"parallel_scale": 0.5}, is_random=True)
    site = "down_blocks.0.attentions.0.transformer_blocks.0"
    attention = denoiser.unet.get_submodule(f"{site}.attn1")
    x = torch.randn(6, 64, 32, generator=generator)
    adapter = denoiser.insertion.adapters["spatial"][site.replace(".", "-")]
    expected = attention.forward(x) + 0.5 * adapter(x)
    torch.testing.assert_close(attention(x), expected)


@torch.no_grad()
def attend(denoiser, context, x, path=SPATIAL_ATTENTION):
    with denoiser.insertion.reading(context):
        return denoiser.unet.get_submodule(path)(x, encoder_hidden_states=x.new_ones(len(x), 1, 32))


def test_frames_are_independent(build, context, generator):
    denoiser = build(is_random=True)
    x = torch.randn(6, 64, 32, generator=generator)  # (b f) n d
    own = context.per_frame.clone()
    own[0, 2] += 1
    before = attend(denoiser, context, x)
    after = attend(denoiser, replace(context, per_frame=own), x)
    changed = [i for i in range(6) if not torch.equal(before[i], after[i])]
    assert changed == [2]


def test_padding_of_the_context_is_hidden_from_the_unet(build, context, generator):
    denoiser = build(is_random=True)
    x = torch.randn(6, 64, 32, generator=generator)
    shared = torch.where(context.shared_mask[..., None], context.shared, 100.0)
    before = attend(denoiser, context, x)
    assert torch.equal(attend(denoiser, replace(context, shared=shared), x), before)


def test_context_without_own_tokens_is_read_alike_by_all_frames(build, context, generator):
    denoiser = build(is_random=True)
    x = torch.randn(6, 64, 32, generator=generator)
    shared_only = replace(context, per_frame=context.per_frame[:, :, :0])
    twice = torch.cat([context.shared, context.shared], dim=1)  # doubled tokens: same attention
    mask = torch.cat([context.shared_mask, context.shared_mask], dim=1)
    own = context.shared[:, None, :1].expand(2, 3, 1, 32)
    found = attend(denoiser, shared_only, x)
    torch.testing.assert_close(
        found, attend(denoiser, replace(shared_only, shared=twice, shared_mask=mask), x)
    )
    hidden = context.shared_mask.clone()
    hidden[:, 0] = False
    per_frame = replace(context, shared_mask=hidden, per_frame=own)
    torch.testing.assert_close(found, attend(denoiser, per_frame, x))


def test_temporal_cross_attention_never_reads_the_context(build, context, generator):
    denoiser = build(is_random=True, cross_attention={"train_temporal": True})
    x = torch.randn(128, 3, 32, generator=generator)
    with_context = attend(denoiser, context, x, TEMPORAL_ATTENTION)
    assert torch.equal(with_context, attend(denoiser, None, x, TEMPORAL_ATTENTION))


@pytest.mark.parametrize(
    ("settings", "spatial", "temporal"),
    [
        ({}, {"to_q", "to_k", "to_v", "to_out"}, set()),
        ({"trained": "keys_values"}, {"to_k", "to_v"}, set()),
        ({"trained": "none"}, set(), set()),
        ({"trained": "keys_values", "train_temporal": True}, {"to_k", "to_v"}, {"to_k", "to_v"}),
    ],
)
def test_trained_projections_are_the_chosen_ones(build, settings, spatial, temporal):
    made = build(cross_attention=settings).insertion.cross_attention
    for kind, names in (("spatial", spatial), ("temporal", temporal)):
        assert len(made[kind]) == (4 if names else 0)
        assert all(set(site) == names for site in made[kind].values())


def test_gradient_checkpointing_changes_no_gradient(build, conditions, latents, sigma):
    denoiser = build(is_random=True)
    swapped = replace(conditions, text=conditions.text.zeros())

    def gradients():
        # Two forward passes with different contexts before one backward pass.
        first = denoiser.loss(latents, latents.flip(0), sigma, conditions)
        second = denoiser.loss(latents, latents.flip(0), sigma, swapped)
        (first + second).sum().backward()
        found = [p.grad.clone() for p in denoiser.trained.parameters()]
        denoiser.zero_grad()
        return found

    plain = gradients()
    denoiser.enable_gradient_checkpointing()
    for a, b in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_copied_denoiser_stands_on_its_own(build, conditions, latents, sigma):
    denoiser = build(is_random=True)
    twin = copy.deepcopy(denoiser)
    with torch.no_grad():
        before = twin(latents, sigma, conditions)
        assert torch.equal(before, denoiser(latents, sigma, conditions))
        for parameter in denoiser.trained.parameters():
            parameter.zero_()
        assert torch.equal(twin(latents, sigma, conditions), before)


def test_settings_of_the_paper_size_fit_svd(unet):
    with torch.device("meta"):
        svd = type(unet)()
        denoiser = Denoiser(svd, 1024, 1280, ModelConfig())
    count = {
        group: sum(p.numel() for p in parameters) / 1e6
        for group, parameters in denoiser.trainable_parameters().items()
    }
    assert count["adapters"] == pytest.approx(27.95, abs=0.2)
    assert count["cross_attention"] == pytest.approx(50.35, abs=0.01)
    assert count["dqformer"] < 25
