import json

import numpy as np
import pytest
from videos import moving_square

from aid.evaluate.kept import KeptVideos, Wanted, safe_name


def test_names_of_files_are_safe_and_differ_where_ids_do():
    assert safe_name("forks-000000-0") == "forks-000000-0"
    assert safe_name("0001.mp4@500ms") == "0001.mp4@500ms"
    ids = ["a/b", "a_b", "A_b", "../a", "..", "", "put it: in", "x" * 300, "x" * 301, "映像"]
    names = [safe_name(one) for one in ids]
    assert len(set(names)) == len(ids)
    assert all(name and "/" not in name and not name.startswith(".") for name in names)
    assert all(len(name.encode()) < 200 for name in names)
    assert len({name.lower() for name in map(safe_name, ("clip-a", "Clip-a"))}) == 2


@pytest.fixture
def kept(tmp_path):
    """A folder with one video, the name and facts of it, and a count of how often it was made."""
    videos, made = KeptVideos(tmp_path / "kept"), []

    def ensure(told="a"):
        wanted = Wanted(name="one", made_from={"told": told}, fps=4.0, row_id="one")

        def make(places):
            made.append(places)
            return [moving_square() for _ in places]

        return videos.ensure([wanted], make)[0]

    assert np.array_equal(ensure(), moving_square())
    return videos, ensure, made


def test_a_kept_video_is_made_once(kept):
    videos, ensure, made = kept
    ensure()
    assert made == [[0]] and videos.has("one")
    assert videos.has("one", told="a") and not videos.has("one", told="b")
    assert json.loads((videos.folder / "one.json").read_text())["fps"] == 4.0


def test_a_flipped_byte_is_named_and_the_video_made_again(kept):
    videos, ensure, made = kept
    content = bytearray(videos.path("one").read_bytes())
    content[len(content) // 2] ^= 1
    videos.path("one").write_bytes(content)
    with pytest.warns(UserWarning, match=r"one.mp4' is missing or damaged: its SHA-256"):
        assert np.array_equal(ensure(), moving_square())
    assert len(made) == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"made_from": {"told": "a"}}', "null"])
def test_a_damaged_record_is_named_and_the_video_made_again(kept, text):
    videos, ensure, made = kept
    (videos.folder / "one.json").write_text(text)
    with pytest.warns(UserWarning, match=r"one.json' is damaged"):
        ensure()
    assert len(made) == 2


def test_a_video_without_a_record_and_one_made_from_something_else_are_made_again(kept):
    videos, ensure, made = kept
    (videos.folder / "one.json").unlink()  # killed between the two files
    ensure()
    ensure("b")
    ensure("b")
    assert len(made) == 3
