import json
import shutil
from dataclasses import replace

import fsspec
import numpy as np
import pytest
import torch
from backbones import build_tiny_backbone
from safetensors.torch import load_file
from videos import moving_square

from aid.conditioning.encoders import encode_sentences
from aid.conditioning.states import choose_state_writer
from aid.config import ConditionConfig, FrameConfig
from aid.data.cache import Cache
from aid.data.forecast import NUM_NOISED
from aid.data.manifest import read_manifest, write_manifest
from aid.data.remote import read_any_source
from aid.data.store import Store
from aid.models.backbone import load_backbone
from aid.prepare import claim as claim_module
from aid.prepare import job as job_module
from aid.prepare import prepare
from aid.prepare import run as run_module
from aid.prepare.first_frames import noised
from aid.video import to_float, write_mp4

GREY = ConditionConfig()


def make(data, out, backbone, condition=GREY, num_frames=3, states=None, **options):
    states = states or choose_state_writer("replay", read_manifest(data))
    prepare(
        data, out, backbone, condition=condition, num_frames=num_frames, states=states, **options
    )
    return Cache(out)


def shards(folder, kind):
    """The tensors of a kind of shards, in order."""
    listed = json.loads((folder / "cache.json").read_text())[kind]
    return [load_file(folder / name) for name, _ in listed]


@pytest.fixture(autouse=True, scope="module")
def _small_shards():
    """Two videos a file, so that six videos have several."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (run_module, claim_module):
            patch.setattr(module, "SHARD", 2)
        yield


@pytest.fixture(scope="module")
def finished(tiny_manifest, tiny_backbone, tmp_path_factory):
    """A cache of the six videos; do not write into it."""
    out = tmp_path_factory.mktemp("caches") / "grey"
    make(tiny_manifest, out, tiny_backbone)
    return out


def contents(folder):
    """Every byte of a cache."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_cache_holds_what_the_backbone_makes_of_each_video(finished, tiny_backbone):
    cache, parts = Cache(finished), load_backbone(tiny_backbone, ("vae", "image_encoder"))
    assert len(cache) == 6
    batch = cache.batch([3])
    pixels = moving_square(start=16, step=4)[[0, 2, 4]]  # first, middle and last of five frames
    frames = to_float(pixels)[None]
    assert torch.allclose(batch.latents, parts.encode(frames), atol=2e-3)
    embedding, tokens = parts.encode_image(frames[:, 0])
    assert torch.allclose(batch.image_embedding, embedding, atol=2e-3)
    assert torch.allclose(batch.image_tokens, tokens, atol=5e-3)
    assert batch.fps.item() == pytest.approx(2)  # 4 frames a second, every second one kept
    grey = parts.encode_condition(frames[:, :1], 3, "grey_pixels")
    assert torch.allclose(batch.condition_latents[:, 1:], grey[:, 1:], atol=2e-3)
    assert not torch.allclose(batch.condition_latents[:, 0], grey[:, 0], atol=2e-3)  # noised


def test_sentences_are_encoded_once_and_found_again(finished, tiny_backbone):
    cache = Cache(finished)
    sentences = json.loads((finished / "sentences.json").read_text())
    assert sentences[0] == ""
    assert len(sentences) == len(set(sentences)) == 1 + 2 * 2 + 3
    row = cache.rows[1]
    assert [sentences[n] for n in row["instructions"]] == [
        "push the red ball right",
        "push red right",
    ]
    assert [sentences[n] for n in row["states"]] == ["the red ball", "ball right"]
    parts = load_backbone(tiny_backbone, ("text_encoder", "tokenizer"))
    tokens, mask = encode_sentences(
        parts.tokenizer, parts.text_encoder, ["push the red ball right"]
    )
    batch = cache.batch([1])
    assert torch.equal(batch.instruction_mask, mask)
    assert torch.allclose(batch.instruction_tokens, tokens, atol=2e-3)


def test_identical_first_frames_are_encoded_once(finished):
    assert [row["first_frame"] for row in Cache(finished).rows] == [0, 0, 1, 1, 2, 2]
    assert [len(shard["image_tokens"]) for shard in shards(finished, "first_frames")] == [2, 1]
    assert [len(shard["given_frames"]) for shard in shards(finished, "videos")] == [1, 1, 1]


def test_a_finished_cache_is_kept_and_nothing_is_loaded_again(
    finished, tiny_manifest, tiny_backbone, monkeypatch
):
    def refuse(*args, **kwargs):
        raise AssertionError("encoded again")

    monkeypatch.setattr(job_module, "load_backbone", refuse)
    make(tiny_manifest, finished, tiny_backbone)


def test_noise_augmentation_is_exact_from_the_kept_frames(finished, tiny_backbone):
    """Whoever reads the cache can make the very noised frames again, or others."""
    cache, parts = Cache(finished), load_backbone(tiny_backbone, ("vae",))
    given = cache.given_frames([3])
    assert torch.equal(given, to_float(moving_square(start=16, step=4)[:1])[None])
    kept = shards(finished, "videos")[1]
    digest = bytes(kept["given_digests"][0].tolist()).hex()
    frames, strength = noised(given[0], digest, GREY)
    batch = cache.batch([3])
    assert batch.noise_aug_strength == strength[0].half().float()
    latents = parts.encode_condition(frames[:1], 1, "zero_latents")
    assert torch.allclose(batch.condition_latents[:, :1], latents, atol=2e-3)


@pytest.mark.parametrize("kind", ["videos", "first_frames", "sentences"])
def test_a_killed_run_keeps_its_shards_and_ends_in_the_same_cache(
    finished, tiny_manifest, tiny_backbone, tmp_path, monkeypatch, kind
):
    write, out = Store.write_tensors, tmp_path / "out"
    last = json.loads((finished / "cache.json").read_text())[kind][-1][0]

    def killing(self, name, *tensors):
        if name == last:
            raise KeyboardInterrupt
        write(self, name, *tensors)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_tensors", killing)
        with pytest.raises(KeyboardInterrupt):
            make(tiny_manifest, out, tiny_backbone)
    with pytest.raises(ValueError, match="not a finished cache"):
        Cache(out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*-*.safetensors")}
    assert before
    make(tiny_manifest, out, tiny_backbone)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert contents(out) == contents(finished)


def test_a_video_that_changed_makes_the_cache_stale_by_name(
    finished, tiny_manifest, tiny_backbone, tmp_path
):
    data, out = shutil.copytree(tiny_manifest, tmp_path / "data"), tmp_path / "out"
    shutil.copytree(finished, out)
    make(data, out, tiny_backbone)  # the same bytes elsewhere are the same videos
    write_mp4(data / "videos/3.mp4", moving_square(start=9), fps=4.0)
    with pytest.raises(ValueError, match=r"stale: video 'videos/3\.mp4' has changed"):
        make(data, out, tiny_backbone)
    (out / "cache.json").rename(out / "claim.json")  # as if killed before it was finished
    make(data, out, tiny_backbone)
    assert len(list(out.glob("videos-*"))) == 3, "the old shard is gone"
    same = contents(finished).keys() & contents(out).keys()
    assert len([name for name in same if name.startswith("videos-")]) == 2, "others are kept"


def test_a_damaged_shard_is_made_again(finished, tiny_manifest, tiny_backbone, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    (out / "cache.json").rename(out / "claim.json")
    shard = next(iter(out.glob("videos-*")))
    shard.write_bytes(shard.read_bytes()[:-7])
    make(tiny_manifest, out, tiny_backbone)
    assert contents(out) == contents(finished)


def test_damaged_videos_stop_the_work_or_are_skipped_and_counted(
    tiny_manifest, tiny_backbone, tmp_path
):
    data = shutil.copytree(tiny_manifest, tmp_path / "data")
    (data / "videos/1.mp4").write_bytes(b"")
    (data / "videos/4.mp4").unlink()
    with pytest.raises(ValueError, match=r"videos/1\.mp4.*--skip-corrupt"):
        make(data, tmp_path / "out", tiny_backbone)
    for _ in range(2):  # made, and found finished
        result = prepare(
            data, tmp_path / "out", tiny_backbone, condition=GREY, num_frames=3,
            states=choose_state_writer("replay", read_manifest(data)), skip_corrupt=True,
        )  # fmt: skip
        assert result.num_videos == 4
        assert [name for name, _ in result.skipped] == ["push-1", "push-4"]
    cache = Cache(tmp_path / "out")
    assert [row["id"] for row in cache.rows] == ["push-0", "push-2", "push-3", "push-5"]
    sentences = json.loads((tmp_path / "out/sentences.json").read_text())
    said = [[sentences[number] for number in row["states"]][-1] for row in cache.rows]
    assert said == ["ball left", "ball left", "ball right", "ball right"]
    (tmp_path / "out/cache.json").rename(tmp_path / "out/claim.json")
    with pytest.raises(ValueError, match="--skip-corrupt"):
        make(data, tmp_path / "out", tiny_backbone)


def test_a_set_of_nothing_but_damaged_videos_is_refused(tiny_manifest, tiny_backbone, tmp_path):
    data = shutil.copytree(tiny_manifest, tmp_path / "data")
    for path in (data / "videos").iterdir():
        path.write_bytes(b"no video")
    with pytest.raises(ValueError, match="all 6 videos are damaged"):
        make(data, tmp_path / "out", tiny_backbone, skip_corrupt=True)


def test_a_state_writer_that_looks_is_shown_the_first_frames(
    tiny_manifest, tiny_backbone, tmp_path
):
    class Looking:
        name, sees = "looking", "first_frame"

        def write(self, frames, instructions):
            return [[f"square at {int(np.argmax(f[32, :, 0] > 150))}"] for f in frames]

    make(tiny_manifest, tmp_path / "out", tiny_backbone, states=Looking())
    sentences = json.loads((tmp_path / "out/sentences.json").read_text())
    states = [sentences[row["states"][0]] for row in Cache(tmp_path / "out").rows]
    assert states == [f"square at {12 + 4 * scene}" for scene in (0, 0, 1, 1, 2, 2)]


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_folders_behind_urls_are_read_and_written(
    finished, tiny_manifest, tiny_backbone, tmp_path, scheme
):
    if scheme == "file":
        data, out = f"file://{tiny_manifest}", f"file://{tmp_path}/out"
    else:
        data, out = "memory://data", "memory://out"
        fsspec.filesystem("memory").put(str(tiny_manifest), "/data", recursive=True)
    place, source = read_any_source(data)
    assert place == data
    prepare(
        place, out, tiny_backbone, condition=GREY, num_frames=3, rows=source.rows,
        states=choose_state_writer("replay", source.rows),
    )  # fmt: skip
    fs, root = fsspec.core.url_to_fs(out)
    fs.get(root, str(tmp_path / "copy"), recursive=True)
    assert contents(tmp_path / "copy") == contents(finished)


def test_a_cache_that_cannot_fit_is_refused_before_work(
    tiny_manifest, tiny_backbone, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(claim_module.shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(ValueError, match=r"at least 0\.00 GB.*Make room"):
        make(tiny_manifest, tmp_path / "out", tiny_backbone)


def test_a_size_that_the_autoencoder_cannot_take_is_refused_with_one_that_it_can(
    tiny_manifest, tiny_backbone, tmp_path
):
    rows = [replace(row, height=51, width=66) for row in read_manifest(tiny_manifest)]
    states = choose_state_writer("replay", rows)
    with pytest.raises(ValueError, match=r"--frames\.height 48 --frames\.width 64"):
        make(tiny_manifest, tmp_path / "out", tiny_backbone, rows=rows, states=states)
    with pytest.raises(ValueError, match="multiple of 8, got 51"):
        FrameConfig(height=51)
    frames = FrameConfig(height=48, width=64)
    make(tiny_manifest, tmp_path / "out", tiny_backbone, rows=rows, states=states, frames=frames)
    assert Cache(tmp_path / "out").batch([0]).latents.shape == (1, 3, 4, 6, 8)


def test_other_settings_are_refused_by_name(
    finished, tiny_manifest, tiny_backbone, tmp_path_factory, tmp_path
):
    other = build_tiny_backbone(tmp_path_factory.mktemp("backbones") / "other", seed=1)
    with pytest.raises(ValueError, match="made with backbone"):
        make(tiny_manifest, finished, other)
    with pytest.raises(ValueError, match="made with num_frames = 3, asked is 4"):
        make(tiny_manifest, finished, tiny_backbone, num_frames=4)
    with pytest.raises(ValueError, match="made with frame_condition"):
        make(tiny_manifest, finished, tiny_backbone, replace(GREY, frame_condition="zero_latents"))
    with pytest.raises(ValueError, match="made with state_writer = 'replay', asked is 'none'"):
        make(tiny_manifest, finished, tiny_backbone, states=choose_state_writer("none"))
    with pytest.raises(ValueError, match="made with num_videos = 6, asked is 2"):
        make(tiny_manifest, finished, tiny_backbone, states=choose_state_writer("none"), limit=2)
    changed = tmp_path / "changed"
    shutil.copytree(tiny_manifest, changed)
    write_manifest(changed, [replace(row, fps=5.0) for row in read_manifest(tiny_manifest)])
    with pytest.raises(ValueError, match="made with manifest"):
        make(changed, finished, tiny_backbone)


def test_a_folder_with_other_things_is_left_alone(tiny_manifest, tiny_backbone, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not empty and no cache"):
        make(tiny_manifest, tmp_path, tiny_backbone)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_videos_without_an_instruction_are_refused(tiny_manifest, tiny_backbone, tmp_path):
    rows = read_manifest(tiny_manifest)
    rows[2] = replace(rows[2], instruction="")
    (tmp_path / "data").mkdir()
    write_manifest(tmp_path / "data", rows)
    with pytest.raises(ValueError, match=r"1 of 6 videos have no instruction.*'push-2'"):
        make(tmp_path / "data", tmp_path / "out", tiny_backbone)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("frame_condition", "given"), [("repeat_first", 1), ("zero_latents", 1), ("grey_pixels", 2)]
)
def test_every_way_to_fill_the_unknown_frames(
    tiny_manifest, tiny_backbone, tmp_path, frame_condition, given
):
    condition = ConditionConfig(
        frame_condition=frame_condition, num_given_frames=given, noise_aug_mean=-20.0
    )
    none = choose_state_writer("none")
    cache = make(tiny_manifest, tmp_path / "out", tiny_backbone, condition, states=none, limit=2)
    parts = load_backbone(tiny_backbone, ("vae",))
    for index, step in enumerate((-1, 4)):  # to the left, to the right, from the same first frame
        frames = to_float(moving_square(start=12, step=step)[[0, 2, 4]])[None, :given]
        wanted = parts.encode_condition(frames.contiguous(), 3, frame_condition)
        assert torch.allclose(cache.batch([index]).condition_latents, wanted, atol=2e-3)
    assert cache.batch([0]).state_mask.sum() == 2  # the empty sentence


def test_noise_augmentations_are_drawn_once_and_recorded(finished):
    strengths = torch.cat([s["noise_aug_strength"] for s in shards(finished, "first_frames")])
    assert strengths.shape == (3, NUM_NOISED)
    assert len(strengths.unique()) == strengths.numel()
    assert strengths.float().log().mean() == pytest.approx(-3, abs=0.6)
