import pytest
import torch
from safetensors.torch import load_file, save_file

from aid.metrics.extractors.choice import choose_extractor
from aid.metrics.extractors.i3d import InceptionI3D, same_padding

# Typed from the published definition of `i3d_pretrained_400.pt`'s network: name, then shape.
PUBLISHED = """
Conv3d_1a_7x7.conv3d.weight 64 3 7 7 7
Conv3d_1a_7x7.bn.running_var 64
Conv3d_2b_1x1.conv3d.weight 64 64 1 1 1
Conv3d_2c_3x3.conv3d.weight 192 64 3 3 3
Conv3d_2c_3x3.bn.weight 192
Mixed_3b.b0.conv3d.weight 64 192 1 1 1
Mixed_3b.b1a.conv3d.weight 96 192 1 1 1
Mixed_3b.b1b.conv3d.weight 128 96 3 3 3
Mixed_3b.b2a.conv3d.weight 16 192 1 1 1
Mixed_3b.b2b.conv3d.weight 32 16 3 3 3
Mixed_3b.b3b.conv3d.weight 32 192 1 1 1
Mixed_3c.b1b.conv3d.weight 192 128 3 3 3
Mixed_4b.b0.conv3d.weight 192 480 1 1 1
Mixed_4c.b2b.conv3d.weight 64 24 3 3 3
Mixed_4d.b1b.conv3d.weight 256 128 3 3 3
Mixed_4e.b1b.conv3d.weight 288 144 3 3 3
Mixed_4f.b0.conv3d.weight 256 528 1 1 1
Mixed_4f.b3b.bn.bias 128
Mixed_5b.b1b.conv3d.weight 320 160 3 3 3
Mixed_5c.b0.conv3d.weight 384 832 1 1 1
Mixed_5c.b2b.conv3d.weight 128 48 3 3 3
logits.conv3d.weight 400 1024 1 1 1
logits.conv3d.bias 400
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as converted from the published one, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("i3d") / "i3d.safetensors"
    save_file(InceptionI3D().state_dict(), path)
    return path


def test_the_names_and_shapes_are_the_published_ones():
    state = InceptionI3D().state_dict()
    for line in PUBLISHED.strip().splitlines():
        name, *shape = line.split()
        assert tuple(state[name].shape) == tuple(map(int, shape)), name
    # 57 units with a norm (3 in the stem, 6 in each of 9 modules) and the last layer.
    units = {name.rsplit(".conv3d", 1)[0] for name in state if ".conv3d" in name}
    assert len(units) == 3 + 6 * 9 + 1
    assert len(state) == 57 * 6 + 2  # a kernel, four tensors and a counter each; kernel and bias
    learnt = sum(p.numel() for p in InceptionI3D().parameters())
    assert round(learnt / 1e6, 1) == 12.7


def test_padding_is_tensorflows_and_the_odd_zero_is_at_the_end():
    for size in range(3, 20):
        for kernel, stride in ((7, 2), (3, 1), (3, 2), (2, 2), (1, 1)):
            padded = same_padding(torch.ones(1, 1, size, 1, 1), (kernel, 1, 1), (stride, 1, 1))
            assert (padded.shape[2] - kernel) // stride + 1 == -(-size // stride)
    padded = same_padding(torch.ones(1, 1, 1, 1, 4), (1, 1, 3), (1, 1, 2))
    assert padded[0, 0, 0, 0].tolist() == [1, 1, 1, 1, 0]


def test_features_are_400_logits_of_at_least_nine_frames(weights):
    extractor = choose_extractor("i3d", weights)
    assert (extractor.side, extractor.dim) == (224, 400) and len(extractor.hash) == 12
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(1, 9, 3, 224, 224, generator=generator) * 2 - 1
    features = extractor.features(frames)
    assert features.shape == (1, 400)
    assert not torch.allclose(features, extractor.features(frames.flip(1)))
    with pytest.raises(ValueError, match="at least 9 frames, got 8"):
        extractor.features(frames[:, :8])


def test_other_weights_are_refused_by_name(weights, tmp_path):
    state = load_file(weights)
    del state["Mixed_3b.b0.bn.weight"]
    save_file(state, tmp_path / "lacks.safetensors")
    with pytest.raises(ValueError, match=r"1 tensors differ.*Mixed_3b\.b0\.bn\.weight.*missing in"):
        choose_extractor("i3d", tmp_path / "lacks.safetensors")
    (tmp_path / "a.pt").write_bytes(b"PK\3\4 a pickle")
    with pytest.raises(ValueError, match=r"cannot be read .*docs/evaluation\.md"):
        choose_extractor("i3d", tmp_path / "a.pt")
    with pytest.raises(ValueError, match="none are downloaded"):
        choose_extractor("i3d")
    with pytest.raises(ValueError, match=r"'c3d' is unknown.*tabletop-r3d, i3d"):
        choose_extractor("c3d")
