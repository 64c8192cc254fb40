"""AID: one frame and one instruction become the video of what happens next."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aid.predict import Predictor

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    """Imports `Predictor`, and with it torch, when it is first asked for."""
    if name == "Predictor":
        from aid.predict import Predictor

        return Predictor
    raise AttributeError(f"module 'aid' has no attribute {name!r}")
