from dataclasses import replace

import numpy as np
from videos import moving_square

from aid.metrics.card import first_lines, html_page, markdown, ranked
from aid.metrics.likeness import Comparison, Likeness, compare
from aid.metrics.probes import PROBES
from aid.metrics.protocol import choose_protocol
from aid.metrics.trust import DistanceCheck, ExtractorCheck, FigureCheck, ProbeResult
from aid.metrics.videos import VideoSet
from aid.video import write_mp4


def test_without_an_extractor_only_pairs_are_compared(tmp_path):
    """Two videos are enough. The columns of the distances keep their places, with dashes."""
    real, made = {}, {}
    for number in range(2):
        pixels = moving_square(start=8 + 8 * number)
        real[f"{number}"] = tmp_path / f"real-{number}.mp4"
        made[f"{number}"] = tmp_path / f"made-{number}.mp4"
        write_mp4(real[f"{number}"], pixels, 4.0, lossless=True)
        write_mp4(made[f"{number}"], np.repeat(pixels[:1], 5, 0), 4.0, lossless=True)
    sets = [VideoSet(title="still", paths=made), VideoSet(title="copy", paths=real)]
    protocol = choose_protocol("strict", 5, 1)
    found = compare(VideoSet(title="real", paths=real), sets, protocol, None, tmp_path / "features")
    assert [*found.likeness] == ["still", "copy"]
    assert found.likeness["copy"].psnr_predicted.value == 100
    still = found.likeness["still"]
    assert still.num_videos == 2 and still.frechet is None
    assert still.first_frame.value == 100 > still.psnr_predicted.value
    assert still.motion_ratio.value == 0
    for text in (markdown(found), html_page("any", found, [])):
        assert "PSNR" in text and "Extractor" not in text
    assert "| still | 2 | - | - | - | - | 21.33 dB" in markdown(found)


def checked(illegible, halved):
    return FigureCheck(
        num_videos=20, blurred_below_still=1.0, illegible_below_still=illegible,
        halved_above_still=halved,
    )  # fmt: skip


def comparison(**figures):
    likeness = {name: Likeness(num_videos=20) for name in ("real against real", "made")}
    return Comparison(
        protocol={}, protocol_hash="", extractor={}, split_hash="", likeness=likeness,
        figures=figures,
    )  # fmt: skip


def test_the_sets_are_listed_by_the_first_figure_that_passes_its_test():
    passes, fails = checked(1.0, 1.0), checked(0.5, 1.0)
    assert comparison(PSNR=passes, SSIM=passes, LPIPS=passes).ranked_by == "LPIPS"
    assert comparison(PSNR=passes, SSIM=fails).ranked_by == "PSNR"
    assert first_lines(comparison(PSNR=passes)) == [
        "The sets are listed by PSNR of the predicted frames, best first."
    ]


def test_a_figure_that_penalizes_lost_detail_ranks_with_a_note():
    harsh, fails = checked(1.0, 0.0), checked(0.5, 1.0)
    found = comparison(PSNR=fails, SSIM=harsh)
    assert found.ranked_by == "SSIM"
    assert "a slight loss of detail worse than a still video" in first_lines(found)[0]
    assert comparison(PSNR=checked(1.0, 1.0), SSIM=harsh).ranked_by == "PSNR"


def test_if_every_figure_fails_nothing_is_ranked_and_the_card_says_so():
    found = comparison(PSNR=checked(0.5, 1.0), SSIM=checked(0.0, 1.0))
    assert found.ranked_by is None and ranked(found) == ["real against real", "made"]
    assert first_lines(found)[0].startswith("No figure passed its test")


def test_a_trusted_distance_ranks_only_if_it_puts_illegible_videos_below_still_ones():
    def tested(illegible, still):
        values = {probe.name: 9.0 for probe in PROBES}
        values |= {"illegible videos": illegible, "still videos": still}
        probes = {name: ProbeResult(value=value, p=0.01) for name, value in values.items()}
        return DistanceCheck(floor=1.0, floor_high=2.0, probes=probes)

    for illegible, still, expected in ((8.0, 7.0, "Fréchet"), (7.0, 8.0, "SSIM")):
        one = tested(illegible, still)
        check = ExtractorCheck(extractor="any", num_videos=20, distances={"Fréchet": one})
        found = replace(comparison(SSIM=checked(1.0, 1.0)), check=check)
        assert check.is_trusted("Fréchet")
        assert found.ranked_by == expected
