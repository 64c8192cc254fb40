import json
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import image_bytes, write_frames, write_json, write_table, write_video
from PIL import Image

from aid.config import SourceConfig
from aid.data.readers.caption_lists import FILES, WORDS
from aid.data.sources import read_source

# A few bytes that only have to be listed: no test here looks at pixels.
QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Anything a caption may be: all scripts, any length, quotes, line breaks, no lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


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
def test_a_list_gives_videos_and_captions(tmp_path, name, text):
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


def test_captions_of_the_same_name_are_beside_the_video_or_in_metas(tmp_path):
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


@given(st.lists(TEXT, min_size=1, max_size=3))
@QUICK
def test_any_text_in_a_list_is_read_unchanged(tmp_path, captions):
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


NOISY = [f"captions.{kind}" for kind in ("csv", "tsv", "jsonl", "json", "parquet", "txt")]


@given(name=st.sampled_from(NOISY), noise=st.binary())
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


KEYS = st.sampled_from([*FILES, *WORDS, "videos", "a_file_name", "start", "end", "timestamps", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just("a.mp4"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(value=VALUES)
@settings(QUICK, max_examples=300)
def test_any_json_as_a_list_is_refused_or_read_but_never_a_crash(tmp_path, value):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "captions.json").write_text(json.dumps(value), encoding="utf-8")
    try:
        read_source(tmp_path)
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("captions.csv", b"video,caption\na.mp4,\xff\xfe\n", "is not UTF-8 text"),
        (
            "captions.csv",
            b"video,caption\na.mp4,x,y\n",
            "row 2 has 3 cells, and the first line has 2",
        ),
        ("captions.csv", b"clip,words\na.mp4,x\n", "needs a file name in one of the columns"),
        ("captions.csv", b'video,caption\n"a.mp4,x\n', "is not a CSV table"),
        ("captions.jsonl", b'{"video": "a.mp4"\n', "line 1: is not valid JSON"),
        ("captions.jsonl", b"[" * 100_000, "is not valid JSON"),
        ("captions.jsonl", b'["a.mp4"]\n', "not a JSON object"),
        ("captions.jsonl", b'{"video": ["a.mp4"]}\n', "needs a file name"),
        ("captions.jsonl", b'{"video": "a.mp4", "caption": 7}\n', "text as captions"),
        ("captions.txt", b"just words\n", "not a video and its caption"),
        ("captions.csv", b"video,caption\n../secret.mp4,x\n", "outside the folder"),
        ("captions.csv", b"video,caption\n/etc/passwd,x\n", "outside the folder"),
        ("captions.jsonl", b'{"video": "a\\u0000.mp4"}\n', "is not a path"),
        ("captions.jsonl", b'{"video": "' + b"a" * 5000 + b'"}\n', "is not a path"),
        ("captions.jsonl", b'{"video": "a.mp4", "caption": "\\ud800"}\n', "are not valid Unicode"),
        ("captions.csv", b"video,caption\nb.mp4,x\n", "holds no video that can be read: 1 "),
        ("captions.csv", b'video,caption\na.mp4,"x" y\n', "line 2.*double the inner ones"),
        ("captions.json", b'{"a.mp4": 7}', "text as captions"),
        ("captions.json", b"[1]", "an entry must be an object"),
        ("captions.json", b'"a.mp4"', "must hold a list or an object"),
        ("captions.parquet", b"PAR1", "is not a readable Parquet file"),
        ("captions.csv", b"", "holds no video"),
    ],
)
def test_a_malformed_list_is_refused_with_one_sentence(tmp_path, name, content, sentence):
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.mp4").touch()
    (folder / "a.mp4").touch()
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_source(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def read(folder, **asked):
    """Rows by their video, and the notes as one text."""
    source = read_source(folder, SourceConfig(**asked))
    return {row.video: row for row in source.rows}, " ".join(source.notes)


PUBLIC_LISTS = {
    "musubi-tuner": (
        "set.jsonl",
        '{"video_path": "a.mp4", "caption": "push"}\n'
        '{"video_path": "b/c.mp4", "caption": "lift"}\n',
    ),
    "Open-Sora": (
        "clips_info.csv",
        "path,text,num_frames,height,width,aspect_ratio,fps\n"
        "/other/disk/set/a.mp4,push,51,480,640,0.75,24.0\n"
        "/other/disk/set/b/c.mp4,lift,51,480,640,1,24\n",
    ),
    "VideoX-Fun": (
        "metadata_of_my_set.json",
        '[{"file_path": "a.mp4", "text": "push", "type": "video"}, '
        '{"file_path": "b/c.mp4", "text": "lift", "type": "video"}]',
    ),
    "diffusion-pipe": ("captions.json", '{"a.mp4": "push", "b/c.mp4": ["lift"]}'),
    "finetrainers": ("metadata.json", '[{"file_name": "a.mp4", "caption": "push"}, '
                     '{"file_name": "b/c.mp4", "caption": "lift"}]'),
    "with a key": ("dataset.json", '{"info": {"year": 1}, "data": [{"video": "a", '
                   '"caption": "push"}, {"video": "c", "caption": "lift"}]}'),
    "MSR-VTT": (
        "annotations.json",
        '{"videos": [{"video_id": "a", "split": "train"}, {"video_id": "c", "split": "train"}], '
        '"sentences": [{"video_id": "a", "caption": "push"}, '
        '{"video_id": "c", "caption": "lift"}]}',
    ),
    "a spreadsheet": ("captions.csv", "video;caption\r\na.mp4;push\r\nb\\c.mp4;lift\r\n"),
    "no first line": ("captions.csv", "a.mp4,push\nb/c.mp4,lift\n"),
    "a byte order mark": ("metadata.csv", "\ufefffile_name,text\na.mp4,push\nb/c.mp4,lift\n"),
}  # fmt: skip


@pytest.mark.parametrize("trainer", PUBLIC_LISTS)
def test_lists_of_public_trainers_are_read_under_any_name(tmp_path, trainer):
    name, text = PUBLIC_LISTS[trainer]
    touch(tmp_path, "a.mp4", "b/c.mp4", "b/unlisted.mp4")
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    rows, notes = read(tmp_path)
    assert {video: row.instruction for video, row in rows.items()} == {
        "a.mp4": "push", "b/c.mp4": "lift",
    }  # fmt: skip
    assert (
        "1 videos are not named in the list and are left out (the first: 'b/unlisted.mp4')" in notes
    )


@pytest.mark.parametrize("words", ["prompts.txt", "prompt.txt", "captions.txt", "caption.txt"])
def test_a_list_of_videos_goes_with_a_list_of_words_of_any_usual_name(tmp_path, words):
    touch(tmp_path, "videos/0.mp4", "videos/1.mp4")
    (tmp_path / "videos.txt").write_text("videos/1.mp4\r\nvideos/0.mp4\r\n", newline="")
    (tmp_path / words).write_text("one\r\nnull\r\n", newline="")
    assert said(tmp_path) == {"videos/1.mp4": "one", "videos/0.mp4": "null"}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_each_split_of_a_video_folder_has_its_own_metadata(tmp_path, kind):
    """As Hugging Face's VideoFolder keeps them; also where one folder has none."""
    touch(tmp_path, "train/a.mp4", "test/a.mp4", "test/deep/b.mp4", "val/c.mp4")
    (tmp_path / "val/c.txt").write_text("beside")
    for split, names in {"train": ["a.mp4"], "test": ["a.mp4", "deep/b.mp4"]}.items():
        table = {"file_name": names, "text": [f"{split} {name}" for name in names]}
        path = tmp_path / split / f"metadata.{kind}"
        if kind == "parquet":
            write_table(path, table)
        elif kind == "csv":
            lines = zip(*table.values(), strict=True)
            path.write_text("file_name,text\n" + "".join(f"{a},{b}\n" for a, b in lines))
        else:
            lines = [
                dict(zip(table, line, strict=True)) for line in zip(*table.values(), strict=True)
            ]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, _ = read(tmp_path)
    assert {video: (row.split, row.instruction) for video, row in rows.items()} == {
        "train/a.mp4": ("train", "train a.mp4"),
        "test/a.mp4": ("test", "test a.mp4"),
        "test/deep/b.mp4": ("test", "test deep/b.mp4"),
        "val/c.mp4": ("val", "beside"),
    }
    assert set(read(tmp_path, split="validation")[0]) == {"val/c.mp4"}


def test_lists_named_like_splits_are_read_together(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    for name, video in {"train": "a", "metadata_val": "x", "val": "b", "test": "c"}.items():
        (tmp_path / f"{name}.csv").write_text(f"video,caption\n{video}.mp4,{name}\n")
    (tmp_path / "metadata_val.csv").unlink()
    rows, _ = read(tmp_path)
    assert {video: row.split for video, row in rows.items()} == {
        "a.mp4": "train", "b.mp4": "val", "c.mp4": "test",
    }  # fmt: skip


def test_several_columns_of_files_are_cameras_of_one_episode(tmp_path):
    touch(tmp_path, "f0.mp4", "w0.mp4", "f1.mp4", "w1.mp4")
    lines = [
        {"front_file_name": f"f{n}.mp4", "wrist_file_name": f"w{n}.mp4", "text": f"task {n}"}
        for n in range(2)
    ]
    path = tmp_path / "metadata.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, _ = read(tmp_path)
    assert [(r.camera, r.instruction, r.world["episode"]) for r in rows.values()] == [
        ("front", "task 0", "f0.mp4"), ("wrist", "task 0", "f0.mp4"),
        ("front", "task 1", "f1.mp4"), ("wrist", "task 1", "f1.mp4"),
    ]  # fmt: skip
    path.write_text(json.dumps({"file_names": ["f0.mp4", "w0.mp4"], "caption": "x"}))
    rows, _ = read(tmp_path)
    assert [(row.camera, row.world["episode"]) for row in rows.values()] == [
        ("0", "f0.mp4"), ("1", "f0.mp4"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.csv", "video,caption\na.mp4,push\nb.mp4,lift\na.mp4,shove\na.mp4,push\n"),
        ("captions.jsonl", '{"video": "a.mp4", "captions": ["push", "shove", ""]}\n'
         '{"video": "b.mp4", "caption": "lift"}\n'),
        ("captions.csv", "video,caption_0,caption_1\na.mp4,push,shove\nb.mp4,lift,\n"),
    ],
)  # fmt: skip
def test_several_captions_of_a_video_are_wordings(tmp_path, name, text):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / name).write_text(text)
    rows, _ = read(tmp_path)
    assert (rows["a.mp4"].instruction, rows["a.mp4"].wordings) == ("push", ["push", "shove"])
    assert (rows["b.mp4"].instruction, rows["b.mp4"].wordings) == ("lift", [])


def test_a_video_listed_with_several_times_has_parts_and_with_one_is_read_whole(tmp_path):
    for name in ("long.mp4", "cut.mp4"):
        write_video(tmp_path / name, num_frames=16)
    (tmp_path / "captions.csv").write_text(
        "video,start,end,caption\nlong.mp4,0,1.5,push\nlong.mp4,00:00:02,00:00:04,lift\n"
        "cut.mp4,100,110,pull\n"
    )
    source = read_source(tmp_path)
    assert [(r.instruction, r.start, r.stop, r.num_frames) for r in source.rows] == [
        ("push", 0.0, 1.5, 6), ("lift", 2.0, 4.0, 8), ("pull", 0.0, None, 16),
    ]  # fmt: skip
    assert source.rows[0].world["episode"] == source.rows[1].world["episode"] == "long.mp4"
    assert any("listed once" in note and "cut.mp4" in note for note in source.notes)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ('"stop" sign falls over', '"stop" sign falls over'),
        ('"stop"', '"stop"'),
        ('"', '"'),
        ('he says "go" and "stop"', 'he says "go" and "stop"'),
        ('"""stop"" sign, falls"', '"stop" sign, falls'),
        ('"two\nlines"', "two\nlines"),
    ],
)
def test_quotation_marks_in_tab_separated_tables_are_text_unless_cells_are_quoted(
    tmp_path, cells, words
):
    touch(tmp_path, "a.mp4", "b.mp4")
    text = f"video\tcaption\na.mp4\tpush it\nb.mp4\t{cells}\n"
    (tmp_path / "captions.tsv").write_text(text, encoding="utf-8", newline="")
    assert said(tmp_path) == {"a.mp4": "push it", "b.mp4": words}


def test_a_fully_quoted_tab_separated_table_is_unquoted(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "captions.tsv").write_text('"video"\t"caption"\n"a.mp4"\t"push it"\n')
    assert said(tmp_path) == {"a.mp4": "push it"}


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_found_in_any_unicode_form(tmp_path, forms):
    on_disk, listed = (unicodedata.normalize(form, "Überfluß é.mp4") for form in forms)
    touch(tmp_path, on_disk)
    (tmp_path / "captions.csv").write_text(f"video,caption\n{listed},push\n", encoding="utf-8")
    assert said(tmp_path) == {on_disk: "push"}
    (tmp_path / "captions.csv").unlink()
    (tmp_path / listed).with_suffix(".txt").write_text("lift", encoding="utf-8")
    assert said(tmp_path) == {on_disk: "lift"}


def test_a_name_that_fits_two_videos_is_not_guessed(tmp_path):
    touch(tmp_path, "x/a.mp4", "y/a.mp4", "y/b.mp4")
    (tmp_path / "captions.csv").write_text("video,caption\na.mp4,push\n/else/y/a.mp4,lift\n")
    rows, notes = read(tmp_path)
    assert {video: row.instruction for video, row in rows.items()} == {"y/a.mp4": "lift"}
    assert "1 missing videos that 'captions.csv' names are left out" in notes


def test_nothing_is_left_out_without_a_note(tmp_path):
    touch(tmp_path, "a.mp4", "old/b.rmvb", "e.mp4", "spare.txt", "captions.csv")
    (tmp_path / "a.txt").write_text("push")
    (tmp_path / "p.txt").write_text("a picture")
    (tmp_path / "p.png").write_bytes(image_bytes(kind="PNG"))
    write_frames(tmp_path / "frames", "{}.jpg")
    (tmp_path / "captions.csv").unlink()
    (tmp_path / "disk").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "disk")
    rows, notes = read(tmp_path)
    assert set(rows) == {"a.mp4", "e.mp4"}
    for sentence in (
        "1 files are left out, because .rmvb is not read as a video (the first: 'old/b.rmvb')",
        "1 pictures with captions are left out (the first: 'p.png')",
        "2 caption files belong to no video (the first: 'p.txt')",
        "1 folders of images are left out, because there are videos (the first: 'frames')",
        "1 folders are links and are not followed; copy the folder itself (the first: 'linke",
        "1 videos have no instruction",
    ):
        assert sentence in notes, sentence


def test_missing_videos_of_a_list_are_counted_and_a_second_list_is_noted(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "captions.csv").write_text("video,caption\na.mp4,push\nb.mp4,lift\nc.png,see\n")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.mp4", "text": "other"}')
    rows, notes = read(tmp_path)
    assert [row.instruction for row in rows.values()] == ["push"]
    assert "1 missing videos that 'captions.csv' names are left out" in notes
    assert "1 pictures that 'captions.csv' names are left out (the first: 'c.png')" in notes
    assert "1 lists are left out, because another is read (the first: 'metadata.jsonl')" in notes


def test_folders_of_frames_are_videos_if_there_is_no_video_file(tmp_path):
    for name in ("one", "two/deep"):
        write_frames(tmp_path / name, "{:05d}.jpg", num_frames=3)
    (tmp_path / "one.txt").write_text("push")
    rows, notes = read(tmp_path, fps=4.0)
    assert {video: (row.instruction, row.num_frames) for video, row in rows.items()} == {
        "one": ("push", 3), "two/deep": ("", 3),
    }  # fmt: skip
    assert "2 folders of images are read as videos" in notes


def test_a_folder_of_links_or_of_other_files_is_refused_with_the_reason(tmp_path):
    touch(tmp_path, "disk/a.mp4", "set/readme", "other/a.rmvb")
    (tmp_path / "set/videos").symlink_to(tmp_path / "disk")
    with pytest.raises(ValueError, match=r"'videos' is a link to a folder, and links are not"):
        read_source(tmp_path / "set")
    with pytest.raises(ValueError, match=r"Files of type \.rmvb are not read as videos"):
        read_source(tmp_path / "other")


def test_labels_and_prompts_beside_videos_are_read(tmp_path):
    touch(tmp_path, "videos/a.mp4", "set/clips/b.mp4", "c.mp4", "d.mp4", "f.mp4")
    for name in ("labels/a.txt", "set/prompts/b.txt", "c.mp4.caption"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    write_json(tmp_path / "d.json", {"caption": "of json", "key": "d"})
    write_json(tmp_path / "f.json", {"fps": 30})
    assert said(tmp_path) == {
        "videos/a.mp4": "labels/a.txt", "set/clips/b.mp4": "set/prompts/b.txt",
        "c.mp4": "c.mp4.caption", "d.mp4": "of json", "f.mp4": "",
    }  # fmt: skip


def test_captions_in_other_scripts_are_kept_with_one_note(tmp_path):
    touch(tmp_path, *(f"{n}.mp4" for n in range(4)))
    words = ["把红色方块放进蓝碗", "put the 箱 down", "stoß die Tasse", "🎬"]
    lines = [{"video": f"{n}.mp4", "caption": w} for n, w in enumerate(words)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (tmp_path / "captions.jsonl").write_text(text, encoding="utf-8")
    rows, notes = read(tmp_path)
    assert [row.instruction for row in rows.values()] == words
    assert "3 instructions have letters that are not Latin" in notes


def test_cameras_of_an_episode_without_lists_share_its_name(tmp_path):
    touch(tmp_path, "videos/train/7/0.mp4", "videos/train/7/1.mp4", "videos/val/7/0.mp4")
    source = read_source(tmp_path)
    assert source.format == "captions"
    assert [(r.split, r.camera, r.world["episode"]) for r in source.rows] == [
        ("train", "0", "train/7"), ("train", "1", "train/7"), ("val", "0", "val/7"),
    ]  # fmt: skip


def test_animated_pictures_are_videos_and_plain_ones_are_not(tmp_path):
    images = [Image.new("RGB", (32, 32), (40 * n, 0, 0)) for n in range(4)]
    for name in ("a.gif", "b.webp", "c.png"):
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=250)
        (tmp_path / name).with_suffix(".txt").write_text(name)
    images[0].save(tmp_path / "d.webp")
    (tmp_path / "d.txt").write_text("a picture")
    rows, notes = read(tmp_path)
    assert {video: (row.instruction, row.num_frames, row.fps) for video, row in rows.items()} == {
        name: (name, 4, 4.0) for name in ("a.gif", "b.webp", "c.png")
    }
    assert "1 pictures with captions are left out (the first: 'd.webp')" in notes
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.txt").unlink()
    (tmp_path / "captions.csv").write_text("video,caption\nb.webp,push\nd.webp,lift\n")
    rows, notes = read(tmp_path)
    assert list(rows) == ["b.webp"]
    assert "1 pictures that 'captions.csv' names are left out (the first: 'd.webp')" in notes


def test_sentences_with_a_time_each_are_parts_of_the_video(tmp_path):
    """As ActivityNet's captions have them."""
    write_video(tmp_path / "v_a.mp4", num_frames=16)
    told = {
        "v_a": {"duration": 4, "timestamps": [[0, 1.5], [2, 4]], "sentences": ["push", " lift"]}
    }
    write_json(tmp_path / "train.json", told)
    rows = read_source(tmp_path).rows
    assert [(r.instruction, r.start, r.stop, r.split) for r in rows] == [
        ("push", 0.0, 1.5, "train"), ("lift", 2.0, 4.0, "train"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["train.json", "labels/train.json", "annotations/train.json"])
def test_lists_of_files_are_not_taken_for_something_somethings_labels(tmp_path, name):
    touch(tmp_path, "videos/a.mp4")
    write_json(tmp_path / name, [{"file_path": "videos/a.mp4", "text": "push", "type": "video"}])
    source = read_source(tmp_path)
    assert (source.format, source.rows[0].instruction) == ("captions", "push")


def test_the_manifest_of_another_program_is_a_list_of_captions(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "manifest.jsonl").write_text('{"video_path": "a.mp4", "caption": "push"}\n')
    source = read_source(tmp_path)
    assert (source.format, source.rows[0].instruction) == ("captions", "push")


@pytest.mark.parametrize("name", ["train-00000-of-00001.parquet", "videos.zip", "00000.tar.gz"])
def test_unsupported_containers_of_videos_are_noted(tmp_path, name):
    touch(tmp_path, name)
    with pytest.raises(ValueError, match=r"Files of type \.\w+ are not read as videos"):
        read_source(tmp_path)


def test_captions_of_no_video_are_counted_and_documents_are_not(tmp_path):
    touch(tmp_path, "clips.v1/a.mp4", "clips.v1/x.txt", "clips.v1/README.txt", "LICENSE.txt")
    _, notes = read(tmp_path)
    assert "1 caption files belong to no video (the first: 'clips.v1/x.txt')" in notes
    (tmp_path / "captions.csv").write_text("video,caption\nclips.v1/a.mp4,push\n")
    _, notes = read(tmp_path)
    assert "1 caption files are left out, because a list is read" in notes


def test_data_sets_of_other_formats_in_subfolders_are_noted(tmp_path):
    touch(tmp_path, "rt1/videos/train/0/0.mp4", "arm/videos/a.mp4")
    write_json(tmp_path / "rt1/annotation/train/0.json", {"texts": ["push"]})
    write_json(tmp_path / "arm/meta/info.json", {})
    with pytest.raises(ValueError, match="holds the data set 'arm'"):
        read(tmp_path)
    _, notes = read(tmp_path, format="captions")
    assert "2 data sets in folders below are read as plain videos; give the folder of one" in notes
    assert "(the first: 'arm')" in notes
