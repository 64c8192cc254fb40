"""Dual classifier-free guidance: three predictions of one video, for frame and instruction.

`models/denoiser.py` makes the predictions and combines them with the functions here.

Reference: AID, dual classifier-free guidance; Brooks et al. 2023 (InstructPix2Pix), Eq. 3.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

Weight = float | Float[Tensor, "#f 1 1 1"]


def guidance_weights(
    image_guidance: float | Float[Tensor, " f"], text_guidance: float
) -> tuple[Weight, Weight, Weight]:
    """Weights of the (unconditional, image-only, full) predictions: 1 - s_V, s_V - s_T, s_T.

    They come from

    e = e(0, 0) + s_V (e(0, c_V) - e(0, 0)) + s_T (e(c_T, c_V) - e(0, c_V))

    (AID prints the first term and the two factors; the differences are InstructPix2Pix, Eq. 3.)

    They sum to 1. Denoised latents, v and noise are the same affine function of each other for all
    three predictions, so combining any one of them with these weights combines the others, too;
    here it is the denoised latents.

    Args:
        image_guidance: s_V, one number, or one per frame (SVD's own ramp is `linspace(1, 3, f)`).
        text_guidance: s_T.
    """
    if isinstance(image_guidance, Tensor):
        image_guidance = image_guidance[:, None, None, None]  # f 1 1 1
    return 1 - image_guidance, image_guidance - text_guidance, text_guidance


def guide(
    predictions: Sequence[Float[Tensor, "b f c h w"]], weights: Sequence[Weight]
) -> Float[Tensor, "b f c h w"]:
    """The guided prediction: the sum of the predictions times their `guidance_weights`."""
    return sum(weight * part for weight, part in zip(weights, predictions, strict=True))
