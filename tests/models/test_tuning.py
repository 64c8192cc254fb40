import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from aid.config import CrossAttentionConfig, LoraConfig
from aid.models import tuning
from aid.models.denoiser import Denoiser
from aid.models.insertion import lora_sites
from aid.models.tuning import sum_is_cheaper

NONE = {"use_spatial": False, "use_short_term": False, "use_long_term": False}


@pytest.fixture
def say(latents, sigma, conditions):
    @torch.no_grad()
    def say(denoiser):
        return denoiser(latents, sigma, conditions)

    return say


def test_fresh_updates_change_nothing(build, say):
    stock = say(build(dqformer={"branches": "none"}))
    assert torch.equal(say(build(lora={"rank": 4}, dqformer={"branches": "none"})), stock)


@pytest.mark.parametrize("adapter", [{}, NONE], ids=["beside the adapters", "instead of them"])
def test_updates_are_trained_and_the_frozen_weights_are_not(
    build, say, adapter, conditions, latents, sigma, noise
):
    denoiser = build(lora={"rank": 4}, adapter=adapter)
    assert bool(list(denoiser.trained["adapters"].parameters())) == (adapter is not NONE)
    frozen = {n: p.clone() for n, p in denoiser.unet.named_parameters() if not p.requires_grad}
    updates = denoiser.trainable_parameters()["lora"]
    optimizer = torch.optim.SGD(updates, lr=0.1)
    before = say(denoiser)
    for _ in range(2):  # W_down has no gradient until W_up has left zero
        optimizer.zero_grad()
        denoiser.loss(latents, noise, sigma, conditions).mean().backward()
        optimizer.step()
    silent = [n for n, p in denoiser.trained["lora"].named_parameters() if not p.grad.any()]
    assert not silent, "these projections get an update that nothing reads"
    assert not torch.equal(say(denoiser), before)
    assert all(
        torch.equal(p, frozen[n]) for n, p in denoiser.unet.named_parameters() if n in frozen
    )


def test_the_update_is_the_formula(build, generator):
    denoiser = build(lora={"rank": 4, "alpha": 2.0}, is_random=True)
    path = "down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1.to_q"
    own = denoiser.trained["lora"][path.replace(".", "-")]
    x = torch.randn(5, 3, 32, generator=generator)
    frozen = denoiser.unet.get_submodule(path).get_base_layer()
    expected = frozen(x) + 2.0 / 4 * x @ own["down"].weight.T @ own["up"].weight.T
    torch.testing.assert_close(denoiser.unet.get_submodule(path)(x), expected)


def test_one_product_with_the_sum_is_pefts_three(build, generator):
    """In double precision, so that nothing but rounding at the 15th digit may differ."""
    denoiser = build(lora={"rank": 4, "alpha": 6.0}, is_random=True)
    layer = next(iter(denoiser.insertion.lora.layers.values())).double()
    assert sum_is_cheaper(layer.get_base_layer().weight.float(), 4)
    x = torch.randn(2, 5, 32, generator=generator, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(2, 5, 32, generator=generator, dtype=torch.float64)
    read = [x, layer.lora_A["aid"].weight, layer.lora_B["aid"].weight]
    said = [forward(x) for forward in (layer.forward, partial(type(layer).forward, layer))]
    assert not torch.equal(said[0], layer.get_base_layer()(x))
    torch.testing.assert_close(said[0], said[1], rtol=1e-12, atol=1e-12)
    ours, pefts = (torch.autograd.grad((one * wanted).sum(), read) for one in said)
    for gradient, expected in zip(ours, pefts, strict=True):
        assert expected.any()
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_whole_model_learns_the_same_by_the_sum(
    build, monkeypatch, conditions, latents, sigma, noise, precision
):
    settings = {"lora": {"rank": 2, "layers": "attention_and_feed_forward"}, "is_random": True}
    by_the_sum = build(**settings)
    monkeypatch.setattr(tuning, "MAX_COST_RATIO", 0)
    by_peft = build(**settings)
    both = (by_the_sum, by_peft)
    summed = [
        ["forward" in vars(layer) for layer in one.insertion.lora.layers.values()] for one in both
    ]
    assert any(summed[0]) and not all(summed[0]), "wide feed-forward layers are left to peft"
    assert not any(summed[1])
    gradients = []
    for denoiser in both:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            denoiser.loss(latents, noise, sigma, conditions).mean().backward()
        parts = denoiser.trained["lora"].parameters()
        gradients.append(torch.cat([p.grad.flatten() for p in parts]))
    apart = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert apart < (1e-5 if precision == torch.float32 else 0.05)


def test_merging_says_the_same_and_unmerging_gives_every_weight_back(build, say):
    denoiser = build(lora={"rank": 4, "layers": "attention_and_feed_forward"}, is_random=True)
    weights = {name: tensor.clone() for name, tensor in denoiser.unet.state_dict().items()}
    apart = say(denoiser)
    denoiser.insertion.lora.merge()
    assert denoiser.insertion.lora.is_merged
    changed = [n for n, t in denoiser.unet.state_dict().items() if not torch.equal(t, weights[n])]
    assert len(changed) == len(denoiser.insertion.lora.layers)
    torch.testing.assert_close(say(denoiser), apart, atol=2e-4, rtol=2e-4)
    denoiser.insertion.lora.unmerge()
    assert torch.equal(say(denoiser), apart)
    for name, tensor in denoiser.unet.state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_a_detached_unet_is_stock_again_even_if_merged(build, unet):
    denoiser = build(lora={"rank": 4}, is_random=True)
    names = list(denoiser.unet.state_dict())
    assert any("base_layer" in name for name in names)
    denoiser.insertion.lora.merge()
    denoiser.insertion.detach()
    stock, ours = unet.state_dict(), denoiser.unet.state_dict()
    assert list(ours) == list(stock)
    assert all(torch.equal(ours[name], stock[name]) for name in stock)
    denoiser.insertion.attach()
    assert list(denoiser.unet.state_dict()) == names


def test_updates_are_saved_and_loaded_strictly(build, say, tmp_path):
    denoiser = build(lora={"rank": 4}, is_random=True)
    save_file(denoiser.trained_state_dict(), tmp_path / "trained.safetensors")
    tensors = load_file(tmp_path / "trained.safetensors")
    assert any(name.startswith("lora.") for name in tensors)
    other = build(lora={"rank": 4})
    other.load_trained_state_dict(tensors)
    assert torch.equal(say(other), say(denoiser))
    with pytest.raises(ValueError, match=r"has shape \(4, 32\), here \(8, 32\)"):
        build(lora={"rank": 8}).load_trained_state_dict(tensors)
    with pytest.raises(ValueError, match="unexpected lora"):
        build().load_trained_state_dict(tensors)


def test_updates_are_float32_on_half_precision_weights(untouched_unet, tiny_config):
    unet = copy.deepcopy(untouched_unet).to(torch.bfloat16)
    denoiser = Denoiser(unet, 16, 24, replace(tiny_config, lora=LoraConfig(rank=4)))
    assert {p.dtype for p in denoiser.trainable_parameters()["lora"]} == {torch.float32}
    layer = next(iter(denoiser.insertion.lora.layers.values()))
    assert layer.get_base_layer().weight.dtype == torch.bfloat16
    # Rounded to bfloat16 the sum would swallow small updates, so peft adds them to the outputs.
    assert "forward" not in vars(layer)


@pytest.mark.parametrize(
    ("settings", "cross_attention", "expected"),
    [
        # Per site: 4 of self-attention, 4 of cross-attention less those copied or never read.
        ({}, {}, 4 + 6),
        ({}, {"trained": "none"}, 8 + 6),
        ({}, {"trained": "keys_values"}, 6 + 6),
        ({}, {"train_temporal": True}, 4 + 4),
        ({"blocks": "temporal"}, {}, 6),
        ({"blocks": "spatial"}, {"trained": "none"}, 8),
        ({"layers": "attention_and_feed_forward"}, {}, 6 + 8),
    ],
)
def test_sites_are_the_projections_that_are_read(unet, settings, cross_attention, expected):
    paths = lora_sites(unet, LoraConfig(**settings), CrossAttentionConfig(**cross_attention))
    assert len(paths) == len(set(paths)) == 4 * expected
    assert all(isinstance(unet.get_submodule(path), torch.nn.Linear) for path in paths)


@pytest.mark.parametrize("settings", [{"rank": -1}, {"alpha": 0.0}])
def test_settings_that_cannot_be_run_are_refused(settings):
    with pytest.raises(ValueError, match=r"lora\.\w+ must be"):
        LoraConfig(**settings)
