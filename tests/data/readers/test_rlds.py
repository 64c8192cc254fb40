import io
import json

import numpy as np
import pytest
from layouts import example_message, image_bytes, masked_crc, write_json, write_records
from PIL import Image

from aid.config import SourceConfig
from aid.data.readers.rlds import parse_example, read_records
from aid.data.sources import read_source
from aid.video import frame_files


def image(dtype="uint8", sides=("48", "64", "3")):
    return {
        "pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
        "image": {"shape": {"dimensions": sides}, "dtype": dtype, "encodingFormat": "jpeg"},
    }


FEATURES = {
    "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
    "featuresDict": {
        "features": {
            "steps": {
                "sequence": {
                    "feature": {
                        "featuresDict": {
                            "features": {
                                "observation": {
                                    "featuresDict": {
                                        "features": {
                                            "image_0": image(),
                                            "image_1": image(),
                                            "depth_0": image("uint16", ("48", "64", "1")),
                                            "state": {"tensor": {"dtype": "float32"}},
                                        }
                                    }
                                },
                                "language_instruction": {"text": {}},
                                "language_instruction_2": {"tensor": {"dtype": "string"}},
                                "is_first": {"tensor": {"dtype": "bool"}},
                            }
                        }
                    },
                    "length": "-1",
                }
            },
            "episode_metadata": {
                "featuresDict": {"features": {"file_path": {"text": {}}}},
            },
        }
    },
}


def episode(number, words, has_second=True, length=4):
    frames = [image_bytes(number + step) for step in range(length)]
    return example_message(
        {
            "steps/observation/image_0": frames,
            "steps/observation/image_1": frames,
            "steps/observation/depth_0": [b"\x89PNG"] * length,
            "steps/language_instruction": [words.encode()] * length,
            "steps/language_instruction_2": [b""] * length,
            "steps/is_first": [1] + [0] * (length - 1),
            "episode_metadata/file_path": [b"/somewhere"],
            "episode_metadata/has_image_1": [int(has_second)],
        }
    )


def write_rlds(folder):
    home = folder / "1.0.0"
    write_json(home / "features.json", FEATURES)
    write_json(home / "dataset_info.json", {"name": "bridge_dataset", "version": "1.0.0"})
    said = ["put the spoon on the towel", "räume auf"]
    messages = [episode(n, words, has_second=n == 0) for n, words in enumerate(said)]
    write_records(home / "bridge_dataset-train.tfrecord-00000-of-00001", messages)
    write_records(home / "bridge_dataset-val.tfrecord-00000-of-00001", [episode(9, "öffne")])
    return folder


def test_rlds_gives_a_row_per_episode_and_camera_and_unpacks_the_frames(tmp_path):
    source = read_source(write_rlds(tmp_path / "set"), unpack_to=tmp_path / "out")
    assert source.format == "rlds"
    assert [(row.split, row.camera, row.instruction) for row in source.rows] == [
        ("train", "image_0", "put the spoon on the towel"),
        ("train", "image_1", "put the spoon on the towel"),
        ("train", "image_0", "räume auf"),  # its second camera is filled up, and says so
        ("val", "image_0", "öffne"),
        ("val", "image_1", "öffne"),
    ]
    row = source.rows[2]
    assert (row.num_frames, row.fps, row.height, row.width) == (4, 0.0, 48, 64)
    files = frame_files(source.folder / row.video)
    assert [file.read_bytes() for file in files] == [image_bytes(1 + step) for step in range(4)]
    assert any("--fps" in note for note in source.notes)


def test_the_rate_can_be_given_where_the_format_has_none(tmp_path):
    folder = write_rlds(tmp_path / "set")
    source = read_source(
        folder, SourceConfig(fps=5.0, split="val", camera="image_0"), unpack_to=tmp_path / "out"
    )
    assert [row.fps for row in source.rows] == [5.0]
    assert len(list((tmp_path / "out").glob("*/*/*"))) == 1


def test_the_checksum_is_crc32c_masked_as_the_format_says():
    # The check value of CRC-32C of "123456789" is 0xE3069283.
    rotated = ((0xE3069283 >> 15) | (0xE3069283 << 17)) & 0xFFFFFFFF
    assert masked_crc(b"123456789") == ((rotated + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


@pytest.mark.parametrize("at", [0, 9, 12, 40, -1])
def test_any_flipped_byte_is_detected(tmp_path, at):
    path = write_records(tmp_path / "a", [b"x" * 50])
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged at byte|breaks off"):
        list(read_records(tmp_path, "a"))


@pytest.mark.parametrize("keep", [5, 11, 30, 65])
def test_an_incomplete_file_is_refused(tmp_path, keep):
    path = write_records(tmp_path / "a", [b"x" * 50])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"ends in the middle|is damaged"):
        list(read_records(tmp_path, "a"))


def test_a_length_beyond_the_file_is_refused_before_anything_is_read(tmp_path):
    head = (1 << 60).to_bytes(8, "little")
    (tmp_path / "a").write_bytes(head + masked_crc(head) + b"x" * 100)
    with pytest.raises(ValueError, match="ends in the middle of a record at byte 0"):
        list(read_records(tmp_path, "a"))


@pytest.mark.parametrize(
    "message", [b"\xff", b"\x0a\xff\xff\xff\xff", b"\x0b", b"\x0a\x02\x0a\x05"]
)
def test_a_message_that_is_not_an_example_is_refused(message):
    with pytest.raises(ValueError, match=r"is not a tf\.train\.Example"):
        parse_example(memoryview(message), "record 0")


def test_features_without_an_image_are_refused(tmp_path):
    write_rlds(tmp_path)
    changed = json.dumps(FEATURES).replace('"uint8"', '"uint16"')
    (tmp_path / "1.0.0/features.json").write_text(changed)
    with pytest.raises(ValueError, match="has no colour image"):
        read_source(tmp_path)


def test_cameras_of_an_episode_share_its_name_and_episodes_do_not(tmp_path):
    rows = read_source(write_rlds(tmp_path / "set"), unpack_to=tmp_path / "out").rows
    names = [row.world["episode"] for row in rows]
    assert names[0] == names[1] and names[3] == names[4]
    assert len(set(names)) == 3


def picture(number, kind="JPEG"):
    """A picture with something in it, another one for each number."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[8:20, 4 + number : 24 + number] = (200, 120, 40)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def write_flagged(folder, flags, cameras=None, length=4):
    """One episode of two cameras whose flags say something."""
    black = image_bytes(-10)
    shown = {"moving": [picture(n) for n in range(length)], "black": [black] * length,
             "grey": [image_bytes(90 + n) for n in range(length)]}  # fmt: skip
    write_json(folder / "features.json", FEATURES)
    features = {"steps/language_instruction": [b"push"] * length}
    for number, kind in enumerate(cameras or ("moving", "moving")):
        features[f"steps/observation/image_{number}"] = shown[kind]
        if flags[number] is not None:
            features[f"episode_metadata/has_image_{number}"] = [flags[number]]
    write_records(folder / "a-train.tfrecord-00000-of-00001", [example_message(features)])
    return folder


@pytest.mark.parametrize(
    ("flags", "cameras", "kept", "note"),
    [
        ((0, 0), ("moving", "moving"), ["image_0", "image_1"], "its images exist and are"),
        ((0, 0), ("grey", "grey"), ["image_0", "image_1"], "its images exist and are read"),
        (
            (1, 0),
            ("moving", "moving"),
            ["image_0", "image_1"],
            "camera image_1 as missing, but its",
        ),
        ((0, 0), ("moving", "black"), ["image_0"], "only black images of camera image_1"),
        ((1, 0), ("moving", "black"), ["image_0"], "have no camera image_1, as flagged"),
        ((1, 1), ("moving", "black"), ["image_0"], "only black images of camera image_1"),
        ((None, None), ("moving", "black"), ["image_0"], "only black images of camera"),
        ((1, 1), ("moving", "grey"), ["image_0", "image_1"], "--fps"),
    ],
)
def test_images_are_trusted_where_a_flag_contradicts_them(tmp_path, flags, cameras, kept, note):
    folder = write_flagged(tmp_path / "set", flags, cameras)
    source = read_source(folder, unpack_to=tmp_path / "out")
    assert [row.camera for row in source.rows] == kept
    assert note in " ".join(source.notes)


def test_features_that_are_left_out_of_an_rlds_set_are_noted(tmp_path):
    folder = write_flagged(tmp_path / "set", (1, 1))
    path = folder / "a-train.tfrecord-00000-of-00001"
    path.rename(folder / "a-train.tfrecord-00001-of-00003")
    notes = " ".join(read_source(folder, unpack_to=tmp_path / "out").notes)
    assert "2 shards do not exist (the first: 'a-train.tfrecord-00000-of-00003')" in notes
    assert "features that are not colour images are left out: depth_0." in notes


def test_the_last_version_is_read_and_several_data_sets_are_refused(tmp_path):
    for version in ("0.9.0", "0.10.0"):
        write_flagged(tmp_path / "many/bridge" / version, (1, 1))
    source = read_source(tmp_path / "many/bridge", unpack_to=tmp_path / "out")
    assert any("version 0.10.0 is read; left out: 0.9.0" in note for note in source.notes)
    write_flagged(tmp_path / "many/other/1.0.0", (1, 1))
    with pytest.raises(ValueError, match=r"several data sets: bridge/0\.9\.0, .*other/1\.0\.0"):
        read_source(tmp_path / "many")


def test_an_instruction_stored_as_character_codes_is_read(tmp_path):
    """As Language-Table has it: 512 numbers a step, filled up with zeros."""
    codes = [*b"push the block", *[0] * 18]
    kinds = {"rgb": image(), "instruction": {"tensor": {"dtype": "int32", "shape": {
        "dimensions": [str(len(codes))]}}}}  # fmt: skip
    observation = {"featuresDict": {"features": {"observation": {"featuresDict": {
        "features": kinds}}}}}  # fmt: skip
    steps = {"sequence": {"feature": observation}}
    write_json(tmp_path / "set/features.json", {"featuresDict": {"features": {"steps": steps}}})
    features = {"steps/observation/rgb": [picture(n) for n in range(3)],
                "steps/observation/instruction": codes * 3}  # fmt: skip
    write_records(tmp_path / "set/a-train.tfrecord-00000-of-00001", [example_message(features)])
    (row,) = read_source(tmp_path / "set", unpack_to=tmp_path / "out").rows
    assert (row.instruction, row.camera) == ("push the block", "rgb")


def test_sizes_in_the_features_are_compared_with_the_images(tmp_path):
    folder = write_flagged(tmp_path / "set", (1, 1))
    changed = json.loads(json.dumps(FEATURES).replace('["48", "64", "3"]', '["64", "48", "3"]'))
    write_json(folder / "features.json", changed)
    source = read_source(folder, unpack_to=tmp_path / "out")
    assert {(row.height, row.width) for row in source.rows} == {(48, 64)}
    assert any("2 videos have another size than the lists say" in note for note in source.notes)
