"""Keeps the given frame's own pixels where a predicted video does not move."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def keep_static(
    frames: Float[Tensor, "b f 3 H W"],
    latents: Float[Tensor, "b f c h w"],
    given: Float[Tensor, "b 3 H W"],
    given_latents: Float[Tensor, "b c h w"],
    threshold: float,
) -> Float[Tensor, "b f 3 H W"]:
    """Shows the given frame instead of the decoded ones at places that no frame changes.

    departure[p] = max over t of root mean square over channels of (latents[t, p] - given[p])
    frames <- m given + (1 - m) frames,  m = [departure < threshold], enlarged to pixels bilinearly

    A denoiser repeats what stands still only up to an error of its own in every frame, and a
    decoder that normalizes over whole frames changes it with whatever moves elsewhere: static
    places flicker and lose detail, although they are known. Copying the background of the given
    frame goes back to Vondrick, Pirsiavash and Torralba (2016) and Finn, Goodfellow and Levine
    (2016), whose masks are learned. The mask here is one for all frames, so that no place changes
    from one source to the other. Where the camera moves, no place is static and nothing changes.

    Args:
        frames: the decoded video, in [-1, 1].
        latents: the predicted latents.
        given: the last given frame, in [-1, 1].
        given_latents: the same, encoded, in the units of `latents`.
        threshold: above the error of the denoiser and below the change that an object makes.
    """
    departure = (latents - given_latents[:, None]).square().mean(2).sqrt().amax(1)  # b h w
    mask = (departure < threshold).to(frames)[:, None]
    mask = F.interpolate(mask, size=frames.shape[-2:], mode="bilinear")[:, None]  # b 1 1 H W
    return mask * given[:, None] + (1 - mask) * frames
