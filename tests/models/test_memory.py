import torch
from torch import nn

from aid.models.memory import counting

MIB = 2**20


def test_live_tensors_are_counted_once_and_forgotten_when_freed():
    with counting() as count:
        a = torch.zeros(1024, 256)  # 1 MiB
        view = a.view(256, 1024)[:10]
        assert count.live == MIB
        b = a + 1
        assert count.live == 2 * MIB
        del a
        assert count.live == 2 * MIB, "its view is still there"
        del view
        assert count.live == MIB
        count.restart()
        (b + 1).sum()
        assert count.live == MIB
        assert count.peak >= 2 * MIB


def test_what_the_backward_pass_needs_is_counted():
    with counting() as count:
        layers = nn.Sequential(*[nn.Linear(256, 256, bias=False) for _ in range(4)])
        x = torch.zeros(1024, 256)
        before = count.live
        y = layers(x)
        kept = count.live - before
        # The inputs of layers 2 to 4 and the output.
        assert kept == 4 * MIB
        y.sum().backward()
        del y
        assert count.live - before == 4 * 256 * 256 * 4, "gradients"
