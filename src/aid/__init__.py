"""AID: one frame and one instruction become the video of what happens next."""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aid.predict import Predictor
    from aid.predict.pipeline import AIDPipeline

__version__ = "0.1.0"
__all__ = ["AIDPipeline", "Predictor", "__version__"]

NOTICES = {
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
    "transformers.utils.import_utils": "`CLIPImageProcessor` requires torchvision",
}
"""Loggers and the first words of warnings about parts that are not used here.

diffusers imports bitsandbytes if it is installed, and, for Stable Video Diffusion, a class that
transformers replaces if torchvision is missing. All other warnings stay.
"""

for logger, start in NOTICES.items():
    logging.getLogger(logger).addFilter(
        lambda record, start=start: not record.getMessage().startswith(start)
    )
del logger, start


def __getattr__(name: str) -> Any:
    """Imports a class, and with it torch, when it is first asked for."""
    if name == "Predictor":
        from aid.predict import Predictor

        return Predictor
    if name == "AIDPipeline":
        from aid.predict.pipeline import AIDPipeline

        return AIDPipeline
    raise AttributeError(f"module 'aid' has no attribute {name!r}")
