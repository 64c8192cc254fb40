"""Frames of real files: codecs, segments, hostile ones. Frame number i has brightness 8 i."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from aid.config import FrameConfig
from aid.data.frames import floats, read_frames, seer_trilinear
from aid.types import VideoRow
from aid.video import colour, decoding
from aid.video.sampling import Sampling, sample, seer_fit, uniform_index

UNIFORM, SEER = FrameConfig(), FrameConfig(sampling="seer_trilinear")


def grey_levels(number=24, height=48, width=64):
    return [np.full((height, width, 3), 8 * i, np.uint8) for i in range(number)]


def write(path, frames, codec="libx264", fps=12, ticks=None, sound=False, **options):
    """A file as an encoder makes it; `ticks` are times in 1/1000 s instead of a constant rate."""
    with av.open(str(path), "w", options=options.pop("container", {})) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = options
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if sound:
            voice = container.add_stream("aac", rate=44100, layout="mono")
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
            silence.sample_rate = 44100
            container.mux(voice.encode(silence))
            container.mux(voice.encode())
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def row(**changes):
    facts = {"id": "a", "video": "a", "instruction": "x", "num_frames": 24, "fps": 12.0}
    return VideoRow(**(facts | {"height": 48, "width": 64} | changes))


def numbers(path, num_frames, config=UNIFORM, size=(48, 64), **changes):
    """Which frames were taken, by their brightness, and the rate."""
    frames = read_frames(path, row(**changes), config, num_frames, *size)
    assert frames.pixels.shape == (num_frames, 3, *size)
    level = (floats(frames.pixels) + 1) * 127.5 / 8
    return [round(float(value)) for value in level.mean((1, 2, 3))], frames.fps


CODECS = [
    ("a.mp4", "libx264", {"bf": "3", "g": "8"}),
    ("a.mkv", "libx264", {"bf": "3", "g": "8", "x264-params": "open-gop=1"}),
    ("a.webm", "libvpx-vp9", {"g": "8", "deadline": "realtime", "cpu-used": "8"}),
    ("a.mp4", "libsvtav1", {"g": "8", "preset": "12"}),
    ("a.avi", "mjpeg", {}),
    ("a.avi", "mpeg4", {"bf": "2", "g": "8", "qmax": "2"}),
]


@pytest.mark.parametrize(("name", "codec", "options"), CODECS)
def test_the_right_frames_come_out_of_every_codec(tmp_path, name, codec, options):
    path = write(tmp_path / name, grey_levels(), codec, **options)
    taken, fps = numbers(path, 5)
    assert taken == [0, 6, 12, 17, 23]
    assert fps == pytest.approx(4 * 12 / 23, rel=1e-2)
    assert numbers(path, 3, start=0.5, stop=1.0)[0] == [6, 8, 11]  # 6 to 11; 12 is at 1.0 s
    assert numbers(path, 2, start=1.5)[0] == [18, 23]


def test_only_what_is_needed_is_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", grey_levels(), g="4", bf="0")
    seen = []
    upright = decoding._shown

    def counting(*args, **kwargs):
        for tick, frame in upright(*args, **kwargs):
            seen.append(tick)
            yield tick, frame

    monkeypatch.setattr(decoding, "_shown", counting)
    wanted = Sampling(num_frames=2, start=20 / 12, stop=22 / 12)
    assert [round(frame.mean() / 8) for frame in sample(path, wanted).frames] == [20, 21]
    assert len(seen) == 2, "from the key frame at 20, no earlier and no later"


def test_frames_of_a_variable_rate_are_evenly_spaced_in_time(tmp_path):
    ticks = [0, 100, 200, 300, 2000, 2100]
    path = write(tmp_path / "a.mkv", grey_levels(6), ticks=ticks, fps=10)
    taken, fps = numbers(path, 6)
    assert (taken, fps) == ([0, 3, 3, 4, 4, 5], pytest.approx(5 / 2.1, rel=1e-2))
    assert numbers(path, 2, start=1.0)[0] == [4, 5]


def test_rounded_times_of_a_constant_rate_choose_frames_by_number(tmp_path):
    ticks = [round(1000 * i / 30) for i in range(24)]  # 0, 33, 67, 100 ...
    path = write(tmp_path / "a.mkv", grey_levels(), ticks=ticks, fps=30)
    for num_frames in range(2, 24):
        assert numbers(path, num_frames)[0] == uniform_index(24, num_frames)


def test_a_rate_chooses_the_nearest_frame_in_time(tmp_path):
    path = write(tmp_path / "a.mp4", grey_levels())
    assert numbers(path, 5, FrameConfig(fps=4.0)) == ([0, 3, 6, 9, 12], 4.0)
    assert numbers(path, 4, FrameConfig(fps=5.0), start=0.5) == ([6, 8, 11, 13], 5.0)
    assert numbers(path, 4, FrameConfig(seconds=2.0)) == ([0, 6, 12, 18], 2.0)


def test_a_rate_holds_for_a_file_of_variable_rate(tmp_path):
    ticks = [0, 100, 200, 300, 2000, 2100]
    path = write(tmp_path / "a.mkv", grey_levels(6), ticks=ticks, fps=10)
    assert numbers(path, 4, FrameConfig(fps=2.0)) == ([0, 3, 3, 4], 2.0)  # 0, 0.5, 1 and 1.5 s


def test_a_rate_above_the_files_own_repeats_frames(tmp_path):
    path = write(tmp_path / "a.mp4", grey_levels())
    assert numbers(path, 6, FrameConfig(fps=24.0)) == ([0, 0, 1, 1, 2, 2], 24.0)


def test_after_the_end_of_a_row_its_last_frame_is_repeated_at_the_same_rate(tmp_path):
    path = write(tmp_path / "a.mp4", grey_levels())
    assert numbers(path, 5, FrameConfig(fps=1.0)) == ([0, 12, 23, 23, 23], 1.0)
    assert numbers(path, 4, FrameConfig(fps=4.0), stop=0.5) == ([0, 3, 5, 5], 4.0)


def test_a_folder_of_images_needs_a_known_rate_for_windows(tmp_path):
    for i, pixels in enumerate(grey_levels(12)):
        Image.fromarray(pixels).save(tmp_path / f"frame_{i}.png")
    assert numbers(tmp_path, 3, FrameConfig(fps=2.0), fps=6.0, start=0.5) == ([3, 6, 9], 2.0)
    with pytest.raises(ValueError, match=r"the frame rate of .* is unknown.* --fps 12"):
        numbers(tmp_path, 3, FrameConfig(fps=2.0), fps=0.0)


@pytest.mark.parametrize("size", [(47, 63), (33, 70)])
def test_odd_sizes_are_resized_and_centre_cropped(tmp_path, size):
    frames = [np.zeros((*size, 3), np.uint8) for _ in range(3)]
    for pixels in frames:
        pixels[:, size[1] // 4 : -(size[1] // 4)] = 200
    path = tmp_path / "a"
    path.mkdir()
    for i, pixels in enumerate(frames):
        Image.fromarray(pixels).save(path / f"{i}.png")
    found = read_frames(path, row(fps=3.0), UNIFORM, 3, 16, 8).pixels
    assert found.shape == (3, 3, 16, 8)
    assert found[:, :, 8, 2:6].min() > 190


def test_a_rotated_video_becomes_upright(tmp_path):
    frames = grey_levels(3)
    for pixels in frames:
        pixels[:12] = 255  # the upper edge
    path = write(tmp_path / "a.mp4", frames)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    turned = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]  # 90 degrees clockwise
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turned)
    path.write_bytes(content)
    found = read_frames(path, row(), UNIFORM, 1, 64, 48).pixels
    assert found[0, :, :, -8:].min() > 230, "what was up is on the right"
    assert found[0, :, :, :30].max() < 60


def test_a_folder_of_images_is_ordered_by_numbers_and_has_the_given_rate(tmp_path):
    for i, pixels in enumerate(grey_levels(12)):
        Image.fromarray(pixels).save(tmp_path / f"frame_{i}.png")
    taken, fps = numbers(tmp_path, 4, fps=3.0)
    assert (taken, fps) == ([0, 4, 7, 11], pytest.approx(3 * 3 / 11))
    assert numbers(tmp_path, 2, fps=3.0, start=1.0, stop=2.0)[0] == [3, 5]
    with pytest.raises(ValueError, match="--fps 12"):
        numbers(tmp_path, 4, fps=0.0)
    with pytest.raises(ValueError, match="holds no image"):
        numbers(tmp_path, 4, fps=3.0, start=99.0)


def test_short_videos_repeat_frames(tmp_path):
    path = write(tmp_path / "a.mp4", grey_levels(3))
    assert numbers(path, 5)[0] == [0, 0, 1, 2, 2]
    assert numbers(write(tmp_path / "b.mp4", grey_levels(1)), 2, fps=7.0) == ([0, 0], 7.0)


def test_seers_blends_have_seers_weights():
    """48 frames to 12: the first is half of frame 1 and half of frame 2 (docs/paper_map.md)."""
    pixels = np.zeros((48, 2, 2, 3), np.uint8)
    pixels[:] = 5 * np.arange(48)[:, None, None, None]
    blended = seer_trilinear(pixels, 12)
    assert ((blended[:, 0, 0, 0] + 1) / 2 * 255).tolist() == pytest.approx(
        [5 * (1.5 + 4 * i) for i in range(12)], abs=1e-3
    )
    tensor = torch.from_numpy(pixels).permute(3, 0, 1, 2).div(255.0) * 2 - 1
    wanted = torch.nn.functional.interpolate(tensor[None], size=(12, 2, 2), mode="trilinear")[0]
    assert torch.equal(blended, wanted.transpose(0, 1)), "bit for bit"
    assert torch.equal(seer_trilinear(pixels[:3], 5)[3:], torch.zeros(2, 3, 2, 2)), "ends in grey"
    assert torch.equal(seer_trilinear(pixels[:12], 12), tensor[:, :12].transpose(0, 1))


def test_seers_crop_is_torchvisions():
    pixels = np.random.default_rng(0).integers(0, 256, (37, 61, 3), np.uint8)
    image = Image.fromarray(pixels).resize((26, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(seer_fit(pixels, 16, 16), np.array(image)[:, 5:21])


def test_blended_frames_have_the_rate_of_blends(tmp_path):
    path = write(tmp_path / "a.mp4", grey_levels())
    frames = read_frames(path, row(), SEER, 12, 48, 64)
    assert frames.pixels.is_floating_point()
    assert frames.fps == pytest.approx(6.0, rel=1e-2)


def hostile(tmp_path):
    whole = write(tmp_path / "whole.mp4", grey_levels(), container={"movflags": "faststart"})
    webm = write(tmp_path / "whole.webm", grey_levels(), "libvpx-vp9", deadline="realtime")
    (tmp_path / "secret.txt").write_text("secret")
    made = {
        "zero bytes": b"",
        "text": b"not a video at all" * 50,
        "random": np.random.default_rng(0).bytes(20_000),
        "half of an mp4": whole.read_bytes()[: int(whole.stat().st_size * 0.6)],
        "half of a webm": webm.read_bytes()[: webm.stat().st_size // 2],
        "a playlist": f"ffconcat version 1.0\nfile {whole}\n".encode(),
        "a stream list": f"#EXTM3U\n#EXTINF:1,\n{whole}\n#EXT-X-ENDLIST\n".encode(),
    }
    for name, content in made.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content)
        yield path
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        voice = container.add_stream("aac", rate=44100, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        container.mux(voice.encode(silence))
        container.mux(voice.encode())
    yield tmp_path / "sound.mp4"
    yield tmp_path / "missing.mp4"


def test_hostile_files_are_refused_with_one_sentence_each(tmp_path):
    for path in hostile(tmp_path):
        with pytest.raises(ValueError) as raised:
            numbers(path, 3)
        assert path.stem in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_file_that_claims_a_huge_size_is_refused_before_decoding(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", grey_levels(2))
    monkeypatch.setattr(colour, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="claims frames of 64 x 48 pixels"):
        sample(path, Sampling(num_frames=2))


def test_a_segment_beyond_the_end_is_refused(tmp_path):
    path = write(tmp_path / "a.mp4", grey_levels(), sound=True)
    with pytest.raises(ValueError, match=r"no frame from 30 s to 31 s.*1\.91"):
        numbers(path, 2, start=30.0, stop=31.0)
