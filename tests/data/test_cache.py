import json
import shutil

import pytest
import torch

from aid.data import cache as cache_module
from aid.data.cache import Cache, batch_indices, epoch_order, write_json, write_tensors

NUM_VIDEOS, NUM_FIRSTS, NUM_NOISED, WORDS, DIM = 5, 3, 4, 6, 8


def write_cache(folder, frame_condition="grey_pixels", shard=2):
    """A cache of numbers that tell where they come from: video i is full of i."""
    folder.mkdir()
    for start in range(0, NUM_VIDEOS, shard):
        numbers = torch.arange(start, min(start + shard, NUM_VIDEOS)).half()
        latents = numbers[:, None, None, None, None].expand(-1, 3, 4, 2, 2)
        write_tensors(folder / f"videos-{start // shard:05d}.safetensors", {"latents": latents})
    for start in range(0, NUM_FIRSTS, shard):
        numbers = torch.arange(start, min(start + shard, NUM_FIRSTS)).half()
        n, version = len(numbers), torch.arange(NUM_NOISED).half() / 10
        given = numbers[:, None] + version
        write_tensors(
            folder / f"first_frames-{start // shard:05d}.safetensors",
            {
                "given_latents": given[:, :, None, None, None, None].expand(-1, -1, 1, 4, 2, 2),
                "noise_aug_strength": given,
                "image_embedding": numbers[:, None, None].expand(n, 1, DIM),
                "image_tokens": numbers[:, None, None].expand(n, 5, DIM),
            },
        )
    lengths = torch.tensor([2, 3, 4, 5, 6])  # of sentences 0 to 4
    mask = torch.arange(WORDS) < lengths[:, None]
    tokens = torch.arange(5.0)[:, None, None].expand(5, WORDS, DIM) * mask[..., None]
    write_tensors(folder / "sentences.safetensors", {"tokens": tokens.half(), "mask": mask})
    if frame_condition != "repeat_first":
        latent = torch.full((4, 2, 2), -9.0).half()
        write_tensors(folder / "filling.safetensors", {"latent": latent})
    rows = [
        {
            "id": f"v{i}",
            "first_frame": i % NUM_FIRSTS,
            "fps": 4.0 + i,
            "instructions": [1, 2],
            "states": [3, 4] if i else [],
        }
        for i in range(NUM_VIDEOS)
    ]
    write_json(folder / "rows.json", rows)
    fingerprint = {"backbone": "abc", "num_frames": 3, "frame_condition": frame_condition}
    write_json(folder / "cache.json", {"fingerprint": fingerprint})
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "SHARD", 2)
    return write_cache(tmp_path / "cache")


def test_a_batch_gathers_rows_from_their_shards(folder):
    batch = Cache(folder).batch([4, 0, 3])
    assert batch.latents.dtype == torch.float32
    assert batch.latents[:, 0, 0, 0, 0].tolist() == [4, 0, 3]
    assert batch.image_embedding[:, 0, 0].tolist() == [1, 0, 0]  # of the first frames 1, 0, 0
    assert batch.fps.tolist() == [8, 4, 7]


def test_unknown_frames_are_filled_as_the_fingerprint_says(folder, tmp_path):
    condition = Cache(folder).batch([1]).condition_latents
    assert condition[0, :, 0, 0, 0].tolist() == [1, -9, -9]
    other = write_cache(tmp_path / "other", frame_condition="repeat_first")
    assert Cache(other).batch([1]).condition_latents[0, :, 0, 0, 0].tolist() == [1, 1, 1]


def test_without_a_generator_the_first_wording_and_augmentation_are_taken(folder):
    batch = Cache(folder).batch([1, 2])
    assert batch.noise_aug_strength.tolist() == [1, 2]
    assert batch.instruction_tokens[:, 0, 0].tolist() == [1, 1]
    assert batch.instruction_mask.sum(1).tolist() == [3, 3]


def test_a_generator_draws_wordings_and_augmentations_reproducibly(folder):
    cache = Cache(folder)

    def draw(seed):
        return cache.batch([1] * 40, torch.Generator().manual_seed(seed))

    batch = draw(0)
    assert set(batch.instruction_tokens[:, 0, 0].tolist()) == {1, 2}
    strengths = batch.noise_aug_strength
    assert len(set(strengths.tolist())) == NUM_NOISED
    # The condition latents are those that were made with this strength.
    assert torch.equal(batch.condition_latents[:, 0, 0, 0, 0], strengths)
    assert torch.equal(draw(0).noise_aug_strength, strengths)
    assert not torch.equal(draw(1).noise_aug_strength, strengths)


def test_states_follow_each_other_and_no_states_are_the_empty_sentence(folder):
    batch = Cache(folder).batch([0, 1])
    assert batch.state_tokens.shape == (2, 2 * WORDS, DIM)
    assert batch.state_mask.sum(1).tolist() == [2, 5 + 6]
    assert batch.state_tokens[1, 0, 0] == 3
    assert batch.state_tokens[1, WORDS, 0] == 4
    assert not batch.state_mask[0, WORDS:].any()


def test_text_of_swaps_the_words_and_nothing_else(folder):
    cache = Cache(folder)
    own, swapped = cache.batch([1]), cache.batch([1], text_of=[0])
    assert torch.equal(own.latents, swapped.latents)
    assert torch.equal(own.condition_latents, swapped.condition_latents)
    assert swapped.state_mask.sum() == 2
    assert own.state_mask.sum() == 11


def test_sentence_0_is_the_empty_one(folder):
    tokens, mask = Cache(folder).empty_sentence()
    assert tokens.shape == (1, WORDS, DIM)
    assert mask.sum() == 2


def test_an_unfinished_or_missing_cache_is_refused_with_the_command(folder, tmp_path):
    with pytest.raises(ValueError, match="aid prepare"):
        Cache(tmp_path / "nowhere")
    (folder / "cache.json").unlink()
    with pytest.raises(ValueError, match="not a finished cache"):
        Cache(folder)


def test_another_purpose_is_refused_by_name(folder):
    cache = Cache(folder)
    cache.require(backbone="abc", num_frames=3)
    with pytest.raises(ValueError, match="made with num_frames = 3, this run needs 16"):
        cache.require(backbone="abc", num_frames=16)
    with pytest.raises(ValueError, match="backbone = 'abc'"):
        cache.require(backbone="def")
    with pytest.raises(ValueError, match="height = None"):
        cache.require(height=64)


def test_a_damaged_shard_is_refused_by_name(folder):
    shard = folder / "videos-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-3])
    cache = Cache(folder)
    cache.batch([0, 1])
    with pytest.raises(ValueError, match="videos-00001"):
        cache.batch([2])
    shard.unlink()
    with pytest.raises(ValueError, match="videos-00001"):
        Cache(folder).batch([2])


def test_a_copied_cache_is_the_same_cache(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert torch.equal(
        Cache(folder).batch([3, 1]).latents, Cache(tmp_path / "copy").batch([3, 1]).latents
    )
    assert json.loads((tmp_path / "copy/rows.json").read_text()) == Cache(folder).rows


def test_every_epoch_sees_every_video_once_in_another_order():
    assert sorted(epoch_order(10, seed=0, epoch=0)) == list(range(10))
    assert epoch_order(10, 0, 0) == epoch_order(10, 0, 0)
    assert epoch_order(10, 0, 0) != epoch_order(10, 0, 1)
    assert epoch_order(10, 0, 0) != epoch_order(10, 1, 0)


def test_batches_are_the_epochs_cut_into_pieces():
    seen = [index for step in range(9) for index in batch_indices(6, 4, seed=3, step=step)]
    orders = [index for epoch in range(6) for index in epoch_order(6, 3, epoch)]
    assert seen == orders


def test_a_batch_may_be_larger_than_the_set():
    assert sorted(batch_indices(3, 6, seed=0, step=0)) == [0, 0, 1, 1, 2, 2]
