"""Damage to a finished cache: found, named, and made good by the same command."""

import json
import shutil

import pytest
from prepared import contents, make

from aid.cli import main
from aid.data.cache import Cache

KINDS = ("videos-", "first_frames-", "sentences-", "filling-", "rows.jsonl", "rows.safetensors",
         "sentences.json")  # fmt: skip


def first_of(folder, kind):
    return sorted(path for path in folder.iterdir() if path.name.startswith(kind))[0]


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def read_all(folder):
    """What training reads of a cache, and what a report reads."""
    cache = Cache(folder)
    cache.batch(list(range(len(cache))))
    cache.given_frames(list(range(len(cache))))
    cache.wordings()


@pytest.fixture
def out(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", [0.0, 0.5, 1.0, "cut off", "empty", "missing", "another"])
def test_damaged_files_are_refused_by_name(out, kind, damage, capsys):
    path = first_of(out, kind)
    match damage:
        case "cut off":
            path.write_bytes(path.read_bytes()[:-5])
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()
        case "another":
            others = [p for p in sorted(out.iterdir()) if p.name.startswith(kind) and p != path]
            path.write_bytes((others or [out / "rows.safetensors", out / "rows.jsonl"])[-1]
                             .read_bytes() + b" " * (not others))  # fmt: skip
        case _:
            flip(path, damage)
    with pytest.raises(ValueError, match=rf"{path.name}.*aid prepare"):
        read_all(out)
    assert main(["data", "verify", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"1 of 13 files of cache {str(out)!r} are damaged or missing: {path.name}" in said


def test_the_same_command_makes_only_the_damaged_files_again(
    out, finished, tiny_manifest, tiny_backbone, capsys
):
    hurt = [first_of(out, kind) for kind in ("videos-", "first_frames-", "rows.jsonl")]
    flip(hurt[0], 0.9)
    hurt[1].unlink()
    flip(hurt[2], 0.3)
    shards = [path for path in out.glob("*-*.safetensors") if path not in hurt]
    before = {path: path.stat().st_mtime_ns for path in shards}
    command = [
        "prepare", "--data", tiny_manifest, "--out", out, "--backbone", tiny_backbone,
        "--model.num_frames", "3",
    ]  # fmt: skip
    assert main(list(map(str, command))) == 0
    captured = capsys.readouterr()
    for path in hurt:
        assert f"damaged, so made again: {path.name}" in captured.err
    assert "2 encoded in" in captured.out, "the videos of one shard of three"
    assert contents(out) == contents(finished)
    assert {path: path.stat().st_mtime_ns for path in shards} == before
    assert main(["data", "verify", str(out)]) == 0
    assert "13 files, 0.00 GB: all are as they were written" in capsys.readouterr().out


@pytest.mark.parametrize("at", [0.02, 0.5, 1.0])
def test_a_byte_that_flipped_before_the_cache_was_finished_is_detected(
    out, finished, tiny_manifest, tiny_backbone, at
):
    (out / "cache.json").rename(out / "in_progress.json")
    for kind in ("videos-", "first_frames-", "sentences-", "filling-"):
        flip(first_of(out, kind), at)
    make(tiny_manifest, out, tiny_backbone)
    assert contents(out) == contents(finished)


def test_a_shard_is_compared_once_in_a_process(out, monkeypatch):
    compared = []

    def counted(path, facts, content=True):
        compared.extend([path.name] if content else [])

    monkeypatch.setattr("aid.data.shards.check_file", counted)
    cache = Cache(out)
    for _ in range(3):
        cache.batch([0, 1, 2, 3, 4, 5])
    assert len(compared) == len(set(compared))
    assert len([name for name in compared if name.startswith("videos-")]) == 3


def test_a_damaged_list_is_refused_with_what_to_delete(out, finished, tiny_manifest, tiny_backbone):
    (out / "cache.json").write_text((finished / "cache.json").read_text()[:-9])
    for refused in (lambda: Cache(out), lambda: make(tiny_manifest, out, tiny_backbone)):
        with pytest.raises(ValueError, match=r"cache\.json.* is damaged .*Delete that file"):
            refused()
    (out / "cache.json").unlink()
    make(tiny_manifest, out, tiny_backbone)
    assert contents(out) == contents(finished)


def test_a_cache_from_before_the_checksums_is_refused(out):
    settings = json.loads((out / "cache.json").read_text())
    del settings["files"]
    (out / "cache.json").write_text(json.dumps(settings | {"format": 2}))
    with pytest.raises(ValueError, match=r"another version.*Make it again with aid prepare"):
        Cache(out)
    assert main(["data", "verify", str(out)]) == 2
