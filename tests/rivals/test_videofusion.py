"""VideoFusion: how noise is shared, what is taken off, and where gradients stop."""

import pytest
import torch
from einops import repeat
from text_rivals import make, random_batch, seeded

from aid.rivals.inflation import predict_noise
from aid.rivals.method import Sizes
from aid.rivals.videofusion import SMALL, VideoFusion, VideoFusionConfig

TIME = torch.tensor([100, 700])


def predict(method, batch):
    return method.predict(batch.videos, TIME, batch.videos[:, 0], batch.text, batch.text_mask)


def residual_alone(method, batch):
    """The residual network as a plain model of video: nothing is shared, nothing taken off."""
    given = batch.videos[:, :1].expand_as(batch.videos)
    f = batch.videos.shape[1]
    return predict_noise(
        method.residual,
        torch.cat([batch.videos, torch.zeros_like(given), given], dim=2),
        repeat(TIME, "b -> b f", f=f),
        repeat(batch.text, "b n d -> b f n d", f=f),
        batch.text_mask,
        frame_labels=torch.arange(f),
    )


def test_frames_share_half_of_their_noise_and_the_base_frame_all():
    method = make("videofusion")
    noise, base = method.draw_noise(400, seeded())
    assert noise[:, 2].equal(base)
    frames = noise.transpose(0, 1).flatten(1)
    assert torch.corrcoef(frames).sub(
        torch.tensor(
            [[1, .5, .5**.5, .5], [.5, 1, .5**.5, .5], [.5**.5, .5**.5, 1, .5**.5],
             [.5, .5, .5**.5, 1]]
        )
    ).abs().max() < 0.01  # fmt: skip
    assert (frames.var(dim=1) - 1).abs().max() < 0.02


def test_without_shared_noise_it_is_the_plain_model():
    method, batch = make("videofusion", is_awake=True), random_batch()
    method.shares = torch.zeros_like(method.shares)
    predicted, _ = predict(method, batch)
    torch.testing.assert_close(predicted, residual_alone(method, batch))
    noise, base = method.draw_noise(200, seeded())
    together = torch.cat([noise, base[:, None]], dim=1).transpose(0, 1).flatten(1)
    assert (torch.corrcoef(together) - torch.eye(5)).abs().max() < 0.03


def test_with_all_noise_shared_it_is_the_base_network():
    method, batch = make("videofusion", is_awake=True), random_batch()
    method.shares = torch.ones_like(method.shares)
    predicted, base = predict(method, batch)
    assert predicted.equal(base[:, None].expand_as(predicted))


def test_parts_of_the_prediction_follow_the_formula():
    method, batch = make("videofusion", is_awake=True), random_batch()
    calls = []
    method.residual.register_forward_pre_hook(lambda module, arguments: calls.append(arguments[0]))
    predicted, base = predict(method, batch)
    assert predicted[:, 2].equal(base)
    off, shared, given = calls[0].unflatten(0, (2, 4)).chunk(3, dim=2)
    levels = (1 - method.alphas_cumprod[TIME]).sqrt()
    for i, share in enumerate([0.5, 0.5, 1.0, 0.5]):
        torch.testing.assert_close(shared[:, i], share**0.5 * base)
        expected = batch.videos[:, i] - share**0.5 * levels[:, None, None, None] * base
        torch.testing.assert_close(off[:, i], expected)
        assert given[:, i].equal(batch.videos[:, 0])


def test_the_base_network_sees_the_middle_frame_only():
    method, batch = make("videofusion", is_awake=True), random_batch()
    _, base = predict(method, batch)
    for frame in (1, 3):
        batch.videos[:, frame] += 1
    assert predict(method, batch)[1].equal(base)
    batch.videos[:, 2] += 1
    assert not predict(method, batch)[1].isclose(base).all()


@pytest.mark.parametrize(("index", "reached"), [(0, "residual"), (1, "base")])
def test_gradients_of_each_prediction_reach_its_own_network_only(index, reached):
    method, batch = make("videofusion", is_awake=True), random_batch()
    predict(method, batch)[index].square().mean().backward()
    got = {n.split(".")[0] for n, p in method.network.named_parameters() if p.grad is not None}
    assert got == {reached}


def test_drawing_starts_from_shared_noise():
    method, batch = make("videofusion"), random_batch()
    starts = []
    inner = method.predict
    method.predict = lambda noisy, *rest: starts.append(noisy) or inner(noisy, *rest)
    method.draw(batch.videos[:, 0], batch.text, batch.text_mask, seeded(7), 2)
    noise, base = method.draw_noise(2, seeded(7))
    assert starts[0].equal(noise)
    assert starts[0][:, 2].equal(base)
    assert len(starts) == 4


@pytest.mark.parametrize("config", [VideoFusionConfig(), SMALL])
def test_the_base_network_is_about_four_times_as_large(config):
    sizes = Sizes(num_frames=16, channels=8, height=16, width=16, text_dim=128, text_length=16)
    with torch.device("meta"):
        method = VideoFusion(sizes, config)
    base, residual = (
        sum(p.numel() for p in part.parameters()) for part in (method.base, method.residual)
    )
    assert 3.3 < base / residual < 4.7
