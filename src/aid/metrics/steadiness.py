"""Static flicker and sharpness of a video, each next to the real video's own.

Static places are those where the real video stays the same. A predicted video should do so, too,
and it should be as sharp as the real one, there and where things move.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

LARGEST_RANGE = 8.0
"""Most grey levels that a static place of the real video changes by. Choice: above the noise of a
camera and a codec after smoothing, below any object that passes."""
MARGIN = 1 / 32
"""Border of a static area that is not counted, as a share of the short side. Choice: 2 pixels of
64, so that an edge that is drawn a pixel off does not count as flicker."""
FEWEST_PLACES = 0.01
"""Smallest share of the picture that must be static for its flicker to be measured."""


def static_places(real: Float[Tensor, "f 3 H W"]) -> Bool[Tensor, "H W"]:
    """Where the real video stays the same over all its frames, without a margin.

    Every frame is smoothed over 3 x 3 pixels, so that noise does not look like motion. A place is
    static if no channel of it changes by more than `LARGEST_RANGE` between any two frames.

    Args:
        real: in [-1, 1].
    """
    levels = 127.5 * F.avg_pool2d(real, 3, stride=1, padding=1, count_include_pad=False)
    is_moving = (levels.amax(0) - levels.amin(0)).amax(0) > LARGEST_RANGE
    margin = max(1, round(MARGIN * min(real.shape[-2:])))
    near_motion = F.max_pool2d(is_moving.float()[None], 2 * margin + 1, stride=1, padding=margin)
    return near_motion[0] == 0


def flicker(frames: Float[Tensor, "f 3 H W"], places: Bool[Tensor, "H W"]) -> float | None:
    """Typical change of a static place from a frame to the next, in grey levels, 0 to 255.

    flicker = mean over places p of median over t of mean over channels |x[t+1, p] - x[t, p]|

    The mean absolute change between frames that should be equal is VBench's temporal flickering
    (Huang et al. 2024). The median over time is ours: an arm that passes on another way than in the
    real video changes a place in a few frames, flicker changes it in all of them. For another real
    video of the same first frame the mean over time is 1.8 grey levels, the median 0.2
    (docs/experiments/flicker.md). A change in fewer than half of the frames is not seen.

    Args:
        frames: in [-1, 1].
        places: the real video's static places.

    Returns:
        None if there are fewer than two frames, or hardly any static place.
    """
    if len(frames) < 2 or places.float().mean() < FEWEST_PLACES:
        return None
    change = 127.5 * (frames[1:] - frames[:-1]).abs().mean(1)  # f-1 H W
    return float(change[:, places].quantile(0.5, dim=0).mean())


def gradient_energy(frames: Float[Tensor, "f 3 H W"]) -> Float[Tensor, "h w"]:
    """Squared image gradient by Sobel's filters, summed over channels, mean over frames.

    energy[p] = mean over t of sum over channels (S_x * x[t, p])^2 + (S_y * x[t, p])^2

    This is the focus measure Tenengrad (Krotkov 1988; GRA6 in Pertuz, Puig and Garcia 2013, who
    compare 36 of them: measures with second derivatives respond to noise most). The square counts
    strong edges, which blur weakens and noise hardly changes. On real table-top videos the root of
    the energy falls to .81 at a blur of sigma .7 pixels and rises to 1.04 under noise of 8 grey
    levels; the variance of the Laplacian gives .38 and 1.35, the sum of absolute differences of
    Mathieu, Couprie and LeCun (2016) .74 and 2.20 (docs/experiments/flicker.md).

    Args:
        frames: in [-1, 1].

    Returns:
        The energy of all pixels but the border of 1.
    """
    across = frames.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    filters = torch.stack([across, across.T])[:, None]  # 2 1 3 3
    planes = frames.reshape(-1, 1, *frames.shape[-2:])
    squares = F.conv2d(planes, filters).square().sum(1)  # (f 3) h w
    return squares.unflatten(0, frames.shape[:2]).sum(1).mean(0)
