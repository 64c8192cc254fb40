import json

import numpy as np
import pytest
from videos import moving_square

from aid.evaluate.stored import StoredVideos, VideoRequest, safe_name


def test_file_names_are_safe_and_different_for_different_ids():
    assert safe_name("forks-000000-0") == "forks-000000-0"
    assert safe_name("0001.mp4@500ms") == "0001.mp4@500ms"
    ids = ["a/b", "a_b", "A_b", "../a", "..", "", "put it: in", "x" * 300, "x" * 301, "映像"]
    names = [safe_name(one) for one in ids]
    assert len(set(names)) == len(ids)
    assert all(name and "/" not in name and not name.startswith(".") for name in names)
    assert all(len(name.encode()) < 200 for name in names)
    assert len({name.lower() for name in map(safe_name, ("clip-a", "Clip-a"))}) == 2


@pytest.fixture
def stored(tmp_path):
    """A folder with one video, the name and facts of it, and a count of how often it was made."""
    videos, made = StoredVideos(tmp_path / "stored"), []

    def get(words="a"):
        request = VideoRequest(name="one", made_from={"instruction": words}, fps=4.0, row_id="one")

        def make(indices):
            made.append(indices)
            return [moving_square() for _ in indices]

        return videos.get([request], make)[0]

    assert np.array_equal(get(), moving_square())
    return videos, get, made


def test_a_kept_video_is_made_once(stored):
    videos, get, made = stored
    get()
    assert made == [[0]] and videos.has("one")
    assert videos.has("one", instruction="a") and not videos.has("one", instruction="b")
    assert json.loads((videos.folder / "one.json").read_text())["fps"] == 4.0


def test_a_video_with_a_flipped_byte_is_named_and_made_again(stored):
    videos, get, made = stored
    content = bytearray(videos.path("one").read_bytes())
    content[len(content) // 2] ^= 1
    videos.path("one").write_bytes(content)
    with pytest.warns(UserWarning, match=r"one.mp4' is missing or damaged: its SHA-256"):
        assert np.array_equal(get(), moving_square())
    assert len(made) == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"made_from": {"instruction": "a"}}', "null"])
def test_a_damaged_record_is_named_and_its_video_made_again(stored, text):
    videos, get, made = stored
    (videos.folder / "one.json").write_text(text)
    with pytest.warns(UserWarning, match=r"one.json' is damaged"):
        get()
    assert len(made) == 2


def test_a_video_without_a_record_or_with_another_origin_is_made_again(stored):
    videos, get, made = stored
    (videos.folder / "one.json").unlink()  # killed between the two files
    get()
    get("b")
    get("b")
    assert len(made) == 3
