"""PVDM's traps: what each plane can hold, which token it comes from, and the frozen autoencoder."""

from dataclasses import replace

import pytest
import torch
from squares import SIZES, draw, fit, moving_squares, without_gradient

from aid.rivals.method import Method, Sizes
from aid.rivals.pvdm import PVDM, PVDMConfig
from aid.rivals.pvdm_autoencoder import AutoencoderConfig, Planes, frame_angles, rotate
from aid.rivals.pvdm_unet import UNetConfig

TINY = PVDMConfig(
    autoencoder=AutoencoderConfig(
        patch=4, width=32, depth=1, heads=2, head_dim=16, plane_depth=1, plane_hidden=64
    ),
    unet=UNetConfig(width=32, multipliers=(1, 2), blocks=1, attention_levels=1, heads=2),
    num_steps=4,
)
WIDE = Sizes(num_frames=4, channels=3, height=16, width=24, text_dim=8, text_length=3)


def make(config=TINY, sizes=SIZES):
    torch.manual_seed(0)
    return PVDM(sizes, config)


def live(method):
    """The method with the weights that start at zero made other ones, so that all of it counts."""
    for parameter in method.network["diffusion"].parameters():
        if parameter.dim() > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return method


def test_it_is_a_method_and_begins_with_the_given_frame():
    method, batch = make(), moving_squares(2)
    videos = draw(method, batch)
    assert isinstance(method, Method)
    assert videos.shape == batch.videos.shape and videos.dtype == torch.float32
    assert videos[:, 0].equal(batch.videos[:, 0])
    assert videos.min() >= -1 and videos.max() <= 1
    assert sum(method.stages.values()) == 1
    for stage in method.stages:
        assert method.loss(stage, batch, torch.Generator()).shape == (2,)


def test_the_generator_alone_decides():
    method, batch = live(make()), moving_squares(2)
    drawn = draw(method, batch, seed=1)
    losses = [
        method.loss("diffusion", batch, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    ]
    torch.rand(1)
    batch.text.zero_()
    assert draw(method, batch, seed=1).equal(drawn)
    assert not draw(method, batch, seed=2).equal(drawn)
    assert losses[0].equal(losses[1]) and not losses[0].equal(losses[2])


def test_the_number_of_sampling_steps_counts():
    method, batch = live(make()), moving_squares(1)
    assert draw(method, batch).equal(draw(method, batch, num_steps=4))
    assert not draw(method, batch).equal(draw(method, batch, num_steps=2))


def test_the_paper_sizes_and_the_small_ones_fit_16_frames_of_64_pixels():
    sizes = Sizes(num_frames=16, channels=3, height=64, width=64, text_dim=8, text_length=3)
    with torch.device("meta"):
        paper = PVDM(sizes)
    small = PVDM(sizes, PVDM.small)
    assert len(paper.network["autoencoder"].encoder.blocks) == 8
    assert sum(p.numel() for p in small.network.parameters()) < 30e6
    assert draw(small, moving_squares(1, sizes=sizes), num_steps=1).shape == (1, 16, 3, 64, 64)


@pytest.mark.parametrize("stage", ["autoencoder", "diffusion"])
def test_the_loss_reaches_every_parameter_of_its_stage_and_no_other(stage):
    method, batch = live(make(replace(TINY, condition_dropout=0.0))), moving_squares(4)
    assert without_gradient(method, stage, batch) == []
    names = {name for name, p in method.network.named_parameters() if p.grad is not None}
    assert names == set(method.trained(stage))


def test_all_parameters_are_trained_in_one_stage_or_the_other():
    method = make()
    names = [name for stage in method.stages for name in method.trained(stage)]
    assert sorted(names) == sorted(dict(method.network.named_parameters()))


def test_planes_have_two_axes_each_and_can_be_joined():
    batch = moving_squares(2, sizes=WIDE)
    planes = make(sizes=WIDE).network["autoencoder"].encode(batch.videos)
    assert [p.shape[1:] for p in planes] == [(4, 4, 6), (4, 4, 4), (4, 4, 6)]
    assert max(p.abs().max() for p in planes) < 1
    joined = planes.join()
    assert joined.shape == (2, 4, 4 * 6 + 4 * 4 + 4 * 6)
    for plane, again in zip(planes, Planes.split(joined, 4, 4, 6), strict=True):
        assert plane.equal(again)


@pytest.mark.parametrize(
    "plane, index, place",
    [
        ("hw", (2, 3), (slice(None), 2, 3)),
        ("fh", (1, 2), (1, 2)),
        ("fw", (1, 3), (1, slice(None), 3)),
    ],
)
def test_a_plane_counts_along_its_third_axis_alike(plane, index, place):
    autoencoder = make(sizes=WIDE).network["autoencoder"]
    planes = autoencoder.encode(moving_squares(1, sizes=WIDE).videos)
    changed = getattr(planes, plane).clone()
    changed[0, 0, *index] += 1
    before = autoencoder.broadcast(planes)[0]
    change = autoencoder.broadcast(planes._replace(**{plane: changed}))[0] - before
    where = change.abs().amax(-1) > 1e-4
    expected = torch.zeros(4, 4, 6, dtype=torch.bool)
    expected[place] = True
    assert where.equal(expected)
    assert (change[expected] - change[expected][0]).abs().max() < 1e-5


@pytest.mark.parametrize("axis, name", [(1, "hw"), (3, "fw"), (4, "fh")])
def test_a_plane_sees_everything_along_the_axis_that_it_shrinks(axis, name):
    """The patch at the end of the axis changes the plane's number at that place."""
    autoencoder, (video,) = (
        make(sizes=WIDE).network["autoencoder"],
        moving_squares(1, sizes=WIDE).videos,
    )
    changed = video[None].clone()
    changed.narrow(axis, changed.shape[axis] - 1, 1).mul_(-1)
    before, after = autoencoder.encode(video[None]), autoencoder.encode(changed)
    assert (getattr(before, name) - getattr(after, name)).abs().max() > 1e-3


def test_a_plane_is_read_from_the_appended_token():
    """With attention switched off, the token knows of no video, and every other position does."""
    autoencoder, batch = make().network["autoencoder"], moving_squares(2)
    for part in (autoencoder.over_frames, autoencoder.over_rows, autoencoder.over_columns):
        for attention in part.attentions:
            torch.nn.init.zeros_(attention.to_out.weight)
    for plane in autoencoder.encode(batch.videos):
        assert (plane - plane[:1, :, :1, :1]).abs().max() < 1e-6


def test_positions_are_rotations_that_show_distance_alone():
    angles = frame_angles(6, 8)
    query, key = torch.randn(2, 8)
    turned = rotate(query.expand(6, 8), angles)
    torch.testing.assert_close(turned.norm(dim=-1), query.norm().expand(6))
    products = turned @ rotate(key.expand(6, 8), angles).T
    torch.testing.assert_close(products[0, 2], products[3, 5])
    assert (products[0, 2] - products[0, 3]).abs() > 1e-3


def test_planes_meet_in_attention_only():
    unet = live(make()).network["diffusion"]
    shapes = [(4, 4), (4, 4), (4, 4)]
    noisy = [torch.randn(1, 4, *shape) for shape in shapes]
    still = [torch.zeros(1, 4, *shape) for shape in shapes]
    other = [noisy[0], noisy[1] + 1, noisy[2]]
    time = torch.tensor([500])
    change = (unet(noisy, still, time)[0] - unet(other, still, time)[0]).abs().max()
    assert change > 1e-4
    for stage in [*unet.down, unet.middle, *unet.up]:
        torch.nn.init.zeros_(stage.joint.to_out.weight)
    assert unet(noisy, still, time)[0].equal(unet(other, still, time)[0])


def test_the_condition_is_the_still_of_the_first_frame_and_is_dropped_at_its_rate():
    method, batch = live(make(replace(TINY, condition_dropout=0.3))), moving_squares(300)
    still = batch.videos[:, :1].expand_as(batch.videos)
    expected = method.network["autoencoder"].encode(still).join()
    seen = []

    def record(noisy, condition, timesteps):
        seen.append(condition)
        return noisy

    method._predict = record
    method.loss("diffusion", batch, torch.Generator().manual_seed(0))
    is_dropped = (seen[0] == 0).all(dim=(1, 2))
    assert 0.2 < is_dropped.float().mean() < 0.4
    torch.testing.assert_close(seen[0][~is_dropped], expected[~is_dropped])


def test_drawing_is_guided_by_the_condition():
    batch = moving_squares(1)
    plain, guided = (
        draw(live(make(replace(TINY, guidance_scale=scale))), batch) for scale in (1.0, 3.0)
    )
    assert (plain - guided).abs().max() > 1e-3


def test_it_overfits_one_batch():
    method, batch = make(), moving_squares(4)
    background = (batch.videos + 0.2).square().mean()  # the loss of a video of nothing else
    reconstruction = fit(method, "autoencoder", batch, steps=120, rate=3e-3, batch_size=4)
    assert reconstruction[-1] < 0.5 * background
    noise = fit(method, "diffusion", batch, steps=30, rate=3e-3, batch_size=4)
    assert sum(noise[-5:]) < 0.7 * sum(noise[:5])


@pytest.mark.parametrize(
    "changes, message",
    [({"height": 20}, "frames of 20 x 16 do not fit"), ({"num_frames": 5}, "5 frames cannot be")],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PVDM(Sizes(**{**vars(SIZES), **changes}), TINY)


def test_a_width_without_groups_is_refused():
    with pytest.raises(ValueError, match="width 48 cannot be divided into 32 groups"):
        PVDM(SIZES, replace(TINY, unet=replace(TINY.unet, width=48)))
