import numpy as np
import pytest
import torch

from aid.metrics.distances import CUBIC, Moments, frechet_distance, frechet_of_samples
from aid.metrics.pairs import psnr, ssim
from aid.metrics.probes import PROBES, blurred, probed, seed_of, smeared
from aid.metrics.protocol import choose_protocol
from aid.metrics.trust import LEAST, extractor_check, figure_checks
from aid.metrics.videos import VideoSet
from aid.video import to_uint8, write_mp4

STRICT = choose_protocol("strict", 6, 1)

REQUIRED = [probe.name for probe in PROBES if not probe.is_light]


def features(num=40, dim=6, seed=0):
    return np.random.default_rng(seed).normal(size=(num, dim))


def test_the_distance_of_samples_is_that_of_their_moments():
    a, b = features(9, 20), 2 + features(12, 20, seed=1)
    expected = frechet_distance(Moments.of(a), Moments.of(b))
    assert frechet_of_samples(a, b) == pytest.approx(expected, rel=1e-9)


def test_an_extractor_that_detects_every_probe_is_trusted():
    real = features()
    far = {probe.name: real + 3 for probe in PROBES}
    check = extractor_check("sharp", real, far, CUBIC)
    for name in ("Fréchet", "KVD"):
        assert check.is_trusted(name) and check.distances[name].missed == []
        assert check.distances[name].probes["still videos"].value > check.distances[name].floor_high
    assert check.sentence == "sharp distinguishes all probes of this data from real videos."


def test_an_extractor_that_misses_blur_is_not_trusted_and_the_sentence_names_blur():
    real = features()
    probes = {probe.name: real + 3 for probe in PROBES} | {"blurred videos": real}
    check = extractor_check("blunt", real, probes, CUBIC)
    assert not check.is_trusted("Fréchet") and not check.is_trusted("KVD")
    assert check.sentence == (
        "blunt cannot distinguish blurred videos of this data from real ones (tested on 40 "
        "videos): its distances are left out of the main table."
    )


def test_a_light_probe_may_be_missed():
    real = features()
    probes = {p.name: real if p.is_light else real + 3 for p in PROBES}
    assert extractor_check("fair", real, probes, CUBIC).is_trusted("Fréchet")


def test_probes_nearer_than_real_videos_are_not_detected():
    """All at one place in the middle: below the floor where videos are few and features many."""
    real = features(24, 60)
    middle = np.broadcast_to(real.mean(0), real.shape) + 1e-3 * features(24, 60, seed=2)
    probes = {probe.name: real + 3 for probe in PROBES} | {"illegible videos": middle}
    tested = extractor_check("any", real, probes, CUBIC).distances["Fréchet"]
    assert tested.probes["illegible videos"].value < tested.floor
    assert tested.missed == ["illegible videos"]


@pytest.mark.parametrize("seed", range(4))
def test_an_extractor_without_information_detects_no_probe(seed):
    """However the videos hang together: here they are windows of eight episodes."""
    windows = np.repeat(features(8, 4, seed), 4, 0) + 0.1 * features(32, 4, seed + 100)
    check = extractor_check("blind", windows, {p.name: windows for p in PROBES}, CUBIC, seed=seed)
    for tested in check.distances.values():
        assert tested.missed == REQUIRED
        assert all(seen.p > 0.3 for seen in tested.probes.values())


def test_with_too_few_videos_the_sentence_says_only_that():
    real = features(LEAST - 1)
    check = extractor_check("any", real, {p.name: real + 9 for p in PROBES}, CUBIC)
    assert check.distances == {} and not check.is_trusted("Fréchet")
    assert "at least 10 real videos, there are 9" in check.sentence
    enough = extractor_check("any", features(LEAST), {p.name: features(LEAST) + 9 for p in PROBES},
                             CUBIC)  # fmt: skip
    assert enough.is_trusted("Fréchet")


@pytest.fixture
def clips():
    """Six videos of a coarse ground with a bright square that moves."""
    generator = torch.Generator().manual_seed(0)
    ground = torch.rand(6, 1, 3, 8, 8, generator=generator).repeat_interleave(4, 3)
    clips = (ground.repeat_interleave(4, 4) * 1.2 - 0.9).repeat(1, 6, 1, 1, 1)
    for frame in range(6):
        clips[:, frame, :, 8:16, 3 * frame : 3 * frame + 8] = 0.95
    return clips


def test_each_probe_has_the_fault_of_its_name(clips):
    made = probed(clips, list(clips))
    assert made.keys() == {probe.name for probe in PROBES}
    for name, videos in made.items():
        assert videos.shape == clips.shape and videos.min() >= -1 and videos.max() <= 1, name
        assert not torch.equal(videos, clips), name
    assert (made["still videos"] == clips[:, :1]).all()
    spliced = made["videos that change into another video"]
    assert torch.equal(spliced[:, :3], clips[:, :3])
    assert all(any(torch.equal(end, clip[3:]) for clip in clips) for end in spliced[:, 3:])
    assert all(
        not torch.equal(end, clip[3:]) for end, clip in zip(spliced[:, 3:], clips, strict=True)
    )
    shuffled = made["videos with shuffled frames"]
    assert torch.allclose(shuffled.sum(1), clips.sum(1), atol=1e-5)
    deviation = [(made[n] - clips).std() for n in ("slightly noisy videos", "noisy videos")]
    assert deviation[0] < deviation[1] < 0.2
    detail = [video.diff(dim=-1).abs().mean() for video in
              (clips, made["slightly blurred videos"], made["blurred videos"],
               made["strongly blurred videos"])]  # fmt: skip
    assert detail == sorted(detail, reverse=True)


def test_probes_do_not_depend_on_the_batch(clips):
    whole, others = probed(clips, list(clips)), list(clips)
    for name, videos in probed(clips[2:4], others).items():
        assert torch.equal(videos, whole[name][2:4]), name
    assert seed_of(clips[0]) != seed_of(clips[1])


def test_blur_keeps_what_is_flat_and_the_mean_of_the_rest(clips):
    flat = torch.full((2, 3, 16, 20), 0.3)
    assert torch.allclose(blurred(flat, 1 / 8), flat, atol=1e-6)
    point = torch.zeros(1, 3, 33, 33)
    point[..., 16, 16] = 1
    spread = blurred(point, 1 / 16)[0, 0]
    assert spread.sum() == pytest.approx(1, abs=1e-4) and spread[16, 16] == spread.max()
    sigma = ((torch.arange(33) - 16.0).square() * spread.sum(0)).sum().sqrt()
    assert sigma == pytest.approx(33 / 16, rel=0.03)


def on_disk(clips, folder):
    """The videos as files, named 0, 1, ..."""
    paths = {str(number): folder / f"{number}.mp4" for number in range(len(clips))}
    for clip, path in zip(clips, paths.values(), strict=True):
        write_mp4(path, to_uint8(clip), 4.0, lossless=True)
    return VideoSet(title="real", paths=paths)


def test_a_figure_can_rank_only_if_it_rates_illegible_videos_below_still_ones(clips, tmp_path):

    def sharpness(real, made):
        return made.diff(dim=-1).abs().mean((1, 2, 3))

    figures = {
        "SSIM": (ssim, True), "PSNR": (psnr, True), "sharpness": (sharpness, True),
        "blindness": (lambda a, b: torch.zeros(len(a)), True),
        "error": (lambda a, b: -psnr(a, b), False),
    }  # fmt: skip
    found = figure_checks(on_disk(clips, tmp_path), [str(n) for n in range(6)], STRICT, figures)
    assert found["SSIM"].can_rank and found["SSIM"].num_videos == 6
    assert found["PSNR"] == found["error"]  # the one grows as the other falls
    assert found["sharpness"].illegible_below_still == 1 and not found["sharpness"].can_rank
    assert not found["blindness"].can_rank and found["blindness"].halved_above_still == 0


def test_with_few_videos_no_figure_can_rank(clips, tmp_path):
    found = figure_checks(
        on_disk(clips[:4], tmp_path), ["0", "1", "2", "3"], STRICT, {"SSIM": (ssim, True)}
    )["SSIM"]
    assert found.illegible_below_still == 1 and not found.can_rank


def test_smeared_videos_do_not_move_where_the_real_ones_do_not(clips):
    still = clips[0][:1].expand(6, -1, -1, -1)
    made = smeared(still, torch.Generator().manual_seed(0))
    assert torch.allclose(made, made[:1].expand_as(made))
