from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from checkpoints import write_tiny_model
from PIL import Image
from torch import nn

import aid
from aid.config import LoraConfig
from aid.models.backbone import offload
from aid.models.checkpoint import base_model
from aid.predict import Predictor, pipeline

INSTRUCTIONS = ["push the red ball to the left", "push the red ball to the right"]


@pytest.fixture
def model(tmp_path, tiny_backbone, tiny_config):
    return write_tiny_model(tmp_path / "model", tiny_backbone, tiny_config)


@pytest.fixture
def frame(generator):
    return torch.randint(0, 256, (64, 64, 3), generator=generator, dtype=torch.uint8).numpy()


@pytest.mark.filterwarnings("ignore:.*cut off", "ignore:.*not in the grammar")
def test_the_pipeline_predicts_the_videos_of_the_predictor(model, tiny_backbone, frame):
    made = aid.AIDPipeline.from_pretrained(model, tiny_backbone)
    made.set_progress_bar_config(disable=True)
    steps = []
    states = [["ball left"], ["ball right"]]
    found = made(
        frame, INSTRUCTIONS, generator=torch.Generator().manual_seed(3), states=states,
        output_type="np", callback_on_step_end=lambda *told: steps.append(told[1:3]),
    )  # fmt: skip
    predictor = Predictor.from_pretrained(model, tiny_backbone)
    expected = predictor.predict_many([frame] * 2, INSTRUCTIONS, [3, 4], states=states)
    assert all(np.array_equal(a, b) for a, b in zip(found.frames, expected, strict=True))
    assert found.states == states
    assert steps == [(0, 1), (1, 0)]
    images = made([Image.fromarray(frame)], INSTRUCTIONS[0], states=states[:1]).frames
    assert images[0][1].size == (64, 64)
    with pytest.raises(ValueError, match="3 frames and 2 instructions"):
        made([frame] * 3, INSTRUCTIONS)


@pytest.mark.filterwarnings("ignore:.*cut off", "ignore:.*not in the grammar")
def test_the_pipeline_takes_micro_conditions_for_all_or_for_each(model, tiny_backbone, frame):
    made = aid.AIDPipeline.from_pretrained(model, tiny_backbone)
    made.set_progress_bar_config(disable=True)
    states = [["ball left"], ["ball right"]]
    found = made(
        frame, INSTRUCTIONS, states=states, output_type="np", num_videos_per_prompt=2,
        motion_bucket_id=[10.0, 200.0], noise_aug_strength=0.5,
    )  # fmt: skip
    expected = made.predictor.predict_many(
        [frame] * 4, [said for said in INSTRUCTIONS for _ in range(2)], [0, 1, 2, 3],
        states=[said for said in states for _ in range(2)],
        motion_bucket_id=[10.0, 10.0, 200.0, 200.0], noise_aug_strength=[0.5] * 4,
    )  # fmt: skip
    assert all(np.array_equal(a, b) for a, b in zip(found.frames, expected, strict=True))
    with pytest.raises(ValueError, match="motion_bucket_id needs one number or 2, one for each"):
        made(frame, INSTRUCTIONS, states=states, motion_bucket_id=[1.0, 2.0, 3.0])


@pytest.mark.filterwarnings("ignore:.*cut off", "ignore:.*not in the grammar")
def test_a_generator_that_is_passed_twice_gives_two_videos(model, tiny_backbone, frame):
    made = aid.AIDPipeline.from_pretrained(model, tiny_backbone)
    made.set_progress_bar_config(disable=True)

    def draw(generator):
        return made(
            frame, INSTRUCTIONS[0], generator=generator, states=[["left"]], output_type="np"
        ).frames[0]

    generator = torch.Generator().manual_seed(3)
    first, second = draw(generator), draw(generator)
    assert not np.array_equal(first, second)
    again = torch.Generator().manual_seed(3)
    assert np.array_equal(draw(again), first)
    assert np.array_equal(draw(again), second)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_dtype_is_for_the_frozen_weights_and_lora_keeps_its_own(
    tmp_path, tiny_backbone, tiny_config, dtype
):
    config = replace(tiny_config, lora=LoraConfig(rank=2))
    model = write_tiny_model(tmp_path / "model", tiny_backbone, config)
    made = aid.AIDPipeline.from_pretrained(model, tiny_backbone)
    before = {n: p.clone() for n, p in made.predictor.denoiser.trained_state_dict().items()}
    made.to(dtype)
    after = made.predictor.denoiser.trained_state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    inside = {p.dtype for n, p in made.unet.named_parameters() if "lora" in n}
    frozen = {p.dtype for n, p in made.unet.named_parameters() if "lora" not in n}
    assert (inside, frozen) == ({torch.float32}, {dtype})
    loaded = aid.AIDPipeline.from_pretrained(model, tiny_backbone, torch_dtype=dtype)
    for name, tensor in loaded.unet.state_dict().items():
        assert torch.equal(tensor, made.unet.state_dict()[name]), name


def test_components_are_the_stock_ones_and_moving_keeps_trained_weights_in_float32(
    model, tiny_backbone
):
    made = aid.AIDPipeline.from_pretrained(model, tiny_backbone)
    assert made.components.keys() == {
        "vae", "image_encoder", "unet", "text_encoder", "tokenizer",
    }  # fmt: skip
    made.to(torch.bfloat16)
    assert made.unet.dtype == made.vae.dtype == torch.bfloat16
    assert {p.dtype for p in made.predictor.denoiser.trained.parameters()} == {torch.float32}


def test_only_the_trained_part_is_saved_and_it_loads_again(
    model, tiny_backbone, tmp_path, monkeypatch
):
    made = aid.AIDPipeline.from_pretrained(model, tiny_backbone)
    made.save_pretrained(tmp_path / "saved")
    files = {path.name for path in (tmp_path / "saved").iterdir()}
    assert files == {"trained.safetensors", "config.json", "README.md"}
    again = aid.AIDPipeline.from_pretrained(tmp_path / "saved", tiny_backbone)
    ours, theirs = (p.predictor.denoiser.trained_state_dict() for p in (made, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    sent = {}

    class Repository:
        repo_id = "me/aid"

    def upload(repo_id, folder_path, token):
        sent[repo_id] = {path.name for path in folder_path.iterdir()}
        return "address"

    monkeypatch.setattr(pipeline, "create_repo", lambda *_, **__: Repository)
    monkeypatch.setattr(pipeline, "upload_folder", upload)
    assert made.push_to_hub("aid") == "address"
    assert sent == {"me/aid": files}


def test_the_model_card_states_what_is_known_and_unknown(model, tmp_path, tiny_config):
    text = (model / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert head["library_name"] == "aid-video"
    assert "base_model" not in head, "a local folder is nowhere on the hub"
    for said in (
        "tensors",
        "not recorded",
        "`none`",
        "written by tabletop-rules",
        "| LoRA | none |",
    ):
        assert said in text
    assert "None are recorded here" in text


def test_the_base_model_is_read_from_the_folder_that_the_hub_made():
    folder = "stabilityai--stable-video-diffusion-img2vid-9cf024d5bfa8-5cae40e6a2"
    assert base_model(folder) == "stabilityai/stable-video-diffusion-img2vid"
    assert base_model("backbone") is None


def test_offloaded_networks_use_the_device_one_at_a_time(monkeypatch):
    networks = [nn.Linear(2, 2) for _ in range(3)]
    places = {id(network): "cpu" for network in networks}
    monkeypatch.setattr(nn.Module, "to", lambda self, d: places.update({id(self): str(d)}))
    offload(networks, "cpu:0")
    for network in networks:
        network(torch.zeros(1, 2))
        there = [n for n in networks if places[id(n)] == "cpu:0"]
        assert there == [network]


@pytest.mark.filterwarnings("ignore:.*cut off", "ignore:.*not in the grammar")
@pytest.mark.parametrize("settings", [{"num_frames": 5}, {"height": 96, "width": 64}, {}])
def test_other_sizes_and_numbers_of_frames_in_half_precision(
    tmp_path, tiny_backbone, tiny_config, frame, settings
):
    config = replace(tiny_config, lora=LoraConfig(rank=2))
    model = write_tiny_model(tmp_path / "model", tiny_backbone, config)
    predictor = Predictor.from_pretrained(
        model, tiny_backbone, precision="bfloat16", offload=True, **settings
    )
    videos = predictor.predict_many(
        [frame] * 2, INSTRUCTIONS, [0, 0], states=[["left"], []], fps=[3.0, 9.0]
    )
    shape = (settings.get("num_frames", 3), settings.get("height", 64), 64, 3)
    assert [video.shape for video in videos] == [shape] * 2
    assert not np.array_equal(videos[0], videos[1])


def test_an_unknown_precision_is_refused(model, tiny_backbone):
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16"):
        Predictor.from_pretrained(model, tiny_backbone, precision="int8")
