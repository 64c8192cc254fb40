import pytest

from aid.cli import main
from aid.data.joining import join
from aid.data.licence import licence_of
from aid.data.manifest import MANIFEST, read_manifest, write_manifest
from aid.types import VideoRow


def row(name):
    return VideoRow(
        id=name, video=f"videos/{name}.mp4", instruction="push the ball", num_frames=16, fps=4.0,
        height=64, width=64, states=[], world={},
    )  # fmt: skip


def part(folder, *names, licence="mit"):
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, [row(name) for name in names])
    if licence:
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    return folder


@pytest.fixture
def sets(tmp_path):
    part(tmp_path / "monday", "a", "b")
    part(tmp_path / "friday", "c", licence="cc-by-4.0")
    return tmp_path


def test_a_manifest_above_them_names_the_videos_of_all_and_the_card_their_licences(sets, capsys):
    assert main(["join", str(sets), "[monday, friday]"]) == 0, capsys.readouterr().err
    rows = read_manifest(sets)
    assert [r.video for r in rows] == [
        "monday/videos/a.mp4", "monday/videos/b.mp4", "friday/videos/c.mp4"
    ]  # fmt: skip
    assert [r.id for r in rows] == ["a", "b", "c"]
    assert licence_of(sets, rows) == "mit, cc-by-4.0"


def test_given_again_it_takes_in_what_has_grown(sets):
    join(sets, ["monday", "friday"])
    part(sets / "friday", "c", "d", licence="mit")
    rows = join(sets, ["friday", "monday"])
    assert [r.id for r in rows] == [r.id for r in read_manifest(sets)] == ["c", "d", "a", "b"]
    assert licence_of(sets, rows) == "mit"


def test_sets_without_a_licence_have_none_together(sets):
    for name in ("monday", "friday"):
        (sets / name / "README.md").unlink()
    assert licence_of(sets, join(sets, ["monday", "friday"])) is None


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (["monday"], "not two or more different folders"),
        (["monday", "../{}/monday"], "not two or more different folders"),
        (["monday", "../elsewhere"], "lies outside the folder"),
        (["monday", "sunday"], "sunday' holds no manifest.jsonl"),
        (["monday", "twice"], "'monday' and 'twice' both have a video 'b'"),
        (["monday", "silent"], "silent does not say its licence, the others do"),
    ],
)
def test_what_cannot_be_joined_is_refused_and_nothing_is_written(sets, parts, says):
    part(sets / "twice", "b")
    part(sets / "silent", "s", licence=None)
    before = sorted(sets.iterdir())
    with pytest.raises(ValueError, match=says):
        join(sets, [name.format(sets.name) for name in parts])
    assert sorted(sets.iterdir()) == before


@pytest.mark.parametrize("name", [MANIFEST, "README.md"])
def test_a_manifest_or_card_of_somebody_else_stays(sets, name):
    (sets / name).write_text("mine\n")
    with pytest.raises(ValueError, match="that `aid join` did not write"):
        join(sets, ["monday", "friday"])
    assert (sets / name).read_text() == "mine\n"
