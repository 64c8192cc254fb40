import av
import numpy as np
import pytest
import torch
from PIL import Image

from aid import video


def noise(frames=5, height=48, width=64):
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)


def smooth(frames=6, height=48, width=64):
    """A gradient that moves, which any codec keeps well."""
    y, x = np.mgrid[:height, :width]
    made = [np.stack([x * 3, y * 4, np.full_like(x, 20 * f)], -1) for f in range(frames)]
    return np.stack(made).clip(0, 255).astype(np.uint8)


def test_floats_and_bytes_are_exact_inverses():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    frames = video.to_float(pixels)
    assert frames.shape == (1, 3, 16, 16)
    assert (frames.min(), frames.max()) == (-1, 1)
    assert np.array_equal(video.to_uint8(frames), pixels)


def test_frames_beyond_the_range_are_cut_not_wrapped():
    frames = torch.tensor([-3.0, 3.0, 0.0])[None, :, None, None]
    assert video.to_uint8(frames).flatten().tolist() == [0, 255, 128]


@pytest.mark.parametrize("size", [(48, 64), (33, 47)])
def test_lossless_mp4_gives_every_pixel_back(tmp_path, size):
    pixels = noise(4, *size)
    video.write_mp4(tmp_path / "a.mp4", pixels, fps=3.6667, lossless=True)
    assert np.array_equal(video.read_video(tmp_path / "a.mp4"), pixels)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(3.6667, abs=0.01)


def test_playable_mp4_is_close_and_loses_an_odd_row_and_column(tmp_path):
    pixels = smooth(height=49, width=65)
    video.write_mp4(tmp_path / "a.mp4", pixels, fps=8.0)
    back = video.read_video(tmp_path / "a.mp4")
    assert back.shape == (6, 48, 64, 3)
    assert np.abs(back.astype(int) - pixels[:, :48, :64]).mean() < 4


def test_gif_holds_every_frame_enlarged(tmp_path):
    video.write_gif(tmp_path / "a.gif", smooth(), fps=10.0, scale=2)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (6, (128, 96), 100)


def test_png_is_exact_and_a_file_for_all_to_read(tmp_path):
    pixels = noise(1)[0]
    video.write_png(tmp_path / "a.png", Image.fromarray(pixels))
    assert np.array_equal(video.read_image(tmp_path / "a.png"), pixels)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_pictures_of_any_mode_become_rgb(tmp_path, mode):
    Image.fromarray(noise(1)[0]).convert(mode).save(tmp_path / "a.png")
    assert video.read_image(tmp_path / "a.png").shape == (48, 64, 3)


def test_a_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    Image.fromarray(noise(1)[0]).save(tmp_path / "a.jpg", exif=exif)
    assert video.read_image(tmp_path / "a.jpg").shape == (64, 48, 3)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "does not exist"), (b"", "cannot be"), (b"text", "cannot be")]
)
def test_what_is_no_video_is_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as raised:
        video.read_video(path)
    assert "a.mp4" in str(raised.value)


def test_a_video_that_breaks_off_is_refused(tmp_path):
    video.write_mp4(tmp_path / "a.mp4", noise(), fps=4.0, lossless=True)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.mp4"):
        video.read_video(tmp_path / "half.mp4")


def test_what_is_no_picture_is_refused_by_name(tmp_path):
    (tmp_path / "a.png").write_text("not a picture")
    with pytest.raises(ValueError, match="PNG or JPEG"):
        video.read_image(tmp_path / "a.png")
    with pytest.raises(ValueError, match="does not exist"):
        video.read_image(tmp_path / "b.png")
    with pytest.raises(ValueError, match="does not exist"):
        video.read_image(tmp_path)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), video.whole_file(path) as temporary:
        temporary.write_text("hal")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_video_that_cannot_be_encoded_leaves_nothing(tmp_path):
    with pytest.raises(Exception):  # noqa: B017  (whatever the codec says to a 3-pixel frame)
        video.write_mp4(tmp_path / "a.mp4", noise(2)[:, :1, :1], fps=4.0)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="mkdir -p"):
        video.write_png(tmp_path / "no" / "a.png", Image.new("RGB", (2, 2)))


def test_pictures_can_be_written_to(tmp_path):
    """torch warns of arrays that cannot, and users would see it."""
    video.write_png(tmp_path / "a.png", Image.fromarray(noise(1)[0]))
    assert video.read_image(tmp_path / "a.png").flags.writeable
    assert video.fit(noise(1)[0], 8, 8).flags.writeable


def test_fit_cuts_the_centre():
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = 255
    assert video.fit(pixels, 10, 10).shape == (10, 10, 3)
    assert video.fit(pixels, 10, 10).min() > 200
    assert np.array_equal(video.fit(pixels, 20, 40), pixels)


def test_contact_sheet_shows_first_and_last_frame_of_every_row():
    rows = [("real", smooth(16)), ("predicted", smooth(3))]
    sheet = video.contact_sheet(rows, scale=1, num_columns=4)
    assert sheet.size == (4 * (64 + 2), 2 * (48 + 16))
    pixels = np.asarray(sheet)
    for row, (_, frames) in enumerate(rows):
        top = row * 64 + 16
        assert np.array_equal(pixels[top : top + 48, :64], frames[0])
        assert np.array_equal(pixels[top : top + 48, 3 * 66 : 3 * 66 + 64], frames[-1])
