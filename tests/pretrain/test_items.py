"""Heads that name what lies where, while the UNet is pretrained."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from aid.config import UNetConfig
from aid.models.embedded import build_unet
from aid.pretrain.image_to_video import train_unet
from aid.pretrain.items import NOTHING, SHAPES, ItemHeads, QueryReader, items_of
from aid.types import VideoRow
from aid.wording import COLOURS
from tests.pretrain.conftest import ABOVE, seen


def row(*items):
    return VideoRow(
        id="a", video="a.mp4", instruction="", num_frames=4, fps=4.0, height=32, width=32,
        world={"camera": ABOVE, "items": list(items)},
    )  # fmt: skip


def test_each_item_is_named_in_the_cell_of_its_centre():
    found = items_of([row(seen("red ball", -0.9, 0.9), seen("blue can", 0.6, -0.3))], cells=4)
    wanted = torch.full((1, 2, 4, 4), NOTHING)
    wanted[0, :, 0, 0] = torch.tensor([COLOURS.index("red"), SHAPES.index("ball")])
    wanted[0, :, 2, 3] = torch.tensor([COLOURS.index("blue"), SHAPES.index("can")])
    assert torch.equal(found, wanted)


def test_an_object_hides_the_container_it_lies_in_whatever_the_order():
    things = seen("green bowl", 0.1, 0.1), seen("red block", 0.2, 0.2)
    both = items_of([row(*things), row(*reversed(things))], cells=2)
    assert torch.equal(both[0], both[1])
    assert both[0, :, 0, 1].tolist() == [COLOURS.index("red"), SHAPES.index("block")]


def test_an_item_beyond_the_edge_counts_for_the_cell_at_the_edge():
    found = items_of([row(seen("red ball", 1.4, 0.1))], cells=2)
    assert found[0, 0, 0].tolist() == [NOTHING, COLOURS.index("red")]


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return build_unet(
        UNetConfig(latent_size=8, channels=(32, 32, 32), heads=(0, 2, 2)), 32, num_frames=2
    )


def call(unet, latents):
    return unet(
        latents, torch.zeros(len(latents)), torch.zeros(len(latents), 1, 32),
        added_time_ids=torch.zeros(len(latents), 3),
    )  # fmt: skip


def test_heads_read_the_first_level_with_attention_on_both_ways(unet):
    queries = QueryReader(unet)
    assert queries.halvings == 1
    assert len(queries.paths) == 1 + 2  # one block down, two up
    queries.detach()


def test_heads_learn_what_the_features_tell_and_reach_into_the_unet(unet):
    torch.manual_seed(0)
    queries = QueryReader(unet)
    heads, latents = ItemHeads(queries), torch.zeros(8, 2, 16, 8, 8)
    items = torch.full((8, 2, 4, 4), NOTHING)
    for video in range(8):  # a bright spot of one of two heights, at one of eight places
        y, x = divmod(video, 4)
        latents[video, :, 0, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] = 3.0 * (-1) ** video
        items[video, :, y, x] = video % 2
    optimizer = torch.optim.Adam([*heads.parameters(), *unet.down_blocks.parameters()], 1e-2)
    first = None
    for _ in range(30):
        call(unet, latents)
        loss, right = heads(items)
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert unet.conv_in.weight.grad.abs().sum() > 0
    assert loss < first / 4
    assert right.tolist() == pytest.approx([1, 1], abs=0.05)
    queries.detach()


def test_a_detached_reader_leaves_no_hook_behind(unet):
    QueryReader(unet).detach()
    assert not any(module._forward_hooks for module in unet.modules())


def test_a_unet_without_attention_is_refused_with_the_remedy():
    plain = build_unet(UNetConfig(latent_size=8, channels=(32, 32), heads=(0, 0)), 32, 2)
    with pytest.raises(ValueError, match=r"pretrain\.unet\.heads"):
        QueryReader(plain)


def test_the_stage_logs_what_the_heads_know_and_saves_none_of_them(
    play, tiny_pretrain, runs, tmp_path
):
    asked = replace(
        tiny_pretrain,
        coarse=replace(tiny_pretrain.coarse, items_weight=0.5),
        fine=replace(tiny_pretrain.fine, items_weight=0.5),
    )
    shutil.copytree(runs / "backbone", tmp_path / "out")
    train_unet(play, tmp_path / "out", tmp_path / "run", asked)
    lines = [json.loads(line) for line in (tmp_path / "run/fine/log.jsonl").open()]
    checked = next(line for line in lines if "held_out_loss" in line)
    assert 0 <= checked["colours"] <= 1
    assert 0 <= checked["shapes"] <= 1
    weights = [
        load_file(folder / "unet/diffusion_pytorch_model.safetensors")
        for folder in (tmp_path / "out", runs / "backbone")
    ]
    assert weights[0].keys() == weights[1].keys()
