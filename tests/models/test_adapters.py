import pytest
import torch
from torch import nn

from aid.config import AdapterConfig
from aid.models.adapters import LongTermAdapter, ShortTermAdapter, SpatialAdapter

CONFIG = AdapterConfig(long_term_heads=2)
ADAPTERS = {
    SpatialAdapter: (4, 6, 16),  # bf n d
    ShortTermAdapter: (2, 5, 16, 3, 4),  # b f c h w
    LongTermAdapter: (6, 5, 16),  # bn f d
}


def awake(adapter):
    """An adapter whose last layer is not zero any more."""
    torch.manual_seed(0)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.5)
    return adapter.double()


def influence(adapter, x, position):
    """Which entries of the output change when `x[position]` does."""
    changed = x.clone()
    changed[position] += 1
    return (adapter(changed) != adapter(x)).detach()


@pytest.fixture(params=ADAPTERS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def test_new_adapter_is_exactly_zero_so_it_has_no_skip_inside(kind, generator):
    x = torch.randn(ADAPTERS[kind], generator=generator)
    residual = kind(16, CONFIG)(x)
    assert residual.shape == x.shape
    assert residual.norm() == 0


def test_only_the_last_layer_starts_at_zero(kind):
    zero = {name for name, p in kind(16, CONFIG).named_parameters() if not p.any()}
    assert zero == {"up.weight", "up.bias"}


def test_gradients_are_right(kind, generator):
    x = torch.randn(ADAPTERS[kind], generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(awake(kind(16, CONFIG)), x, fast_mode=True)


def test_width_follows_the_ratio():
    assert SpatialAdapter(320, AdapterConfig(ratio=0.25)).down.out_features == 80
    assert LongTermAdapter(320, AdapterConfig(ratio=0.5)).down.out_features == 160
    assert ShortTermAdapter(320, AdapterConfig(short_term_ratio=0.5)).down.out_channels == 160


def test_spatial_sees_one_token_of_one_frame(generator):
    x = torch.randn(4, 6, 16, generator=generator, dtype=torch.float64)
    changed = influence(awake(SpatialAdapter(16, CONFIG)), x, (1, 2)).any(dim=-1)
    assert changed.nonzero().tolist() == [[1, 2]]


def test_short_term_sees_only_neighbouring_frames_at_the_same_place(generator):
    x = torch.randn(2, 5, 16, 3, 4, generator=generator, dtype=torch.float64)
    position = (0, 2, slice(None), 1, 1)
    changed = influence(awake(ShortTermAdapter(16, CONFIG)), x, position).any(dim=2)
    assert changed.nonzero().tolist() == [[0, 1, 1, 1], [0, 2, 1, 1], [0, 3, 1, 1]]


def test_short_term_with_a_cube_sees_neighbouring_places_too(generator):
    adapter = awake(ShortTermAdapter(16, AdapterConfig(short_term_kernel=(3, 3, 3))))
    x = torch.randn(1, 5, 16, 3, 4, generator=generator, dtype=torch.float64)
    assert influence(adapter, x, (0, 2, slice(None), 1, 1)).any(dim=2).sum() == 27


def test_short_term_over_frames_equals_its_3d_convolution(generator):
    adapter = awake(ShortTermAdapter(16, CONFIG))
    x = torch.randn(2, 8, 5, 3, 4, generator=generator, dtype=torch.float64)  # b c f h w
    torch.testing.assert_close(adapter._depth_wise(x), adapter.conv(x))


def test_short_term_refuses_an_even_kernel():
    with pytest.raises(ValueError, match=r"odd sizes, got \(2, 1, 1\)"):
        ShortTermAdapter(16, AdapterConfig(short_term_kernel=(2, 1, 1)))


def test_long_term_sees_all_frames_of_its_place(generator):
    x = torch.randn(6, 5, 16, generator=generator, dtype=torch.float64)
    changed = influence(awake(LongTermAdapter(16, CONFIG)), x, (1, 2)).any(dim=-1)
    assert changed.nonzero().tolist() == [[1, frame] for frame in range(5)]


def test_causal_long_term_sees_only_the_past(generator):
    adapter = awake(LongTermAdapter(16, AdapterConfig(long_term_heads=2, is_causal=True)))
    x = torch.randn(6, 5, 16, generator=generator, dtype=torch.float64)
    changed = influence(adapter, x, (1, 2)).any(dim=-1)
    assert changed.nonzero().tolist() == [[1, 2], [1, 3], [1, 4]]


def test_long_term_refuses_heads_that_do_not_divide_its_width():
    with pytest.raises(ValueError, match="must divide the adapter's width 4"):
        LongTermAdapter(16, AdapterConfig(long_term_heads=3))
