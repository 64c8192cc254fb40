import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import write_video

from aid.config import SourceConfig
from aid.data.sources import read_source

# A few bytes that only have to be listed: no test here looks at pixels.
QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Anything a caption may be: all scripts, any length, quotes, line breaks, no lone surrogates.
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def said(folder, **asked):
    return {row.video: row.instruction for row in read_source(folder, SourceConfig(**asked)).rows}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.csv", 'video,caption\na.mp4,"push, then lift"\nsub/b.mp4,öffne\n'),
        ("metadata.csv", 'file_name,text\na.mp4,"push, then lift"\nsub/b.mp4,öffne\n'),
        ("captions.tsv", "path\tprompt\na.mp4\tpush, then lift\nsub/b.mp4\töffne\n"),
        (
            "metadata.jsonl",
            '{"file_name": "a.mp4", "text": "push, then lift"}\n\n'
            '{"file_name": "sub/b.mp4", "text": "öffne"}\n',
        ),
        ("captions.txt", "a.mp4\tpush, then lift\n\nsub/b.mp4 | öffne\n"),
    ],
)
def test_a_list_names_videos_and_words(tmp_path, name, text):
    for video in ("a.mp4", "sub/b.mp4", "unlisted.mp4"):
        write_video(tmp_path / video)
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert said(tmp_path) == {"a.mp4": "push, then lift", "sub/b.mp4": "öffne"}


def test_two_lists_belong_together_line_by_line(tmp_path):
    write_video(tmp_path / "videos/a.mp4")
    (tmp_path / "videos.txt").write_text("videos/a.mp4\n")
    (tmp_path / "prompts.txt").write_text("push it\n")
    assert said(tmp_path) == {"videos/a.mp4": "push it"}
    (tmp_path / "prompts.txt").write_text("push it\nand more\n")
    with pytest.raises(ValueError, match=r"videos\.txt has 1 lines and prompts\.txt has 2"):
        read_source(tmp_path)


def test_words_of_the_same_name_lie_beside_the_video_or_in_metas(tmp_path):
    for video in ("videos/a.mp4", "videos/b.webm", "videos/c.avi"):
        write_video(tmp_path / video)
    (tmp_path / "metas").mkdir()
    (tmp_path / "metas/a.txt").write_text("push\n it\n")
    (tmp_path / "videos/b.txt").write_text("lift")
    assert said(tmp_path) == {
        "videos/a.mp4": "push it",
        "videos/b.webm": "lift",
        "videos/c.avi": "",
    }


@given(st.lists(WORDS, min_size=1, max_size=3))
@QUICK
def test_any_words_come_back_from_a_list(tmp_path, captions):
    for number in range(len(captions)):
        (tmp_path / f"{number}.mp4").touch()
    lines = [{"video": f"{n}.mp4", "caption": words} for n, words in enumerate(captions)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (tmp_path / "captions.jsonl").write_text(text, encoding="utf-8", newline="")
    assert list(said(tmp_path).values()) == [words.strip() for words in captions]


def test_a_caption_of_a_million_letters_is_read(tmp_path):
    write_video(tmp_path / "a.mp4")
    words = "ß" * 1_000_000
    (tmp_path / "captions.csv").write_text(f"video,caption\na.mp4,{words}\n", encoding="utf-8")
    assert said(tmp_path) == {"a.mp4": words}


@given(name=st.sampled_from(["captions.csv", "captions.jsonl", "captions.txt"]), noise=st.binary())
@QUICK
def test_noise_as_a_list_is_refused_or_read_but_never_a_crash(tmp_path, name, noise):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (folder / "a.mp4").touch()
    (folder / name).write_bytes(noise)
    try:
        read_source(folder)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 600


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("captions.csv", b"video,caption\na.mp4,\xff\xfe\n", "is not UTF-8 text"),
        ("captions.csv", b"video,caption\na.mp4,x,y\n", "row 2: not as many cells"),
        ("captions.csv", b"clip,words\na.mp4,x\n", "needs a file name in one of the columns"),
        ("captions.csv", b'video,caption\n"a.mp4,x\n', "is no CSV table"),
        ("captions.jsonl", b'{"video": "a.mp4"\n', "line 1: is not JSON"),
        ("captions.jsonl", b"[" * 100_000, "is not JSON"),
        ("captions.jsonl", b'["a.mp4"]\n', "not a JSON object"),
        ("captions.jsonl", b'{"video": ["a.mp4"]}\n', "needs a file name"),
        ("captions.jsonl", b'{"video": "a.mp4", "caption": 7}\n', "text as words"),
        ("captions.txt", b"just words\n", "not a video and its words"),
        ("captions.csv", b"video,caption\n../secret.mp4,x\n", "outside the folder"),
        ("captions.csv", b"video,caption\n/etc/passwd,x\n", "outside the folder"),
        ("captions.jsonl", b'{"video": "a\\u0000.mp4"}\n', "is no path"),
        ("captions.jsonl", b'{"video": "' + b"a" * 5000 + b'"}\n', "is no path"),
        ("captions.jsonl", b'{"video": "a.mp4", "caption": "\\ud800"}\n', "are no text"),
        ("captions.csv", b"video,caption\na.mp4,x\na.mp4,y\n", "two videos have the id 'a.mp4'"),
        ("captions.csv", b"", "holds no video"),
    ],
)
def test_a_malformed_list_is_refused_in_one_sentence(tmp_path, name, content, sentence):
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.mp4").touch()
    (folder / "a.mp4").touch()
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_source(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
