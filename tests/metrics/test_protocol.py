import numpy as np
import pytest
import torch

from aid.metrics.protocol import PROTOCOLS, choose_protocol

GREYS = np.arange(48, dtype=np.uint8) * 5


def ramp(num):
    """Frame i has the grey level 5 i."""
    return np.broadcast_to(GREYS[:num, None, None, None], (num, 8, 12, 3)).copy()


def levels(frames):
    return ((frames[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_strict_picks_frames_and_leaves_the_given_ones_out():
    strict = choose_protocol("strict", 12, 2)
    sampled = strict.sampled(ramp(23))
    assert levels(sampled) == [10 * i for i in range(12)]
    assert levels(strict.compared(sampled)) == [10 * i for i in range(2, 12)]
    with pytest.raises(ValueError, match="has 11 frames, the protocol compares 12"):
        strict.sampled(ramp(11))


def test_the_legacy_protocol_blends_as_the_reference_does():
    """48 -> 12: frame 0 is half of frame 1 and half of frame 2; 36 -> 12: frame 1 itself."""
    legacy = choose_protocol("seer-legacy", 12, 2)
    assert levels(legacy.sampled(ramp(48)))[:2] == [7, 27]  # 7.5 and 27.5, cut off
    assert levels(legacy.sampled(ramp(36)))[:2] == [5, 20]
    assert len(legacy.compared(legacy.sampled(ramp(48)))) == 12
    padded = legacy.sampled(ramp(10))
    assert len(padded) == 12 and (padded[10:] == 0).all()


def test_pictures_are_resized_by_their_short_side_and_cut_in_the_middle():
    strict, legacy = PROTOCOLS["strict"], PROTOCOLS["seer-legacy"]
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(2, 3, 32, 64, generator=generator) * 2 - 1
    small = strict.resized(frames, 8)
    assert small.shape == (2, 3, 8, 8)
    assert small.std() < legacy.resized(frames, 8).std()  # smoothed first
    assert strict.resized(frames[..., :32], 32) is not None
    assert torch.equal(strict.resized(frames[..., :32], 32), frames[..., :32])


def test_the_hash_changes_with_all_that_changes_a_score():
    strict = PROTOCOLS["strict"]
    hashes = {
        strict.hash(weights="a"),
        strict.hash(weights="b"),
        choose_protocol("strict", 12, 1).hash(weights="a"),
        PROTOCOLS["seer-legacy"].hash(weights="a"),
    }
    assert len(hashes) == 4 and strict.hash(weights="a") in hashes


def test_a_protocol_that_compares_nothing_is_refused():
    with pytest.raises(ValueError, match="below num_frames = 4, got 4"):
        choose_protocol("strict", 4, 4)
    with pytest.raises(ValueError, match=r"'fvd' is unknown.*strict, seer-legacy"):
        choose_protocol("fvd", 16, 1)
