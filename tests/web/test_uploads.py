import io
import re
import threading
import time

import hostile
import numpy as np
import pytest
from memory_use import begin_anew, resident
from PIL import Image
from videos import moving_square

from aid.video import read_video, write_gif, write_mp4
from aid.video.confined import Cancelled
from aid.web.limits import Limits
from aid.web.uploads import Budget, Uploads


@pytest.fixture
def uploads():
    return Uploads(Limits(megabytes=2, megapixels=1.0, seconds=5.0, decoded_megabytes=80))


def picture(size=(90, 60), kind="PNG", **settings):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **settings)
    return stream.getvalue(), pixels


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_images_are_read_by_content_whatever_they_are_called(uploads, tmp_path, kind):
    content, pixels = picture(kind=kind)
    path = tmp_path / "holiday.txt"
    path.write_bytes(content)
    frames = uploads.read(path, 4)
    assert frames.shape == (1, 60, 90, 3)
    if kind == "PNG":
        assert np.array_equal(frames[0], pixels)


def test_a_video_gives_its_first_frames_and_no_more(uploads, tmp_path):
    video = moving_square()
    write_mp4(tmp_path / "a", video, 4.0, lossless=True)
    assert np.array_equal(uploads.read(tmp_path / "a", 2), video[:2])
    assert len(uploads.read(tmp_path / "a", 99)) == len(video)


@pytest.mark.parametrize(
    ("rate", "fps", "numbers"),
    [(8.0, 4.0, [0, 2, 4]), (4.0, 8.0, [0, 0, 1]), (10.0, 3.0, [0, 3, 7]), (8.0, 1.0, [0])],
)
@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_frames_at_a_rate_are_taken_by_time(uploads, tmp_path, kind, rate, fps, numbers):
    video = moving_square(8)
    if kind == "mp4":
        write_mp4(tmp_path / "a", video, rate, lossless=True)
    else:
        write_gif(tmp_path / "a.gif", video, rate)
    path = tmp_path / ("a" if kind == "mp4" else "a.gif")
    shown = uploads.read(path, 99)
    found = uploads.read(path, 3, fps=fps)
    assert np.array_equal(found, shown[numbers[: len(found)]])
    assert len(found) == len(numbers)


def test_a_phones_picture_is_upright_and_a_large_one_is_scaled_down(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    content, _ = picture((3000, 100), "JPEG", exif=exif)
    (tmp_path / "a").write_bytes(content)
    assert Uploads(Limits()).read(tmp_path / "a").shape == (1, 2048, 68, 3)


@pytest.mark.parametrize("name", hostile.FORBIDDEN)
def test_what_is_no_image_or_video_is_refused(uploads, tmp_path, name):
    (tmp_path / name).write_bytes(hostile.FORBIDDEN[name])
    with pytest.raises(ValueError, match="neither an image nor a video"):
        uploads.read(tmp_path / name)


def test_sizes_are_refused_before_anything_is_decoded(uploads, tmp_path, monkeypatch):
    long, large = tmp_path / "long.mp4", tmp_path / "large.mp4"
    cases = {
        "pixels": [
            hostile.png(30000, 30000), hostile.png(2000, 501), hostile.jpeg(65500, 65500),
            hostile.gif(65535, 65535), hostile.video(large, 1040),
        ],
        "lasts 10 s; the limit is 5 s": [hostile.video(long, 32, num_frames=10, fps=1.0)],
        "2.1 MB; the limit is 2 MB": [hostile.png(8, 8, data=bytes(2_100_000))],
    }  # fmt: skip
    monkeypatch.setattr(uploads.budget, "reserve", None)  # would fail if decoding were reached
    for words, contents in cases.items():
        for content in contents:
            (tmp_path / "a").write_bytes(content)
            with pytest.raises(ValueError, match=words):
                uploads.read(tmp_path / "a")


def test_damaged_files_are_refused_in_a_sentence_without_paths(uploads, tmp_path):
    video = hostile.video(tmp_path / "v", 64)
    cases = [
        hostile.png(64, 64), hostile.png(64, 64, data=b"junk"), picture()[0][:200],
        b"\xff\xd8\xff" + bytes(50), b"GIF89a", b"RIFF\x00\x00\x00\x00WEBPVP8 ", video[:300],
        bytes(4) + b"ftypisom" + bytes(500), b"\x1a\x45\xdf\xa3" + bytes(500),
        b"RIFF\x00\x00\x00\x00AVI " + bytes(500), hostile.text_bomb(),
    ]  # fmt: skip
    for content in cases:
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged|does not say|no video stream") as caught:
            uploads.read(tmp_path / "a")
        assert str(tmp_path) not in str(caught.value)


def test_a_stream_that_is_larger_than_its_container_says_is_refused(uploads, tmp_path):
    (tmp_path / "a").write_bytes(hostile.lying_video(tmp_path / "v", 1200, said=64))
    before = begin_anew()
    with pytest.raises(ValueError, match=r"pixels|damaged|does not say"):
        uploads.read(tmp_path / "a")
    assert resident("VmHWM") - before < 60_000 * 1024


def test_memory_for_decoding_is_shared_by_all_requests():
    budget = Budget(100, patience=10.0)
    inside, most = [0], [0]
    lock = threading.Lock()

    def decode():
        with budget.reserve(40):
            with lock:
                inside[0] += 40
                most[0] = max(most[0], inside[0])
            threading.Event().wait(0.01)
            with lock:
                inside[0] -= 40

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 80
    assert budget.used == 0


def test_a_file_that_needs_more_than_the_budget_is_refused_and_one_that_waits_too_long(tmp_path):
    uploads = Uploads(Limits(decoded_megabytes=1))
    (tmp_path / "a").write_bytes(picture((400, 300))[0])
    with pytest.raises(ValueError, match="needs about 2 MB; the limit is 1 MB"):
        uploads.read(tmp_path / "a")
    budget = Budget(10, patience=0.01)
    with budget.reserve(6), pytest.raises(ValueError, match="Try again soon"), budget.reserve(6):
        pass
    assert budget.used == 0


def test_a_deleted_file_and_no_file_have_different_messages(uploads, tmp_path):
    with pytest.raises(ValueError, match="Upload it again"):
        uploads.read(tmp_path / "gone.png")
    with pytest.raises(ValueError, match="no frame yet"):
        uploads.read(None)


def mirrored_mp4(path):
    """A red square in the upper left, whose file says that it is shown mirrored."""
    pixels = np.full((3, 48, 64, 3), 90, np.uint8)
    pixels[:, :20, :20] = (220, 30, 30)
    write_mp4(path, pixels, 4.0)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    values = (-1 << 16, 0, 0, 0, 1 << 16, 0, 64 << 16, 0, 1 << 30)
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(content)


def test_an_upload_gives_the_same_pixels_as_every_other_command(uploads, tmp_path):
    mirrored_mp4(tmp_path / "a.mp4")
    seen = uploads.read(tmp_path / "a.mp4", 3)
    assert np.array_equal(seen, read_video(tmp_path / "a.mp4"))
    assert seen[0, 8, 56, 0] > 200 > 120 > seen[0, 8, 8, 0], "the square is at the right"
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 1] = 200  # invisible green
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="over white"):
        assert uploads.read(tmp_path / "a.png").min() == 255


def test_an_animated_upload_gives_several_frames_or_says_that_the_first_is_taken(uploads, tmp_path):
    pixels = moving_square()
    write_gif(tmp_path / "a.gif", pixels, 4.0)
    assert len(uploads.read(tmp_path / "a.gif", 3)) == 3
    with pytest.warns(UserWarning, match="the first is taken"):
        assert len(uploads.read(tmp_path / "a.gif")) == 1


FILES = {
    "tables.mp4": lambda folder: hostile.endless_tables(folder / "v.mp4"),
    "scans.jpg": lambda folder: hostile.repeated_scans(),
    "texts.png": lambda folder: hostile.many_texts(),
    "pictures.gif": lambda folder: hostile.many_pictures(),
    "animation.png": lambda folder: hostile.endless_animation(),
    "animation.webp": lambda folder: hostile.endless_webp(),
}


@pytest.mark.parametrize("name", FILES)
def test_small_files_that_cost_much_are_given_up_while_a_good_one_is_read(tmp_path, name):
    """Each is refused, or read if the machine can do that within the limits."""
    limits = Limits(decoded_megabytes=256, reading_seconds=4.0)
    uploads = Uploads(limits)
    (tmp_path / name).write_bytes(FILES[name](tmp_path))
    content, pixels = picture()
    (tmp_path / "good").write_bytes(content)
    uploads.read(tmp_path / "good")  # the processes are there
    before = begin_anew()
    outcome = []

    def read():
        started = time.monotonic()
        try:
            outcome.append(len(uploads.read(tmp_path / name, owner=("a stranger", ""))))
        except ValueError as error:
            outcome.append(str(error))
        outcome.append(time.monotonic() - started)

    thread = threading.Thread(target=read)
    thread.start()
    assert np.array_equal(uploads.read(tmp_path / "good")[0], pixels)
    if name == "scans.jpg":
        assert not outcome, "it takes long, and the good one does not wait for it"
    thread.join()
    result, seconds = outcome
    assert seconds < 30
    assert resident("VmHWM") - before < 100e6
    if name in ("tables.mp4", "scans.jpg"):
        assert re.search("given up|damaged|claims", result)


def test_a_file_of_a_visitor_who_has_left_is_given_up(tmp_path):
    (tmp_path / "a.jpg").write_bytes(hostile.repeated_scans())
    started = time.monotonic()
    with pytest.raises(Cancelled):
        Uploads(Limits(reading_seconds=600.0)).read(
            tmp_path / "a.jpg", is_cancelled=lambda: time.monotonic() > started + 1
        )
    assert time.monotonic() - started < 60
