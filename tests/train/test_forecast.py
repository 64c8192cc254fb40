import re

from aid.cli import main
from aid.config import DQFormerConfig, LoraConfig, ModelConfig, TrainConfig
from aid.data.cache import cache_size
from aid.models.backbone import load_backbone
from aid.models.denoiser import Denoiser
from aid.models.sizes import BY_NAME, SVD, sizes_of
from aid.train.forecast import configs_of, forecast_training


def test_the_peak_is_the_sum_of_its_parts_and_weights_count_exactly(tiny_backbone):
    heads = DQFormerConfig(queries_per_frame=2, num_heads=2)
    config = ModelConfig(num_frames=3, dqformer=heads, lora=LoraConfig(rank=4))
    train = TrainConfig(batch_size=2)
    found = forecast_training(configs_of(tiny_backbone), config, train, 64, 64, process=1000)
    assert found.peak == sum(found.parts().values())
    frozen = found.parameters["UNet, frozen"]
    trained = sum(n for name, n in found.parameters.items() if name.endswith("trained"))
    assert found.frozen == 4 * frozen
    assert found.trained == found.average == 4 * trained
    assert found.optimizer == 8 * trained
    assert found.gradients <= 4 * trained
    assert found.process == 1000
    unet = load_backbone(tiny_backbone, ("unet",)).part("unet")
    made = Denoiser(unet, 16, 24, config)
    for group, parameters in made.trainable_parameters().items():
        own = sum(p.numel() for p in parameters)
        assert found.parameters.get(f"{group}, trained", 0) == own


def test_the_vae_counts_where_given_frames_are_encoded_while_training(tiny_backbone):
    heads = DQFormerConfig(queries_per_frame=2, num_heads=2)
    model, configs = ModelConfig(num_frames=3, dqformer=heads), configs_of(tiny_backbone)
    stored, redrawn = (
        forecast_training(configs, model, TrainConfig(redraw_noise_aug=is_redrawn), 64, 64, 0)
        for is_redrawn in (False, True)
    )
    vae = load_backbone(tiny_backbone, ("vae",)).part("vae")
    assert redrawn.frozen - stored.frozen == 4 * sum(p.numel() for p in vae.parameters())
    assert redrawn.parameters["VAE, frozen"] == sum(p.numel() for p in vae.parameters())
    assert redrawn.activations >= stored.activations
    model = ModelConfig(num_frames=3, dqformer=DQFormerConfig(branches="none"))
    large = TrainConfig(redraw_noise_aug=True, batch_size=8, use_gradient_checkpointing=True)
    assert redrawn.peak < forecast_training(configs, model, large, 256, 256, 0).peak


def test_published_names_need_no_download():
    for name in BY_NAME:
        assert configs_of(name)["text_encoder"]["hidden_size"] == 1024


def test_the_cache_of_svd_has_the_size_of_its_tensors():
    latents, given, image = 16 * 4 * 32 * 32, 4 * 4 * 32 * 32, 257 * 1280 + 1024
    pixels = 3 * 256 * 256  # of the given frame, a byte each
    expected = 3 * (2 * (latents + given + image) + pixels) + 5 * 77 * 1024 * 2
    size = cache_size(
        sizes_of(SVD), num_videos=3, num_firsts=3, num_tokens=5 * 77, num_frames=16,
        num_given_frames=1, height=256, width=256,
    )  # fmt: skip
    assert size.total == expected


def test_a_dry_run_prints_what_a_recipe_takes_and_what_to_change(tmp_path, capsys, tiny_backbone):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: {num_frames: 3, dqformer: {num_heads: 2}}\ntrain: {steps: 10, batch_size: 2}\n"
    )
    size = ["--frames.height=64", "--frames.width=64"]
    flags = ["--config", str(recipe), "--backbone", str(tiny_backbone), *size]
    arguments = ["train", "--dry_run", "--out", str(tmp_path / "run"), *flags]
    assert main([*arguments, "--memory=1000"]) == 0
    out = capsys.readouterr().out
    assert "it fits." in out
    assert "UNet, frozen" in out
    assert main([*arguments, "--memory=0.001"]) == 0
    out = capsys.readouterr().out
    assert "still it does not fit" in out
    peaks = [
        float(line.split()[-2])
        for line in out.splitlines()
        if line.startswith(("  train.", "  precision"))
    ]
    assert len(peaks) == 3
    assert peaks == sorted(peaks, reverse=True), "every change helps, on top of the others"
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"], "nothing is written"
    assert main([*arguments[:1], *arguments[2:], "--memory=24"]) == 2
    assert "--memory 24 is only for --dry_run" in capsys.readouterr().err


def test_a_dry_run_counts_the_videos_and_sentences_of_the_data(
    tiny_manifest, tiny_backbone, cache, capsys
):
    flags = ["--backbone", str(tiny_backbone), "--model.num_frames", "3", "--dry_run"]
    flags += ["--model.dqformer.num_heads", "2"]
    for place in (["--data", str(tiny_manifest)], ["--cache", str(cache)]):
        assert main(["train", *flags, *place]) == 0
        assert re.search(r"GB for [246] videos, \d+ sentences", capsys.readouterr().out)


def test_a_size_that_the_networks_cannot_halve_is_refused(tmp_path, capsys, tiny_backbone):
    (tmp_path / "recipe.yaml").write_text("model: {num_frames: 3}\n")
    flags = ["--config", str(tmp_path / "recipe.yaml"), "--backbone", str(tiny_backbone)]
    assert main(["train", *flags, "--dry_run", "--frames.height=72"]) == 2
    assert "multiples of 16" in capsys.readouterr().err


def test_the_doctor_names_what_is_here(capsys, tiny_backbone):
    assert main(["doctor", "--backbone", str(tiny_backbone)]) == 0
    out = capsys.readouterr().out
    assert "peft" in out
    assert "everything that `aid` needs is here." in out


def test_the_doctor_names_what_is_missing(capsys, tmp_path):
    assert main(["doctor", "--backbone", str(tmp_path)]) == 2
    assert "has no 'unet' folder" in capsys.readouterr().err
