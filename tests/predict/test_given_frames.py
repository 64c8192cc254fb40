"""Models of several given frames, and videos and folders in place of pictures."""

import json
import warnings
from pathlib import Path

import hostile
import numpy as np
import pytest
import yaml
from memory_use import begin_anew, resident
from PIL import Image
from videos import moving_square

import aid.cli
from aid import AIDPipeline
from aid.predict import Predictor
from aid.predict import frames as frames_module
from aid.predict.frames import read_given
from aid.video import read_video, reading, write_gif, write_mp4

SAID = "push the red ball left"
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video of 8 frames a second in which every frame is another, and its pixels."""
    path, pixels = tmp_path_factory.mktemp("clip") / "clip.mp4", moving_square(8)
    write_mp4(path, pixels, fps=8.0, lossless=True)
    return path, pixels


@pytest.fixture
def pictures(clip, tmp_path):
    """Frames 0 and 2 of the clip, which are a quarter of a second apart, as files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in (0, 2):
        Image.fromarray(clip[1][number]).save(folder / f"frame_{number}.png")
    return folder


def test_all_ways_to_give_two_frames_give_the_same_video(two, clip, pictures):
    path, pixels = clip
    files = [pictures / "frame_0.png", str(pictures / "frame_2.png")]
    ways = [
        path,  # at the model's 4 frames a second, not at the file's 8
        pictures,
        files,
        tuple(Image.open(file) for file in files),
        pixels[[0, 2]],
        [pixels[0], pixels[2]],
    ]
    made = [two(way, SAID, num_steps=1) for way in ways]
    for one in made:
        assert np.array_equal(one.given, pixels[[0, 2]])
        assert np.array_equal(one.frames, made[0].frames)
    assert np.array_equal(made[0].frames[:2], pixels[[0, 2]])


def test_the_second_given_frame_changes_the_video(two, clip):
    one, other = (two([clip[1][0], clip[1][n]], SAID, num_steps=1).frames for n in (2, 7))
    assert np.array_equal(one[0], other[0]) and not np.array_equal(one[2], other[2])


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("picture", "reads 2 given frames of a video, got 1. Give 2 pictures in order"),
        ("three", "reads 2 given frames of a video, got 3"),
        ("short", "short.mp4' has 1 at the model's 4 frames a second"),
        ("folder", "holds 1. Give 2 pictures"),
    ],
)
def test_another_number_of_frames_is_refused_with_the_remedy(way, words, two, clip, tmp_path):
    (tmp_path / "folder").mkdir()
    Image.fromarray(clip[1][0]).save(tmp_path / "folder/1.png")
    write_mp4(tmp_path / "short.mp4", clip[1][:1], fps=8.0, lossless=True)
    ways = {
        "picture": tmp_path / "folder/1.png", "three": list(clip[1][:3]),
        "short": tmp_path / "short.mp4", "folder": tmp_path / "folder",
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        two(ways[way], SAID)


def test_several_pictures_for_a_model_of_one_frame_are_refused(predictor, clip):
    with pytest.raises(ValueError, match=r"reads 1 given frame of a video, got 2\."):
        predictor(list(clip[1][:2]), SAID)


def test_a_model_of_one_given_frame_takes_the_first_of_a_video(predictor, clip):
    made = predictor(clip[0], SAID, states=[], num_steps=1)
    assert np.array_equal(made.frames[0], clip[1][0])
    assert made.given.shape == (1, 64, 64, 3)


def test_the_first_frame_of_an_animated_image_is_used_with_a_warning(tmp_path):
    pixels = np.stack([np.full((64, 64, 3), 80 * i, np.uint8) for i in range(3)])
    write_gif(tmp_path / "a.gif", pixels, 4.0)
    with pytest.warns(UserWarning, match=r"a\.gif.*the first is taken"):
        (first,) = read_given(tmp_path / "a.gif", 1, 4.0)
    assert first.max() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_given(tmp_path / "a.gif", 2, 4.0)) == 2


def test_the_sheet_shows_the_given_frames(two, clip, tmp_path):
    made = two(clip[0], SAID, num_steps=1)
    with Image.open(made.save(tmp_path / "a.png")[0]) as sheet:
        height = sheet.height
        band = height // 2 - 128
        shown = np.array(sheet)[band : band + 128, :128]
    large = Image.fromarray(made.given[0]).resize((128, 128), Image.Resampling.NEAREST)
    assert np.array_equal(shown, np.array(large))


def test_the_pipeline_takes_given_frames_for_one_instruction_or_for_each(
    two, two_folder, tiny_backbone, clip
):
    pipeline = AIDPipeline.from_pretrained(two_folder, tiny_backbone)
    pipeline.set_progress_bar_config(disable=True)
    path, pixels = clip
    settings = {"num_inference_steps": 1, "output_type": "np"}
    expected = two(path, SAID, num_steps=1).frames
    for image in (path, [path], [pixels[0], pixels[2]], [[pixels[0], pixels[2]]], pixels[[0, 2]]):
        assert np.array_equal(pipeline(image, SAID, **settings).frames[0], expected)
    both = pipeline([path, [pixels[0], pixels[7]]], [SAID, SAID], **settings).frames
    assert np.abs(both[0].astype(int) - expected).max() <= 1  # R5 of docs/reliability.md
    assert np.array_equal(both[1][:2], pixels[[0, 7]])
    with pytest.raises(ValueError, match="reads 2 given frames of a video, got 1"):
        pipeline(pixels[0], SAID, **settings)


@pytest.mark.parametrize("way", ["video", "folder", "pictures"])
def test_the_command_takes_two_given_frames(
    way, two_folder, tiny_backbone, clip, pictures, tmp_path
):
    frames = {
        "video": [clip[0]],
        "folder": [pictures],
        "pictures": [pictures / "frame_0.png", "--next_frames", f"[{pictures / 'frame_2.png'}]"],
    }[way]
    flags = ["--model", two_folder, "--backbone", tiny_backbone, "--num_steps", 1]
    command = ["predict", frames[0], SAID, *frames[1:], *flags, "--out", tmp_path / "x.mp4"]
    assert aid.cli.main(list(map(str, command))) == 0
    assert read_video(tmp_path / "x.mp4").shape == (3, 64, 64, 3)


def test_the_command_names_missing_frames(two_folder, tiny_backbone, pictures, tmp_path, capsys):
    flags = ["--model", two_folder, "--backbone", tiny_backbone, "--out", tmp_path / "x.mp4"]
    command = ["predict", pictures / "frame_0.png", SAID, *flags]
    assert aid.cli.main(list(map(str, command))) == 2
    assert "reads 2 given frames of a video, got 1" in capsys.readouterr().err
    assert not (tmp_path / "x.mp4").exists()


def test_the_recipe_of_two_given_frames_works_from_prepare_to_predict(
    tiny_backbone, tiny_manifest, clip, tmp_path, capsys
):
    """configs/svd/ssv2.yaml as it stands, but for its sizes."""
    recipe = yaml.safe_load((CONFIGS / "svd/ssv2.yaml").read_text())
    assert recipe["model"]["condition"]["num_given_frames"] == 2
    recipe["model"] |= {"num_frames": 3}
    recipe["model"].setdefault("dqformer", {}).update({"queries_per_frame": 2, "num_heads": 2})
    recipe["model"].setdefault("adapter", {})["long_term_heads"] = 2
    recipe["frames"] = recipe.get("frames", {}) | {"height": 64, "width": 64}
    recipe["train"] |= {
        "steps": 1, "batch_size": 2, "hard_examples": {"group_size": 1},
        "warmup_steps": 0, "check_every": 1,
        "save_every": 1, "log_every": 1, "num_workers": 0,
        "accumulate": 1, "optimizer": "adamw", "use_gradient_checkpointing": False,
    }  # fmt: skip
    recipe["precision"] = "float32"  # the reason for bfloat16 is memory
    recipe["sampler"] = recipe.get("sampler", {}) | {"num_steps": 2}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    common = ["--config", tmp_path / "recipe.yaml", "--backbone", tiny_backbone]
    reading = ["--format", "manifest"]
    cache, run = tmp_path / "cache", tmp_path / "run"
    frame = [clip[0], SAID, "--backbone", tiny_backbone, "--model", run / "checkpoint"]
    for command in (
        ["prepare", *common, "--data", tiny_manifest, *reading, "--out", cache],
        ["train", *common, "--cache", cache, "--out", run],
        ["predict", *frame, "--states_from", "none", "--out", tmp_path / "x.mp4", "--num_steps", 2],
    ):
        assert aid.cli.main(list(map(str, command))) == 0, capsys.readouterr().err
    info = json.loads((run / "checkpoint/config.json").read_text())
    assert info["model"]["condition"]["num_given_frames"] == 2
    made = Predictor.from_pretrained(run / "checkpoint", tiny_backbone, "cpu")
    assert made.num_given_frames == 2
    assert read_video(tmp_path / "x.mp4").shape == (3, 64, 64, 3)


def test_the_studio_gives_a_model_the_start_of_an_uploaded_video_at_its_rate(
    two, predictor, clip, pictures
):
    from aid.web.limits import Limits, Settings
    from aid.web.studio import Model, Result, Studio, VideoRequest

    models = [Model(name=name, predictor=one) for name, one in (("two", two), ("one", predictor))]
    studio = Studio(models, Limits())
    settings = Settings(num_steps=1, image_guidance=1.0, text_guidance=1.0, seed=0)
    requests = [
        VideoRequest(model=model, instruction=SAID, states=[], settings=settings)
        for model in models
    ]
    *_, drawn = studio.draw(("here", "me"), clip[0], requests)
    assert isinstance(drawn, Result)
    given = [prediction.given for prediction in drawn.predictions]
    assert np.array_equal(given[0], clip[1][[0, 2]]), "at 4 frames a second, of 8"
    assert np.array_equal(given[1], clip[1][:1])
    assert np.array_equal(drawn.predictions[0].frames[:2], given[0])
    with pytest.raises(ValueError, match="reads 2 given frames, 4 a second, and the file holds 1"):
        list(studio.draw(("here", "me"), pictures / "frame_0.png", requests[:1]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (hostile.endless_tables, "claims 40000000 samples"),
        (lambda _: hostile.repeated_scans(), "took more than 2 s. It was given up"),
    ],
)
def test_a_hostile_file_costs_neither_memory_nor_time(tmp_path, monkeypatch, make, words):
    monkeypatch.setattr(reading, "SECONDS", 2.0)
    monkeypatch.setattr(reading, "SECONDS_PER_MEGABYTE", 0.0)
    (tmp_path / "a.jpg").write_bytes(make(tmp_path / "v.mp4"))
    (tmp_path / "a.jpg").rename(path := tmp_path / ("a.mp4" if "claims" in words else "a.jpg"))
    before = begin_anew()
    with pytest.raises(ValueError, match=words):
        frames_module.read_given(path, 1, 4.0)
    assert resident("VmHWM") - before < 100e6
