import torch

from aid.models.attention import attend


def test_plain_products_and_the_fused_kernel_give_the_same_numbers():
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, n, 8) for n in (5, 7, 7))
    mask = torch.rand(3, 1, 1, 7) < 0.6
    mask[..., 0] = True
    for visible in (None, mask):
        fused = attend(q, k, v, visible)
        plain = attend(q.clone().requires_grad_(), k, v, visible)
        assert plain.requires_grad and not fused.requires_grad
        torch.testing.assert_close(plain, fused)


def test_where_nothing_may_be_read_the_answer_is_zero_and_gradients_are_numbers():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, n, 8) for n in (3, 4, 4))
    mask = torch.tensor([[False] * 4, [True, False, False, False]])[:, None, None]
    fused = attend(q, k, v, mask)
    assert not fused[0].any()
    torch.testing.assert_close(fused[1], v[1, :, :1].expand(-1, 3, -1))
    parts = [part.clone().requires_grad_() for part in (q, k, v)]
    plain = attend(*parts, mask)
    torch.testing.assert_close(plain, fused)
    plain.square().sum().backward()
    assert all(part.grad.isfinite().all() for part in parts)
