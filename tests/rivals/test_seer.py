"""Seer: who sees whom, in windows and over frames, and how the text is decomposed."""

from dataclasses import replace

import pytest
import torch
from einops import repeat
from text_rivals import IMAGE, SIZES, make, random_batch, seeded

from aid.rivals.inflation import predict_noise
from aid.rivals.layers import TemporalLayer, order_mask, window_size
from aid.rivals.seer import Seer, SeerConfig


def awake_layer(order, is_windowed=True):
    torch.manual_seed(0)
    layer = TemporalLayer(32, 32, order, is_windowed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer.double()


def influence(layer, place, shape=(1, 3, 32, 8, 8), **settings):
    """The (frame, row, column) whose features change with those of `place`."""
    x = torch.randn(shape, generator=seeded(), dtype=torch.float64)
    before = layer(x, **settings)
    frame, row, column = place
    x[:, frame, :, row, column].normal_(generator=seeded(1))  # a norm would not see + 1
    changed = (layer(x, **settings) - before).abs().amax(dim=(0, 2)) > 1e-12
    return {tuple(index) for index in changed.nonzero().tolist()}


def window(rows, columns, frames=range(3)):
    return {(f, r, c) for f in frames for r in rows for c in columns}


@pytest.mark.parametrize(("height", "size"), [(64, 8), (32, 8), (16, 4), (8, 4), (4, 4), (2, 2)])
def test_sizes_of_windows(height, size):
    assert window_size(height) == size


def test_raster_order_inside_a_window():
    seen = influence(awake_layer("raster"), (1, 5, 2))
    corner = window(range(4, 8), range(4))
    assert seen == {place for place in corner if place >= (1, 5, 2)}


def test_frame_order_inside_a_window():
    seen = influence(awake_layer("frames"), (1, 5, 2))
    assert seen == window(range(4, 8), range(4), frames=(1, 2))


def test_small_frames_are_one_window():
    seen = influence(awake_layer("frames"), (0, 0, 0), shape=(1, 3, 32, 4, 4))
    assert seen == window(range(4), range(4))


def test_without_windows_and_order_a_cell_sees_itself_in_all_frames():
    seen = influence(awake_layer("none", is_windowed=False), (1, 5, 2))
    assert seen == {(f, 5, 2) for f in range(3)}


def test_windows_must_tile_a_frame():
    with pytest.raises(ValueError, match="4 x 4 cells do not tile 6 x 8"):
        awake_layer("raster")(torch.zeros(1, 3, 32, 6, 8, dtype=torch.float64))


def test_masks_are_triangles_of_tokens_or_of_frames():
    raster, frames = (order_mask(o, 2, 2, torch.device("cpu"))[0] for o in ("raster", "frames"))
    assert raster.equal(torch.ones(4, 4).tril().bool())
    assert frames.tolist() == [[True] * 2 + [False] * 2] * 2 + [[True] * 4] * 2
    assert order_mask("none", 2, 2, torch.device("cpu")) is None


def test_the_order_of_cells_and_frames_matters():
    layer, generator = awake_layer("none", is_windowed=True), seeded()
    x = torch.randn(1, 3, 32, 4, 4, generator=generator, dtype=torch.float64)
    for axis in (1, 3, 4):
        assert (layer(x.flip(axis)).flip(axis) - layer(x)).abs().mean() > 1e-3


def test_the_feed_forward_of_given_frames_can_be_left_out():
    layer = awake_layer("raster")
    x = torch.randn(1, 3, 32, 4, 4, generator=seeded(), dtype=torch.float64)
    full, without = layer(x), layer(x, skips_given_feed_forward=True)
    assert full[:, 1:].equal(without[:, 1:])
    torch.nn.init.zeros_(layer.feed_forward.net[-1].weight)
    torch.nn.init.zeros_(layer.feed_forward.net[-1].bias)
    assert without[:, 0].equal(layer(x)[:, 0])
    assert not full[:, 0].equal(without[:, 0])


@pytest.mark.parametrize(
    ("setting", "in_training", "in_drawing"),
    [("always", False, False), ("never", True, True), ("drawing", True, False)],
)
def test_when_the_feed_forward_of_the_given_frame_is_left_out(setting, in_training, in_drawing):
    method = make("seer")
    method.config = replace(method.config, given_feed_forward=setting)
    seen = []
    layer = method.unet.mid_block.attentions[0].temporal
    layer.register_forward_pre_hook(
        lambda module, arguments, keywords: seen.append(keywords["skips_given_feed_forward"]),
        with_kwargs=True,
    )
    batch = random_batch()
    method.loss("video", batch, seeded())
    assert seen == [in_training]
    method.draw(batch.videos[:, 0], batch.text, batch.text_mask, seeded(), 1)
    assert seen[1:] == [in_drawing] * 2


@pytest.mark.parametrize("order", ["raster", "frames"])
def test_a_later_frame_does_not_change_earlier_ones(order):
    torch.manual_seed(0)
    method = Seer(SIZES, SeerConfig(image=IMAGE, decomposer_depth=1, order=order))
    with torch.no_grad():
        for parameter in method.network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    batch = random_batch()
    predict = method._predict(
        method.decomposer(batch.text, batch.text_mask), batch.text_mask, False
    )
    time = torch.tensor([100, 700])
    before = predict(batch.videos, time)
    batch.videos[:, 2].normal_(generator=seeded(2))
    changed = (predict(batch.videos, time) - before).abs().flatten(2).amax(dim=2) > 1e-4
    assert changed.tolist() == [[False, False, True, True]] * 2


def test_a_new_network_sees_every_frame_as_the_image_network_does():
    unet, batch = make("seer").unet, random_batch(1)
    time = torch.full((1, SIZES.num_frames), 300)
    text = repeat(batch.text, "b n d -> b f n d", f=SIZES.num_frames)
    together = predict_noise(unet, batch.videos, time, text, batch.text_mask)
    alone = unet(
        batch.videos[0],
        300,
        encoder_hidden_states=text[0],
        encoder_attention_mask=batch.text_mask.expand(SIZES.num_frames, -1),
    ).sample
    torch.testing.assert_close(together[0], alone)


def test_the_video_stage_trains_layers_over_time_and_the_decomposer():
    names = make("seer").trained("video")
    assert all(".temporal." in n or n.startswith("decomposer.") for n in names)
    assert {n.split(".")[0] for n in names} == {"unet", "decomposer"}
    assert not any(".temporal." in n for n in make("seer").trained("image"))


def test_tokens_of_a_frame_come_from_the_text_and_earlier_frames():
    decomposer, batch = make("seer", is_awake=True).decomposer, random_batch()
    before = decomposer(batch.text, batch.text_mask)
    assert before.shape == (2, SIZES.num_frames, SIZES.text_length, SIZES.text_dim)
    with torch.no_grad():
        decomposer.queries[2, 3].normal_(generator=seeded(1))
    changed = (decomposer(batch.text, batch.text_mask) - before).abs().amax(dim=(0, 3)) > 1e-6
    expected = torch.zeros(SIZES.num_frames, SIZES.text_length, dtype=torch.bool)
    expected[2:, 3:] = True
    assert changed.equal(expected)


def test_the_decomposer_learns_to_repeat_the_text():
    decomposer, batch = make("seer").decomposer, random_batch()
    optimizer = torch.optim.AdamW(decomposer.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        losses.append(decomposer.repetition_loss(batch.text, batch.text_mask).mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]
    batch.text[:, -1] = 100  # padding
    torch.testing.assert_close(
        decomposer.repetition_loss(batch.text, batch.text_mask).mean(), losses[-1], rtol=0.1, atol=0
    )


def test_heads_must_divide_the_text():
    with pytest.raises(ValueError, match="heads of 24"):
        Seer(SIZES, SeerConfig(image=IMAGE, decomposer_head_dim=24))
