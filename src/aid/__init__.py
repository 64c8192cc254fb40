"""AID: one frame and one instruction become the video of what happens next."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aid.predict import Predictor
    from aid.predict.pipeline import AIDPipeline

__version__ = "0.1.0"
__all__ = ["AIDPipeline", "Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    """Imports a class, and with it torch, when it is first asked for."""
    if name == "Predictor":
        from aid.predict import Predictor

        return Predictor
    if name == "AIDPipeline":
        from aid.predict.pipeline import AIDPipeline

        return AIDPipeline
    raise AttributeError(f"module 'aid' has no attribute {name!r}")
