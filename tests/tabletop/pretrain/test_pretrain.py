"""All three stages on a few tiny videos, and the stock pipeline on what they make."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image

from aid.data.manifest import read_manifest, write_manifest
from aid.models.backbone import PARTS, backbone_hash, load_backbone
from aid.tabletop.pretrain.autoencoder import train_autoencoder
from aid.tabletop.pretrain.clip import train_clip
from aid.tabletop.pretrain.frames import load_videos
from aid.tabletop.pretrain.image_to_video import encode_all, train_unet, video_loss


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_every_stage_writes_its_part_in_svds_layout(runs):
    names = {path.name for path in (runs / "backbone").iterdir()}
    assert names == {
        "model_index.json", "vae", "unet", "scheduler", "image_encoder", "feature_extractor",
        "text_encoder", "tokenizer",
    }  # fmt: skip


def test_every_stage_logs_its_loss_and_what_it_checked(runs):
    checks = {"vae": "psnr", "clip": "top1_last", "unet/coarse": "held_out_loss"}
    checks["unet/fine"] = "held_out_loss"
    for stage, checked in checks.items():
        log = log_of(runs / stage)
        assert [line["step"] for line in log if "loss" in line] == [1, 2, 3]
        assert all(math.isfinite(line["loss"]) for line in log if "loss" in line)
        assert any(checked in line for line in log), f"{stage} did not check {checked}"
    assert (runs / "vae/decoded-000003.png").is_file()


def test_the_stock_pipeline_loads_and_runs_the_result(runs):
    pipeline = StableVideoDiffusionPipeline.from_pretrained(
        runs / "backbone", torch_dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    frame = Image.fromarray(np.full((32, 32, 3), 120, np.uint8))
    video = pipeline(
        frame, height=32, width=32, num_frames=4, num_inference_steps=2, output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).frames  # fmt: skip
    assert video.shape == (1, 4, 32, 32, 3)
    assert np.isfinite(video).all()
    assert pipeline.scheduler.config.sigma_max == 60


def test_our_own_loader_reads_every_part(runs):
    parts = load_backbone(runs / "backbone", PARTS)
    assert parts.down_scaling == 8
    assert parts.latent_channels == 8
    assert parts.text_dim == 32
    assert len(backbone_hash(runs / "backbone")) == 16
    frames = torch.zeros(1, 4, 3, 32, 32)
    assert parts.decode(parts.encode(frames)).shape == frames.shape


def test_the_encoder_stays_what_it_was_when_the_decoder_was_not_yet_trained(
    runs, play, tiny_pretrain, tmp_path
):
    """The UNet may be trained on latents made before the decoder is done."""
    tiny = tiny_pretrain

    class Killed(Exception):
        pass

    def kill(*args, **kwargs):
        raise Killed

    (tmp_path / "out").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aid.tabletop.pretrain.autoencoder.fit", kill)
        with pytest.raises(Killed):
            train_autoencoder(
                play, tmp_path / "out", tmp_path / "run", tiny.autoencoder, tiny.autoencoder_loop
            )
    early = load_backbone(tmp_path / "out", ("vae",)).vae.state_dict()
    late = load_backbone(runs / "backbone", ("vae",)).vae.state_dict()
    encoder = [name for name in late if name.startswith(("encoder", "inverse", "mean"))]
    assert all(torch.equal(early[name], late[name]) for name in encoder)
    assert any(not torch.equal(early[name], late[name]) for name in late if "correction" in name)


@pytest.mark.parametrize("stage", ["vae", "clip", "unet"])
def test_a_finished_stage_is_not_trained_again(runs, play, tiny_pretrain, tmp_path, stage):
    """Running a stage again on its finished run writes the same part once more."""
    tiny = tiny_pretrain
    shutil.copytree(runs, tmp_path / "runs")
    out, run = tmp_path / "runs/backbone", tmp_path / "runs" / stage
    before = backbone_hash(out)
    if stage == "vae":
        train_autoencoder(play, out, run, tiny.autoencoder, tiny.autoencoder_loop)
    elif stage == "clip":
        train_clip(play, out, run, tiny.clip, tiny.clip_loop)
    else:
        train_unet(play, out, run, tiny)
    assert backbone_hash(out) == before


@pytest.fixture(scope="module")
def encoded(runs, play, tiny_pretrain):
    return encode_all(play, read_manifest(play)[:8], runs / "backbone", tiny_pretrain.coarse)


def test_latents_are_scaled_and_condition_latents_are_not(encoded, runs, play):
    parts = load_backbone(runs / "backbone", ("vae",))
    videos = load_videos(play, read_manifest(play)[:8]).float() / 127.5 - 1
    wanted = parts.encode(videos)
    assert torch.allclose(encoded.latents.float(), wanted, atol=0.02)
    first = wanted[:, 0] / parts.vae.config.scaling_factor
    near = (encoded.condition_latents.float() - first[:, None]).abs().flatten(2).mean(2)
    # The more noise was added to the frame, the further its latents are from the clean ones.
    order = torch.corrcoef(torch.stack([near.flatten(), encoded.noise_aug_strength.flatten()]))
    assert order[0, 1] > 0.9


def test_a_longer_stride_tells_the_unet_fewer_frames_a_second(encoded, runs, tiny_pretrain):
    unet = load_backbone(runs / "backbone", ("unet",)).unet
    told = []
    forward = unet.forward

    def listen(sample, *args, **kwargs):
        told.append((sample.shape[1], kwargs["added_time_ids"][:, :2].tolist()))
        return forward(sample, *args, **kwargs)

    unet.forward = listen
    chosen = torch.arange(2)
    for stage in (tiny_pretrain.coarse, tiny_pretrain.fine):
        loss, _ = video_loss(unet, encoded, chosen, stage, seed=0, step=0)
        assert loss.shape == (2,)
        assert torch.equal(loss, video_loss(unet, encoded, chosen, stage, seed=0, step=0)[0])
    assert told[0] == (2, [[1, 127], [1, 127]])  # 4 / 2 - 1 frames a second
    assert told[2] == (4, [[3, 127], [3, 127]])


def test_videos_with_fewer_frames_than_a_window_are_refused(play, tiny_pretrain, tmp_path):
    config = replace(tiny_pretrain.autoencoder, window=5)
    with pytest.raises(ValueError, match=r"4 frames of 32 x 32 pixels .* windows of 5 frames"):
        train_autoencoder(play, tmp_path, tmp_path / "run", config, tiny_pretrain.autoencoder_loop)


def test_videos_without_words_cannot_train_the_towers(play, tiny_pretrain, tmp_path):
    rows = [row for row in read_manifest(play) if row.world["look"] != "standard"]
    write_manifest(tmp_path, rows)
    with pytest.raises(ValueError, match=r"no video of .* is in the standard look"):
        train_clip(
            tmp_path, tmp_path, tmp_path / "run", tiny_pretrain.clip, tiny_pretrain.clip_loop
        )
