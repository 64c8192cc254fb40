"""How much a video moves, to notice one that has stopped (conditional image leakage)."""

from jaxtyping import Float
from torch import Tensor


def motion(frames: Float[Tensor, "b f 3 H W"]) -> Float[Tensor, " b"]:
    """The mean change of a colour value from one frame to the next, in [0, 2]."""
    return (frames[:, 1:] - frames[:, :-1]).abs().mean(dim=(1, 2, 3, 4))


def motion_ratio(predicted: Float[Tensor, "b f 3 H W"], real: Float[Tensor, "b f 3 H W"]) -> float:
    """Motion of the predicted videos over that of the real ones; 1 is right, 0 is a still."""
    return float(motion(predicted).sum() / motion(real).sum().clamp(min=1e-8))
