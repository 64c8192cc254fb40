"""Counts the floating-point operations of a training step, the unit of an equal budget."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def count_flops(loss: Callable[[], Tensor]) -> int:
    """The operations of one loss and its gradients.

    PyTorch's counter finds matrix products, convolutions and attention, 2 operations for each
    multiplication with its addition. Elementwise operations and the optimizer are left out. Through
    frozen weights only the gradients that are needed are computed and counted.

    Attention runs in its plain form here, because the counter does not know the CPU's fused kernel.

    Args:
        loss: makes the mean loss; gradients are added to what it depends on.
    """
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward}
    count = FlopCounterMode(display=False, custom_mapping=formulas)
    with sdpa_kernel(SDPBackend.MATH), count:
        loss().backward()
    return int(count.get_total_flops())


def _convolution_backward(
    of_output: Sequence[int],
    of_input: Sequence[int],
    of_weight: Sequence[int],
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    is_transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    """As many operations as forward for each of the two gradients that are needed.

    PyTorch's own formula (2.13) ignores the groups of a grouped convolution.
    """
    once = conv_flop_count(of_input, of_weight, of_output, is_transposed)
    return once * (output_mask[0] + output_mask[1])
