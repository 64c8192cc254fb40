import json
import shutil

import numpy as np
import pytest
import torch

import aid.cli
from aid.metrics.baselines import baselines
from aid.metrics.card import ranked
from aid.metrics.probes import smeared
from aid.metrics.protocol import choose_protocol
from aid.metrics.videos import VideoSet
from aid.models.backbone import load_backbone
from aid.score import score
from aid.tabletop.r3d import R3D, R3DConfig, TabletopR3D, save_r3d
from aid.video import read_video, to_uint8, write_gif, write_mp4

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


def test_the_card_is_three_files_that_state_what_was_measured(folders, extractor, tmp_path):
    out = tmp_path / "card"
    arguments = (folders / "real", folders / "still")
    made = score(
        *arguments, out=out, protocol=STRICT, extractor=extractor, num_resamples=5,
        train=folders / "still",
    )  # fmt: skip
    card = json.loads((out / "score.json").read_text())
    assert card["protocol"]["name"] == "strict" and len(card["protocol_hash"]) == 12
    assert card["likeness"]["still"]["frechet"]["num_videos"] == 12
    assert card["not_run"] == {"LPIPS": "its weights were not given (--lpips)"}
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


def test_the_mean_video_is_computed_again_when_there_are_more_videos(folders, tmp_path):
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


def test_the_command_scores_two_folders_and_names_errors(folders, tmp_path, capsys):
    flags = ["--weights", folders / "r3d", "--num_frames", 6, "--out", tmp_path / "out"]
    flags += ["--resamples", 5, "--protocol", "seer-legacy", "--baselines", "false"]
    real, made = folders / "real", folders / "still"
    assert aid.cli.main(["score", *map(str, [real, made, *flags])]) == 0
    output = capsys.readouterr().out
    assert "Protocol seer-legacy" in output and "all frames" in output and "oracle" not in output
    assert output.splitlines()[-1] == str(tmp_path / "out/score.html")
    assert aid.cli.main(["score", str(real), str(tmp_path), *map(str, flags)]) == 2
    assert "holds no video" in capsys.readouterr().err
    assert aid.cli.main(["score", str(real), str(made), "--weights", str(tmp_path)]) == 2
    assert "do not say which extractor" in capsys.readouterr().err


def test_the_card_states_what_was_done_to_files_also_in_a_second_call(folders, extractor, tmp_path):
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


class Blind:
    """An extractor that sees the mean colour of a video and nothing else."""

    name, hash, side, dim, kernel, is_tuned_to = "blind", "abc", 64, 3, (3, 1.0), "nothing"

    def features(self, frames):
        return frames.mean((1, 3, 4))


class Statistics(Blind):
    """Detail at four scales and change over time: enough to tell every probe from real videos."""

    name, dim = "statistics", 6

    def features(self, frames):
        change = frames.diff(dim=1).square().mean((2, 3, 4))
        values = [change.mean(1), change.amax(1)]
        for _ in range(4):
            across, down = frames.diff(dim=-1).square(), frames.diff(dim=-2).square()
            values.append(across.mean((1, 2, 3, 4)) + down.mean((1, 2, 3, 4)))
            frames = torch.nn.functional.avg_pool3d(frames, (1, 2, 2))
        return (torch.stack(values, 1) + 1e-8).log()


@pytest.fixture(scope="module")
def textured(tmp_path_factory):
    """Sixteen videos that move, and illegible predictions that keep the first frame."""
    root, generator = tmp_path_factory.mktemp("textured"), torch.Generator().manual_seed(0)
    (root / "real").mkdir()
    (root / "illegible").mkdir()
    for number in range(16):
        ground = torch.rand(3, 4, 4, generator=generator).repeat_interleave(16, 1)
        ground = ground.repeat_interleave(16, 2) * 1.2 - 0.9
        frames = ground.repeat(6, 1, 1, 1)
        row = int(torch.randint(0, 48, (1,), generator=generator))
        for frame in range(6):
            frames[frame, :, row : row + 16, 8 * frame : 8 * frame + 16] = 0.9
        made = torch.cat([frames[:1], smeared(frames[1:], generator)])
        for name, video in (("real", frames), ("illegible", made)):
            path = root / name / f"{number}.mp4"
            write_mp4(path, to_uint8(video), 4.0, lossless=True)
    return root


def test_an_extractor_that_fails_its_test_is_named_first_and_its_distances_leave_the_table(
    textured, tmp_path
):
    arguments = (textured / "real", textured / "illegible")
    found = score(*arguments, out=tmp_path, protocol=STRICT, extractor=Blind(), num_resamples=5)
    assert "noisy videos" in found.check.distances["Fréchet"].missed
    text = (tmp_path / "score.md").read_text()
    title, first, main, *_ = [part for part in text.split("\n\n") if "are listed by" not in part]
    assert title == "# illegible against real"
    assert first.startswith("blind cannot distinguish ") and "noisy videos" in first
    assert first.endswith("(tested on 16 videos): its distances are left out of the main table.")
    header, _, *lines = main.splitlines()
    assert header.startswith("| set | videos | Fréchet (blind) | Fréchet, halves | KVD (blind) |")
    assert all(line.split("|")[3:7] == [" left out "] * 4 for line in lines)
    assert "real against real" not in main  # the floor of a distance that is not there
    details = text.split("### All distances, also those that are not trusted")[1]
    assert "| Fréchet (blind) |" in details and "| noisy videos | " in details
    page = (tmp_path / "score.html").read_text()
    assert page.index("blind cannot distinguish") < page.index("<table>")
    assert json.loads((tmp_path / "score.json").read_text())["check"]["num_videos"] == 16


def test_illegible_videos_are_listed_below_the_first_frame_repeated(textured, tmp_path):
    """Whether the extractor does not see them, or there is none."""
    for extractor in (Blind(), None):
        out = tmp_path / str(extractor is None)
        found = score(textured / "real", textured / "illegible", out=out, protocol=STRICT,
                      extractor=extractor, num_resamples=5)  # fmt: skip
        assert found.ranked_by == "SSIM"
        listed = [name for name in ranked(found) if name in found.likeness]
        assert listed.index("first frame, repeated") < listed.index("illegible")
        main = (out / "score.md").read_text().split("\n- ")[0]
        assert main.index("| first frame, repeated |") < main.index("| illegible |")
        assert "listed by SSIM of the predicted frames, best first" in main


def test_an_extractor_that_passes_its_test_stays_in_the_main_table(textured, tmp_path):
    found = score(textured / "real", textured / "illegible", out=tmp_path, protocol=STRICT,
                  extractor=Statistics(), num_resamples=5)  # fmt: skip
    assert (
        found.check.sentence == "statistics distinguishes all probes of this data from real videos."
    )
    main = (tmp_path / "score.md").read_text().split("\n- ")[0]
    assert "| Fréchet (statistics) | Fréchet, halves | KVD (statistics) |" in main
    assert "left out" not in main


def test_with_too_few_videos_for_the_test_no_distance_is_in_the_main_table(folders, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for number in range(9):
        write_mp4(few / f"{number}.mp4", moving(number, 6), 4.0, lossless=True)
    found = score(few, folders / "still", out=tmp_path / "out", protocol=STRICT,
                  extractor=Statistics(), num_resamples=5)  # fmt: skip
    text = (tmp_path / "out/score.md").read_text()
    assert found.check.distances == {}
    first = (
        "statistics was not tested on this data: the test needs at least 10 real videos, there "
        "are 9."
    )
    assert text.splitlines()[2].startswith(first)
    num_sets = len(found.likeness) - 1  # all but the floor
    assert text.count("| left out | left out | left out | left out |") == num_sets


def test_the_test_of_an_extractor_continues_after_a_kill(textured, tmp_path):
    class Counting(Statistics):
        seen = 0

        def features(self, frames):
            Counting.seen += len(frames)
            return super().features(frames)

    settings = {"out": tmp_path, "protocol": STRICT, "num_resamples": 5, "with_baselines": False}
    arguments = (textured / "real", textured / "illegible")
    first = score(*arguments, extractor=Counting(), check_videos=12, **settings)
    assert Counting.seen == 16 + 16 + 12 * 9 and first.check.num_videos == 12
    assert score(*arguments, extractor=Counting(), check_videos=12, **settings) == first
    assert Counting.seen == 16 + 16 + 12 * 9


def test_the_command_takes_the_image_encoder_of_a_backbone(textured, tiny_backbone, tmp_path):
    flags = ["--num_frames", "6", "--resamples", "5", "--baselines", "false"]
    flags += ["--check_videos", "10"]
    flags += ["--backbone", str(tiny_backbone), "--out", str(tmp_path / "out")]
    arguments = ["score", str(textured / "real"), str(textured / "illegible"), *flags]
    assert aid.cli.main(arguments) == 0
    card = json.loads((tmp_path / "out/score.json").read_text())
    assert card["extractor"]["extractor"] == f"clip-frames ({tiny_backbone.name})"
    assert card["extractor"]["weights"].endswith(" float32")
    backbone = load_backbone(tiny_backbone, ("image_encoder",))
    network = backbone.part("image_encoder")
    assert card["extractor"]["side"] == network.config.image_size
    files = list((tmp_path / "out/features").glob("real-videos-*.f32"))
    sizes = sorted(path.stat().st_size for path in files)
    assert sizes == [3 * network.config.projection_dim * 4 * n for n in (16, 10 * 9)]
    pixels = STRICT.compared(STRICT.sampled(read_video(textured / "real/0.mp4")))
    seen = backbone.image_embedding(STRICT.resized(pixels, network.config.image_size))[:, 0]
    expected = (seen / seen.norm(dim=1, keepdim=True)).mean(0)
    kept = np.fromfile(next(p for p in files if p.stat().st_size == sizes[0]), "<f4")
    assert np.allclose(kept[: len(expected)], expected, atol=1e-5)


def test_without_an_extractor_the_command_lists_the_extractors(folders, tmp_path, capsys):
    arguments = ["score", str(folders / "real"), str(folders / "still"), "--num_frames", "6"]
    assert aid.cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    output = capsys.readouterr().out
    assert "Not run: distances: no extractor was chosen. --extractor takes i3d, videomae," in output
    assert "| still | 12 | - | - | - | - | 21." in output  # PSNR, and dashes for distances


def test_folders_that_cannot_be_compared_are_refused_before_anything_is_written(
    folders, tmp_path, capsys
):
    others, small = tmp_path / "others", tmp_path / "small"
    for folder, name, side in ((others, "a", 64), (small, "3", 32)):
        folder.mkdir()
        write_mp4(folder / f"{name}.mp4", moving(0, 1)[:, :side, :side], 4.0, lossless=True)
    out = str(tmp_path / "out")
    real = str(folders / "real")
    for made, flags, expected in (
        (others, [], "no video of 'others' has the name of a real one"),
        (small, [], "the two videos named '3' are 64x64 and 32x32 pixels"),
        (folders / "still", ["--extractor", "i3d"], "extractor 'i3d' needs weights"),
        (folders / "still", ["--extractor", "clip-frames"], "Name one: --backbone"),
        (folders / "still", ["--extractor", "r2d2"], "extractor 'r2d2' is unknown"),
        (folders / "still", ["--backbone", str(tmp_path)], "is not a backbone"),
        (folders / "still", ["--check_videos", "-1"], "check_videos must be at least 0, got -1"),
    ):
        given = ["score", real, str(made), "--num_frames", "6", "--out", out, *flags]
        assert aid.cli.main(given) == 2
        output = capsys.readouterr().err
        assert expected in output and output.count("\n") == 1, output
        assert not (tmp_path / "out").exists()


def test_paired_figures_use_the_videos_that_all_sets_have(folders, tmp_path):
    """Else a model that drew a few easy videos would be listed against baselines on all of them."""
    some = tmp_path / "some"
    some.mkdir()
    for number in (2, 5):
        shutil.copy(folders / f"still/{number}.mp4", some)
    found = score(folders / "real", some, out=tmp_path / "out", protocol=STRICT, extractor=None,
                  num_resamples=5)  # fmt: skip
    still = found.likeness["first frame, repeated"]
    assert found.num_pairs == 2 and still.num_videos == 12
    assert found.likeness["some"].ssim_predicted == still.ssim_predicted
    assert "use the 2 videos that all sets have" in (tmp_path / "out/score.md").read_text()
