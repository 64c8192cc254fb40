"""The published networks at full size, on the meta device: names and numbers of every tensor.

The names are written down here as the published files have them, not taken from diffusers or
transformers: if either renames a module, its own files would still load and SVD's would not.
"""

import pytest
import torch

from aid.config import LoraConfig, ModelConfig
from aid.models.backbone import empty_network
from aid.models.denoiser import Denoiser
from aid.models.sizes import BY_NAME, CLIP_L_TEXT, SVD


@pytest.fixture(scope="module")
def networks():
    with torch.device("meta"):
        return {name: empty_network(name, config) for name, config in SVD.items()}


def both(*names):
    return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]


def resnet(path, has_shortcut, has_time=True, temporal_shortcut=False):
    names = []
    for part in ("spatial_res_block", "temporal_res_block"):
        layers = ["norm1", "conv1", "norm2", "conv2", *["time_emb_proj"] * has_time]
        if has_shortcut and (part[0] == "s" or temporal_shortcut):
            layers.append("conv_shortcut")
        names += both(*(f"{path}.{part}.{layer}" for layer in layers))
    return [*names, f"{path}.time_mixer.mix_factor"]


def attention(path):
    names = [f"{path}.to_{name}.weight" for name in "qkv"]
    return names + both(f"{path}.to_out.0")


def transformer(path):
    names = both(f"{path}.norm", f"{path}.proj_in", f"{path}.proj_out")
    names += both(f"{path}.time_pos_embed.linear_1", f"{path}.time_pos_embed.linear_2")
    names.append(f"{path}.time_mixer.mix_factor")
    for kind, extra in (("transformer_blocks", ()), ("temporal_transformer_blocks", ("norm_in",))):
        block = f"{path}.{kind}.0"
        names += both(*(f"{block}.{norm}" for norm in ("norm1", "norm2", "norm3", *extra)))
        names += both(f"{block}.ff.net.0.proj", f"{block}.ff.net.2")
        if extra:
            names += both(f"{block}.ff_in.net.0.proj", f"{block}.ff_in.net.2")
        names += attention(f"{block}.attn1") + attention(f"{block}.attn2")
    return names


def unet_names():
    names = both("conv_in", "conv_norm_out", "conv_out")
    for embedding in ("time_embedding", "add_embedding"):
        names += both(f"{embedding}.linear_1", f"{embedding}.linear_2")
    for level in range(4):
        down, up = f"down_blocks.{level}", f"up_blocks.{level}"
        for i in range(2):
            names += resnet(f"{down}.resnets.{i}", has_shortcut=i == 0 and level in (1, 2))
            names += transformer(f"{down}.attentions.{i}") if level < 3 else []
        names += both(f"{down}.downsamplers.0.conv") if level < 3 else []
        for i in range(3):
            names += resnet(f"{up}.resnets.{i}", has_shortcut=True)
            names += transformer(f"{up}.attentions.{i}") if level > 0 else []
        names += both(f"{up}.upsamplers.0.conv") if level < 3 else []
    names += resnet("mid_block.resnets.0", False) + resnet("mid_block.resnets.1", False)
    return names + transformer("mid_block.attentions.0")


def clip_names(root, layers, embeddings, norms):
    names = [f"{root}.embeddings.{name}" for name in embeddings]
    names += both(*(f"{root}.{norm}" for norm in norms))
    for i in range(layers):
        layer = f"{root}.encoder.layers.{i}"
        inner = ["layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"]
        inner += [f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")]
        names += both(*(f"{layer}.{name}" for name in inner))
    return names


def named(network):
    return {name for name, _ in network.named_parameters()}


def size(network):
    return sum(p.numel() for p in network.parameters())


def test_the_unet_has_the_published_names_and_numbers(networks):
    names = unet_names()
    assert len(names) == len(set(names))
    assert named(networks["unet"]) == set(names)
    assert size(networks["unet"]) == 1_524_623_082


def test_the_autoencoder_has_the_published_number_of_parameters_and_a_temporal_decoder(networks):
    assert size(networks["vae"]) == 97_742_847
    names = named(networks["vae"])
    assert {"decoder.time_conv_out.weight", "quant_conv.weight"} <= names
    assert "decoder.mid_block.resnets.0.temporal_res_block.conv1.weight" in names
    assert "post_quant_conv.weight" not in names


def test_the_image_encoder_has_the_published_names_and_numbers(networks):
    network = networks["image_encoder"]
    embeddings = ("class_embedding", "patch_embedding.weight", "position_embedding.weight")
    names = clip_names("vision_model", 32, embeddings, ("pre_layrnorm", "post_layernorm"))
    assert named(network) == {*names, "visual_projection.weight"}
    assert size(network) == 632_076_800


@pytest.mark.parametrize(
    ("config", "layers", "number"),
    [(SVD["text_encoder"], 23, 340_387_840), (CLIP_L_TEXT, 12, 123_060_480)],
    ids=["OpenCLIP ViT-H/14", "CLIP ViT-L/14"],
)
def test_the_text_towers_have_the_published_names_and_numbers(config, layers, number):
    with torch.device("meta"):
        network = empty_network("text_encoder", config)
    root = "text_model" if any(n.startswith("text_model.") for n in named(network)) else ""
    embeddings = ("token_embedding.weight", "position_embedding.weight")
    names = clip_names("text_model", layers, embeddings, ("final_layer_norm",))
    assert {n if root else f"text_model.{n}" for n in named(network)} == set(names)
    assert size(network) == number


def test_aid_with_lora_fits_svd_with_the_narrower_text_tower(networks):
    with torch.device("meta"):
        config = ModelConfig(num_frames=25, lora=LoraConfig(rank=16))
        denoiser = Denoiser(networks["unet"], CLIP_L_TEXT["hidden_size"], 1280, config)
    assert denoiser.trained["dqformer"].project_text[0].in_features == 768
    counts = {
        name: sum(p.numel() for p in parameters)
        for name, parameters in denoiser.trainable_parameters().items()
    }
    assert counts["cross_attention"] == pytest.approx(50.35e6, rel=0.01)
    assert 3e6 < counts["lora"] < 20e6
    assert BY_NAME["stabilityai/stable-video-diffusion-img2vid-xt"]["unet"]["num_frames"] == 25
    denoiser.insertion.detach()
    assert named(denoiser.unet) == set(unet_names()), "and gives the UNet back"
