"""Settings of strangers are refused before they take memory or time."""

import json
import resource
import time

import pytest
from checkpoints import write_tiny_model
from safetensors.torch import load_file, save_file

from aid.cli import main
from aid.config import LoopConfig, NoiseConfig, SamplerConfig, TrainConfig
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import load_checkpoint, read_info
from aid.tabletop.pretrain.config import (
    AutoencoderConfig,
    ClipConfig,
    PretrainConfig,
    UNetConfig,
    VideoStageConfig,
)

HUGE = 10**9


@pytest.fixture
def folder(tiny_backbone, tiny_config, tmp_path):
    return write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config)


def change(folder, path, value):
    """Changes one setting of config.json, named as `model.lora.rank`."""
    file = folder / "config.json"
    settings = part = json.loads(file.read_text())
    *inner, last = path.split(".")
    for name in inner:
        part = part[name]
    part[last] = value
    file.write_text(json.dumps(settings).replace("Infinity", "1e999"))


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("height", 16384, "height must be from 1 to 8192 pixels, got 16384"),
        ("width", HUGE, "width must be from 1 to 8192 pixels"),
        ("height", -64, "height must be from 1"),
        ("height", 64.5, "height must be int, got 64.5"),
        ("height", "64", "height must be int, got '64'"),
        ("height", True, "height must be int, got True"),
        ("fps", float("nan"), "fps must be float, got nan"),
        ("fps", float("inf"), "fps must be from .* got inf"),
        ("fps", 0, "fps must be from"),
        ("text_dim", HUGE, "text_dim must be from 1 to 16384, got 1000000000"),
        ("step", -1, "step must be from 0"),
        ("sampler.num_steps", HUGE, "num_steps must be from 1 to 10000, got 1000000000"),
        ("sampler.num_steps", 0, "num_steps must be at least 1"),
        ("sampler.image_guidance", float("inf"), "image_guidance must be from -1000 to 1000"),
        ("sampler.text_guidance", float("nan"), "text_guidance must be float, got nan"),
        ("sampler.sigma_max", float("inf"), "sigma_max must be from"),
        ("sampler.rho", 0, "rho must be from"),
        ("sampler.solver", "magic", "solver must be .*euler.* got 'magic'"),
        ("sampler.guidance_interval", [1.0, 2.0, 3.0], "guidance_interval must be"),
        ("sampler.guidance_interval", [[0.0], 1.0], "guidance_interval must be"),
        ("sampler", [1, 2], "sampler must be SamplerConfig, got"),
        ("model", None, "model must be ModelConfig, got None"),
        ("model.num_frames", HUGE, "num_frames must be from 1 to 4096, got 1000000000"),
        ("model.num_frames", 0, "num_frames must be from 1"),
        ("model.dqformer.dim", 32768, "dqformer.dim must be from 1 to 16384, got 32768"),
        ("model.dqformer.depth", HUGE, "dqformer.depth must be from 1 to 64"),
        ("model.dqformer.queries_per_frame", HUGE, "queries_per_frame must be from 1 to 1024"),
        ("model.dqformer.num_heads", 0, "num_heads must be from 1"),
        ("model.dqformer.branches", "all", "branches must be .*got 'all'"),
        ("model.dqformer.use_states", "no", "use_states must be bool, got 'no'"),
        ("model.adapter.ratio", float("inf"), "adapter.ratio must be from"),
        ("model.adapter.short_term_kernel", [3, 1], "short_term_kernel must be"),
        ("model.adapter.short_term_kernel", [HUGE, 1, 1], "short_term_kernel must be from 1 to 31"),
        ("model.adapter.short_term_kernel", [3] * 10**5, "short_term_kernel must be"),
        ("model.lora.rank", HUGE, "lora.rank must be from 0 to 16384"),
        ("model.condition.num_given_frames", 0, "num_given_frames must be from 1"),
        ("model.condition.text_dropout", 5.0, "text_dropout must be from 0 to 0.333"),
        ("model.condition.fps", float("nan"), "fps must be .*got nan"),
        ("model.condition.extra", 1, "no setting 'extra'"),
        ("backbone_name", "a\x1b[2Jb", "backbone_name must be text .* without control characters"),
        ("state_writer", "x" * 2000, "state_writer must be text of at most 1000 characters"),
        ("state_writer", {"a": 1}, "state_writer must be str"),
        ("states_see", nested(50), "states_see must be"),
        ("frames", {"height": HUGE * 8}, "frames.height must be from 8 to 8192"),
        ("source", {"hold_out": 7.0}, "hold_out is the share"),
    ],
)  # fmt: skip
def test_a_setting_is_refused_with_the_value_and_the_bound(path, value, words, folder):
    change(folder, path, value)
    with pytest.raises(ValueError, match=words) as error:
        read_info(folder)
    assert "config.json" in str(error.value)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" * 100_000, "is damaged"),
        ("[]", "no settings by name"),
        ("1", "no settings by name"),
        ('{"step": ' + "9" * 5000 + "}", "is damaged"),
        (" " * 2_000_000, "2,000,000 bytes, more than the 1,000,000"),
        ("\udcff", "is damaged"),
    ],
)
def test_a_file_that_is_no_settings_is_refused(content, words, folder):
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=words):
        read_info(folder)


def test_a_video_of_too_many_pixels_is_refused_as_a_whole(folder):
    change(folder, "height", 4096)
    change(folder, "width", 4096)
    change(folder, "model.num_frames", 64)
    with pytest.raises(ValueError, match="64 frames of 4096 x 4096 are 1,073,741,824 pixels"):
        read_info(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.dqformer.dim", 16_384),
        ("model.dqformer.depth", 64),
        ("model.dqformer.queries_per_frame", 1024),
        ("model.adapter.ratio", 16.0),
        ("model.lora.rank", 16_384),
        ("text_dim", 16_384),
        ("model.num_frames", 4096),
    ],
)
def test_settings_within_bounds_take_no_more_memory_than_the_file_has(
    path, value, folder, tiny_backbone
):
    """They are compared with the header of the tensors before anything is made."""
    change(folder, path, value)
    unet = load_backbone(tiny_backbone, ["unet"]).unet
    before = {name: tensor.data_ptr() for name, tensor in unet.named_parameters()}
    start, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="trained weights do not fit"):
        load_checkpoint(folder, unet, backbone_hash(tiny_backbone))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000, "in kB"
    assert time.monotonic() - start < 60
    after = {name: tensor.data_ptr() for name, tensor in unet.named_parameters()}
    assert after == before, "the UNet is given back as it was"


def test_tensors_without_their_hash_are_refused(folder, tiny_backbone):
    file = folder / "trained.safetensors"
    save_file(load_file(file), file)
    unet = load_backbone(tiny_backbone, ["unet"]).unet
    with pytest.raises(ValueError, match="does not name its sha256 and model hash"):
        load_checkpoint(folder, unet, backbone_hash(tiny_backbone))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LoopConfig(learning_rate=-1e-4), "learning_rate must be from 0 to 10, got -0"),
        (lambda: LoopConfig(learning_rate=float("nan")), "learning_rate .* got nan"),
        (lambda: LoopConfig(learning_rate=float("inf")), "learning_rate .* got inf"),
        (lambda: LoopConfig(warmup_steps=-1), "warmup_steps must be from 0"),
        (lambda: LoopConfig(beta2=1.0), "beta2 must be from 0 to 0.9999999, got 1.0"),
        (lambda: LoopConfig(beta2=-0.1), "beta2"),
        (lambda: LoopConfig(ema_decay=1.5), "ema_decay must be from 0 to 1, got 1.5"),
        (lambda: LoopConfig(weight_decay=-1.0), "weight_decay"),
        (lambda: LoopConfig(max_grad_norm=0.0), "max_grad_norm"),
        (lambda: LoopConfig(steps=10**12), "steps must be from 1 to 1000000000"),
        (lambda: LoopConfig(batch_size=HUGE), "batch_size must be from 1 to 65536"),
        (lambda: LoopConfig(seed=-1), "seed must be from 0"),
        (lambda: TrainConfig(cross_attention_learning_rate=-1.0), "cross_attention_learning_rate"),
        (lambda: TrainConfig(frame_stride=0), "frame_stride must be from 1"),
        (lambda: TrainConfig(motion_weight=float("nan")), "motion_weight .* got nan"),
        (lambda: TrainConfig(accumulate=HUGE), "accumulate"),
        (lambda: NoiseConfig(std=-1.0), r"noise\.std"),
        (lambda: SamplerConfig(text_guidance=float("inf")), "text_guidance"),
        (lambda: UNetConfig(channels=(32, 32768)), r"unet\.channels must be from 1 to 16384"),
        (lambda: ClipConfig(dim=HUGE), r"clip\.dim"),
        (lambda: AutoencoderConfig(image_size=16384), r"image_size must be from 8 to 8192"),
        (lambda: VideoStageConfig(image_dropout=2.0), "image_dropout must be from 0 to 1"),
    ],
)  # fmt: skip
def test_a_recipe_is_refused_with_the_value_and_the_bound(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_usual_settings_are_within_their_bounds():
    assert TrainConfig(warmup_steps=0, learning_rate=0.0)
    assert PretrainConfig()


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n"
    for before, name in zip("abcdefgh", "bcdefghi")  # noqa: B905
)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (LAUGHS, "a YAML alias is not read"),
        ("train: &a {steps: 5}\nmodel: *a\n", "a YAML alias is not read"),
        ("model: " + "{a: " * 60 + "1" + "}" * 60, "more than 50 levels"),
        ("# " + "x" * 1_000_001, "characters is not read"),
        ("train: {steps: 1000000000000}", "steps must be from 1 to 1000000000"),
        ("train: {learning_rate: -1}", "learning_rate must be from 0 to 10"),
        ("train: {learning_rate: .nan}", "learning_rate must be from 0 to 10, got nan"),
        ("model: {dqformer: {dim: 32768}}", "dqformer.dim must be from 1 to 16384"),
    ],
)
def test_a_hostile_recipe_is_a_sentence(recipe, words, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(recipe)
    flags = ["--config", str(tmp_path / "recipe.yaml"), "--cache", "a", "--out", "b"]
    try:
        code = main(["train", *flags])
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr().err
    assert code == 2
    assert words in told
    assert told.count("\n") == 1


def test_the_card_of_a_data_set_cannot_explode(tmp_path):
    from aid.data.licence import licence_of

    (tmp_path / "README.md").write_text(f"---\n{LAUGHS}license: *i\n---\n# A data set\n")
    assert licence_of(tmp_path, []) is None
