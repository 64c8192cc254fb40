import runpy
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from backbones import build_tiny_backbone
from checkpoints import differ, write_tiny_model
from diffusers import StableVideoDiffusionPipeline
from PIL import Image

import aid.predict.loading
from aid.conditioning.states import NoStateWriter
from aid.config import ConditionConfig, SamplerConfig
from aid.predict import Predictor, find_model
from aid.tabletop.entry import TABLETOP
from aid.video import read_video, to_uint8

SAID = "lift the red ball"
STATES = ["lift it", "stop"]


def test_a_seed_determines_the_video(predictor, frame):
    first, second = (predictor(frame, SAID, states=STATES, seed=3).frames for _ in range(2))
    assert np.array_equal(first, second)
    assert differ(first, predictor(frame, SAID, states=STATES, seed=4).frames) > 5


def test_guidance_can_be_limited_to_some_noise_levels(predictor, frame):
    asked = {"states": STATES, "num_steps": 2, "text_guidance": 4.0}
    nowhere, unguided, everywhere = (
        predictor(frame, SAID, **asked | changed).frames
        for changed in (
            {"guidance_interval": (1e6, 1e6)},
            {"text_guidance": 1.0, "image_guidance": 1.0},
            {"guidance_interval": (0.0, float("inf"))},
        )
    )
    assert differ(nowhere, unguided) <= 1 < differ(nowhere, everywhere)


def test_video_i_of_several_is_that_of_seed_plus_i(predictor, frame):
    several = predictor(frame, SAID, states=STATES, seed=3, num_videos=3)
    alone = predictor(frame, SAID, states=STATES, seed=5)
    assert len(several.videos) == 3
    assert differ(several.videos[2], alone.frames) <= 1


def test_a_video_does_not_depend_on_its_batch(predictor, frame):
    frames = [frame, frame[::-1].copy(), frame[:, ::-1].copy()]
    asked = (frames, [SAID, "push it", ""], [1, 2, 3])
    settings = {"states": [STATES, ["hand at left"] * 3, []], "fps": [4.0, 8.0, 2.0]}
    together = predictor.predict_many(*asked, **settings)
    alone = predictor.predict_many(*asked, **settings, batch_size=1)
    assert max(differ(a, b) for a, b in zip(together, alone, strict=True)) <= 1


def test_each_condition_changes_the_video(predictor, frame):
    """Otherwise the test above would pass for a model that ignores them."""

    def draw(said=SAID, states=STATES, fps=4.0, seed=1):
        settings = {
            "states": [states],
            "fps": [fps],
            "sampler": predictor.sampler_with(num_steps=1),
        }
        return predictor.predict_many([frame], [said], [seed], **settings)[0]

    usual = draw()
    for other in (draw(said="push it"), draw(states=["drop it"]), draw(fps=9.0), draw(seed=2)):
        assert differ(usual, other) > 0


def test_a_model_trained_at_one_fps_always_gets_that_fps(
    tiny_backbone, tiny_config, tmp_path, frame
):
    config = replace(tiny_config, condition=ConditionConfig(fps=5.0))
    write_tiny_model(tmp_path / "aid", tiny_backbone, config)
    one = Predictor.from_pretrained(tmp_path / "aid", tiny_backbone, "cpu")
    settings = {"states": [[], []], "fps": [3.0, 12.0], "sampler": one.sampler_with(num_steps=1)}
    slow, fast = one.predict_many([frame] * 2, [SAID] * 2, [0, 0], **settings)
    assert differ(slow, fast) == 0


def test_a_video_starts_with_the_given_frame(predictor, frame):
    assert np.array_equal(predictor(frame, SAID, states=STATES).frames[0], frame)


def test_the_models_own_first_frame_is_available(folder, tiny_backbone, predictor, frame):
    own = Predictor.from_pretrained(folder, tiny_backbone, "cpu", keep_given_frames=False)
    video = own(frame, SAID, states=STATES).frames
    assert differ(video[0], frame) > 0
    assert np.array_equal(video[1:], predictor(frame, SAID, states=STATES).frames[1:])


def test_a_frame_may_be_a_path_an_image_or_an_array(predictor, frame, tmp_path):
    Image.fromarray(frame).save(tmp_path / "a.png")
    ways = (frame, Image.fromarray(frame), tmp_path / "a.png", str(tmp_path / "a.png"))
    videos = [predictor(way, SAID, states=STATES, num_steps=1).frames for way in ways]
    assert all(np.array_equal(video, videos[0]) for video in videos)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((64, 96, 3), "96x64 .* cut to its centre"),
        ((128, 128, 3), r"128x128 \S+ x \S+ and was res"),
    ],
)
def test_a_frame_of_another_size_is_fitted_with_a_warning(predictor, shape, words):
    with pytest.warns(UserWarning, match=words):
        made = predictor(np.zeros(shape, np.uint8), SAID, states=STATES, num_steps=1)
    assert made.frames.shape == (3, 64, 64, 3)


def test_a_frame_of_the_right_size_causes_no_warning(predictor, frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor(frame, SAID, states=STATES, num_steps=1)


@pytest.mark.parametrize("bad", [np.zeros((64, 64, 3)), np.zeros((64, 64), np.uint8)])
def test_an_array_that_is_no_frame_is_refused(predictor, bad):
    with pytest.raises(ValueError, match=r"must be uint8 of shape \(height, width, 3\)"):
        predictor(bad, SAID)


@pytest.mark.parametrize(("said", "words"), [("  ", "is empty"), (None, "got None")])
def test_an_instruction_is_required(predictor, frame, said, words):
    with pytest.raises(ValueError, match=words):
        predictor(frame, said)


def test_numbers_out_of_range_are_refused(predictor, frame):
    with pytest.raises(ValueError, match="num_videos must be at least 1"):
        predictor(frame, SAID, num_videos=0)
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        predictor(frame, SAID, states=STATES, num_steps=0)
    with pytest.raises(ValueError, match="1, 2 and 1"):
        predictor.predict_many([frame], [SAID] * 2, [0])


@pytest.mark.filterwarnings("ignore:.*text encoder reads")
def test_the_rules_write_the_states_of_a_model_trained_on_them(predictor, frame):
    made = predictor(frame, SAID, num_steps=1)
    assert made.state_writer == "tabletop-rules"
    assert made.states[-1] == "the red ball is held in the air"
    assert predictor(frame, SAID, states=["drop it"], num_steps=1).state_writer == "caller"


def test_free_speech_is_read_as_a_wording_of_the_world(predictor, frame):
    free = predictor(frame, "could you grab that crimson ball?", num_steps=1)
    known = predictor(frame, "pick up the red ball", num_steps=1)
    assert differ(free.frames, known.frames) == 0
    assert free.states == known.states
    assert free.instruction == "could you grab that crimson ball?"
    assert str(free.understood) == "pick up the red ball"


def test_what_is_not_understood_is_refused_with_the_nearest_task(predictor, frame):
    with pytest.raises(ValueError, match=r"'banana' .*Nearest: .*--understand false"):
        predictor(frame, "lift the banana", num_steps=1)


def test_words_can_be_handed_over_as_they_are(folder, tiny_backbone, frame):
    as_said = Predictor.from_pretrained(folder, tiny_backbone, "cpu", understand=False)
    with pytest.warns(UserWarning, match="'banana'"):
        made = as_said(frame, "lift the banana", num_steps=1)
    assert made.states == [] and made.understood is None


def test_a_model_that_reads_no_states_gets_none(tiny_backbone, tiny_config, tmp_path, frame):
    config = replace(tiny_config, dqformer=replace(tiny_config.dqformer, use_states=False))
    write_tiny_model(tmp_path / "aid", tiny_backbone, config)
    made = Predictor.from_pretrained(tmp_path / "aid", tiny_backbone, "cpu")(frame, SAID)
    assert (made.state_writer, made.states) == ("none", [])


def test_progress_is_counted_over_all_batches(predictor, frame):
    counted = []
    predictor.predict_many(
        [frame] * 3, [SAID] * 3, [0, 1, 2], states=[STATES] * 3, batch_size=2,
        on_step=lambda done, all_: counted.append((done, all_)),
    )  # fmt: skip
    assert counted == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_model_of_two_given_frames_needs_two(tiny_backbone, tiny_config, tmp_path, frame):
    config = replace(tiny_config, condition=ConditionConfig(num_given_frames=2))
    write_tiny_model(tmp_path / "aid", tiny_backbone, config)
    two = Predictor.from_pretrained(
        tmp_path / "aid", tiny_backbone, "cpu", state_writer=NoStateWriter()
    )
    given = np.stack([frame, 255 - frame])
    (video,) = two.predict_many([given], [SAID], [0])
    assert np.array_equal(video[:2], given)
    with pytest.raises(ValueError, match="reads 2 given frames of a video, got 1"):
        two(frame, SAID)


def test_the_bare_backbone_is_the_stock_pipeline(tiny_backbone, frame):
    bare = Predictor.backbone_only(tiny_backbone, "cpu", keep_given_frames=False)
    ours = bare(frame, None, seed=5, num_steps=3, image_guidance=2.0).frames
    stock = StableVideoDiffusionPipeline.from_pretrained(tiny_backbone)
    stock.set_progress_bar_config(disable=True)
    theirs = stock(
        Image.fromarray(frame), height=64, width=64, num_frames=3, num_inference_steps=3,
        min_guidance_scale=2.0, max_guidance_scale=2.0, fps=7, output_type="np",
        generator=torch.Generator().manual_seed(5),
    ).frames[0]  # fmt: skip
    assert bare.sampler == SamplerConfig(sigma_min=0.002, sigma_max=700.0)
    assert differ(ours, (theirs * 255).round()) <= 2


def test_the_bare_backbone_warns_that_it_ignores_words(tiny_backbone, frame):
    bare = Predictor.backbone_only(tiny_backbone, "cpu")
    with pytest.warns(UserWarning, match="no effect"):
        said = bare(frame, SAID, num_steps=1).frames
    (many,) = bare.predict_many([frame], [SAID], [0], sampler=bare.sampler_with(num_steps=1))
    assert np.array_equal(said, many)
    assert "reads no instruction" in bare.describe()


@pytest.mark.filterwarnings("ignore:.*text encoder reads")
def test_the_step_by_step_example_equals_the_predictor(
    folder, tiny_backbone, predictor, frame, tmp_path, monkeypatch
):
    Image.fromarray(frame).save(tmp_path / "a.png")
    arguments = [tmp_path / "a.png", SAID, tmp_path / "a.mp4", folder, tiny_backbone]
    monkeypatch.setattr("sys.argv", ["step_by_step.py", *map(str, arguments)])
    made = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "step_by_step.py"))
    expected = predictor(frame, SAID).frames
    assert differ(to_uint8(made["frames"][0])[1:], expected[1:]) <= 1
    assert (tmp_path / "a.mp4").is_file()


def test_describe_names_adapters_without_effect(predictor, tiny_backbone, tiny_config, tmp_path):
    write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config, is_random=False)
    idle = Predictor.from_pretrained(tmp_path / "aid", tiny_backbone, "cpu")
    assert "12 of 12 adapters are zero and have no effect" in idle.describe()
    told = predictor.describe()
    assert "have no effect" not in told
    for words in ("dqformer", "cross_attention", "step 7", "tabletop-rules"):
        assert words in told
    assert predictor.info.backbone_hash in told


def test_videos_are_saved_by_suffix(predictor, frame, tmp_path):
    made = predictor(frame, SAID, states=STATES, num_videos=2)
    assert made.save(tmp_path / "a.mp4") == [tmp_path / "a-0.mp4", tmp_path / "a-1.mp4"]
    assert read_video(tmp_path / "a-1.mp4").shape == (3, 64, 64, 3)
    assert made.save(tmp_path / "a.png") == [tmp_path / "a.png"]
    with Image.open(made.save(tmp_path / "b.GIF")[0]) as image:
        assert image.n_frames == 3
    with pytest.raises(ValueError, match="must end in"):
        made.save(tmp_path / "a.avi")


def test_a_checkpoint_of_another_backbone_is_refused(folder, tmp_path):
    other = build_tiny_backbone(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="was trained on backbone 'tiny'"):
        Predictor.from_pretrained(folder, other)


def test_truncated_weights_are_refused(folder, tiny_backbone, tmp_path):
    shutil.copytree(folder, tmp_path / "aid")
    weights = tmp_path / "aid" / "trained.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        Predictor.from_pretrained(tmp_path / "aid", tiny_backbone)


def test_a_size_that_cannot_be_halved_is_refused(folder, tiny_backbone):
    with pytest.raises(ValueError, match=r"multiples of 16 .* got 70 and 64. Try 64 and 64"):
        Predictor.from_pretrained(folder, tiny_backbone, "cpu", height=70)


def test_a_folder_may_hold_model_and_backbone(folder, tiny_backbone, tmp_path):
    shutil.copytree(folder, tmp_path / "aid")
    (tmp_path / "backbone").symlink_to(tiny_backbone)
    assert find_model(tmp_path) == (tmp_path / "aid", tmp_path / "backbone")
    assert find_model(folder, tiny_backbone) == (folder, tiny_backbone)


def test_a_missing_model_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="'nowhere' does not exist"):
        find_model("nowhere")
    empty = {"tabletop": replace(TABLETOP, model=tmp_path)}
    monkeypatch.setattr(aid.predict.loading, "installed_worlds", lambda: empty)
    with pytest.raises(ValueError, match="not in this installation"):
        find_model("tabletop")
