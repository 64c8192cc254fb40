"""The given frame's pixels at places that do not move."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aid.predict.static import keep_static


@pytest.fixture
def video():
    """Frames, latents, given frame and its latents; 3 x 3 cells depart by 1 in the last frame."""
    generator = torch.Generator().manual_seed(0)
    given, known = torch.rand(1, 3, 32, 32, generator=generator), torch.zeros(1, 4, 8, 8)
    frames = torch.rand(1, 5, 3, 32, 32, generator=generator)
    latents = 0.1 * torch.ones(1, 5, 4, 8, 8)
    latents[:, -1, :, 2:5, 2:5] = 1
    return frames, latents, given, known


def test_only_places_that_depart_in_some_frame_are_as_decoded(video):
    frames, latents, given, known = video
    kept = keep_static(frames, latents, given, known, 0.5)
    inside, outside = torch.zeros(2, 32, 32, dtype=torch.bool)
    inside[10:18, 10:18] = True  # the mask rises from half a cell within to half a cell without
    outside[6:22, 6:22] = True
    assert torch.equal(kept[..., inside], frames[..., inside])
    assert torch.equal(kept[..., ~outside], given[:, None].expand_as(frames)[..., ~outside])


@pytest.mark.parametrize(("threshold", "source"), [(0.05, 0), (1.1, 2)])
def test_below_the_error_nothing_is_kept_and_above_the_change_everything(video, threshold, source):
    frames, latents, given, known = video
    kept = keep_static(frames, latents, given, known, threshold)
    expected = frames if source == 0 else given[:, None].expand_as(frames)
    assert torch.equal(kept, expected)


def test_the_sampler_keeps_the_given_frame_if_it_is_told_to(predictor, frame):
    settings = {"states": ["stop"], "num_steps": 1}
    free, kept = (
        predictor(frame, "lift the red ball", **settings, static_threshold=value).frames
        for value in (0.0, 1000.0)
    )
    assert not np.array_equal(free[1], free[0])
    assert np.array_equal(kept, np.repeat(kept[:1], len(kept), 0))
    assert np.array_equal(kept[0], free[0])  # the given frame, fitted
    sampler = replace(predictor.sampler, static_threshold=1000.0)
    (many,) = predictor.predict_many([frame], ["lift the red ball"], [0], sampler=sampler)
    assert np.array_equal(many, kept)
