import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    VideoMAEConfig,
    VideoMAEModel,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
)

from aid.metrics.extractors.choice import choose_extractor
from aid.metrics.extractors.pretrained import spread

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 16}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny models of the three kinds with random weights, saved by transformers."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("pretrained")
    models = {
        "clip": CLIPVisionModelWithProjection(
            CLIPVisionConfig(**SMALL, image_size=32, intermediate_size=16, projection_dim=8)
        ),
        "videomae": VideoMAEModel(
            VideoMAEConfig(**SMALL, image_size=32, num_frames=4, intermediate_size=16)
        ),
        "vjepa2": VJEPA2ForVideoClassification(
            VJEPA2Config(
                **SMALL, crop_size=32, frames_per_clip=4, pred_hidden_size=16,
                pred_num_attention_heads=2, pred_num_hidden_layers=1, num_pooler_layers=1,
                num_labels=2,
            )
        ),
    }  # fmt: skip
    for kind, model in models.items():
        model.save_pretrained(root / kind)
    return root


@pytest.mark.parametrize(
    ("kind", "dim", "sees_order"),
    [("clip", 8, False), ("videomae", 16, True), ("vjepa2", 16, True)],
)
def test_features_depend_on_each_video_alone_and_on_its_order(folders, kind, dim, sees_order):
    extractor = choose_extractor(kind, folders / kind)
    assert (extractor.side, extractor.dim) == (32, dim)
    frames = torch.rand(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = extractor.features(frames)
    assert features.shape == (2, dim)
    torch.testing.assert_close(extractor.features(frames[1:]), features[1:], rtol=1e-4, atol=1e-5)
    turned = extractor.features(frames.flip(1))
    assert ((turned - features).abs().max() > 1e-4 * features.abs().max()) == sees_order


def test_clips_features_are_the_mean_of_its_pictures(folders):
    """Against the model itself, with pixels normalised by hand."""
    frames = torch.rand(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    model = CLIPVisionModelWithProjection.from_pretrained(folders / "clip").eval()
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    with torch.no_grad():
        each = [model(((f / 2 + 0.5 - mean) / std)[None]).image_embeds for f in frames[0]]
    found = choose_extractor("clip", folders / "clip").features(frames)
    torch.testing.assert_close(found, torch.stack(each).mean(0))


def test_jedis_kernel_goes_with_v_jepa_and_kvds_with_the_others(folders):
    kernels = {kind: choose_extractor(kind, folders / kind).kernel for kind in ("clip", "vjepa2")}
    assert kernels == {"clip": (3, 1.0), "vjepa2": (2, 0.0)}


def test_frames_are_spread_evenly():
    frames = torch.arange(15.0).reshape(1, 15, 1)
    assert spread(frames, 16).flatten().tolist()[-3:] == [12, 13, 14]
    assert spread(frames, 3).flatten().tolist() == [0, 7, 14]


def test_a_folder_without_all_weights_is_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="holds no safetensors file"):
        choose_extractor("clip", tmp_path)
    state = load_file(folders / "clip/model.safetensors")
    del state["visual_projection.weight"]
    (tmp_path / "config.json").write_text((folders / "clip/config.json").read_text())
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 tensors of clip.*visual_projection\.weight"):
        choose_extractor("clip", tmp_path)
