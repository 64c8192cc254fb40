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
