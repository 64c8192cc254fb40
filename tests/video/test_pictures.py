"""Pictures of every mode: upright sRGB, or one sentence that refuses them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from aid.video import read_clip, read_image, read_picture
from aid.video.colour import ALPHA
from aid.video.pictures import FIRST_OF_SEVERAL, NO_PROFILE, image_pixels, is_animated, picture_size

RAMP = np.tile(np.linspace(0, 255, 32).round().astype(np.uint8), (8, 1))
COLOURS = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 90)], -1)


def test_sixteen_bits_of_grey_are_scaled(tmp_path):
    deep = np.tile(np.linspace(0, 65535, 32).round().astype(np.uint16), (8, 1))
    for name in ("a.png", "a.tif", "a.pgm"):
        Image.fromarray(deep).save(tmp_path / name)
        seen = read_image(tmp_path / name)
        assert np.abs(seen.astype(int) - RAMP[..., None]).max() <= 1, name


def test_sixteen_bits_of_colour_are_scaled(tmp_path):
    """Written by hand: Pillow writes 8 bits of colour only."""
    import struct
    import zlib

    deep = (COLOURS.astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 32, 8, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
    (tmp_path / "a.png").write_bytes(content + chunk(b"IEND", b""))
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - COLOURS).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV"])
def test_other_modes_become_rgb(mode):
    grey = Image.fromarray(np.repeat(RAMP[..., None], 3, -1))
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(grey, *profiles, outputMode="LAB")
    else:
        image = grey.convert(mode)
    pixels, notes = image_pixels(image)
    wanted = np.asarray(image.convert("RGB")) if mode != "LAB" else np.asarray(grey)
    assert np.abs(pixels.astype(int) - wanted).max() <= 4
    assert notes == []


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_without_a_range_are_refused(tmp_path, mode):
    Image.fromarray(RAMP).convert(mode).save(tmp_path / "depth.tif")
    with pytest.raises(ValueError, match=r"depth\.tif.*nothing says which of them are black"):
        read_image(tmp_path / "depth.tif")


def transparent():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., :3] = (71, 200, 76)
    pixels[2:6, 2:6] = (200, 30, 30, 255)
    return Image.fromarray(pixels)


def with_transparent_colour(kind):
    image = Image.new(kind, (8, 8), 200 if kind == "L" else (200, 30, 30))
    image.paste(7 if kind == "L" else (71, 200, 76), (0, 0, 8, 2))
    return image, 7 if kind == "L" else (71, 200, 76)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "L", "RGB", "webp"])
def test_transparent_pixels_are_white_and_said(tmp_path, mode):
    path = tmp_path / ("a.webp" if mode == "webp" else "a.png")
    if mode in ("L", "RGB"):
        image, colour = with_transparent_colour(mode)
        image.save(path, transparency=colour)
    elif mode == "PA":
        pixels, notes = image_pixels(transparent().convert("PA"))
    elif mode == "webp":
        transparent().save(path, lossless=True, exact=True)
    elif mode == "P":
        transparent().quantize(4).save(path)
    else:
        transparent().convert(mode).save(path)
    if mode != "PA":
        pixels, notes = read_picture(path)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert notes == [ALPHA]
    assert np.ptp(pixels[4, 4].astype(int) - pixels[4, 5]) == 0


def test_opaque_alpha_is_no_matter():
    assert image_pixels(Image.fromarray(COLOURS).convert("RGBA"))[1] == []


UPRIGHT = {
    1: [1, 2, 3],
    2: [3, 2, 1],
    3: [6, 5, 4],
    4: [4, 5, 6],
    5: [1, 4],
    6: [4, 1],
    7: [6, 3],
    8: [3, 6],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["png", "tif", "webp"])
def test_every_exif_orientation_is_applied(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.array([[1, 2, 3], [4, 5, 6]], np.uint8) * 40
    image = Image.fromarray(np.repeat(np.repeat(np.repeat(values[..., None], 3, -1), 8, 0), 8, 1))
    image.save(tmp_path / f"a.{kind}", exif=exif, **({"lossless": True} if kind == "webp" else {}))
    pixels = read_image(tmp_path / f"a.{kind}")
    assert (pixels[4, 4::8, 0] // 40).tolist() == UPRIGHT[orientation]
    assert picture_size(tmp_path / f"a.{kind}") == pixels.shape[:2]


def profile(red):
    """An RGB profile like sRGB's with another red, as bytes."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = made.index(b"rXYZ")
    start = int.from_bytes(made[at + 4 : at + 8], "big") + 8
    for place, value in enumerate(red):
        made[start + 4 * place : start + 4 * place + 4] = round(value * 65536).to_bytes(
            4, "big", signed=True
        )
    while (at := made.find(b"s\0R\0G\0B")) >= 0:
        made[at : at + 7] = b"x\0X\0X\0X"
    return bytes(made)


def test_a_colour_profile_is_converted_to_srgb(tmp_path):
    wide = profile((0.515, 0.241, -0.001))  # Display P3's red
    grey = Image.new("RGB", (8, 8), (200, 100, 100))
    grey.save(tmp_path / "a.png", icc_profile=wide)
    seen = read_image(tmp_path / "a.png")[4, 4].astype(int)
    assert seen[0] > 204
    assert seen[1] < 98
    grey.save(
        tmp_path / "b.png",
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )
    assert read_image(tmp_path / "b.png")[4, 4].tolist() == [200, 100, 100]


def test_a_damaged_colour_profile_is_said(tmp_path):
    Image.new("RGB", (8, 8), (200, 100, 100)).save(tmp_path / "a.png", icc_profile=b"nonsense" * 40)
    pixels, notes = read_picture(tmp_path / "a.png")
    assert (pixels[4, 4].tolist(), notes) == ([200, 100, 100], [NO_PROFILE])


def animation(path, durations=(100, 300), **settings):
    images = [Image.new("RGB", (16, 8), (60 * i, 10, 10)) for i in range(len(durations))]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=list(durations), **settings
    )
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animations_are_videos_by_their_durations_and_one_frame_as_pictures(tmp_path, name):
    path = animation(
        tmp_path / name, (100, 300, 100, 200), **({"lossless": True} if "webp" in name else {})
    )
    assert is_animated(path)
    clip = read_clip(path)
    assert clip.fps == pytest.approx(10)
    assert (clip.pixels[:, 4, 8, 0] / 60).round().tolist() == [0, 1, 1, 1, 2, 3, 3]
    with pytest.warns(UserWarning, match="the first is taken"):
        assert read_image(path)[4, 8, 0] == 0


def test_frames_that_are_too_short_last_as_long_as_in_browsers(tmp_path):
    assert read_clip(animation(tmp_path / "a.gif", (0, 0, 0))).fps == pytest.approx(10)


def test_the_picture_that_stands_for_an_animated_png_is_no_frame(tmp_path):
    cover = Image.new("RGB", (16, 8), (250, 250, 250))
    frames = [Image.new("RGB", (16, 8), (60 * i, 10, 10)) for i in range(2)]
    cover.save(
        tmp_path / "a.png", save_all=True, append_images=frames, duration=100, default_image=True
    )
    assert read_clip(tmp_path / "a.png").pixels[:, 4, 8, 0].tolist() == [0, 60]


def test_pages_and_animations_as_pictures_say_that_the_first_is_taken(tmp_path):
    pages = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in (1, 2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    pixels, notes = read_picture(tmp_path / "a.tif")
    assert (pixels[0, 0, 0], notes) == (1, [FIRST_OF_SEVERAL])


@pytest.mark.parametrize("name", ["a.avif", "a.png"])
def test_pictures_of_high_dynamic_range_are_refused(tmp_path, name):
    if name == "a.avif":
        Image.fromarray(COLOURS).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        at = content.index(b"colrnclx") + 10
        content = content[:at] + b"\0\x10" + content[at + 2 :]
    else:
        stream = io.BytesIO()
        Image.fromarray(COLOURS).save(stream, "PNG")
        content = stream.getvalue()
        content = content[:33] + b"\0\0\0\x04cICP\x09\x10\0\x01\0\0\0\0" + content[33:]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="high dynamic range"):
        read_image(tmp_path / name)
