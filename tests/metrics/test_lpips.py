import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from aid.metrics.lpips import Lpips, load_lpips


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights under the public names, heads positive as LPIPS's are."""
    torch.manual_seed(0)
    state = {name: t.abs() if "lin" in name else t for name, t in Lpips().state_dict().items()}
    path = tmp_path_factory.mktemp("lpips") / "lpips.safetensors"
    save_file(state, path)
    return path, state


def test_the_names_are_those_of_the_two_public_parts(weights):
    shapes = {name: tuple(t.shape) for name, t in weights[1].items()}
    assert shapes["features.0.weight"] == (64, 3, 11, 11)
    assert shapes["features.10.bias"] == (256,)
    assert shapes["lin1.model.1.weight"] == (1, 192, 1, 1)
    assert len(shapes) == 5 * 2 + 5


def test_the_distance_is_the_formula_written_out(weights):
    path, state = weights
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 3, 40, 40, generator=generator) * 2 - 1 for _ in range(2))
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    plan = [(0, 4, 2, None), (3, 1, 2, 3), (6, 1, 1, 3), (8, 1, 1, None), (10, 1, 1, None)]
    x, y, total = (a - shift) / scale, (b - shift) / scale, 0
    for number, (layer, stride, padding, pooled) in enumerate(plan):
        if pooled:
            x, y = F.max_pool2d(x, 3, 2), F.max_pool2d(y, 3, 2)
        kernel, bias = state[f"features.{layer}.weight"], state[f"features.{layer}.bias"]
        x, y = (F.relu(F.conv2d(z, kernel, bias, stride, padding)) for z in (x, y))
        unit = [z / (z.norm(dim=1, keepdim=True) + 1e-10) for z in (x, y)]
        head = state[f"lin{number}.model.1.weight"][0]
        total = total + (head * (unit[0] - unit[1]) ** 2).sum(1).mean((1, 2))
    network = load_lpips(path)
    torch.testing.assert_close(network(a, b), total)
    assert network(a, a).tolist() == [0, 0]
    with pytest.raises(ValueError, match="at least 31 pixels, got 16x16"):
        network(a[..., :16, :16], b[..., :16, :16])


def test_a_file_with_other_names_is_refused(weights, tmp_path):
    state = {name: t for name, t in weights[1].items() if name != "lin4.model.1.weight"}
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(
        ValueError, match=r"1 tensors differ, the first is 'lin4\.model\.1\.weight'"
    ):
        load_lpips(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="cannot be read"):
        load_lpips(tmp_path / "nowhere")
