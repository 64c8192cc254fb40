"""A UNet with more channels in its first level computes what it computed before, and can learn."""

import shutil
from dataclasses import replace

import pytest
import torch

from aid.models.backbone import load_backbone
from aid.tabletop.pretrain.config import UNetConfig
from aid.tabletop.pretrain.image_to_video import train_unet
from aid.tabletop.pretrain.parts import build_unet
from aid.tabletop.pretrain.widening import widened


def unet_of(channels=(32, 128), heads=(0, 2)):
    torch.manual_seed(0)
    return build_unet(UNetConfig(latent_size=8, channels=channels, heads=heads), 32, 4).eval()


def output(unet):
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(2, 4, 16, 8, 8, generator=generator)
    image = torch.randn(2, 1, 32, generator=generator)
    ids = torch.tensor([[3.0, 127.0, 0.02], [6.0, 127.0, 0.1]])
    return unet(sample, torch.tensor([0.3, -0.7]), image, added_time_ids=ids).sample


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_wider_unet_starts_as_the_narrow_one(factor):
    """But for two group norms that read the first level next to another one: their groups move.

    With weights of 0 they are the same in both networks, and nothing else differs.
    """
    narrow = unet_of()
    for resnet in (narrow.up_blocks[0].resnets[-1], narrow.up_blocks[1].resnets[0]):
        torch.nn.init.zeros_(resnet.spatial_res_block.norm1.weight)
    with torch.no_grad():
        wide = widened(narrow, factor).eval()
        assert torch.allclose(output(wide), output(narrow), atol=1e-4)
    assert wide.config.block_out_channels == (32 * factor, 128)


def test_a_first_level_that_was_as_wide_as_the_second_gets_a_projection():
    narrow = unet_of(channels=(32, 32))
    wide = widened(narrow, 2)
    shortcut = wide.down_blocks[1].resnets[0].spatial_res_block.conv_shortcut
    channels = torch.randn(1, 32, 4, 4)
    assert torch.allclose(shortcut(channels.repeat_interleave(2, 1)), channels, atol=1e-5)


def test_copies_of_a_channel_diverge_in_training():
    wide = widened(unet_of(), 2)
    before = wide.down_blocks[0].resnets[0].spatial_res_block.conv1.weight
    assert torch.equal(before[0].sum(0), before[1].sum(0))
    output(wide).square().mean().backward()
    assert not torch.allclose(before.grad[0], before.grad[1], rtol=0.01, atol=0)


def test_only_a_first_level_of_convolutions_can_grow():
    with pytest.raises(ValueError, match="has attention"):
        widened(unet_of(heads=(1, 2)), 2)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        widened(unet_of(), 0)


def test_pretraining_goes_on_from_a_narrower_backbone(runs, play, tiny_pretrain, tmp_path):
    shutil.copytree(runs / "backbone", tmp_path / "out")
    wider = replace(tiny_pretrain, unet=replace(tiny_pretrain.unet, channels=(64, 32)))
    train_unet(play, tmp_path / "out", tmp_path / "run", wider, start=runs / "backbone")
    unet = load_backbone(tmp_path / "out", ("unet",)).part("unet")
    assert unet.config.block_out_channels == [64, 32]


def test_a_backbone_of_other_sizes_is_refused(runs, play, tiny_pretrain, tmp_path):
    shutil.copytree(runs / "backbone", tmp_path / "out")
    other = replace(tiny_pretrain, unet=replace(tiny_pretrain.unet, channels=(48, 32)))
    with pytest.raises(
        ValueError, match=r"has a UNet of \(32, 32\) channels.*the recipe has \(48, 32\)"
    ):
        train_unet(play, tmp_path / "out", tmp_path / "run", other, start=runs / "backbone")
