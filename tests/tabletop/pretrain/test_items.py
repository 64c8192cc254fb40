"""Heads that name what lies where, while the UNet is pretrained."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from aid.tabletop.language import COLOURS
from aid.tabletop.pretrain.config import UNetConfig, VideoStageConfig
from aid.tabletop.pretrain.image_to_video import train_unet
from aid.tabletop.pretrain.items import NOTHING, SHAPES, ItemHeads, QueryReader, items_of
from aid.tabletop.pretrain.parts import build_unet
from aid.types import VideoRow
from tests.tabletop.pretrain.conftest import ABOVE, seen


def row(*items):
    return VideoRow(
        id="a", video="a.mp4", instruction="", num_frames=4, fps=4.0, height=32, width=32,
        world={"camera": ABOVE, "items": list(items)},
    )  # fmt: skip


def test_each_item_is_named_in_the_cell_that_it_stands_in():
    things = seen("red ball", -0.9, 0.9), seen("blue can", 0.6, -0.3)
    found = items_of([row(*things)], height=4, width=4)
    wanted = torch.full((1, 2, 4, 4), NOTHING)
    wanted[0, :, 0, 0] = torch.tensor([COLOURS.index("red"), SHAPES.index("ball")])
    wanted[0, :, 2, 3] = torch.tensor([COLOURS.index("blue"), SHAPES.index("can")])
    assert torch.equal(found, wanted)


def test_an_item_outside_of_the_picture_is_not_there():
    outside = [seen("red ball", *at) for at in ((1.4, 0.1), (-1.01, 0.1), (0.1, 1.2), (0.1, -1.2))]
    assert (items_of([row(*outside)], height=2, width=2) == NOTHING).all()


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        ({}, "items"),
        ({"items": [seen("red ball", 0, 0)]}, "camera"),
        ({"camera": ABOVE}, "items"),
        ({"camera": ABOVE, "items": [seen("pink ball", 0, 0)]}, "pink"),
    ],
)
def test_data_that_do_not_name_their_items_are_refused_with_the_remedy(world, reason):
    with pytest.raises(ValueError, match=rf"{reason}.*items_weight: 0"):
        items_of([replace(row(), world=world)], height=2, width=2)


def test_a_negative_weight_is_refused_with_the_value():
    with pytest.raises(ValueError, match=r"items_weight must be 0 .* got -1"):
        VideoStageConfig(items_weight=-1.0)


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


def test_what_is_read_is_what_cross_attention_projects_its_queries_from(unet):
    queries, projected = QueryReader(unet), {}
    hooks = [
        unet.get_submodule(f"{path}.attn2.to_q").register_forward_pre_hook(
            lambda module, inputs, path=path: projected.update({path: inputs[0]})
        )
        for path in queries.paths
    ]
    call(unet, torch.randn(1, 2, 48, 8, 8, generator=torch.Generator().manual_seed(0)))
    for hook in hooks:
        hook.remove()
    queries.detach()
    assert queries.read.keys() == projected.keys()
    assert all(torch.equal(queries.read[path], projected[path]) for path in queries.paths)
    assert all(read.shape == (2, 16, 32) for read in queries.read.values())  # (b f) n d


def heads_that_read_their_input(queries, items):
    """Heads whose answers are the first twelve features."""
    heads = ItemHeads(queries, items)
    for head in heads.heads:
        head.weight.data = 9.0 * torch.eye(12, 32)
        head.bias.data.zero_()
    return heads


@pytest.fixture
def told(unet):
    """Two videos of three frames; features that name the items rightly in every frame."""
    items = torch.full((3, 2, 4, 4), NOTHING)
    items[0, :, 0, 3] = torch.tensor([2, 1])
    items[2, :, 1, 2] = torch.tensor([5, 3])
    queries = QueryReader(unet)
    queries.detach()
    features = torch.zeros(6, 16, 32)
    features[0:3, 3, [2, 6 + 1]] = 1.0
    features[3:6, 6, [5, 6 + 3]] = 1.0
    queries.read = dict.fromkeys(queries.paths, features)
    return heads_that_read_their_input(queries, items), torch.tensor([0, 2])


def test_heads_classify_each_item_at_its_cell_in_every_frame(told):
    heads, chosen = told
    loss, right = heads(chosen, torch.tensor([True, True]))
    assert right.tolist() == [1, 1]
    assert loss < 0.01
    loss, right = heads(chosen.flip(0), torch.tensor([True, True]))
    assert right.tolist() == [0, 0]
    assert loss > 1


def test_heads_skip_videos_without_their_given_frame(told):
    heads, chosen = told
    heads.queries.read = {path: read.clone() for path, read in heads.queries.read.items()}
    for read in heads.queries.read.values():
        read[3:] = 0.0  # the second video's features tell nothing
    assert heads(chosen, torch.tensor([True, False]))[1].tolist() == [1, 1]
    nobody = heads(chosen, torch.tensor([False, False]))
    assert nobody[0] == 0
    assert nobody[1].tolist() == [0, 0]


def test_a_detached_reader_leaves_no_hook_behind(unet):
    QueryReader(unet).detach()
    assert not any(module._forward_hooks for module in unet.modules())


def test_a_unet_without_attention_is_refused_with_the_remedy():
    plain = build_unet(UNetConfig(latent_size=8, channels=(32, 32), heads=(0, 0)), 32, 2)
    with pytest.raises(ValueError, match=r"pretrain\.unet\.heads"):
        QueryReader(plain)


def asking(settings, coarse, fine):
    """The settings with these weights of the question."""
    return replace(
        settings,
        coarse=replace(settings.coarse, items_weight=coarse),
        fine=replace(settings.fine, items_weight=fine),
    )


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").open()]


def trained(play, runs, folder, settings):
    """Trains the UNet stage in `folder`; its weights."""
    shutil.copytree(runs / "backbone", folder / "out", dirs_exist_ok=True)
    train_unet(play, folder / "out", folder / "run", settings)
    return load_file(folder / "out/unet/diffusion_pytorch_model.safetensors")


def test_the_heads_train_with_the_unet_in_the_stage_that_asks_and_are_not_saved_with_it(
    play, tiny_pretrain, runs, tmp_path
):
    plain = load_file(runs / "backbone/unet/diffusion_pytorch_model.safetensors")
    made = trained(play, runs, tmp_path, asking(tiny_pretrain, 0.0, 0.5))
    assert made.keys() == plain.keys()
    assert not torch.equal(made["conv_in.weight"], plain["conv_in.weight"])
    coarse, fine = (log_of(tmp_path / "run" / name) for name in ("coarse", "fine"))
    assert not any("shapes" in line for line in coarse)
    checked = next(line for line in fine if "held_out_loss" in line)
    assert 0 <= checked["colours"] <= 1
    assert 0 <= checked["shapes"] <= 1
    plain_coarse = log_of(runs / "unet/coarse")
    for line, wanted in zip(coarse, plain_coarse, strict=True):
        assert line.get("loss") == wanted.get("loss")
    state = load_file(tmp_path / "run/fine/state/trainer.safetensors")
    moments = [name for name in state if name.startswith("optimizer/exp_avg/items.heads")]
    assert moments
    assert all(state[name].abs().sum() > 0 for name in moments)


class Killed(Exception):
    pass


def test_a_stage_with_heads_goes_on_as_if_it_had_not_stopped(play, tiny_pretrain, runs, tmp_path):
    settings = asking(tiny_pretrain, 0.5, 0.5)
    whole = trained(play, runs, tmp_path / "whole", settings)
    loop = replace(settings.fine.loop, save_every=2)
    settings = replace(settings, fine=replace(settings.fine, loop=loop))
    calls = []

    def forward(heads, *args):
        calls.append(None)
        if len(calls) == 3 + 4 + 3:  # three steps and a check of four parts, then the third step
            raise Killed
        return real(heads, *args)

    real = ItemHeads.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ItemHeads, "forward", forward)
        with pytest.raises(Killed):
            trained(play, runs, tmp_path / "pieces", settings)
    pieces = trained(play, runs, tmp_path / "pieces", settings)
    assert all(torch.equal(pieces[name], whole[name]) for name in whole)
