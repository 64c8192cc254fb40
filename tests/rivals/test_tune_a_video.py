"""Tune-A-Video: what is inflated, what is trained, and that the answer is never looked at."""

import pytest
import torch
from einops import repeat
from text_rivals import SIZES, make, random_batch, record_inputs, seeded

from aid.rivals.inflation import predict_noise
from aid.rivals.tune_a_video import first_and_previous


def as_images(unet, frames, time, text, mask):
    return unet(frames, time, encoder_hidden_states=text, encoder_attention_mask=mask).sample


def as_video(unet, videos, time, batch):
    f = videos.shape[1]
    text = repeat(batch.text, "b n d -> b f n d", f=f)
    return predict_noise(unet, videos, repeat(time, "b -> b f", f=f), text, batch.text_mask)


def test_keys_come_from_the_first_and_the_previous_frame():
    frames = torch.arange(4.0).reshape(4, 1, 1).expand(4, 3, 1)
    keys = first_and_previous(frames.repeat(2, 1, 1), 4)
    assert keys.shape == (8, 6, 1)
    assert keys[:4, ::3, 0].tolist() == [[0, 0], [0, 0], [0, 1], [0, 2]]


def test_a_new_network_sees_equal_frames_as_the_image_network_does():
    unet, batch = make("tune-a-video").network, random_batch()
    frame, time = batch.videos[:, 0], torch.tensor([10, 500])
    alone = as_images(unet, frame, time, batch.text, batch.text_mask)
    still = repeat(frame, "b c h w -> b f c h w", f=SIZES.num_frames)
    together = as_video(unet, still, time, batch)
    torch.testing.assert_close(together, repeat(alone, "b c h w -> b f c h w", f=SIZES.num_frames))


def test_different_frames_are_seen_together_from_the_start():
    unet, batch = make("tune-a-video").network, random_batch()
    time = torch.tensor([10, 500])
    before = as_video(unet, batch.videos, time, batch)
    batch.videos[:, 0] += 1
    changed = (as_video(unet, batch.videos, time, batch) != before).flatten(2).any(dim=2)
    assert changed.all()


def test_without_attention_over_time_a_frame_sees_the_first_and_the_previous():
    unet, batch = make("tune-a-video").network, random_batch()
    time = torch.tensor([10, 500])
    before = as_video(unet, batch.videos, time, batch)
    batch.videos[:, 3] += 1
    changed = (as_video(unet, batch.videos, time, batch) != before).flatten(2).any(dim=2)
    assert changed.tolist() == [[False, False, False, True]] * 2


def test_the_video_stage_trains_queries_and_the_new_attention_only():
    method = make("tune-a-video")
    names = method.trained("video")
    ends = {name.split("transformer_blocks.0.")[1] for name in names}
    assert ends == {
        "image.attn1.to_q.weight",
        "image.attn2.to_q.weight",
        "attn_temp.to_q.weight",
        "attn_temp.to_k.weight",
        "attn_temp.to_v.weight",
        "attn_temp.to_out.0.weight",
        "attn_temp.to_out.0.bias",
    }
    assert len(names) == 7 * sum(name.endswith("attn_temp.to_q.weight") for name in names)
    assert not any("temp" in name for name in method.trained("image"))


def test_only_the_last_projection_of_the_new_attention_starts_at_zero():
    trained = make("tune-a-video").trained("video")
    zero = {name.split("attn_temp.")[-1] for name, p in trained.items() if not p.any()}
    assert zero == {"to_out.0.weight", "to_out.0.bias"}


def test_training_shows_frame_0_clean_and_does_not_count_it():
    method, batch = make("tune-a-video"), random_batch()
    calls = record_inputs(method.network)
    loss = method.loss("video", batch, seeded())
    frames = calls[0][0]
    frames = frames.unflatten(0, (2, SIZES.num_frames))
    assert frames[:, 0].equal(batch.videos[:, 0])
    assert not frames[:, 1:].isclose(batch.videos[:, 1:]).flatten(2).all(dim=2).any()

    def spoil(module, arguments, keywords, output):
        output.sample.unflatten(0, (2, SIZES.num_frames))[:, 0] += 100
        return output

    method.network.register_forward_hook(spoil, with_kwargs=True)
    with torch.no_grad():
        torch.testing.assert_close(method.loss("video", batch, seeded()), loss.detach())


def test_drawing_starts_from_noise_and_keeps_frame_0_clean():
    method, batch = make("tune-a-video"), random_batch()
    calls = record_inputs(method.network)
    method.draw(batch.videos[:, 0], batch.text, batch.text_mask, seeded(7), 2)
    noise = torch.randn(batch.videos[:, 1:].shape, generator=seeded(7))
    frames = [x.unflatten(0, (2, SIZES.num_frames)) for x, _ in calls]
    assert frames[0][:, 1:].equal(noise)
    assert all(x[:, 0].equal(batch.videos[:, 0]) for x in frames)
    assert len(calls) == 4  # two steps, with and without text


@pytest.mark.parametrize("name", ["tune-a-video", "seer"])
def test_text_is_dropped_from_images_and_never_from_videos(name):
    method, batch = make(name), random_batch(20)
    calls = record_inputs(getattr(method, "unet", method.network))
    for seed in range(5):
        method.loss("image", batch, seeded(seed))
    image_text = torch.cat([text for _, text in calls])
    dropped = (~image_text.flatten(1).any(dim=1)).float().mean()
    assert 0.05 < dropped < 0.16  # 400 images at 10 %
    calls.clear()
    for seed in range(3):
        method.loss("video", batch, seeded(seed))
    assert torch.cat([text for _, text in calls]).flatten(1).any(dim=1).all()


def test_the_given_frame_has_time_step_0_or_the_others():
    from aid.rivals.inflation import frame_timesteps

    time = torch.tensor([7, 9])
    assert frame_timesteps(time, 3, is_given_at_zero=True).tolist() == [[0, 7, 7], [0, 9, 9]]
    assert frame_timesteps(time, 3, is_given_at_zero=False).tolist() == [[7, 7, 7], [9, 9, 9]]
