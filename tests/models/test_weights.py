import copy
from dataclasses import replace

import pytest
import torch

from aid.config import LoraConfig, ModelConfig, tuned
from aid.models.backbone import load_backbone
from aid.models.denoiser import Denoiser
from aid.models.insertion import weight_names
from aid.train.training import num_trained


def trained_bits(denoiser):
    return {name: tensor.clone() for name, tensor in denoiser.trained_state_dict().items()}


@pytest.mark.parametrize("which", ["temporal", "all"])
def test_copies_of_weights_are_trained_and_the_frozen_ones_come_back(
    unet, untouched_unet, tiny_config, conditions, latents, noise, sigma, which
):
    frozen = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    names = set(weight_names(unet, which))
    tuning = {"temporal": "temporal", "all": "full"}[which]
    torch.manual_seed(0)
    denoiser = Denoiser(unet, 16, 24, tuned(tiny_config, tuning))
    assert unet.state_dict().keys() == frozen.keys(), "stock names, copies or not"
    before = trained_bits(denoiser)
    denoiser.loss(latents, noise, sigma, conditions).mean().backward()
    touched = {n for n, p in unet.named_parameters() if p.grad is not None}
    assert touched == names
    with torch.no_grad():
        for p in denoiser.trained.parameters():
            p.add_(0.01)
    moved = denoiser(latents, sigma, conditions)
    denoiser.insertion.detach()
    assert all(torch.equal(tensor, frozen[name]) for name, tensor in unet.state_dict().items())
    denoiser.insertion.attach()
    assert torch.equal(denoiser(latents, sigma, conditions), moved)
    denoiser.load_trained_state_dict(before)
    assert not torch.equal(denoiser(latents, sigma, conditions), moved)
    again = Denoiser(copy.deepcopy(untouched_unet), 16, 24, tuned(tiny_config, tuning))
    again.load_trained_state_dict(trained_bits(denoiser))
    assert torch.equal(again(latents, sigma, conditions), denoiser(latents, sigma, conditions))


def test_each_way_of_tuning_trains_what_it_says(tiny_backbone, tiny_config):
    found = {}
    for tuning in ("aid", "lora", "cross_attention", "temporal", "full"):
        unet = load_backbone(tiny_backbone, ("unet",)).unet
        found[tuning] = num_trained(Denoiser(unet, 16, 24, tuned(tiny_config, tuning)))
    sizes = {
        way: {part for part, number in parts.items() if number} for way, parts in found.items()
    }
    assert sizes == {
        "aid": {"adapters", "cross_attention", "dqformer"},
        "lora": {"lora", "dqformer"},
        "cross_attention": {"cross_attention", "dqformer"},
        "temporal": {"weights", "dqformer"},
        "full": {"weights", "dqformer"},
    }
    all_ = sum(p.numel() for p in load_backbone(tiny_backbone, ("unet",)).unet.parameters())
    assert found["full"]["weights"] == all_
    assert 0.1 * all_ < found["temporal"]["weights"] < 0.9 * all_


def test_weights_that_something_else_replaces_are_refused(tiny_config):
    with pytest.raises(ValueError, match="unet_weights='all' trains weights that LoRA"):
        ModelConfig(unet_weights="all")
    lora = replace(tuned(tiny_config, "lora"), lora=LoraConfig(rank=4))
    with pytest.raises(ValueError, match=r"Use lora\.rank=0"):
        replace(lora, unet_weights="temporal")
