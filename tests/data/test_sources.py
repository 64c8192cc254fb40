import pytest
from videos import moving_square

from aid.data.sources import read_source
from aid.video import write_mp4


def test_a_folder_without_any_video_is_refused_with_the_formats_that_were_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"Looked for: manifest .*captions"):
        read_source(tmp_path)


def test_a_plain_folder_of_videos_needs_no_words(tmp_path):
    write_mp4(tmp_path / "a.mp4", moving_square(), fps=4.0)
    source = read_source(tmp_path)
    (row,) = source.rows
    assert (source.format, row.video, row.instruction) == ("captions", "a.mp4", "")
    assert (row.num_frames, row.fps, row.height, row.width) == (5, 4.0, 64, 64)
    assert source.notes == ["1 videos have no words."]
