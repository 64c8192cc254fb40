import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from aid.config import SamplerConfig
from aid.files import whole_folder
from aid.models import checkpoint
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import CheckpointInfo, load_checkpoint, read_info, save_checkpoint


@pytest.fixture
def info(tiny_config):
    return CheckpointInfo(
        model=tiny_config,
        sampler=SamplerConfig(num_steps=4),
        text_dim=16,
        image_dim=24,
        backbone_hash="0123456789abcdef",
        backbone_name="tiny",
        state_writer="rules",
        data_fingerprint="feed",
        step=7,
        height=64,
        width=64,
        fps=7.0,
    )


@pytest.fixture
def saved(build, info, tmp_path):
    denoiser = build(is_random=True)
    save_checkpoint(tmp_path / "aid", denoiser, info)
    return tmp_path / "aid"


def rewrite(folder, change):
    """Other tensors, with the hashes that belong to them."""
    file = folder / "trained.safetensors"
    with safe_open(file, "pt") as opened:
        known = opened.metadata()
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata=known | {"sha256": checkpoint._digest(tensors)})


def test_loaded_model_says_the_same(saved, build, unet, info, conditions, latents, sigma):
    denoiser, found = load_checkpoint(saved, unet, info.backbone_hash)
    assert found == info
    with torch.no_grad():
        expected = build(is_random=True)(latents, sigma, conditions)
        assert torch.equal(denoiser(latents, sigma, conditions), expected)


def test_config_is_valid_json_and_comes_back_whole(saved, info):
    json.loads((saved / "config.json").read_text(), parse_constant=pytest.fail)
    assert read_info(saved) == info
    assert read_info(saved).sampler.guidance_interval == (0.0, float("inf"))


def test_half_precision_halves_the_file(saved, build, unet, info, tmp_path):
    denoiser = build(is_random=True)
    save_checkpoint(tmp_path / "half", denoiser, info, dtype=torch.float16)
    sizes = [(f / "trained.safetensors").stat().st_size for f in (saved, tmp_path / "half")]
    assert sizes[1] < 0.65 * sizes[0]
    loaded, _ = load_checkpoint(tmp_path / "half", unet, info.backbone_hash)
    for a, b in zip(loaded.trained.parameters(), denoiser.trained.parameters(), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_averaged_weights_are_saved_in_place_of_the_last(build, unet, info, tmp_path):
    denoiser = build()
    averaged = {name: torch.ones_like(t) for name, t in denoiser.trained_state_dict().items()}
    save_checkpoint(tmp_path / "aid", denoiser, info, trained=averaged)
    loaded, _ = load_checkpoint(tmp_path / "aid", unet, info.backbone_hash)
    assert all((p == 1).all() for p in loaded.trained.parameters())


def test_saving_again_replaces_the_folder_and_leaves_nothing_else(saved, build, info):
    save_checkpoint(saved, build(), replace(info, step=8))
    assert read_info(saved).step == 8
    assert [path.name for path in saved.parent.iterdir()] == ["aid"]
    files = {"config.json", "trained.safetensors", "README.md"}
    assert {path.name for path in saved.iterdir()} == files


def test_who_may_read_the_folder_may_read_its_files(saved):
    for path in saved.iterdir():
        assert path.stat().st_mode & 0o777 == saved.stat().st_mode & 0o666


def test_what_links_lead_to_keeps_its_permissions(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_text("a blob")
    theirs.chmod(0o600)
    with whole_folder(tmp_path / "folder") as made:
        (made / "link").symlink_to(theirs)
    assert theirs.stat().st_mode & 0o777 == 0o600


def test_a_disk_without_permissions_loses_no_checkpoint(saved, build, info, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("no permissions on this disk")

    monkeypatch.setattr(Path, "chmod", refuse)
    save_checkpoint(saved, build(), replace(info, step=9))
    assert read_info(saved).step == 9


def test_an_interrupted_save_keeps_the_old_checkpoint(saved, build, info):
    with pytest.raises(KeyboardInterrupt), whole_folder(saved) as made:
        (made / "config.json").write_text("half")
        raise KeyboardInterrupt
    assert read_info(saved) == info
    assert [path.name for path in saved.parent.iterdir()] == ["aid"]


def test_a_checkpoint_may_be_part_of_a_larger_whole(build, info, tmp_path):
    with whole_folder(tmp_path / "run") as made:
        save_checkpoint(made, build(), info)
        (made / "trainer.json").write_text("{}")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "README.md",
        "config.json",
        "trained.safetensors",
        "trainer.json",
    }


def test_another_backbone_is_refused_with_both_hashes(saved, unet, tiny_backbone, info):
    other = backbone_hash(tiny_backbone)
    with pytest.raises(ValueError, match=rf"'tiny' \({info.backbone_hash}\).*this.*is {other}"):
        load_checkpoint(saved, unet, other)


def test_a_truncated_file_is_named(saved, unet, info):
    file = saved / "trained.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"trained.safetensors' is damaged or incomplete"):
        load_checkpoint(saved, unet, info.backbone_hash)


def test_a_flipped_bit_of_a_tensor_is_noticed(saved, unet, info):
    file = saved / "trained.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1  # the smallest possible change of the last number
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"trained.safetensors' is damaged: .*SHA-256"):
        load_checkpoint(saved, unet, info.backbone_hash)


def test_other_model_settings_than_those_it_was_saved_with_are_refused(saved, unet, info):
    text = (saved / "config.json").read_text()
    (saved / "config.json").write_text(text.replace('"is_causal": false', '"is_causal": true'))
    with pytest.raises(ValueError, match=r"saved with other `model` settings than config\.json"):
        load_checkpoint(saved, unet, info.backbone_hash)


def test_a_missing_file_is_named(saved, unet, info):
    (saved / "trained.safetensors").unlink()
    with pytest.raises(ValueError, match=r"trained.safetensors' is missing"):
        load_checkpoint(saved, unet, info.backbone_hash)


def test_a_missing_and_an_unexpected_tensor_are_named(saved, unet, info):
    lost = "dqformer.decomposed.frame_queries"
    rewrite(saved, lambda tensors: tensors.update(stray=tensors.pop(lost)))
    with pytest.raises(ValueError, match=rf"missing {lost}; unexpected stray"):
        load_checkpoint(saved, unet, info.backbone_hash)


def test_a_tensor_of_another_shape_is_named(saved, unet, info):
    name = "dqformer.decomposed.frame_queries"
    rewrite(saved, lambda tensors: tensors.update({name: torch.zeros(3, 32)}))
    with pytest.raises(ValueError, match=rf"{name} has shape \(3, 32\), here \(6, 32\)"):
        load_checkpoint(saved, unet, info.backbone_hash)


def test_a_refused_checkpoint_leaves_the_unet_free(saved, unet, info, tiny_backbone):
    rewrite(saved, lambda tensors: tensors.update(stray=torch.zeros(1)))
    with pytest.raises(ValueError, match="unexpected stray"):
        load_checkpoint(saved, unet, info.backbone_hash)
    rewrite(saved, lambda tensors: tensors.pop("stray"))
    load_checkpoint(saved, unet, info.backbone_hash)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path, unet):
    with pytest.raises(ValueError, match=r"is not a checkpoint: it has no config.json"):
        load_checkpoint(tmp_path, unet, "")


def test_a_damaged_config_is_named(saved):
    (saved / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json' is damaged"):
        read_info(saved)


def test_a_config_of_another_version_is_named(saved):
    values = json.loads((saved / "config.json").read_text())
    del values["state_writer"]
    (saved / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="lacks state_writer"):
        read_info(saved)
    values |= {"state_writer": "rules", "colour": "red"}
    (saved / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="no setting 'colour'"):
        read_info(saved)


def test_a_checkpoint_from_before_windows_of_time_is_read(saved):
    values = json.loads((saved / "config.json").read_text())
    for name in ("source", "frames", "states_see", "data_licence"):
        values.pop(name, None)
    (saved / "config.json").write_text(json.dumps(values))
    assert (read_info(saved).source, read_info(saved).frames) == ({}, {})


def test_a_real_backbone_round_trip(tiny_backbone, build, info, tmp_path):
    known = replace(info, backbone_hash=backbone_hash(tiny_backbone))
    save_checkpoint(tmp_path / "aid", build(), known)
    unet = load_backbone(tiny_backbone, ["unet"]).unet
    load_checkpoint(tmp_path / "aid", unet, backbone_hash(tiny_backbone))
