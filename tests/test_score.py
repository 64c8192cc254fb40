import json
import shutil

import numpy as np
import pytest
import torch

import aid.cli
from aid.metrics.baselines import baselines
from aid.metrics.extractors import TabletopR3D
from aid.metrics.extractors.r3d import R3D, R3DConfig, save_r3d
from aid.metrics.protocol import choose_protocol
from aid.metrics.videos import VideoSet
from aid.score import score
from aid.video import write_gif, write_mp4

STRICT = choose_protocol("strict", 6, 1)


def moving(number, step):
    """A square on a ground of random colour that moves `step` pixels a frame."""
    generator = np.random.default_rng(number)
    pixels = np.broadcast_to(generator.integers(60, 120, 3), (6, 64, 64, 3)).astype(np.uint8)
    row, colour = int(generator.integers(4, 50)), generator.integers(120, 255, 3)
    for frame in range(6):
        left = 8 + step * frame
        pixels[frame, row : row + 10, left : left + 10] = colour
    return pixels


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Twelve real videos, equal ones, still ones, and an extractor with random weights."""
    root = tmp_path_factory.mktemp("score")
    for name, step in (("real", 6), ("same", 6), ("still", 0)):
        (root / name).mkdir()
        for number in range(12):
            write_mp4(root / name / f"{number}.mp4", moving(number, step), 4.0, lossless=True)
    torch.manual_seed(0)
    save_r3d(root / "r3d", R3D(R3DConfig(widths=(8, 8, 8), dim=6)), 1.0, {})
    return root


@pytest.fixture(scope="module")
def extractor(folders):
    return TabletopR3D(folders / "r3d")


def test_equal_folders_are_at_zero_and_still_videos_are_not(folders, extractor, tmp_path):
    settings = {"protocol": STRICT, "extractor": extractor, "num_resamples": 20}
    same = score(folders / "real", folders / "same", out=tmp_path / "a", **settings)
    still = score(folders / "real", folders / "still", out=tmp_path / "b", **settings)
    equal, other = same.likeness["same"], still.likeness["still"]
    assert abs(equal.frechet.value) < 1e-6 < other.frechet.value
    assert equal.kvd.value < other.kvd.value
    assert equal.psnr == [100] * 6 and equal.ssim_predicted.value == pytest.approx(1)
    assert equal.motion_ratio.value == 1 and other.motion_ratio.value == 0
    assert other.first_frame.value == 100 and other.psnr[5] < other.psnr[1] < 100
    assert other.psnr_predicted.value == pytest.approx(np.mean(other.psnr[1:]))
    assert other.frechet.low < other.frechet.value < other.frechet.high
    # A still video is the copied first frame, so both lines say the same.
    assert still.likeness["first frame, repeated"].frechet == other.frechet
    assert list(still.likeness) == [
        "real against real", "still", "first frame, repeated", "oracle blend", "mean video",
    ]  # fmt: skip
    floor = still.likeness["real against real"]
    assert floor.num_videos == 6 and floor.frechet_of_halves.value > 0
    assert still.likeness["mean video"].motion_ratio.value < 1


def test_the_card_is_three_files_that_say_what_was_measured(folders, extractor, tmp_path):
    out = tmp_path / "card"
    arguments = (folders / "real", folders / "still")
    made = score(
        *arguments, out=out, protocol=STRICT, extractor=extractor, num_resamples=5,
        train=folders / "still",
    )  # fmt: skip
    told = json.loads((out / "score.json").read_text())
    assert told["protocol"]["name"] == "strict" and len(told["protocol_hash"]) == 12
    assert told["likeness"]["still"]["frechet"]["num_videos"] == 12
    assert told["not_run"] == {"LPIPS": "its weights were not given (--lpips)"}
    table = (out / "score.md").read_text()
    assert "Fréchet (tabletop-r3d)" in table and "FVD" not in table
    assert f"Protocol strict {made.protocol_hash}" in table
    page = (out / "score.html").read_text()
    assert "<svg" in page and "<script" not in page and "http" not in page
    before = {path: path.stat().st_mtime_ns for path in (out / "features").glob("*.f32")}
    size = {path: path.stat().st_size for path in before}
    again = score(
        *arguments, out=out, protocol=STRICT, extractor=extractor, num_resamples=5,
        train=folders / "still",
    )  # fmt: skip
    assert again == made
    assert {path: path.stat().st_size for path in size} == size


def test_the_mean_video_is_made_anew_when_there_are_more_videos(folders, tmp_path):
    def means(number):
        some = {str(n): folders / f"real/{n}.mp4" for n in range(number)}
        found, missing = baselines(VideoSet(title="real", paths=some), STRICT)
        assert missing == {}
        return next(one for one in found if one.title == "mean video")

    few, more = means(3), means(4)
    expected = (3 * few.read("0").astype(float) + moving(3, 6)) / 4
    assert np.abs(more.read("0") - expected).max() <= 1  # both means are rounded
    assert few.derived_from != more.derived_from


def test_real_videos_that_were_trained_on_are_refused(folders, extractor, tmp_path):
    with pytest.raises(ValueError, match="12 real videos are among the training videos"):
        score(
            folders / "real", folders / "still", out=tmp_path, protocol=STRICT,
            extractor=extractor, train=folders / "same",
        )  # fmt: skip


def test_the_command_scores_two_folders_and_names_what_is_wrong(folders, tmp_path, capsys):
    flags = ["--weights", folders / "r3d", "--num_frames", 6, "--out", tmp_path / "out"]
    flags += ["--resamples", 5, "--protocol", "seer-legacy", "--baselines", "false"]
    real, made = folders / "real", folders / "still"
    assert aid.cli.main(["score", *map(str, [real, made, *flags])]) == 0
    said = capsys.readouterr().out
    assert "Protocol seer-legacy" in said and "all frames" in said and "oracle" not in said
    assert said.splitlines()[-1] == str(tmp_path / "out/score.html")
    assert aid.cli.main(["score", str(real), str(tmp_path), *map(str, flags)]) == 2
    assert "holds no video" in capsys.readouterr().err
    assert aid.cli.main(["score", str(real), str(made), "--weights", str(tmp_path)]) == 2
    assert "holds no table-top extractor" in capsys.readouterr().err


def test_the_card_says_what_was_done_to_files_also_when_it_is_made_again(
    folders, extractor, tmp_path
):
    shutil.copytree(folders / "same", tmp_path / "made")
    waits = np.stack([moving(3, 6)[i] for i in (0, 0, 0, 1, 2, 3)])
    write_gif(tmp_path / "made/3.gif", waits, 4.0)
    (tmp_path / "made/3.mp4").unlink()
    for _ in range(2):
        card = score(
            folders / "real", tmp_path / "made", out=tmp_path / "out", protocol=STRICT,
            extractor=extractor, num_resamples=10, with_baselines=False,
        )  # fmt: skip
        (line,) = card.file_notes
        assert line.startswith("In made: 1 video, the first is '3': the times between frames vary")
        assert line in (tmp_path / "out/score.md").read_text()
