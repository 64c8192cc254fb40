from pathlib import Path

import pytest

from aid.config import ConditionConfig
from aid.data.cache import NUM_NOISED
from aid.prepare import timing


class Encoders:
    """Stand-ins whose work takes time by a clock of their own, in proportion to the pixels."""

    clock, largest = 0.0, 0

    def _work(self, frames):
        pixels = frames[..., 0, :, :].numel()
        self.clock += pixels / 1e6
        self.largest = max(self.largest, pixels)

    def encode(self, frames):
        self._work(frames)

    def encode_condition(self, frames, num_given_frames, rest):
        self._work(frames)

    def encode_image(self, frames):
        self.clock += 0.25  # it makes every picture small itself


@pytest.mark.parametrize(("height", "width"), [(800, 1280), (64, 64), (128, 4096)])
def test_a_small_picture_is_timed_and_the_time_is_that_of_the_large_one(monkeypatch, height, width):
    encoders = Encoders()
    monkeypatch.setattr(timing, "load_backbone", lambda folder, parts: encoders)
    monkeypatch.setattr(timing.time, "monotonic", lambda: encoders.clock)
    video, first = timing.encoding_seconds(Path("folder"), ConditionConfig(), 16, height, width)
    assert video == pytest.approx(16 * height * width / 1e6)
    assert first == pytest.approx(NUM_NOISED * height * width / 1e6 + 0.25)
    assert encoders.largest <= 3 * timing.SIDE**2


def test_the_encoders_of_a_backbone_are_timed(tiny_backbone):
    video, first = timing.encoding_seconds(tiny_backbone, ConditionConfig(), 3, 800, 1280)
    assert 0 < video < 600 and 0 < first < 600
