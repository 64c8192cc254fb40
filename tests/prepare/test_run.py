import json

import fsspec
import numpy as np
import pytest
import torch
from prepared import GREY, contents, make, shards
from videos import moving_square

from aid.conditioning.encoders import encode_sentences
from aid.conditioning.states import choose_state_writer
from aid.config import ConditionConfig
from aid.data.cache import NUM_NOISED, Cache
from aid.data.sources import read_source
from aid.data.store import Store
from aid.models.backbone import load_backbone
from aid.prepare import encoding as encoding_module
from aid.prepare import prepare
from aid.prepare.first_frames import noised
from aid.video import to_float


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

    monkeypatch.setattr(encoding_module, "load_backbone", refuse)
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


def test_a_state_writer_that_sees_frames_gets_the_first_frames(
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
    source = read_source(data)
    assert source.place == data
    prepare(
        source.place, out, tiny_backbone, condition=GREY, num_frames=3, rows=source.rows,
        states=choose_state_writer("replay", source.rows),
    )  # fmt: skip
    fs, root = fsspec.core.url_to_fs(out)
    fs.get(root, str(tmp_path / "copy"), recursive=True)
    assert contents(tmp_path / "copy") == contents(finished)


@pytest.mark.parametrize(
    ("frame_condition", "given"), [("repeat_first", 1), ("zero_latents", 1), ("grey_pixels", 2)]
)
def test_every_kind_of_filling_for_unknown_frames(
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
