from dataclasses import replace

import pytest

from aid.cli import main
from aid.data.formats import format_of
from aid.data.licence import licence_of
from aid.data.manifest import MANIFEST, join, read_manifest, write_manifest
from aid.types import State, VideoRow


def row(name, **world):
    return VideoRow(
        id=name, video=f"videos/{name}.mp4", instruction="push the ball", num_frames=16, fps=4.0,
        height=64, width=64, states=[State(text="it rolls", first_frame=0, last_frame=15)],
        world=world,
    )  # fmt: skip


def data_set(folder, *rows, licence="mit"):
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, rows)
    if licence:
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n")


@pytest.fixture
def sets(tmp_path):
    folder = tmp_path / "sets"
    data_set(folder / "monday", row("a", scene=1), row("b", scene=1))
    data_set(folder / "friday", row("c", scene=2), row("d", licence="own"), licence="cc-by-4.0")
    return folder


def test_a_joined_manifest_has_all_videos_and_their_licences(sets, capsys):
    assert main(["data", "join", str(sets), "monday/", "./friday"]) == 0, capsys.readouterr().err
    rows = read_manifest(sets)
    assert [r.video for r in rows] == [
        "monday/videos/a.mp4", "monday/videos/b.mp4", "friday/videos/c.mp4", "friday/videos/d.mp4",
    ]  # fmt: skip
    assert [r.id for r in rows] == ["a", "b", "c", "d"]
    assert [r.world.get("license") for r in rows] == ["mit", "mit", "cc-by-4.0", None]
    assert {p.name for p in sets.iterdir()} == {"monday", "friday", MANIFEST}


def test_the_licence_of_a_joined_data_set_has_all_licences(sets):
    data_set(sets / "friday", row("c"), licence="cc-by-4.0")
    join(sets, ["monday", "friday"])
    assert licence_of(sets, read_manifest(sets)) == "cc-by-4.0, mit"


def test_sets_without_licence_and_states_are_joined_too(sets):
    for name in ("monday", "friday"):
        (sets / name / "README.md").unlink()
        write_manifest(sets / name, [replace(row(name), states=[])])
    assert join(sets, ["monday", "friday"]) == 2
    assert licence_of(sets, read_manifest(sets)) is None


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["monday"], "not two or more different folders"),
        (["monday", "../sets/monday"], "not two or more different folders"),
        (["monday", "."], "not two or more different folders"),
        (["monday", "../elsewhere"], "lies outside the folder"),
        (["monday", "sunday"], "sunday' has no manifest.jsonl"),
        (["monday", "twice"], "'monday' and 'twice' both have the video 'b'"),
        (["monday", "same scene"], "'monday' and 'same scene' both have the scene 1"),
        (["monday", "silent"], "'silent' does not state the licence of all its videos, others do"),
        (["friday", "half silent"], "'half silent' does not state the licence of all its videos"),
        (["monday", "stateless"], "'stateless' has videos without states, others have them"),
    ],
)
def test_data_sets_that_cannot_be_joined_are_refused_and_nothing_is_written(sets, names, says):
    data_set(sets / "twice", row("b", scene=3))
    data_set(sets / "same scene", row("e", scene=1))
    data_set(sets / "silent", row("f"), licence=None)
    data_set(sets / "half silent", row("h", license="mit"), row("i"), licence=None)
    data_set(sets / "stateless", row("g"), replace(row("j"), states=[]))
    with pytest.raises(ValueError, match=says):
        join(sets, names)
    assert not (sets / MANIFEST).exists()


def test_an_existing_manifest_with_other_rows_is_kept(sets):
    join(sets, ["monday", "friday"])
    before = (sets / MANIFEST).read_bytes()
    assert join(sets, ["monday", "friday"]) == 4, "the same again is no harm"
    data_set(sets / "friday", row("c", scene=2))
    with pytest.raises(ValueError, match=r"exists and has other rows\. Move it away"):
        join(sets, ["monday", "friday"])
    assert (sets / MANIFEST).read_bytes() == before


def test_one_name_is_refused(sets, capsys):
    assert main(["data", "join", str(sets), "monday"]) == 2
    assert "aid data join" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "prepare --data {sets} --out {out}", "train --data {sets} --out {out}",
        "train --data {sets} --out {out} --method simvp", "train --data {sets} --dry_run",
        "evaluate --data {sets} --out {out}", "data inspect {sets}",
        "data states --data {sets} --writer none", "tabletop pretrain --data {sets} --out {out}",
        "tabletop extractor --data {sets}/friday --held_out {sets} --out {out}",
    ],
)  # fmt: skip
def test_a_folder_of_data_sets_is_refused_with_their_names_by_every_command(
    command, sets, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(sets)
    (sets / "dataset.json").write_text('{"generator": 2, "size": 64}')
    (sets / "friday/videos").mkdir()
    (sets / "friday/videos/c.mp4").write_bytes(b"")
    assert main(command.format(sets=sets, out=tmp_path / "out").split()) == 2
    assert capsys.readouterr().err == (
        f"error: {str(sets)!r} is no data set itself. It holds the data sets 'friday' and "
        f"'monday'. Give one of them, such as {str(sets / 'friday')!r}, or make one data set of "
        f"them: aid data join {sets} friday monday\n"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"sets"}
    assert {path.name for path in sets.iterdir()} == {"friday", "monday", "dataset.json"}


def test_data_sets_of_other_formats_are_named_and_captions_may_have_folders(tmp_path):
    folder = tmp_path / "sets"
    (folder / "arm/meta").mkdir(parents=True)
    (folder / "arm/meta/info.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds the data set 'arm'. Give '.*sets/arm'$"):
        format_of(folder, None)
    assert format_of(folder, "captions").name == "captions"
    (folder / "a.mp4").write_bytes(b"")
    assert format_of(folder, None).name == "captions"
