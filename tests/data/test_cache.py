import copy
import json
import shutil

import pytest
import torch

from aid.data.cache import Cache
from aid.data.shards import FORMAT
from aid.data.store import Store

NUM_VIDEOS, NUM_FIRSTS, NUM_NOISED, WORDS, DIM = 5, 3, 4, 6, 8


def write_cache(folder, frame_condition="grey_pixels", shard=2):
    """A cache of numbers that tell where they come from: video i is full of i."""
    store, listed = Store(folder), {"videos": [], "first_frames": []}
    store.make()
    for start in range(0, NUM_VIDEOS, shard):
        numbers = torch.arange(start, min(start + shard, NUM_VIDEOS)).half()
        latents = numbers[:, None, None, None, None].expand(-1, 3, 4, 2, 2)
        pixels = (numbers * 10).to(torch.uint8)[:, None, None, None, None].expand(-1, 1, 3, 4, 4)
        given = torch.arange(len(numbers))
        name = f"videos-{start}.safetensors"
        tensors = {"latents": latents, "given_frames": pixels, "given_of": given}
        store.write_tensors(name, tensors)
        listed["videos"].append([name, len(numbers)])
    for start in range(0, NUM_FIRSTS, shard):
        numbers = torch.arange(start, min(start + shard, NUM_FIRSTS)).half()
        n, version = len(numbers), torch.arange(NUM_NOISED).half() / 10
        given = numbers[:, None] + version
        name = f"first_frames-{start}.safetensors"
        tensors = {
            "given_latents": given[:, :, None, None, None, None].expand(-1, -1, 1, 4, 2, 2),
            "noise_aug_strength": given,
            "image_embedding": numbers[:, None, None].expand(n, 1, DIM),
            "image_tokens": numbers[:, None, None].expand(n, 5, DIM),
        }
        store.write_tensors(name, tensors)
        listed["first_frames"].append([name, n])
    lengths = torch.tensor([2, 3, 4, 5, 6])  # of sentences 0 to 4
    tokens = torch.arange(5.0).repeat_interleave(lengths)[:, None].expand(-1, DIM).half()
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    store.write_tensors("sentences-0.safetensors", {"tokens": tokens, "starts": starts})
    filling = None
    if frame_condition != "repeat_first":
        filling = "filling-0.safetensors"
        store.write_tensors(filling, {"latent": torch.full((4, 2, 2), -9.0).half()})
    offsets = [0]
    with store.writing("rows.jsonl") as path, path.open("wb") as file:
        for i in range(NUM_VIDEOS):
            row = {
                "id": f"v{i}",
                "first_frame": i % NUM_FIRSTS,
                "fps": 4.0 + i,
                "instructions": [1, 2],
                "states": [3, 4] if i else [],
            }
            file.write(json.dumps(row).encode() + b"\n")
            offsets.append(file.tell())
    store.write_tensors("rows.safetensors", {"starts": torch.tensor(offsets)})
    fingerprint = {"backbone": "abc", "num_frames": 3, "frame_condition": frame_condition}
    settings = {"format": FORMAT, "fingerprint": fingerprint, **listed, "filling": filling}
    settings |= {"sentences": [["sentences-0.safetensors", 5]]}
    store.write_json("cache.json", settings | {"sentence_length": WORDS, "text_dim": DIM})
    return folder


@pytest.fixture
def folder(tmp_path):
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


def test_what_is_no_cache_is_named_with_what_it_holds(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run_cache/train")
    with pytest.raises(
        ValueError, match=r"no cache itself. It holds the cache 'train'. Give '.*/train'$"
    ):
        Cache(tmp_path / "run_cache")
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match=r"set' is no cache. Give a folder that aid prepare wrote"):
        Cache(tmp_path / "set")
    (tmp_path / "set/manifest.jsonl").touch()
    with pytest.raises(
        ValueError, match=r"set' is a data set, not a cache. .* --out '.*set_cache'"
    ):
        Cache(tmp_path / "set")


def test_a_cache_with_other_settings_is_refused_by_name(folder):
    cache = Cache(folder)
    cache.require(backbone="abc", num_frames=3)
    with pytest.raises(ValueError, match="made with num_frames = 3, and this run needs 16"):
        cache.require(backbone="abc", num_frames=16)
    with pytest.raises(ValueError, match="backbone = 'abc'"):
        cache.require(backbone="def")
    with pytest.raises(ValueError, match="height = None"):
        cache.require(height=64)


def test_a_damaged_shard_is_refused_by_name(folder):
    shard = folder / "videos-2.safetensors"
    shard.write_bytes(shard.read_bytes()[:-3])
    cache = Cache(folder)
    cache.batch([0, 1])
    with pytest.raises(ValueError, match="videos-2"):
        cache.batch([2])
    shard.unlink()
    with pytest.raises(ValueError, match="videos-2"):
        Cache(folder).batch([2])


def test_a_renamed_shard_is_refused(folder):
    shutil.copy(folder / "videos-0.safetensors", folder / "videos-2.safetensors")
    with pytest.raises(ValueError, match=r"written as 'videos-0\.safetensors'"):
        Cache(folder).batch([2])


def test_a_cache_of_another_version_is_refused(folder):
    (folder / "cache.json").write_text(json.dumps({"fingerprint": {}}))
    with pytest.raises(ValueError, match="another version"):
        Cache(folder)
    (folder / "cache.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Cache(folder)


def test_truncated_rows_are_refused(folder):
    whole = (folder / "rows.jsonl").read_bytes()
    for part in (whole[:-2], b""):
        (folder / "rows.jsonl").write_bytes(part)
        with pytest.raises(ValueError, match=r"rows\.jsonl"):
            Cache(folder)


def test_a_copied_cache_and_one_sent_to_a_worker_are_the_same_cache(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    cache = Cache(folder)
    cache.batch([0])  # open files must not be sent along
    for other in (Cache(tmp_path / "copy"), copy.deepcopy(cache)):
        assert torch.equal(cache.batch([3, 1]).latents, other.batch([3, 1]).latents)
        assert list(other.rows) == list(cache.rows)
        assert other.rows[-1] == cache.rows[4]
    with pytest.raises(IndexError):
        cache.rows[5]


@pytest.mark.slow
def test_worker_processes_read_the_same_batches(folder):
    cache = Cache(folder)
    loader = torch.utils.data.DataLoader(
        Batches(cache), batch_size=None, num_workers=2, multiprocessing_context="spawn"
    )
    read = list(loader)
    assert [one[:, 0, 0, 0, 0].tolist() for one in read] == [[0, 1], [1, 2], [2, 3], [3, 4]]


class Batches(torch.utils.data.Dataset):
    def __init__(self, cache):
        self.cache = cache

    def __len__(self):
        return NUM_VIDEOS - 1

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        return self.cache.batch([index, index + 1]).latents


def test_the_given_frames_come_back_as_they_were(folder):
    frames = Cache(folder).given_frames([4, 0])
    assert torch.equal(frames[:, 0, 0, 0, 0], torch.tensor([40 / 127.5 - 1, -1]))
