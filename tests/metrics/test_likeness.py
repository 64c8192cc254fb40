import numpy as np
from videos import moving_square

from aid.metrics.card import html_page, markdown
from aid.metrics.likeness import compare
from aid.metrics.protocol import choose_protocol
from aid.metrics.videos import VideoSet
from aid.video import write_mp4


def test_without_an_extractor_only_pairs_are_compared(tmp_path):
    """Two videos are enough, and no column of a distance is left with dashes in it."""
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
        assert "PSNR" in text and "Fréchet" not in text and "Extractor" not in text
