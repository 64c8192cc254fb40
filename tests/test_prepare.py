import json
import shutil
from dataclasses import replace

import pytest
import torch
from backbones import build_tiny_backbone
from safetensors.torch import load_file
from videos import moving_square

from aid import prepare as prepare_module
from aid.conditioning.encoders import encode_sentences
from aid.conditioning.states import choose_state_writer
from aid.config import ConditionConfig
from aid.data import cache as cache_module
from aid.data.cache import Cache
from aid.data.manifest import read_manifest, write_manifest
from aid.models.backbone import load_backbone
from aid.prepare import prepare
from aid.video import to_float

GREY = ConditionConfig()


def make(data, out, backbone, condition=GREY, num_frames=3, states=None, **options):
    states = states or choose_state_writer("replay", read_manifest(data))
    prepare(
        data, out, backbone, condition=condition, num_frames=num_frames, states=states, **options
    )
    return Cache(out)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    """Two videos a file, so that six videos have several."""
    monkeypatch.setattr(prepare_module, "SHARD", 2)
    monkeypatch.setattr(cache_module, "SHARD", 2)


@pytest.fixture(scope="module")
def finished(tiny_manifest, tiny_backbone, tmp_path_factory):
    """A cache of the six videos; do not write into it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "SHARD", 2)
        out = tmp_path_factory.mktemp("caches") / "grey"
        make(tiny_manifest, out, tiny_backbone)
    return out


def contents(folder):
    """Every tensor and every JSON value of a cache."""
    tensors = {
        f"{path.name}/{name}": tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }
    return tensors, {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}


def assert_same(one, other):
    (tensors, values), (others, other_values) = contents(one), contents(other)
    assert values == other_values
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)


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


def test_videos_of_one_scene_share_their_first_frame(finished):
    assert [row["first_frame"] for row in Cache(finished).rows] == [0, 0, 1, 1, 2, 2]
    shards = [load_file(path) for path in sorted(finished.glob("first_frames-*.safetensors"))]
    assert [len(shard["image_tokens"]) for shard in shards] == [2, 1]


def test_a_finished_cache_is_kept_and_nothing_is_loaded_again(
    finished, tiny_manifest, tiny_backbone, monkeypatch
):
    def refuse(*args, **kwargs):
        raise AssertionError("encoded again")

    monkeypatch.setattr(prepare_module, "load_backbone", refuse)
    make(tiny_manifest, finished, tiny_backbone)


@pytest.mark.parametrize("file", ["videos-00001", "first_frames-00001", "sentences"])
def test_a_killed_run_keeps_its_shards_and_ends_in_the_same_cache(
    finished, tiny_manifest, tiny_backbone, tmp_path, monkeypatch, file
):
    write = prepare_module.write_tensors

    def killing(path, tensors):
        if path.stem == file:
            raise KeyboardInterrupt
        write(path, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "write_tensors", killing)
        with pytest.raises(KeyboardInterrupt):
            make(tiny_manifest, tmp_path / "out", tiny_backbone)
    with pytest.raises(ValueError, match="not a finished cache"):
        Cache(tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*-*.safetensors")}
    assert before
    make(tiny_manifest, tmp_path / "out", tiny_backbone)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert_same(finished, tmp_path / "out")


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
    strengths = torch.cat(
        [load_file(path)["noise_aug_strength"] for path in finished.glob("first_frames-*")]
    )
    assert strengths.shape == (3, prepare_module.NUM_NOISED)
    assert len(strengths.unique()) == strengths.numel()
    assert strengths.float().log().mean() == pytest.approx(-3, abs=0.6)
