"""SimVP's traps: frames from equal inputs, the channel order, the skip; and that it learns."""

import itertools

import pytest
import torch
from squares import SIZES, draw, fit, gain_over_still, moving_squares, without_gradient

from aid.rivals.method import Method, Sizes
from aid.rivals.simvp import SimVP, SimVPConfig

TINY = SimVPConfig(width=16, translator_width=64, translator_depth=2)


@pytest.fixture
def method():
    torch.manual_seed(0)
    return SimVP(SIZES, TINY)


def test_it_is_a_method_and_begins_with_the_given_frame(method):
    batch = moving_squares(2)
    videos = draw(method, batch)
    assert isinstance(method, Method)
    assert videos.shape == batch.videos.shape and videos.dtype == torch.float32
    assert videos[:, 0].equal(batch.videos[:, 0])
    assert videos.min() >= -1 and videos.max() <= 1
    assert method.loss("video", batch, torch.Generator()).shape == (2,)


def test_nothing_is_random_and_text_is_not_read(method):
    batch = moving_squares(2)
    other = draw(method, batch, seed=1)
    batch.text.zero_()
    assert draw(method, batch, seed=2).equal(other)


def test_the_paper_sizes_and_the_small_ones_fit_16_frames_of_64_pixels():
    sizes = Sizes(num_frames=16, channels=3, height=64, width=64, text_dim=8, text_length=3)
    paper, small = SimVP(sizes), SimVP(sizes, SimVP.small)
    assert len(paper.network.translator.encoder) == 8
    assert sum(p.numel() for p in small.network.parameters()) < 3e6
    assert draw(small, moving_squares(1, sizes=sizes)).shape == (1, 16, 3, 64, 64)


def test_the_loss_reaches_every_parameter(method):
    assert without_gradient(method, "video", moving_squares(4)) == []


def test_the_loss_is_the_mean_squared_error(method):
    batch = moving_squares(2)
    videos = method.network(batch.videos[:, :1].expand_as(batch.videos))
    expected = ((videos - batch.videos) ** 2).mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(method.loss("video", batch, torch.Generator()), expected)


def test_equal_frames_go_in_and_different_ones_come_out(method):
    frames = draw(method, moving_squares(1))[0]
    for before, after in itertools.pairwise(frames[1:]):
        assert (after - before).abs().max() > 0.01


def test_a_frame_is_known_by_its_place_among_the_channels_alone(method):
    network, batch = method.network, moving_squares(2)
    still = batch.videos[:, :1].expand_as(batch.videos)
    videos = network(still)
    order = [2, 0, 3, 1]

    def reorder(module, inputs, hidden):
        return hidden.unflatten(1, (SIZES.num_frames, TINY.width))[:, order].flatten(1, 2)

    network.translator.register_forward_hook(reorder)
    torch.testing.assert_close(network(still), videos[:, order])


def test_the_skip_shows_the_given_frame_to_the_last_layer(method):
    network, (still,) = method.network, moving_squares(1).videos[:, :1]
    _, skip = network.encoder(still)
    nothing = torch.zeros(1, TINY.width, 4, 4)
    with_skip = network.decoder(nothing, skip)
    assert skip.shape[-2:] == still.shape[-2:]  # full resolution
    assert (with_skip - network.decoder(nothing, 0 * skip)).abs().max() > 0.1


def test_it_overfits_one_batch(method):
    losses = fit(method, "video", moving_squares(4), steps=80, rate=3e-3, batch_size=4)
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.slow
def test_it_beats_the_first_frame_repeated_on_new_squares(method):
    fit(method, "video", moving_squares(200), steps=150, rate=3e-3)
    assert gain_over_still(method, moving_squares(20, seed=1)) > 3


@pytest.mark.parametrize(
    "changes, message",
    [({"height": 18}, "frames of 18 x 16 cannot be halved"), ({"num_frames": 3}, None)],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    sizes = Sizes(**{**vars(SIZES), **changes})
    if message is None:
        assert SimVP(sizes, TINY)
        return
    with pytest.raises(ValueError, match=message):
        SimVP(sizes, TINY)


def test_widths_that_do_not_fit_the_groups_are_refused():
    with pytest.raises(ValueError, match=r"channels \(10, 20, 64\)"):
        SimVP(SIZES, SimVPConfig(width=16, translator_width=20))
