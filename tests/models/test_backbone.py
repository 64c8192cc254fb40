import inspect
import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from aid.models.backbone import PARTS, Backbone, VideoBackbone, backbone_hash, load_backbone
from aid.predict import find_backbone


@pytest.fixture
def copied(tiny_backbone, tmp_path):
    """A backbone folder that a test may damage."""
    return shutil.copytree(tiny_backbone, tmp_path / "tiny")


@pytest.fixture(scope="module")
def backbone(tiny_backbone) -> Backbone:
    return load_backbone(tiny_backbone, PARTS)


@pytest.fixture
def frames(generator):
    return torch.rand(2, 3, 3, 64, 64, generator=generator) * 2 - 1


def rewrite(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_loaded_parts_are_frozen_and_in_evaluation_mode(backbone):
    for name in ("unet", "vae", "image_encoder", "text_encoder"):
        network = backbone.part(name)
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert backbone.tokenizer("push the red cube").input_ids
    assert (backbone.text_dim, backbone.image_dim, backbone.latent_channels) == (16, 24, 4)
    assert backbone.down_scaling == 8


def test_only_asked_parts_are_loaded(tiny_backbone):
    backbone = load_backbone(tiny_backbone, ["vae"])
    assert backbone.unet is None
    with pytest.raises(ValueError, match="was loaded without 'image_encoder'"):
        backbone.part("image_encoder")


def test_half_precision_files_are_loaded_as_float32(copied, backbone):
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = {name: tensor.half() for name, tensor in load_file(file).items()}
    file.unlink()
    save_file(tensors, file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    unet = load_backbone(copied, ["unet"]).unet
    for name, tensor in unet.state_dict().items():
        assert torch.equal(tensor, tensors[name].float())


def test_a_folder_that_is_no_backbone_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is not a backbone: it has no model_index.json"):
        load_backbone(tmp_path / "nowhere")


def test_an_unknown_part_is_refused(tiny_backbone):
    with pytest.raises(ValueError, match="no part is called clip"):
        load_backbone(tiny_backbone, ["clip"])


def test_a_missing_part_is_named(copied):
    shutil.rmtree(copied / "text_encoder")
    with pytest.raises(ValueError, match="has no 'text_encoder' folder"):
        load_backbone(copied, ["text_encoder"])


def test_missing_weights_are_named(copied):
    (copied / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no \.safetensors file"):
        load_backbone(copied, ["vae"])


@pytest.mark.parametrize("part", ["unet", "vae", "image_encoder", "text_encoder"])
def test_a_truncated_file_is_named(copied, part):
    file = next((copied / part).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{file.name}' is damaged or incomplete"):
        load_backbone(copied, [part])


@pytest.mark.parametrize("part", ["unet", "vae", "image_encoder", "text_encoder"])
def test_a_missing_tensor_is_named(copied, part):
    file = next((copied / part).glob("*.safetensors"))
    name = next(name for name in load_file(file) if name.endswith("weight"))
    rewrite(file, lambda tensors: tensors.pop(name))
    with pytest.raises(ValueError, match=rf"missing keys {name}"):
        load_backbone(copied, [part])


def test_an_unexpected_tensor_is_named(copied):
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    rewrite(file, lambda tensors: tensors.update(stray=torch.zeros(1)))
    with pytest.raises(ValueError, match="unexpected keys stray"):
        load_backbone(copied, ["unet"])


def test_hash_changes_with_any_weight_and_with_nothing_else(copied, tiny_backbone):
    before = backbone_hash(tiny_backbone)
    assert len(before) == 16
    assert backbone_hash(copied) == before
    (copied / "model_index.json").write_text(json.dumps({"other": 1}))
    assert backbone_hash(copied) == before
    for part in ("unet", "vae", "image_encoder", "text_encoder"):
        file = next((copied / part).glob("*.safetensors"))
        name = next(iter(load_file(file)))
        rewrite(file, lambda tensors, name=name: tensors[name].add_(1))
        after = backbone_hash(copied)
        assert after != before
        before = after


def test_trap_condition_latents_are_not_scaled(backbone, frames):
    scaled = backbone.encode(frames)
    unscaled = backbone.encode_condition(frames, 3, "zero_latents")
    torch.testing.assert_close(unscaled * backbone.vae.config.scaling_factor, scaled)


def test_unknown_frames_are_grey_the_first_or_zero(backbone, frames):
    given = frames[:, :1]
    grey = backbone.encode_condition(given, 3, "grey_pixels")
    filled = torch.cat([given, torch.zeros_like(frames[:, 1:])], dim=1)
    whole = backbone.encode(filled) / backbone.vae.config.scaling_factor
    torch.testing.assert_close(grey, whole, atol=1e-5, rtol=1e-4)
    repeated = backbone.encode_condition(given, 3, "repeat_first")
    assert torch.equal(repeated[:, 2], repeated[:, 0])
    zero = backbone.encode_condition(frames[:, :2], 3, "zero_latents")
    assert not zero[:, 2].any()
    assert zero[:, 1].any()


def test_repeating_the_first_frame_needs_exactly_one(backbone, frames):
    with pytest.raises(ValueError, match="knows one given frame, got 2"):
        backbone.encode_condition(frames[:, :2], 3, "repeat_first")


def test_more_given_frames_than_frames_are_refused(backbone, frames):
    with pytest.raises(ValueError, match="3 given frames do not fit in a video of 2"):
        backbone.encode_condition(frames, 2, "grey_pixels")


def test_encoding_in_chunks_changes_nothing(backbone, frames):
    torch.testing.assert_close(
        backbone.encode(frames, chunk=2), backbone.encode(frames), atol=1e-5, rtol=1e-4
    )


def test_decoding_equals_the_stock_pipeline(tiny_backbone, backbone, generator):
    pipeline = StableVideoDiffusionPipeline.from_pretrained(tiny_backbone)
    latents = torch.randn(1, 3, 4, 8, 8, generator=generator)
    for chunk in (2, 3):
        with torch.no_grad():
            stock = pipeline.decode_latents(latents, 3, decode_chunk_size=chunk)  # b c f h w
        ours = backbone.decode(latents, chunk=chunk)
        assert ours.shape == (1, 3, 3, 64, 64)
        expected = stock.transpose(1, 2).clamp(-1, 1)
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("chunk", "sizes"), [(1, [1] * 6), (2, [2, 1, 2, 1]), (3, [3, 3])])
@pytest.mark.parametrize("more", [0, 1])
def test_so_many_frames_are_decoded_at_a_time_whatever_the_batch(
    backbone, generator, monkeypatch, chunk, sizes, more
):
    decode, seen = backbone.vae.decode, []
    monkeypatch.setattr(
        backbone.vae, "decode", lambda z, **rest: seen.append(len(z)) or decode(z, **rest)
    )
    latents = torch.randn(2, 3, 4, 8, 8, generator=generator)
    backbone.decode(latents, chunk=chunk)
    assert seen == sizes
    seen.clear()
    backbone.decode(latents, chunk=6 + more)
    assert seen == [6]


def test_a_float16_vae_encodes_in_float32_as_the_stock_pipeline_does(
    tiny_backbone, backbone, frames
):
    # In float32 the weights are those of the float16 file; only the arithmetic is exact.
    half = load_backbone(tiny_backbone, ("vae",), torch.float16)
    exact = load_backbone(tiny_backbone, ("vae",), torch.float16).to("cpu", torch.float32)
    assert half.vae.config.force_upcast
    assert torch.equal(half.encode(frames), exact.encode(frames))
    found = half.encode_condition(frames[:, :1], 3, "grey_pixels")
    assert torch.equal(found, exact.encode_condition(frames[:, :1], 3, "grey_pixels"))
    assert half.vae.dtype == torch.float16, "it decodes in float16"
    pipeline = StableVideoDiffusionPipeline.from_pretrained(tiny_backbone)
    pipeline.vae.to(torch.float16).to(torch.float32)  # as the pipeline itself upcasts
    stock = pipeline._encode_vae_image(frames[:, 0], "cpu", 1, do_classifier_free_guidance=False)
    torch.testing.assert_close(found[:, 0], stock, atol=1e-5, rtol=1e-4)


HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", HALVES)
def test_a_vae_of_16_bits_encodes_in_float32_and_keeps_its_type(tiny_backbone, frames, dtype):
    half = load_backbone(tiny_backbone, ("vae",), dtype)
    exact = load_backbone(tiny_backbone, ("vae",), dtype).to("cpu", torch.float32)
    assert torch.equal(half.encode(frames), exact.encode(frames))
    assert half.vae.dtype == dtype


def test_the_shipped_encoder_loses_nothing_in_bfloat16():
    folder = find_backbone("tabletop")
    picture = np.array(Image.open(folder.parent / "frames" / "scene-1.png"))
    frames = torch.from_numpy(picture).permute(2, 0, 1)[None, None] / 127.5 - 1
    half, exact = (
        load_backbone(folder, ("vae",), dtype).encode(frames)
        for dtype in (torch.bfloat16, torch.float32)
    )
    assert (half - exact).square().mean() < 1e-4 * exact.square().mean()


@pytest.mark.parametrize("dtype", HALVES)
def test_a_vae_without_force_upcast_encodes_in_its_own_type(tiny_backbone, frames, dtype):
    half = load_backbone(tiny_backbone, ("vae",), dtype)
    half.vae.register_to_config(force_upcast=False)
    exact = load_backbone(tiny_backbone, ("vae",), dtype).to("cpu", torch.float32)
    assert not torch.equal(half.encode(frames), exact.encode(frames))


def test_videos_of_a_batch_are_decoded_apart(backbone, generator):
    latents = torch.randn(2, 3, 4, 8, 8, generator=generator)
    alone = backbone.decode(latents[1:], chunk=2)
    torch.testing.assert_close(backbone.decode(latents, chunk=2)[1:], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (320, 256)])
def test_image_embedding_equals_the_stock_pipeline(tiny_backbone, backbone, generator, size):
    pipeline = StableVideoDiffusionPipeline.from_pretrained(tiny_backbone)
    pixels = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        stock = pipeline._encode_image(Image.fromarray(pixels.numpy()), "cpu", 1, False)
    frame = pixels.permute(2, 0, 1)[None].float() / 127.5 - 1
    embedding, tokens = backbone.encode_image(frame)
    torch.testing.assert_close(embedding, stock, atol=1e-5, rtol=1e-5)
    assert tokens.shape == (1, 5, 24)  # class token and 2 x 2 patches


def test_the_backbone_satisfies_its_protocol(backbone):
    assert isinstance(backbone, VideoBackbone)
    for name in (n for n in vars(VideoBackbone) if not n.startswith("_")):
        asked, ours = getattr(VideoBackbone, name), getattr(Backbone, name)
        assert isinstance(ours, property) == isinstance(asked, property)
        if not isinstance(asked, property):
            wanted = list(inspect.signature(asked).parameters)
            assert list(inspect.signature(ours).parameters)[: len(wanted)] == wanted
