import json

import pytest
import torch
from videos import moving_square

from aid.metrics.extractors import Extractor
from aid.metrics.extractors.choice import choose_extractor
from aid.metrics.extractors.frames import FrameExtractor
from aid.tabletop.entry import TABLETOP
from aid.tabletop.r3d import TabletopR3D
from aid.video import to_float
from aid.worlds import world_of


def colours(pixels):
    return torch.cat([pixels.mean((2, 3)), torch.ones(len(pixels), 1)], 1)


FRAMES = FrameExtractor(model="colours", hash="abc", side=16, width=4, embed=colours)


def test_an_extractor_is_chosen_by_the_data_and_by_what_there_is(tmp_path):
    assert choose_extractor() is None
    assert choose_extractor("none", world=TABLETOP) is None
    assert choose_extractor(frames=lambda: FRAMES) is FRAMES
    assert isinstance(choose_extractor(world=TABLETOP, frames=lambda: FRAMES), TabletopR3D)
    assert choose_extractor("clip-frames", world=TABLETOP, frames=lambda: FRAMES) is FRAMES


def test_weights_say_which_extractor_they_are_of(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "videomae"}))
    with pytest.raises(ValueError, match="holds no safetensors file"):
        choose_extractor(weights=tmp_path, world=TABLETOP)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="do not say which extractor they belong to"):
        choose_extractor(weights=tmp_path)
    file = tmp_path / "i3d.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read"):
        choose_extractor(weights=file)


def test_the_image_encoder_needs_a_backbone_and_no_weights(tmp_path):
    with pytest.raises(ValueError, match="Name one: --backbone"):
        choose_extractor("clip-frames")
    with pytest.raises(ValueError, match="Leave --weights out"):
        choose_extractor("clip-frames", tmp_path, frames=lambda: FRAMES)


def test_the_table_top_is_known_by_what_its_rows_say_of_their_world():
    world = {"items": [], "camera": {}, "task": {}}
    assert world_of([world, world]) is TABLETOP
    assert world_of([world, {}]) is None and world_of([]) is None and world_of([{"a": 1}]) is None


def test_frames_are_described_by_their_mean_their_spread_and_their_changes():
    assert isinstance(FRAMES, Extractor) and FRAMES.name == "clip-frames (colours)"
    moving = to_float(moving_square(num_frames=4, size=16, start=0, step=2))
    still = moving[:1].expand_as(moving)
    features = FRAMES.features(torch.stack([moving, still]))
    assert features.shape == (2, FRAMES.dim) and FRAMES.dim == 12
    seen = colours(moving)
    seen = seen / seen.norm(dim=1, keepdim=True)
    expected = torch.cat([seen.mean(0), seen.std(0, correction=0), seen.diff(dim=0).abs().mean(0)])
    assert torch.allclose(features[0], expected, atol=1e-6)
    assert (features[1, 4:].abs() < 1e-3).all()


def test_the_order_of_frames_shows_in_the_changes_alone():
    rising = torch.linspace(-1, 1, 6)[:, None, None, None].expand(-1, 3, 16, 16)
    mixed = rising[[0, 4, 1, 5, 2, 3]]
    a, b = FRAMES.features(torch.stack([rising, mixed]))
    assert torch.allclose(a[:8], b[:8], atol=1e-6) and (b[8:11] > 1.5 * a[8:11]).all()
